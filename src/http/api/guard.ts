/**
 * Refuses requests that {@link Access} does not allow, and answers the pages of listed origins
 * (CORS).
 */

import type { Access } from "../access.ts";
import { problem } from "./problem.ts";

/** The refusal of this request, or null if it is allowed. */
export function accessProblem(access: Access, request: Request): Response | null {
  if (!access.allowsHost(request.headers.get("host"))) return hostProblem();
  if (!READS.has(request.method) && access.isCrossSite(request.headers)) return crossSiteProblem();
  return null;
}

/**
 * The same for `POST /enqueue`, the route with the most load. A page of another site can't send its
 * content type without a preflight, and gets no permission, so only its Host needs checking.
 */
export function enqueueProblem(access: Access, { headers }: Request): Response | null {
  return access.allowsHost(headers.get("host")) ? null : hostProblem();
}

const READS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

function hostProblem(): Response {
  return problem(
    "host_not_allowed",
    "The Host header does not name this server. Add the host to ALLOWED_HOSTS.",
  );
}

function crossSiteProblem(): Response {
  return problem(
    "cross_site",
    "A page of another site sent this request. To allow it, add its origin to CORS_ORIGINS.",
  );
}

/**
 * The answer to a browser's preflight request. Null if this is not a preflight request, or the page
 * has no access.
 */
export function preflightAnswer(access: Access, { method, headers }: Request): Response | null {
  if (method !== "OPTIONS" || !headers.has("access-control-request-method")) return null;
  return access.allowedOrigin(headers) === null
    ? null
    : new Response(null, { status: 204, headers: PREFLIGHT_HEADERS });
}

const PREFLIGHT_HEADERS = {
  "access-control-allow-methods": "GET, POST, DELETE",
  "access-control-allow-headers": "content-type, idempotency-key, authorization",
  // Two hours: the longest time that every browser accepts.
  "access-control-max-age": "7200",
};

/** The headers that let a page of a listed origin read the answer. */
export function corsHeaders(access: Access, headers: Headers): Readonly<Record<string, string>> {
  const origin = access.allowedOrigin(headers);
  // A cache must not give the answer for one origin to another, or to a request without an origin.
  if (origin === null) return { vary: "origin" };
  return {
    vary: "origin",
    "access-control-allow-origin": origin,
    "access-control-expose-headers": "location, idempotency-replayed, retry-after",
  };
}
