/** A reading of both clocks. The core never reads a clock: an instant is always an argument. */

export interface Instant {
  /** Monotonic milliseconds, for leases, timeouts, delays, backoff and retention. */
  readonly monoMs: number;
  /**
   * Wall-clock milliseconds since the Unix epoch, only for `run_at` and for times that people read.
   */
  readonly wallMs: number;
}

/** Draws a number uniformly from [0, 1). */
export type Random = () => number;
