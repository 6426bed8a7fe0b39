/**
 * The clocks and the timer of an engine. Only this file reads the system's clocks; tests use a
 * manual clock.
 */

import type { Instant } from "./core/instant.ts";

export interface Clock {
  now(): Instant;
  /**
   * Calls `fire` once after `delayMs` of monotonic time, unless the returned function is called
   * first.
   */
  after(delayMs: number, fire: () => void): () => void;
}

/** Timers beyond 2³¹ − 1 ms fire at once, so a longer wait runs in steps of a day. */
const STEP_MAX_MS = 24 * 60 * 60 * 1000;

export const systemClock: Clock = clockInSteps(STEP_MAX_MS);

/** The system's clock, with timers of at most `stepMaxMs`. */
export function clockInSteps(stepMaxMs: number): Clock {
  return {
    now: () => ({ monoMs: performance.now(), wallMs: Date.now() }),
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
