/**
 * Words every refusal of the API: RFC 9457 problem details with a stable `code`. They are the same
 * in production and in development, and never contain a stack, a payload or the words of another
 * parser.
 */

import { Type } from "@sinclair/typebox";
import { CLAIM_ENDS, type ClaimEnd, type Refusal } from "../../engine/engine.ts";
import type { Body } from "../body.ts";
import type { Fault } from "../shape.ts";

/** All codes, each with its status. Clients may rely on these. */
export const PROBLEMS = {
  invalid_json: { status: 400, title: "Invalid JSON" },
  unauthorized: { status: 401, title: "Unauthorized" },
  cross_site: { status: 403, title: "Cross-site request refused" },
  not_found: { status: 404, title: "Not found" },
  method_not_allowed: { status: 405, title: "Method not allowed" },
  conflict: { status: 409, title: "Not allowed in the task's current status" },
  claim_lost: { status: 409, title: "Claim lost" },
  no_remote_types: { status: 409, title: "No type is remote" },
  body_too_large: { status: 413, title: "Body too large" },
  unsupported_media_type: { status: 415, title: "Unsupported media type" },
  host_not_allowed: { status: 421, title: "Host not allowed" },
  invalid_request: { status: 422, title: "Invalid request" },
  idempotency_key_reused: { status: 422, title: "Idempotency key reused" },
  internal_error: { status: 500, title: "Internal error" },
  queue_full: { status: 503, title: "Queue full" },
  overloaded: { status: 503, title: "Server overloaded" },
  shutting_down: { status: 503, title: "Server stopping" },
  storage_unavailable: { status: 503, title: "Storage unavailable" },
  too_many_waiting: { status: 503, title: "Too many claims wait" },
} as const;

export type ProblemCode = keyof typeof PROBLEMS;

/** The shape of every error, for the API description. */
export const ProblemSchema = Type.Object(
  {
    type: Type.Literal("about:blank"),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.Union(Object.keys(PROBLEMS).map((code) => Type.Literal(code))),
    detail: Type.String(),
    errors: Type.Optional(Type.Array(Type.Object({ path: Type.String(), message: Type.String() }))),
    ended: Type.Optional(
      Type.Union(
        CLAIM_ENDS.map((end) => Type.Literal(end)),
        { description: "Of `claim_lost`: how the claim ended." },
      ),
    ),
  },
  { description: "RFC 9457 problem details with a stable code." },
);

/**
 * The Retry-After of temporary refusals, in seconds. Queues move fast, and the load is the
 * client's.
 */
const RETRY_AFTER_S = "1";

/** A refusal: a code, a sentence about this case, and what belongs to the code. */
export interface Problem {
  readonly code: ProblemCode;
  readonly detail: string;
  readonly errors?: readonly Fault[];
  readonly ended?: ClaimEnd;
}

/** The problem as the client gets it. */
export function problemJson({ code, detail, errors, ended }: Problem) {
  const { status, title } = PROBLEMS[code];
  return { type: "about:blank", title, status, code, detail, errors, ended };
}

/** An answer with this problem. */
export function problemAnswer(
  of: Problem,
  headers: Readonly<Record<string, string>> = {},
): Response {
  const { status } = PROBLEMS[of.code];
  return new Response(JSON.stringify(problemJson(of)), {
    status,
    headers: {
      "content-type": "application/problem+json",
      ...(status === 503 ? { "retry-after": RETRY_AFTER_S } : {}),
      ...headers,
    },
  });
}

/** An answer with a problem of this code. `detail` is a sentence about this case. */
export function problem(
  code: ProblemCode,
  detail: string,
  headers?: Readonly<Record<string, string>>,
): Response {
  return problemAnswer({ code, detail }, headers);
}

/**
 * The largest number of faults in one answer: enough to fix the request, few enough to bound the
 * answer.
 */
const ERRORS_MAX = 20;

/** The answer to a request with these faults. */
export function invalidRequest(errors: Iterable<Fault>): Response {
  return problemAnswer(invalidProblem(errors));
}

/** The problem of a request with these faults. */
export function invalidProblem(errors: Iterable<Fault>): Problem {
  const told: Fault[] = [];
  for (const { path, message } of errors) {
    if (told.length === ERRORS_MAX) break;
    told.push({ path: truncate(path), message });
  }
  const [first] = told;
  const detail =
    first === undefined
      ? "The request is not valid."
      : `${first.path || "the body"}: ${first.message}`;
  return { code: "invalid_request", detail, errors: told };
}

/** The problem of an unreadable body. */
export function bodyProblem(body: Exclude<Body<unknown>, { readonly kind: "body" }>): Response {
  switch (body.kind) {
    case "unsupported_media_type":
      return problem(
        "unsupported_media_type",
        "Send the body as application/json, without Content-Encoding.",
      );
    case "too_large":
      return problem("body_too_large", `The body is larger than ${body.bytesMax} bytes.`);
    case "invalid_json":
      return problem("invalid_json", "The body is not JSON in UTF-8.");
    case "misshapen":
      return invalidRequest(body.faults);
    default:
      return body satisfies never;
  }
}

export function refusalProblem({ bound, queue, limit }: Refusal): Response {
  switch (bound) {
    case "queue_size":
      return problem("queue_full", `Queue ${queue} is full (size ${limit}).`);
    case "queue_bytes":
      return problem("queue_full", `Queue ${queue} is full (${limit} bytes).`);
    case "queues_max":
      return problem(
        "queue_full",
        `Queue ${queue} can't be used: too many queues are in use (MAX_QUEUES = ${limit}).`,
      );
    default:
      return bound satisfies never;
  }
}

export function overloadedProblem(): Response {
  return problem(
    "overloaded",
    "Clients have left too many bytes of answers unread (ANSWER_BYTES_TOTAL). Retry later.",
  );
}

export function stoppingProblem(): Response {
  return problem("shutting_down", "The server is stopping and accepts no more tasks.");
}

export const STORAGE_PROBLEM: Problem = {
  code: "storage_unavailable",
  detail: "The data file could not be written. Nothing was changed; retry later.",
};

export function storageProblem(): Response {
  return problemAnswer(STORAGE_PROBLEM);
}

/** A path consists of the client's own keys, which can be as long as a body. */
function truncate(path: string): string {
  return path.length <= 200 ? path : `${path.slice(0, 199)}…`;
}
