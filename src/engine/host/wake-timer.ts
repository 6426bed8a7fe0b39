/**
 * The one timer of an engine. However much is due, one timer is armed, for the earliest.
 */

import type { Clock } from "../../clock.ts";
import type { Broker } from "../../core/broker.ts";
import type { Instant } from "../../core/instant.ts";
import type { Task } from "../../core/task.ts";

/** A jump of the wall clock is noticed within this time. */
const WALL_CLOCK_CHECK_MS = 1000;

/** While there are leases the timer fires at least this often, so that a pause of the process is noticed by its delay. */
const LEASE_CHECK_MS = 250;

/** A timer that is so late was held up by a pause of about a second: workers could not extend their leases meanwhile. */
const LATE_MS = 1000 - LEASE_CHECK_MS;

export class WakeTimer {
  readonly #broker: Broker;
  readonly #clock: Clock;
  readonly #onDue: (now: Instant) => void;
  /** When the armed timer fires, in monotonic milliseconds; Infinity when none is armed. */
  #armedForMs = Number.POSITIVE_INFINITY;
  #disarm: (() => void) | null = null;
  /** Whether something may be due before the armed timer fires. */
  #isStale = false;

  constructor(broker: Broker, clock: Clock, onDue: (now: Instant) => void) {
    this.#broker = broker;
    this.#clock = clock;
    this.#onDue = onDue;
  }

  /** Makes the timer fire when the core next has something to do. A timer that fires too early costs one empty tick. */
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

  /** A task has taken a step. Most are due later than what is armed already: then {@link update} has nothing to do. */
  note({ status, dueAtMs, isDueByWall, lease }: Task): void {
    if (status === "queued") return;
    if (isDueByWall || lease !== null || dueAtMs < this.#armedForMs) this.#isStale = true;
  }

  /** Arms the timer if a step since the last call asks for it. */
  update(now: Instant): void {
    if (this.#isStale) this.arm(now);
  }

  /** Lets go of the timer, for good. */
  close(): void {
    this.#disarm?.();
    // A worker may still settle its attempts, but nothing is due any more.
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
