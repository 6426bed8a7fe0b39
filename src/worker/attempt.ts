/**
 * Runs one attempt at a task, stops it, and turns the result of its handler into an outcome. Its
 * loop is free once there is an outcome.
 */

import type { Clock } from "../clock.ts";
import type {
  AttemptOutcome,
  Claim,
  MaybePromise,
  RevokeReason,
  TaskView,
} from "../engine/engine.ts";
import { outcomeOfResult } from "../engine/outcome.ts";
import { outcomeOfThrow, RELEASED } from "./outcome.ts";

/** The reason why an attempt must stop. Its signal aborts with this in the message. */
export type StopReason = RevokeReason | "shutdown";

/**
 * The time that a handler has to end after its signal aborted, before its loop runs another task.
 */
export const ABORT_GRACE_MS = 1000;

export class Attempt {
  readonly claim: Claim;
  readonly #clock: Clock;
  #stopReason: StopReason | null = null;
  #onStop: (() => void) | null = null;
  /** Made only for handlers that ask for it: it costs more than a small task does. */
  #controller: AbortController | null = null;

  constructor(claim: Claim, clock: Clock) {
    this.claim = claim;
    this.#clock = clock;
  }

  get task(): TaskView {
    return this.claim.task;
  }

  /** The reason to stop, or null while the attempt may continue. */
  get stopReason(): StopReason | null {
    return this.#stopReason;
  }

  /** Aborts when the attempt has lost its lease, its task was cancelled, or the process stops. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#stopReason !== null) this.#controller.abort(abortError(this.#stopReason));
    }
    return this.#controller.signal;
  }

  /**
   * Calls `handler` and returns its outcome: at once when it returns, later when it returns a
   * promise. Never throws.
   */
  run(
    handler: (attempt: Attempt) => unknown,
    resultBytesMax: number,
  ): MaybePromise<AttemptOutcome> {
    try {
      const returned = handler(this);
      if (!isThenable(returned)) return outcomeOfResult(returned, resultBytesMax);
      return this.follow(outcomeOfPromise(returned, resultBytesMax));
    } catch (thrown) {
      return outcomeOfThrow(thrown);
    }
  }

  /**
   * The pending outcome. If the attempt is stopped, it is released instead, at the latest after a
   * short grace period.
   */
  follow(coming: Promise<AttemptOutcome>): Promise<AttemptOutcome> {
    return new Promise((resolve, reject) => {
      let cancelGrace: (() => void) | null = null;
      this.#onStop = () => {
        cancelGrace = this.#clock.after(ABORT_GRACE_MS, () => resolve(RELEASED));
      };
      coming.then((outcome) => {
        this.#onStop = null;
        cancelGrace?.();
        resolve(this.#stopReason === null ? outcome : RELEASED);
      }, reject);
    });
  }

  /** Asks the handler to stop. Its outcome no longer counts. */
  stop(reason: StopReason): void {
    if (this.#stopReason !== null) return;
    this.#stopReason = reason;
    this.#controller?.abort(abortError(reason));
    this.#onStop?.();
  }
}

/**
 * The outcome of a promise of any implementation. `await` uses the promise's internal state, so a
 * promise with a broken `then` is read like any other. It also handles a late rejection, which
 * would otherwise be unhandled.
 */
async function outcomeOfPromise(
  promise: PromiseLike<unknown>,
  resultBytesMax: number,
): Promise<AttemptOutcome> {
  try {
    return outcomeOfResult(await promise, resultBytesMax);
  } catch (thrown) {
    return outcomeOfThrow(thrown);
  }
}

/** The reason with which a signal aborts. */
export function abortError(reason: StopReason): DOMException {
  return reason === "timeout"
    ? new DOMException("timeout", "TimeoutError")
    : new DOMException(reason, "AbortError");
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  if (value instanceof Promise) return true;
  return (
    typeof value === "object" &&
    value !== null &&
    "then" in value &&
    typeof value.then === "function"
  );
}
