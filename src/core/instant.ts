/**
 * A reading of both clocks. The core never reads a clock itself: an instant arrives as an argument.
 */

export interface Instant {
  /** Monotonic milliseconds. Leases, timeouts, delays, backoff and retention follow this one. */
  readonly monoMs: number;
  /** Wall-clock milliseconds since the Unix epoch. Only `run_at` and what people read follow this one. */
  readonly wallMs: number;
}

/** Draws a number uniformly from [0, 1). */
export type Random = () => number;
