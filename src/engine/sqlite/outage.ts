/** Tracks a storage outage, and retries a write every second until it ends. */

import type { Clock } from "../../clock.ts";
import type { Log } from "../../log.ts";
import type { StoreFault } from "./store.ts";

/** The time between a failed write and the next try. */
const PROBE_MS = 1000;

export class Outage {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #probe: () => void;
  #sinceMs: number | null = null;
  #cancelProbe: (() => void) | null = null;

  /** `probe` tries to write, and then calls {@link begin} or {@link end}. */
  constructor(clock: Clock, log: Log, probe: () => void) {
    this.#clock = clock;
    this.#log = log;
    this.#probe = probe;
  }

  get isOn(): boolean {
    return this.#sinceMs !== null;
  }

  /** A write has failed, for the first time or again. */
  begin({ code, message }: StoreFault): void {
    if (this.#sinceMs === null) {
      this.#sinceMs = this.#clock.now().monoMs;
      this.#log.error("storage_unavailable", { code, error: message });
    }
    this.#cancelProbe?.();
    this.#cancelProbe = this.#clock.after(PROBE_MS, this.#probe);
  }

  /** Writes work again. */
  end(): void {
    if (this.#sinceMs === null) return;
    const lastedMs = Math.round(this.#clock.now().monoMs - this.#sinceMs);
    this.#sinceMs = null;
    this.close();
    this.#log.info("storage_available", { after_ms: lastedMs });
  }

  close(): void {
    this.#cancelProbe?.();
    this.#cancelProbe = null;
  }
}
