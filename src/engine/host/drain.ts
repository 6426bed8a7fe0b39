/**
 * The end of an engine's work: waits until there is nothing more to wait for, or the grace is over.
 */

import type { Clock } from "../../clock.ts";

export class Drain {
  readonly #clock: Clock;
  /** Whether nothing is left that could end within so many milliseconds. */
  readonly #isDry: (leftMs: number) => boolean;
  #waiting: { readonly deadlineMs: number; readonly end: () => void } | null = null;

  constructor(clock: Clock, isDry: (leftMs: number) => boolean) {
    this.#clock = clock;
    this.#isDry = isDry;
  }

  /** Resolves when the engine is dry, or after the grace. */
  start(graceMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancelTimer = this.#clock.after(graceMs, () => this.end());
      const end = (): void => {
        cancelTimer();
        this.#waiting = null;
        resolve();
      };
      this.#waiting = { deadlineMs: this.#clock.now().monoMs + graceMs, end };
      this.check();
    });
  }

  /** Looks again once the step that is being taken is over: the core may not be asked before. */
  checkSoon(): void {
    if (this.#waiting !== null) queueMicrotask(() => this.check());
  }

  /** Ends the wait if the engine is dry. */
  check(): void {
    if (this.#waiting === null) return;
    if (this.#isDry(this.#waiting.deadlineMs - this.#clock.now().monoMs)) this.end();
  }

  /** Ends the wait, if there is one. */
  end(): void {
    this.#waiting?.end();
  }
}
