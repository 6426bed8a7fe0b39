/**
 * A named queue: its bounds, its counts, and a line of ready tasks per lane. It knows no other queue.
 */

import { assert } from "./assert.ts";
import { LANES, type Lane, ReadyList } from "./ready-list.ts";
import { NOT_LINKED } from "./ring.ts";
import { isFinished, isWaiting, TASK_STATUSES, type Task, type TaskStatus } from "./task.ts";

/** What a queue may hold. */
export interface QueueLimits {
  /** Tasks that wait: queued, scheduled and retrying ones. */
  readonly size: number;
  /** The payload bytes of the tasks that wait. */
  readonly bytes: number;
  /** Tasks that run at the same time; Infinity for as many as there are places to run. */
  readonly concurrency: number;
}

/** How often each thing happened since the queue was made. */
export interface QueueTotals {
  enqueued: number;
  done: number;
  failed: number;
  cancelled: number;
  /** Attempts that failed and were to be tried again. */
  retried: number;
  /** Attempts that ended without an outcome and went back to the queue. */
  interrupted: number;
}

/** What the rest of ringq may see of a queue. */
export interface QueueView {
  readonly name: string;
  readonly isPaused: boolean;
  readonly limits: QueueLimits;
  /** Tasks by status; finished ones count while they are kept. */
  readonly counts: Readonly<Record<TaskStatus, number>>;
  readonly waiting: number;
  readonly waitingBytes: number;
  readonly totals: Readonly<QueueTotals>;
}

export class Queue implements QueueView {
  readonly name: string;
  readonly limits: QueueLimits;
  readonly counts: Record<TaskStatus, number> = {
    scheduled: 0,
    queued: 0,
    running: 0,
    retrying: 0,
    done: 0,
    failed: 0,
    cancelled: 0,
  };
  readonly totals: QueueTotals = {
    enqueued: 0,
    done: 0,
    failed: 0,
    cancelled: 0,
    retried: 0,
    interrupted: 0,
  };
  readonly lines: Readonly<Record<Lane, ReadyList>>;

  waiting = 0;
  waitingBytes = 0;
  /** Tasks that hold a place here and can't be seen yet, and their payload bytes. */
  reserved = 0;
  reservedBytes = 0;
  /** Tasks of any status that this queue is home to. */
  known = 0;
  isPaused = false;
  /** Whether it counts against the number of queues in use. Only the register writes it. */
  isInUse = false;
  /** Monotonic time since when it is idle, while it is. */
  idleSinceMs = 0;
  /** Its place among the idle queues. */
  place = NOT_LINKED;

  constructor(name: string, limits: QueueLimits) {
    this.name = name;
    this.limits = limits;
    this.lines = { loop: new ReadyList(this, "loop"), thread: new ReadyList(this, "thread") };
  }

  /** Whether a task may be claimed from it, if one is lined up. */
  get isOpen(): boolean {
    return !this.isPaused && this.counts.running < this.limits.concurrency;
  }

  /** Tasks that hold it in use: those that wait, those that run, and those that hold a place. */
  get load(): number {
    return this.waiting + this.counts.running + this.reserved;
  }

  /** Whether nothing holds it but its name. */
  get isIdle(): boolean {
    return this.known === 0 && this.reserved === 0 && !this.isPaused;
  }

  /** Holds a place for a task. */
  reserve({ payloadBytes }: Task): void {
    this.reserved += 1;
    this.reservedBytes += payloadBytes;
  }

  /** Lets go of the place that was held for a task. */
  release({ payloadBytes }: Task): void {
    this.reserved -= 1;
    this.reservedBytes -= payloadBytes;
  }

  countIn(task: Task, status: TaskStatus): void {
    this.counts[status] += 1;
    this.known += 1;
    if (isWaiting(status)) {
      this.waiting += 1;
      this.waitingBytes += task.payloadBytes;
    }
  }

  countOut(task: Task, status: TaskStatus): void {
    this.counts[status] -= 1;
    this.known -= 1;
    if (isWaiting(status)) {
      this.waiting -= 1;
      this.waitingBytes -= task.payloadBytes;
    }
  }

  /** Monotonic time since when its longest-waiting queued task is queued, or null when none is. */
  oldestQueuedSinceMs(): number | null {
    const oldestMs = Math.min(...LANES.map((lane) => this.lines[lane].oldestSinceMs()));
    return oldestMs === Number.POSITIVE_INFINITY ? null : oldestMs;
  }

  /** Throws when the queue contradicts itself. O(n): for tests. */
  check(): void {
    let queued = 0;
    for (const lane of LANES) {
      this.lines[lane].check();
      queued += this.lines[lane].size;
    }
    assert(queued === this.counts.queued, "every queued task lines up");
    const known = TASK_STATUSES.reduce((sum, status) => sum + this.counts[status], 0);
    assert(known === this.known, "the counts by status add up");
    const finished = TASK_STATUSES.filter(isFinished).reduce(
      (sum, status) => sum + this.counts[status],
      0,
    );
    assert(
      known - this.counts.running - finished === this.waiting,
      "what waits is what is known, neither running nor finished",
    );
    assert(this.counts.running <= this.limits.concurrency, "no more run at once than may");
  }
}
