/**
 * Errors by which a handler decides about the next attempt. They are recognized by a mark and not
 * by their class, so that an error from a second copy of the package, or from a thread, means the
 * same.
 */

import { LIMITS, type Retry } from "../../engine/engine.ts";

/** The property with the retry that a thrown value requests. */
export const RETRY_MARK = Symbol.for("ringq.retry");

const { min: MS_MIN, max: MS_MAX } = LIMITS.retryAfterMs;

/**
 * Whether this is a valid delay for a retry. Fractions of a millisecond are allowed: handlers
 * compute their delays.
 */
export function isRetryDelay(ms: unknown): ms is number {
  return typeof ms === "number" && ms >= MS_MIN && ms <= MS_MAX;
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
        `the ms of RetryAfterError must be from ${MS_MIN} to ${MS_MAX}, but is ${ms}`,
      );
    }
    this[RETRY_MARK] = { kind: "after", ms };
  }
}
