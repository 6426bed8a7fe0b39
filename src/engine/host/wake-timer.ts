/** The only timer of an engine. It is set to the earliest due time, however many tasks are due. */

import type { Clock } from "../../clock.ts";
import type { Broker } from "../../core/broker.ts";
import type { Instant } from "../../core/instant.ts";
import type { Task } from "../../core/task.ts";

/** A jump of the wall clock is detected within this time. */
const WALL_CLOCK_CHECK_MS = 1000;

/**
 * While there are leases, the timer fires at least this often, so that its delay shows a pause of
 * the process.
 */
const LEASE_CHECK_MS = 250;

/**
 * A timer this late was delayed by a pause of about a second, during which workers could not extend
 * their leases.
 */
const LATE_MS = 1000 - LEASE_CHECK_MS;

export class WakeTimer {
  readonly #broker: Broker;
  readonly #clock: Clock;
  readonly #onDue: (now: Instant) => void;
  /** The time at which the timer fires, in monotonic milliseconds; Infinity when it is not set. */
  #armedForMs = Number.POSITIVE_INFINITY;
  #disarm: (() => void) | null = null;
  /** Whether something may be due before the timer fires. */
  #isStale = false;

  constructor(broker: Broker, clock: Clock, onDue: (now: Instant) => void) {
    this.#broker = broker;
    this.#clock = clock;
    this.#onDue = onDue;
  }

  /**
   * Sets the timer to the next due time of the core. A timer that fires too early costs one empty
   * tick.
   */
  arm(now: Instant): void {
    this.#isStale = false;
    let delayMs = this.#broker.msToNextDue(now);
    if (this.#broker.followsWallClock) delayMs = Math.min(delayMs, WALL_CLOCK_CHECK_MS);
    if (this.#broker.hasLeases) delayMs = Math.min(delayMs, LEASE_CHECK_MS);
    const atMs = now.monoMs + delayMs;
    if (atMs >= this.#armedForMs) return;
    this.#disarm?.();
    this.#armedForMs = atMs;
    this.#disarm = this.#clock.after(delayMs, () => this.#fire());
  }

  /**
   * Notes the step of a task. Most due times are after the timer's: then {@link update} has nothing
   * to do.
   */
  note({ status, dueAtMs, isDueByWall, lease }: Task): void {
    if (status === "queued") return;
    if (isDueByWall || lease !== null || dueAtMs < this.#armedForMs) this.#isStale = true;
  }

  /** Sets the timer again if a step since the last call requires it. */
  update(now: Instant): void {
    if (this.#isStale) this.arm(now);
  }

  /** Closes the timer. */
  close(): void {
    this.#disarm?.();
    // A worker may still settle its attempts, but nothing becomes due any more.
    this.#armedForMs = Number.NEGATIVE_INFINITY;
  }

  #fire(): void {
    const now = this.#clock.now();
    if (now.monoMs - this.#armedForMs > LATE_MS) this.#broker.allowLateLeases(now);
    this.#disarm = null;
    this.#armedForMs = Number.POSITIVE_INFINITY;
    this.#onDue(now);
    this.arm(now);
  }
}
