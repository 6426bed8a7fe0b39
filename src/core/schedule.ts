/**
 * Everything that becomes due: delays, retries and leases by the monotonic clock, and what was asked for at a time of
 * day by the wall clock, wherever that one goes.
 */

import { DueHeap } from "./due-heap.ts";
import type { Instant } from "./instant.ts";
import type { Task } from "./task.ts";

export class Schedule {
  readonly #byMono = new DueHeap<Task>();
  readonly #byWall = new DueHeap<Task>();

  /** How many tasks are scheduled, retrying or running. */
  get size(): number {
    return this.#byMono.size + this.#byWall.size;
  }

  /** Whether a task waits for the wall clock, which may jump. */
  get followsWallClock(): boolean {
    return this.#byWall.size > 0;
  }

  add(task: Task): void {
    (task.isDueByWall ? this.#byWall : this.#byMono).push(task);
  }

  remove(task: Task): void {
    (task.isDueByWall ? this.#byWall : this.#byMono).remove(task);
  }

  /** A task that is due by now, the earliest of its clock, if there is one. It stays until it is removed. */
  due(now: Instant): Task | undefined {
    const byMono = this.#byMono.first();
    if (byMono !== undefined && byMono.dueAtMs <= now.monoMs) return byMono;
    const byWall = this.#byWall.first();
    return byWall !== undefined && byWall.dueAtMs <= now.wallMs ? byWall : undefined;
  }

  /** How long from now the next task is due, in milliseconds, negative when it is late; Infinity when none ever is. */
  msToNext(now: Instant): number {
    const byMonoMs = this.#byMono.first()?.dueAtMs ?? Number.POSITIVE_INFINITY;
    const byWallMs = this.#byWall.first()?.dueAtMs ?? Number.POSITIVE_INFINITY;
    return Math.min(byMonoMs - now.monoMs, byWallMs - now.wallMs);
  }

  /** Throws when the schedule contradicts itself. O(n): for tests. */
  check(): void {
    this.#byMono.check();
    this.#byWall.check();
  }
}
