/** The errors of the client, and the errors by which a handler decides about the next attempt. */

/** The body of an error answer (RFC 9457). Only `invalid_request` has `errors`. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: string;
  readonly detail?: string;
  readonly errors?: readonly { readonly path: string; readonly message: string }[];
  /** How the claim ended. Only `claim_lost` has it. */
  readonly ended?: ClaimEnd;
}

/**
 * How a claim ended. `unknown`: the task is forgotten, or the server does not know the claim.
 */
export type ClaimEnd = "expired" | "timeout" | "settled" | "cancelled" | "unknown";

interface RingqErrorOptions extends ErrorOptions {
  readonly status: number;
  readonly code: string;
  readonly problem?: Problem | null;
  readonly retryAfterMs?: number | null;
}

/**
 * A call failed: the server refused it, or there was no answer. It never contains the API key.
 */
export class RingqError extends Error {
  override readonly name = "RingqError";
  /** The HTTP status; 0 without an answer. */
  readonly status: number;
  /**
   * The server's code, such as `queue_full`. The client has codes of its own: `connection_failed`
   * and `timeout` (no answer, status 0), `redirected` (the client does not follow redirects), and
   * `unexpected_answer` (the answer is not from ringq, such as the error page of a proxy).
   */
  readonly code: string;
  /** The body of the server's answer; null if it was not a problem of ringq. */
  readonly problem: Problem | null;
  /** The server's `Retry-After`, in milliseconds; null without one. */
  readonly retryAfterMs: number | null;

  constructor(
    message: string,
    { status, code, problem = null, retryAfterMs = null, ...options }: RingqErrorOptions,
  ) {
    super(message, options);
    this.status = status;
    this.code = code;
    this.problem = problem;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The property with the retry that a thrown value requests: the same in every copy of ringq. */
export const RETRY_MARK = Symbol.for("ringq.retry");

/** The retry that a failed attempt requests. */
export type Retry =
  | { readonly kind: "backoff" }
  | { readonly kind: "never" }
  | { readonly kind: "after"; readonly ms: number };

const RETRY_MS_MAX = 30 * 24 * 60 * 60 * 1000;

/** Whether this is a valid delay for a retry. Fractions are allowed: handlers compute delays. */
export function isRetryDelay(ms: unknown): ms is number {
  return typeof ms === "number" && ms >= 0 && ms <= RETRY_MS_MAX;
}

/** Thrown by a handler: the task fails at once, even if it has retries left. */
export class NonRetryableError extends Error {
  override readonly name = "NonRetryableError";
  readonly [RETRY_MARK]: Retry = { kind: "never" };
}

/**
 * Thrown by a handler: the attempt failed. If the task has retries left, the next attempt starts
 * `ms` milliseconds from now instead of after the usual backoff. Throws a RangeError unless `ms` is
 * from 0 to 30 days.
 */
export class RetryAfterError extends Error {
  override readonly name = "RetryAfterError";
  readonly [RETRY_MARK]: Retry;

  constructor(ms: number, message = `try again after ${ms} ms`, options?: ErrorOptions) {
    super(message, options);
    if (!isRetryDelay(ms)) {
      throw new RangeError(
        `the ms of RetryAfterError must be from 0 to ${RETRY_MS_MAX}, but is ${ms}`,
      );
    }
    this[RETRY_MARK] = { kind: "after", ms };
  }
}
