/**
 * The errors by which a handler says what should come next. They are told by a mark and not by their class, so that one
 * thrown from a second copy of the package, or in a thread, means the same.
 */

import type { Retry } from "../../engine/engine.ts";

/** The property that says what a thrown value asks for. */
export const RETRY_MARK = Symbol.for("ringq.retry");

/** As far ahead as a delay may be asked for: 30 days, in milliseconds. */
export const RETRY_AFTER_MS_MAX = 30 * 24 * 60 * 60 * 1000;

/** Thrown by a handler: the task fails at once, whatever retries it has left. */
export class NonRetryableError extends Error {
  override readonly name = "NonRetryableError";
  readonly [RETRY_MARK]: Retry = { kind: "never" };
}

/**
 * Thrown by a handler: the attempt failed, and the next one, if the task has retries left, starts `ms` milliseconds
 * from now instead of after the usual backoff. Throws a RangeError unless `ms` is from 0 to 30 days.
 */
export class RetryAfterError extends Error {
  override readonly name = "RetryAfterError";
  readonly [RETRY_MARK]: Retry;

  constructor(ms: number, message = `try again after ${ms} ms`, options?: ErrorOptions) {
    super(message, options);
    if (!(ms >= 0 && ms <= RETRY_AFTER_MS_MAX)) {
      throw new RangeError(`RetryAfterError takes 0 to ${RETRY_AFTER_MS_MAX} ms, not ${ms}`);
    }
    this[RETRY_MARK] = { kind: "after", ms };
  }
}
