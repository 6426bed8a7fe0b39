/**
 * One attempt at a task, as its handler sees it, and the running of it: from the call to an outcome, whatever the
 * handler does. The slot that it takes is free once the outcome is there.
 */

import type { Clock } from "../engine/clock.ts";
import type { Claim, MaybePromise, Outcome, RevokeReason, TaskView } from "../engine/engine.ts";
import { type Handler, outcomeOfReturn, outcomeOfThrow } from "./handler.ts";

/** Why an attempt must stop: its signal aborts with this as the reason's message. */
export type StopReason = RevokeReason | "shutdown";

/** How long a handler may take to end after its signal aborted, before its slot goes to somebody else. */
export const ABORT_GRACE_MS = 1000;

const INTERRUPTED: Outcome = { kind: "interrupted" };

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

  /** Aborts when the attempt has lost its lease, its task was cancelled, or the process stops. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#stopReason !== null) this.#controller.abort(abortError(this.#stopReason));
    }
    return this.#controller.signal;
  }

  /** Runs the handler to its outcome: at once when it returns, later when it returns a promise. Never throws. */
  run(handler: Handler): MaybePromise<Outcome> {
    let returned: unknown;
    try {
      returned = handler(this);
      if (!isThenable(returned)) return outcomeOfReturn(returned);
    } catch (thrown) {
      return outcomeOfThrow(thrown);
    }
    return this.#outcomeOf(returned);
  }

  /** Asks the handler to stop. Its outcome no longer counts; its slot is free when it ends, or after a short grace. */
  stop(reason: StopReason): void {
    if (this.#stopReason !== null) return;
    this.#stopReason = reason;
    this.#controller?.abort(abortError(reason));
    this.#onStop?.();
  }

  #outcomeOf(promise: PromiseLike<unknown>): Promise<Outcome> {
    return new Promise((resolve) => {
      let cancelGrace: (() => void) | null = null;
      // Both ends are handled for good, so a handler that rejects late, or twice, leaves no floating rejection behind.
      const end = (outcome: Outcome): void => {
        cancelGrace?.();
        resolve(this.#stopReason === null ? outcome : INTERRUPTED);
      };
      this.#onStop = () => {
        cancelGrace = this.#clock.after(ABORT_GRACE_MS, () => resolve(INTERRUPTED));
      };
      Promise.resolve(promise).then(
        (value) => end(outcomeOfReturn(value)),
        (thrown) => end(outcomeOfThrow(thrown)),
      );
    });
  }
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

function abortError(reason: StopReason): DOMException {
  return reason === "timeout"
    ? new DOMException("timeout", "TimeoutError")
    : new DOMException(reason, "AbortError");
}
