/**
 * The drain: waits at the end of an engine until no attempt can end any more, or until the grace
 * period is over.
 */

import type { Clock } from "../../clock.ts";

export class Drain {
  readonly #clock: Clock;
  /** Whether nothing is left that could end within `leftMs`. */
  readonly #isDry: (leftMs: number) => boolean;
  #waiting: { readonly deadlineMs: number; readonly end: () => void } | null = null;

  constructor(clock: Clock, isDry: (leftMs: number) => boolean) {
    this.#clock = clock;
    this.#isDry = isDry;
  }

  /** Resolves when the engine is dry, or after the grace period. */
  start(graceMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancelTimer = this.#clock.after(graceMs, () => this.end());
      const end = (): void => {
        cancelTimer();
        this.#waiting = null;
        resolve();
      };
      this.#waiting = { deadlineMs: this.#clock.now().monoMs + graceMs, end };
      this.#update();
    });
  }

  /** Checks again after the current step: during a step, the core must not be called. */
  updateSoon(): void {
    if (this.#waiting !== null) queueMicrotask(() => this.#update());
  }

  /** Ends the wait, if there is one. */
  end(): void {
    this.#waiting?.end();
  }

  #update(): void {
    if (this.#waiting === null) return;
    if (this.#isDry(this.#waiting.deadlineMs - this.#clock.now().monoMs)) this.end();
  }
}
