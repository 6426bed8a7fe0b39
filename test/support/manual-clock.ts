/**
 * A clock that stands still until a test moves it. Both of its readings are arbitrary numbers far from each other, so
 * that code which takes one for the other is found out.
 */

import type { Clock } from "../../src/clock.ts";
import type { Instant } from "../../src/core/instant.ts";

/** More timers than this without time going by: something arms a timer that is due at once, again and again. */
const FIRINGS_MAX = 10_000;

interface Timer {
  readonly dueMs: number;
  readonly fire: () => void;
}

export class ManualClock implements Clock {
  #monoMs = 5000;
  #wallMs = Date.UTC(2026, 0, 1);
  readonly #timers = new Set<Timer>();

  now(): Instant {
    return { monoMs: this.#monoMs, wallMs: this.#wallMs };
  }

  get wallMs(): number {
    return this.#wallMs;
  }

  /** How many timers are armed. */
  get armed(): number {
    return this.#timers.size;
  }

  after(delayMs: number, fire: () => void): () => void {
    const timer = { dueMs: this.#monoMs + delayMs, fire };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Lets time go by: fires what becomes due in the order of its time, and lets the event loop turn after each. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#monoMs + ms;
    let firings = 0;
    for (let timer = this.#first(endMs); timer !== undefined; timer = this.#first(endMs)) {
      firings = timer.dueMs > this.#monoMs ? 1 : firings + 1;
      if (firings > FIRINGS_MAX) throw new Error("a timer is armed again and again for at once");
      this.#moveTo(Math.max(timer.dueMs, this.#monoMs));
      this.#timers.delete(timer);
      timer.fire();
      await turn();
    }
    this.#moveTo(endMs);
  }

  /** Sets the wall clock forward, or back, while no time goes by. */
  jumpWall(ms: number): void {
    this.#wallMs += ms;
  }

  #moveTo(monoMs: number): void {
    this.#wallMs += monoMs - this.#monoMs;
    this.#monoMs = monoMs;
  }

  /** The earliest timer that is due by then; of two for the same time, the one that was armed first. */
  #first(byMs: number): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs <= byMs && (first === undefined || timer.dueMs < first.dueMs)) first = timer;
    }
    return first;
  }
}

/** Resolves once the event loop has turned: whatever was on its way without waiting for anything has arrived. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Whether a promise is still open once the event loop has turned. */
export async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol("pending");
  return (await Promise.race([promise, turn().then(() => pending)])) === pending;
}
