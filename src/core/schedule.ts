/**
 * The schedule of due times: delays, retries and timeouts by the monotonic clock; requested times
 * by the wall clock, even when it jumps; and the ends of remote claims, which can be suspended.
 */

import { DueHeap } from "./due-heap.ts";
import type { Instant } from "./instant.ts";
import type { Task } from "./task.ts";

export class Schedule {
  readonly #byMono = new DueHeap<Task>();
  readonly #byWall = new DueHeap<Task>();
  readonly #remote = new DueHeap<Task>();
  /** While set, no remote claim becomes due. */
  isRemoteSuspended = false;

  /** The number of scheduled, retrying and running tasks. */
  get size(): number {
    return this.#byMono.size + this.#byWall.size + this.#remote.size;
  }

  /** Whether a task waits for the wall clock, which may jump. */
  get followsWallClock(): boolean {
    return this.#byWall.size > 0;
  }

  /** The number of tasks that a remote claim holds. */
  get leases(): number {
    return this.#remote.size;
  }

  add(task: Task): void {
    this.#heapOf(task).push(task);
  }

  remove(task: Task): void {
    this.#heapOf(task).remove(task);
  }

  /** A task that is due now, the earliest of its kind, if any. It stays until it is removed. */
  due({ monoMs, wallMs }: Instant): Task | undefined {
    const byMono = this.#byMono.first();
    if (byMono !== undefined && byMono.dueAtMs <= monoMs) return byMono;
    const remote = this.#firstRemote();
    if (remote !== undefined && remote.dueAtMs <= monoMs) return remote;
    const byWall = this.#byWall.first();
    return byWall !== undefined && byWall.dueAtMs <= wallMs ? byWall : undefined;
  }

  /**
   * The time until the next task is due, in milliseconds: negative when it is late, Infinity when
   * there is none.
   */
  msToNext({ monoMs, wallMs }: Instant): number {
    return Math.min(
      dueAtOf(this.#byMono.first()) - monoMs,
      dueAtOf(this.#firstRemote()) - monoMs,
      dueAtOf(this.#byWall.first()) - wallMs,
    );
  }

  /** Throws when the schedule is inconsistent. O(n): for tests. */
  verify(): void {
    for (const heap of [this.#byMono, this.#byWall, this.#remote]) heap.verify();
  }

  #firstRemote(): Task | undefined {
    return this.isRemoteSuspended ? undefined : this.#remote.first();
  }

  #heapOf(task: Task): DueHeap<Task> {
    if (task.lease !== null) return this.#remote;
    return task.isDueByWall ? this.#byWall : this.#byMono;
  }
}

function dueAtOf(task: Task | undefined): number {
  return task?.dueAtMs ?? Number.POSITIVE_INFINITY;
}
