/**
 * A named queue: its tasks that may start, by priority and then by arrival, and its counts. It knows no other queue.
 */

import { assert } from "./assert.ts";
import { NO_PLACE, Ring } from "./ring.ts";
import { isFinished, isWaiting, TASK_STATUSES, type Task, type TaskStatus } from "./task.ts";

/** What a queue may hold. */
export interface QueueLimits {
  /** Tasks that wait: queued, scheduled and retrying ones. */
  readonly size: number;
  /** The payload bytes of the tasks that wait. */
  readonly bytes: number;
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

  waiting = 0;
  waitingBytes = 0;
  /** Tasks of any status that this queue is home to. */
  known = 0;
  isPaused = false;
  /** Whether it counts against the number of queues in use. Only the register writes it. */
  isInUse = false;
  /** Whether `place` is among the idle queues. Only the register writes it. */
  isIdle = false;
  /** Monotonic time since when it is idle, while it is. */
  idleSinceMs = 0;
  /** Its place among the queues that take turns, or among the idle ones. */
  place = NO_PLACE;

  /** Highest priority first. At most 201 priorities exist, so a level, once made, stays. */
  readonly #levels: Level[] = [];

  constructor(name: string, limits: QueueLimits) {
    this.name = name;
    this.limits = limits;
  }

  /** Whether a loop may claim from it. */
  get isClaimable(): boolean {
    return this.counts.queued > 0 && !this.isPaused;
  }

  /** Tasks that hold it in use: those that wait and those that run. */
  get load(): number {
    return this.waiting + this.counts.running;
  }

  /** Counts a task in a status. The ready ones are kept by {@link pushBack} and {@link pushFront} besides. */
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

  /** Lines a task up behind those of its priority. */
  pushBack(task: Task): void {
    this.#level(task.priority).ring.pushBack(task);
  }

  /** Gives a task its turn back, before all others of its priority. */
  pushFront(task: Task): void {
    this.#level(task.priority).ring.pushFront(task);
  }

  /** Takes out a task that is lined up. */
  remove(task: Task): void {
    this.#level(task.priority).ring.remove(task);
  }

  /** The task whose turn it is, which stays. */
  next(): Task | undefined {
    for (const level of this.#levels) {
      if (level.ring.size > 0) return level.ring.front();
    }
    return undefined;
  }

  /** Monotonic time since when its longest-waiting queued task is queued, or null when none is. */
  oldestQueuedSinceMs(): number | null {
    let oldestMs: number | null = null;
    for (const { ring } of this.#levels) {
      const front = ring.front();
      if (front !== undefined && (oldestMs === null || front.queuedSinceMs < oldestMs))
        oldestMs = front.queuedSinceMs;
    }
    return oldestMs;
  }

  /** Throws when the queue contradicts itself. O(n): for tests. */
  check(): void {
    let queued = 0;
    let abovePriority = Number.POSITIVE_INFINITY;
    for (const { priority, ring } of this.#levels) {
      assert(priority < abovePriority, "levels go from the highest priority down");
      abovePriority = priority;
      ring.check();
      for (const task of ring) {
        assert(
          task.priority === priority && task.home === this,
          "a task lines up in its own level of its own queue",
        );
        assert(task.status === "queued", "only queued tasks line up");
      }
      queued += ring.size;
    }
    assert(queued === this.counts.queued, "every queued task lines up");
    const known = TASK_STATUSES.reduce((sum, status) => sum + this.counts[status], 0);
    assert(known === this.known, "the counts by status add up");
    const waiting = known - this.counts.running - finishedCount(this.counts);
    assert(waiting === this.waiting, "what waits is what is known, neither running nor finished");
  }

  #level(priority: number): Level {
    const levels = this.#levels;
    let index = 0;
    for (; index < levels.length; index += 1) {
      const level = levels[index] as Level;
      if (level.priority === priority) return level;
      if (level.priority < priority) break;
    }
    const level = { priority, ring: new Ring<Task>() };
    levels.splice(index, 0, level);
    return level;
  }
}

interface Level {
  readonly priority: number;
  readonly ring: Ring<Task>;
}

function finishedCount(counts: Readonly<Record<TaskStatus, number>>): number {
  return TASK_STATUSES.filter(isFinished).reduce((sum, status) => sum + counts[status], 0);
}
