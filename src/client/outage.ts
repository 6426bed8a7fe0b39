/** Follows the failures of one kind of request: one log line each time it starts and ends. */

import { backoffMs } from "./clock.ts";
import { RingqError } from "./errors.ts";
import type { Log } from "./log.ts";

export class Outage {
  readonly #call: string;
  readonly #log: Log;
  #failures = 0;
  #code: string | null = null;

  constructor(call: string, log: Log) {
    this.#call = call;
    this.#log = log;
  }

  /** Notes a failure, and returns how long to wait before the next request. */
  failed(error: unknown): number {
    const isRingq = error instanceof RingqError;
    const code = isRingq ? error.code : "unexpected_answer";
    const delayMs = Math.max(
      backoffMs(this.#failures, 200, 10_000),
      isRingq ? (error.retryAfterMs ?? 0) : 0,
    );
    this.#failures += 1;
    if (code !== this.#code) {
      // A 4xx does not pass by itself: a key is wrong, or no type is remote.
      const level = isRingq && error.status >= 400 && error.status < 500 ? "error" : "warn";
      const reason = error instanceof Error ? error.message : String(error);
      this.#log[level]("requests_fail", { call: this.#call, code, reason });
      this.#code = code;
    }
    return delayMs;
  }

  succeeded(): void {
    if (this.#failures > 0) this.#log.info("requests_succeed", { call: this.#call });
    this.#failures = 0;
    this.#code = null;
  }
}
