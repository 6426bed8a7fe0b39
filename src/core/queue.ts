/**
 * A named queue: its bounds, its counts, and a list of ready tasks per lane. It knows no other queue.
 */

import { assert } from "./assert.ts";
import { LANES, type Lane } from "./lane.ts";
import { ReadyList } from "./ready-list.ts";
import { NOT_LINKED } from "./ring.ts";
import {
  countersOf,
  FINISHED_STATUSES,
  type FinishedStatus,
  isWaiting,
  TASK_STATUSES,
  type TaskStatus,
} from "./status.ts";
import type { Task } from "./task.ts";

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
export interface QueueTotals extends Record<FinishedStatus, number> {
  enqueued: number;
  /** Attempts that failed and were to be tried again. */
  retried: number;
  /** Attempts that were released: they went back to the queue. */
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
  readonly counts = countersOf(TASK_STATUSES);
  readonly totals: QueueTotals = {
    enqueued: 0,
    ...countersOf(FINISHED_STATUSES),
    retried: 0,
    interrupted: 0,
  };
  readonly ready: Readonly<Record<Lane, ReadyList>>;

  waiting = 0;
  waitingBytes = 0;
  /** Tasks that hold a place here and can't be seen yet, and their payload bytes. */
  reserved = 0;
  reservedBytes = 0;
  /** Commands under way that need this queue to stay. */
  pins = 0;
  /** Tasks of any status that belong to it. */
  known = 0;
  isPaused = false;
  /** How many may run without a contradiction: more than the limit only after a restore of remote claims. */
  runningAllowed: number;
  /** Whether it counts against the number of queues in use. Only the registry writes it. */
  isInUse = false;
  /** Monotonic time since when it is idle, while it is. */
  idleSinceMs = 0;
  /** Its position among the idle queues. */
  position = NOT_LINKED;

  constructor(name: string, limits: QueueLimits) {
    this.name = name;
    this.limits = limits;
    this.runningAllowed = limits.concurrency;
    this.ready = {
      loop: new ReadyList(this, "loop"),
      thread: new ReadyList(this, "thread"),
      remote: new ReadyList(this, "remote"),
    };
  }

  /** Whether a ready task of it may be claimed. */
  get isOpen(): boolean {
    return !this.isPaused && this.counts.running < this.limits.concurrency;
  }

  /** Accepted tasks that have not finished. */
  get unfinished(): number {
    return this.waiting + this.counts.running;
  }

  /** Whether something keeps it in use: tasks that wait, run or hold a place, a pause, a command under way. */
  get hasUse(): boolean {
    return this.unfinished > 0 || this.reserved > 0 || this.pins > 0 || this.isPaused;
  }

  /** Whether nothing holds it but its name. */
  get isIdle(): boolean {
    return this.known === 0 && this.reserved === 0 && this.pins === 0 && !this.isPaused;
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
    const oldestMs = Math.min(...LANES.map((lane) => this.ready[lane].oldestSinceMs()));
    return oldestMs === Number.POSITIVE_INFINITY ? null : oldestMs;
  }

  /** Throws when the queue contradicts itself. O(n): for tests. */
  verify(): void {
    let queued = 0;
    for (const lane of LANES) {
      this.ready[lane].verify();
      queued += this.ready[lane].size;
    }
    assert(queued === this.counts.queued, "every queued task is ready");
    const known = TASK_STATUSES.reduce((sum, status) => sum + this.counts[status], 0);
    assert(known === this.known, "the counts by status add up");
    const waiting = TASK_STATUSES.filter(isWaiting).reduce(
      (sum, status) => sum + this.counts[status],
      0,
    );
    assert(waiting === this.waiting, "the waiting tasks are counted");
    assert(this.counts.running <= this.runningAllowed, "no more run at once than may");
  }
}
