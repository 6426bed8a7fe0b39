/**
 * The one timer of an engine. However much is due, one timer is armed, for the earliest.
 */

import type { Clock } from "../../clock.ts";
import type { Broker } from "../../core/broker.ts";
import type { Instant } from "../../core/instant.ts";
import type { Task } from "../../core/task.ts";

/** A jump of the wall clock is noticed within this time. */
const WALL_CLOCK_CHECK_MS = 1000;

export class WakeTimer {
  readonly #broker: Broker;
  readonly #clock: Clock;
  readonly #onDue: (now: Instant) => void;
  /** When the armed timer fires, in monotonic milliseconds; Infinity when none is armed. */
  #armedForMs = Number.POSITIVE_INFINITY;
  #disarm: (() => void) | null = null;

  constructor(broker: Broker, clock: Clock, onDue: (now: Instant) => void) {
    this.#broker = broker;
    this.#clock = clock;
    this.#onDue = onDue;
  }

  /** Makes the timer fire when the core next has something to do. A timer that fires too early costs one empty tick. */
  arm(now: Instant): void {
    let delayMs = this.#broker.msToNextDue(now);
    if (this.#broker.followsWallClock) delayMs = Math.min(delayMs, WALL_CLOCK_CHECK_MS);
    const atMs = now.monoMs + delayMs;
    if (atMs >= this.#armedForMs) return;
    this.#disarm?.();
    this.#armedForMs = atMs;
    this.#disarm = this.#clock.after(delayMs, () => this.#fire());
  }

  /** The same, when nothing has changed since but one task: most of them are due later than what is armed already. */
  armFor(task: Task, now: Instant): void {
    if (task.isDueByWall || task.dueAtMs < this.#armedForMs) this.arm(now);
  }

  /** Lets go of the timer, for good. */
  close(): void {
    this.#disarm?.();
    // A worker may still settle what it has in hand, but nothing is due any more.
    this.#armedForMs = Number.NEGATIVE_INFINITY;
  }

  #fire(): void {
    this.#disarm = null;
    this.#armedForMs = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    this.#onDue(now);
    this.arm(now);
  }
}
