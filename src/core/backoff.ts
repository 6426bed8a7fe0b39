/** Computes the wait of a failed task before its next attempt. Arithmetic only. */

import type { Random } from "./instant.ts";

export interface Backoff {
  readonly baseMs: number;
  readonly jitterMs: number;
  readonly maxMs: number;
}

/**
 * Milliseconds before retry `n`, where `n` is 0 for the first: `base · 2ⁿ + jitter`, capped at
 * `maxMs`. The jitter is a whole number drawn uniformly from [0, jitterMs]: large enough that tasks
 * which failed together do not return together, and small enough that the delay stays predictable.
 */
export function backoffMs(backoff: Backoff, n: number, random: Random): number {
  const jitterMs = Math.floor(random() * (backoff.jitterMs + 1));
  return Math.min(backoff.baseMs * 2 ** n + jitterMs, backoff.maxMs);
}
