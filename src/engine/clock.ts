/**
 * The clocks and the timer that an engine lives by. The only place that reads them; tests bring a manual one.
 */

import type { Instant } from "../core/instant.ts";

export interface Clock {
  now(): Instant;
  /** Calls `fire` once after `delayMs` of monotonic time, unless the returned function is called first. */
  after(delayMs: number, fire: () => void): () => void;
}

/** Timers beyond 2³¹ − 1 ms fire at once, so a longer wait is done in steps of a day. */
const STEP_MAX_MS = 24 * 60 * 60 * 1000;

export const systemClock: Clock = clockInSteps(STEP_MAX_MS);

/** The system's clock, with timers of at most `stepMaxMs`. */
export function clockInSteps(stepMaxMs: number): Clock {
  let readAtMs = Number.NEGATIVE_INFINITY;
  let wallMs = 0;
  return {
    now() {
      const monoMs = performance.now();
      // The wall clock counts whole milliseconds: more than one look in each tells nothing, and a task takes three.
      if (monoMs - readAtMs >= 1) {
        readAtMs = monoMs;
        wallMs = Date.now();
      }
      return { monoMs, wallMs };
    },
    after(delayMs, fire) {
      const dueMs = performance.now() + delayMs;
      let timer = setTimeout(step, Math.min(delayMs, stepMaxMs));
      function step(): void {
        const leftMs = dueMs - performance.now();
        if (leftMs > 0) timer = setTimeout(step, Math.min(leftMs, stepMaxMs));
        else fire();
      }
      return () => clearTimeout(timer);
    },
  };
}
