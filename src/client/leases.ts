/**
 * The attempts that a worker runs: extends their leases, ends them at their timeouts, and frees the
 * places of those that were stopped. One timer serves all of them.
 */

import type { Attempt, StopReason } from "./attempt.ts";
import { RingqError } from "./errors.ts";
import type { Http } from "./http.ts";
import type { Log } from "./log.ts";
import { Outage } from "./outage.ts";

/** Extends that are sent at the same time. */
const IN_FLIGHT_MAX = 16;

const EXTEND_TIMEOUT_MS_MIN = 1000;

interface LeasesOptions {
  readonly http: Http;
  readonly log: Log;
  /** The lease to request; undefined: the server's default. */
  readonly leaseMs: number | undefined;
  readonly onTimeout: (attempt: Attempt) => void;
  /** A stopped attempt gave its place back before its handler ended. */
  readonly onFree: () => void;
}

export class Leases {
  readonly #options: LeasesOptions;
  readonly #outage: Outage;
  readonly #attempts = new Set<Attempt>();
  /** The attempts to extend, in their order. */
  #due: Attempt[] = [];
  #inFlight = 0;
  #armedForMs = Number.POSITIVE_INFINITY;
  #cancelTimer: (() => void) | null = null;
  #isClosed = false;

  constructor(options: LeasesOptions) {
    this.#options = options;
    this.#outage = new Outage("extend", options.log);
  }

  get size(): number {
    return this.#attempts.size;
  }

  add(attempt: Attempt): void {
    this.#attempts.add(attempt);
    this.arm(attempt);
  }

  /** Whether the attempt still had its place. */
  delete(attempt: Attempt): boolean {
    return this.#attempts.delete(attempt);
  }

  /** Makes sure that the timer fires in time for this attempt. */
  arm({ dueMs }: Attempt): void {
    if (dueMs >= this.#armedForMs || this.#isClosed) return;
    this.#armedForMs = dueMs;
    this.#cancelTimer?.();
    const { clock } = this.#options.http;
    this.#cancelTimer = clock.after(Math.max(0, dueMs - clock.now().monoMs), () => this.#sweep());
  }

  /** Stops the timer, forgets all attempts, and returns those that were running. */
  close(): readonly Attempt[] {
    this.#isClosed = true;
    this.#cancelTimer?.();
    const running = [...this.#attempts].filter(({ stopReason }) => stopReason === null);
    this.#attempts.clear();
    this.#due = [];
    return running;
  }

  #sweep(): void {
    this.#armedForMs = Number.POSITIVE_INFINITY;
    const nowMs = this.#options.http.clock.now().monoMs;
    let next: Attempt | null = null;
    for (const attempt of this.#attempts) {
      if (attempt.dueMs <= nowMs) this.#attend(attempt, nowMs);
      const isHere = this.#attempts.has(attempt);
      if (isHere && (next === null || attempt.dueMs < next.dueMs)) next = attempt;
    }
    if (next !== null) this.arm(next);
    this.#extendDue();
  }

  #attend(attempt: Attempt, nowMs: number): void {
    if (attempt.stopReason !== null) {
      this.#attempts.delete(attempt);
      this.#options.onFree();
    } else if (attempt.timeoutAtMs <= nowMs) {
      attempt.stop("timeout", nowMs);
      this.#options.onTimeout(attempt);
    } else {
      attempt.isExtending = true;
      this.#due.push(attempt);
    }
  }

  #extendDue(): void {
    while (this.#inFlight < IN_FLIGHT_MAX) {
      const attempt = this.#due.shift();
      if (attempt === undefined) return;
      if (this.#attempts.has(attempt) && attempt.stopReason === null) void this.#extend(attempt);
    }
  }

  async #extend(attempt: Attempt): Promise<void> {
    const { http, leaseMs } = this.#options;
    const progress = attempt.takeProgress();
    const fields = [
      ...(leaseMs === undefined ? [] : [`"lease_ms":${leaseMs}`]),
      ...(progress === null ? [] : [`"progress":${progress}`]),
    ];
    this.#inFlight += 1;
    try {
      const { lease_ms: grantedMs } = await http.send<{ readonly lease_ms: number }>({
        method: "POST",
        path: `/claims/${encodeURIComponent(attempt.token)}/extend`,
        body: `{${fields.join(",")}}`,
        retry: "once",
        timeoutMs: Math.max(EXTEND_TIMEOUT_MS_MIN, attempt.extendEveryMs),
      });
      if (typeof grantedMs !== "number") throw new Error("the answer has no lease");
      attempt.extended(grantedMs, http.clock.now().monoMs);
      this.#outage.succeeded();
    } catch (error) {
      this.#failed(attempt, progress, error);
    }
    this.#inFlight -= 1;
    attempt.isExtending = false;
    if (this.#attempts.has(attempt)) this.arm(attempt);
    this.#extendDue();
  }

  #failed(attempt: Attempt, progress: string | null, error: unknown): void {
    const nowMs = this.#options.http.clock.now().monoMs;
    const { status, problem } = error instanceof RingqError ? error : NO_ANSWER;
    const { id, type } = attempt.task;
    if (problem?.code === "not_found" || problem?.code === "claim_lost") {
      const reason = reasonOf(problem?.ended);
      if (reason !== "cancelled") this.#options.log.warn("claim_lost", { id, type, reason });
      attempt.stop(reason, nowMs);
    } else if (progress !== null && (status === 413 || status === 422)) {
      // The lease is still due, and is now extended without the progress.
      this.#options.log.warn("progress_refused", { id, type, reason: problem?.detail });
    } else {
      this.#outage.failed(error);
      attempt.notExtended(progress, nowMs);
    }
  }
}

const NO_ANSWER = { status: 0, problem: null };

/** The reason to stop an attempt whose claim ended in this way. */
function reasonOf(ended: string | undefined): StopReason {
  return ended === "cancelled" || ended === "timeout" ? ended : "lease_lost";
}
