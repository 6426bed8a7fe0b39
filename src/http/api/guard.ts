/**
 * Refuses requests that {@link Access} does not allow, and answers the pages of listed origins (CORS).
 */

import type { Access } from "../access.ts";
import { problem } from "./problem.ts";

/** Why this request is not answered, or null. */
export function accessProblem(access: Access, request: Request): Response | null {
  if (!access.allowsHost(request.headers.get("host"))) return hostProblem();
  if (!READS.has(request.method) && access.isCrossSite(request.headers)) return crossSiteProblem();
  return null;
}

const READS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

export function hostProblem(): Response {
  return problem(
    "host_not_allowed",
    "This server is not known by the name in the Host header. Add it to ALLOWED_HOSTS.",
  );
}

function crossSiteProblem(): Response {
  return problem(
    "cross_site",
    "A page of another site sent this request. Add its origin to CORS_ORIGINS to allow it.",
  );
}

/**
 * The answer to a browser that asks whether a page may send a request; null if it does not, or the
 * page may not.
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
  // Two hours, the most that every browser remembers it for.
  "access-control-max-age": "7200",
};

/** The headers of an answer that let a page of a listed origin read it. */
export function corsHeaders(access: Access, headers: Headers): Readonly<Record<string, string>> {
  const origin = access.allowedOrigin(headers);
  // A cache must not give one origin the answer to another, nor to no origin.
  if (origin === null) return { vary: "origin" };
  return {
    vary: "origin",
    "access-control-allow-origin": origin,
    "access-control-expose-headers": "location, idempotency-replayed, retry-after",
  };
}
