/**
 * What ringq answers when it says no: RFC 9457 problem details with a stable `code`. The same in production as in
 * development, and never with a stack, a payload or another parser's words in it.
 */

import { Type } from "@sinclair/typebox";

/** Every code there is, with the status it comes with. Clients may rely on these. */
export const PROBLEMS = {
  invalid_json: { status: 400, title: "The body is not JSON" },
  unauthorized: { status: 401, title: "Not authorized" },
  not_found: { status: 404, title: "Not found" },
  method_not_allowed: { status: 405, title: "Method not allowed" },
  conflict: { status: 409, title: "Not possible in the task's status" },
  body_too_large: { status: 413, title: "The body is too large" },
  unsupported_media_type: { status: 415, title: "Only application/json, without an encoding" },
  invalid_request: { status: 422, title: "The request is not valid" },
  idempotency_key_reused: {
    status: 422,
    title: "The idempotency key was used for another request",
  },
  internal_error: { status: 500, title: "ringq has a defect" },
  queue_full: { status: 503, title: "The queue is full" },
  shutting_down: { status: 503, title: "The server is stopping" },
  storage_unavailable: { status: 503, title: "The storage can't be written" },
} as const;

export type ProblemCode = keyof typeof PROBLEMS;

/** One thing that is wrong with a request. */
export interface RequestError {
  /** A JSON Pointer into the body (RFC 6901), or the name of a query parameter or header. */
  readonly path: string;
  readonly message: string;
}

/** The shape of every error, for the API description. */
export const ProblemSchema = Type.Object(
  {
    type: Type.Literal("about:blank"),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.Union(Object.keys(PROBLEMS).map((code) => Type.Literal(code))),
    detail: Type.String(),
    errors: Type.Optional(Type.Array(Type.Object({ path: Type.String(), message: Type.String() }))),
  },
  { description: "RFC 9457 problem details with a stable code." },
);

/** When a client that was refused for now should ask again, in seconds. Queues move fast, and the load is the client's. */
const RETRY_AFTER_S = "1";

export interface ProblemOptions {
  readonly errors?: readonly RequestError[];
  readonly headers?: Readonly<Record<string, string>>;
}

/** An answer with this problem in it; `detail` says what it is about this time, in a sentence. */
export function problem(
  code: ProblemCode,
  detail: string,
  { errors, headers }: ProblemOptions = {},
): Response {
  const { status, title } = PROBLEMS[code];
  const body = { type: "about:blank", title, status, code, detail, errors };
  return new Response(JSON.stringify(body), {
    status,
    headers: {
      "content-type": "application/problem+json",
      ...(status === 503 ? { "retry-after": RETRY_AFTER_S } : {}),
      ...headers,
    },
  });
}

/** How many faults of one request are told: enough to mend it, and no way to make the server talk for long. */
const ERRORS_MAX = 20;

/** The answer to a request with these faults. */
export function invalidRequest(errors: Iterable<RequestError>): Response {
  const told: RequestError[] = [];
  for (const { path, message } of errors) {
    if (told.length === ERRORS_MAX) break;
    told.push({ path: truncate(path), message });
  }
  const [first] = told;
  const detail =
    first === undefined
      ? "The request is not valid."
      : `${first.path || "the body"}: ${first.message}`;
  return problem("invalid_request", detail, { errors: told });
}

/** A path is made of the client's own keys, which can be as long as a body. */
function truncate(path: string): string {
  return path.length <= 200 ? path : `${path.slice(0, 199)}…`;
}
