/**
 * A named queue: its bounds, its counts, and one list of ready tasks per lane. It knows no other
 * queue.
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

/** The limits of a queue. */
export interface QueueLimits {
  /** Waiting tasks: queued, scheduled and retrying. */
  readonly size: number;
  /** The payload bytes of the waiting tasks. */
  readonly bytes: number;
  /** Tasks that run at the same time; Infinity means that only the places to run limit them. */
  readonly concurrency: number;
  /** Tasks that remote workers hold at the same time. */
  readonly claims: number;
}

/** The number of times each event happened since the queue was created. */
export interface QueueTotals extends Record<FinishedStatus, number> {
  enqueued: number;
  /** Failed attempts that were followed by a retry. */
  retried: number;
  /** Attempts that were released: their task went back to the queue. */
  interrupted: number;
}

/** The part of a queue that is visible outside the core. */
export interface QueueView {
  readonly name: string;
  readonly isPaused: boolean;
  readonly limits: QueueLimits;
  /** Tasks by status; finished ones count while they are kept. */
  readonly counts: Readonly<Record<TaskStatus, number>>;
  readonly waiting: number;
  readonly waitingBytes: number;
  /** Tasks that remote workers hold. */
  readonly claims: number;
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
  claims = 0;
  /** Tasks that hold a place here but are not visible yet, and their payload bytes. */
  reserved = 0;
  reservedBytes = 0;
  /** Pending commands that need this queue to stay. */
  pins = 0;
  /** Its tasks of any status. */
  known = 0;
  isPaused = false;
  /**
   * The numbers of tasks that may run, and that remote workers may hold. They exceed the limits
   * only after a restore of remote claims.
   */
  runningAllowed: number;
  claimsAllowed: number;
  /** Whether it was open at the last change. Only the registry writes it. */
  wasOpen = false;
  /** Whether it counts as a queue in use. Only the registry writes it. */
  isInUse = false;
  /** The monotonic time since when it is idle, while it is idle. */
  idleSinceMs = 0;
  /** Its position among the idle queues. */
  position = NOT_LINKED;

  constructor(name: string, limits: QueueLimits) {
    this.name = name;
    this.limits = limits;
    this.runningAllowed = limits.concurrency;
    this.claimsAllowed = limits.claims;
    this.ready = {
      loop: new ReadyList(this, "loop"),
      thread: new ReadyList(this, "thread"),
      remote: new ReadyList(this, "remote"),
    };
  }

  /** Whether more of its tasks may run, whatever their lane. */
  get isOpen(): boolean {
    return !this.isPaused && this.counts.running < this.limits.concurrency;
  }

  /** Whether its ready tasks of this lane may be claimed. */
  isOpenTo(lane: Lane): boolean {
    return this.isOpen && (lane !== "remote" || this.claims < this.limits.claims);
  }

  /** Accepted tasks that have not finished. */
  get unfinished(): number {
    return this.waiting + this.counts.running;
  }

  /**
   * Whether something keeps it in use: a task that waits, runs or holds a place, a pause, a pending
   * command.
   */
  get hasUse(): boolean {
    return this.unfinished > 0 || this.reserved > 0 || this.pins > 0 || this.isPaused;
  }

  /** Whether it has no task and nothing keeps it in use. */
  get isIdle(): boolean {
    return this.known === 0 && this.reserved === 0 && this.pins === 0 && !this.isPaused;
  }

  /** Reserves a place for a task. */
  reserve({ payloadBytes }: Task): void {
    this.reserved += 1;
    this.reservedBytes += payloadBytes;
  }

  /** Releases the reserved place of a task. */
  release({ payloadBytes }: Task): void {
    this.reserved -= 1;
    this.reservedBytes -= payloadBytes;
  }

  countIn(task: Task, status: TaskStatus): void {
    this.counts[status] += 1;
    this.known += 1;
    if (task.lease !== null) this.claims += 1;
    if (isWaiting(status)) {
      this.waiting += 1;
      this.waitingBytes += task.payloadBytes;
    }
  }

  countOut(task: Task, status: TaskStatus): void {
    this.counts[status] -= 1;
    this.known -= 1;
    if (task.lease !== null) this.claims -= 1;
    if (isWaiting(status)) {
      this.waiting -= 1;
      this.waitingBytes -= task.payloadBytes;
    }
  }

  /**
   * The monotonic time since when its longest-waiting queued task is queued, or null when none is.
   */
  oldestQueuedSinceMs(): number | null {
    const oldestMs = Math.min(...LANES.map((lane) => this.ready[lane].oldestSinceMs()));
    return oldestMs === Number.POSITIVE_INFINITY ? null : oldestMs;
  }

  /** Throws when the queue is inconsistent. O(n): for tests. */
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
    assert(this.claims <= this.claimsAllowed, "remote workers hold no more than they may");
  }
}
