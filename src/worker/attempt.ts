/**
 * One attempt at a task: stops it, and turns whatever its handler does into an outcome. Its loop is
 * free once the outcome is there.
 */

import type { Clock } from "../clock.ts";
import type {
  AttemptOutcome,
  Claim,
  MaybePromise,
  RevokeReason,
  TaskView,
} from "../engine/engine.ts";
import { outcomeOfReturn, outcomeOfThrow, RELEASED } from "./outcome.ts";

/** Why an attempt must stop: its signal aborts with this as the reason's message. */
export type StopReason = RevokeReason | "shutdown";

/**
 * How long a handler may take to end after its signal aborted, before its loop runs another task.
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

  /** Why it has to stop, or null while it may go on. */
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
   * Calls `handler` and gives its outcome: at once when it returns, later when it returns a
   * promise. Never throws.
   */
  run(
    handler: (attempt: Attempt) => unknown,
    resultBytesMax: number,
  ): MaybePromise<AttemptOutcome> {
    try {
      const returned = handler(this);
      if (!isThenable(returned)) return outcomeOfReturn(returned, resultBytesMax);
      return this.follow(outcomeOfPromise(returned, resultBytesMax));
    } catch (thrown) {
      return outcomeOfThrow(thrown);
    }
  }

  /**
   * The outcome that comes, unless the attempt is stopped: then it is released, at the latest after
   * a short grace.
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
 * The outcome of a promise, of whatever make. `await` takes a promise by its inside: one whose own
 * `then` is not what it should be is read like any other. And it takes a rejection for good: a late
 * one leaves nothing floating.
 */
async function outcomeOfPromise(
  promise: PromiseLike<unknown>,
  resultBytesMax: number,
): Promise<AttemptOutcome> {
  try {
    return outcomeOfReturn(await promise, resultBytesMax);
  } catch (thrown) {
    return outcomeOfThrow(thrown);
  }
}

/** What a signal aborts with. */
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
