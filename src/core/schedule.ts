/**
 * Everything that becomes due: delays, retries and timeouts by the monotonic clock, times asked for by the wall clock,
 * wherever that one goes, and the ends of remote claims, which can be suspended.
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

  /** How many tasks are scheduled, retrying or running. */
  get size(): number {
    return this.#byMono.size + this.#byWall.size + this.#remote.size;
  }

  /** Whether a task waits for the wall clock, which may jump. */
  get followsWallClock(): boolean {
    return this.#byWall.size > 0;
  }

  /** How many tasks a remote claim holds. */
  get leases(): number {
    return this.#remote.size;
  }

  add(task: Task): void {
    this.#heapOf(task).push(task);
  }

  remove(task: Task): void {
    this.#heapOf(task).remove(task);
  }

  /** A task that is due by now, the earliest of its kind, if there is one. It stays until it is removed. */
  due({ monoMs, wallMs }: Instant): Task | undefined {
    const byMono = this.#byMono.first();
    if (byMono !== undefined && byMono.dueAtMs <= monoMs) return byMono;
    const remote = this.#firstRemote();
    if (remote !== undefined && remote.dueAtMs <= monoMs) return remote;
    const byWall = this.#byWall.first();
    return byWall !== undefined && byWall.dueAtMs <= wallMs ? byWall : undefined;
  }

  /** How long from now the next task is due, in milliseconds, negative when it is late; Infinity when none ever is. */
  msToNext({ monoMs, wallMs }: Instant): number {
    return Math.min(
      dueAtOf(this.#byMono.first()) - monoMs,
      dueAtOf(this.#firstRemote()) - monoMs,
      dueAtOf(this.#byWall.first()) - wallMs,
    );
  }

  /** Throws when the schedule contradicts itself. O(n): for tests. */
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
