/**
 * Whether the storage can be written, and the way back when it can't: from time to time somebody tries.
 */

import type { Clock } from "../../clock.ts";
import type { Log } from "../../log.ts";
import type { StoreFault } from "./store.ts";

/** How long after a failed attempt to write the next one comes. */
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

  /** Writing has failed, again or for the first time. */
  begin({ code, message }: StoreFault): void {
    if (this.#sinceMs === null) {
      this.#sinceMs = this.#clock.now().monoMs;
      this.#log.error("storage_unavailable", { code, error: message });
    }
    this.#cancelProbe?.();
    this.#cancelProbe = this.#clock.after(PROBE_MS, this.#probe);
  }

  /** Writing works again. */
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
