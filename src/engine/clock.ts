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

export const systemClock: Clock = {
  now: () => ({ monoMs: performance.now(), wallMs: Date.now() }),
  after(delayMs, fire) {
    const timer = setTimeout(fire, Math.min(delayMs, STEP_MAX_MS));
    return () => clearTimeout(timer);
  },
};
