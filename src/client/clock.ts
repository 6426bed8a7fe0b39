/** The client's time source and timers. Only this file of the client reads the system's clock. */

/** Monotonic time and timers. A test can pass a clock of its own. */
export interface Clock {
  now(): { readonly monoMs: number };
  /** Calls `fire` once after `delayMs`, unless the returned function is called first. */
  after(delayMs: number, fire: () => void): () => void;
}

/** Longer timers fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => ({ monoMs: performance.now() }),
  after(delayMs, fire) {
    const timer = setTimeout(fire, Math.min(delayMs, TIMER_MS_MAX));
    return () => clearTimeout(timer);
  },
};

/** Calls `fire` in the next turn of the event loop, after all microtasks. */
export function inNextTurn(fire: () => void): void {
  // Browsers do not have setImmediate. A timer there waits for a few milliseconds.
  const { setImmediate } = globalThis as { setImmediate?: (fire: () => void) => unknown };
  if (setImmediate === undefined) setTimeout(fire, 0);
  else setImmediate(fire);
}

/**
 * The wait before the next try after `failures` failures in a row: doubles each time up to `maxMs`,
 * and is random in its upper half, so that many clients do not come back at the same moment.
 */
export function backoffMs(failures: number, baseMs: number, maxMs: number): number {
  const fullMs = Math.min(maxMs, baseMs * 2 ** Math.min(failures, 20));
  return fullMs * (0.5 + Math.random() / 2);
}
