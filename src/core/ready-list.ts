/**
 * The tasks of one queue and one lane that may start: by priority, and within one by arrival.
 *
 * A lane is a kind of place to run: the event loop or a thread. Tasks of one lane never wait for a place in the other,
 * so each has a line of its own, and lines, not queues, take turns.
 */

import { assert } from "./assert.ts";
import type { Queue } from "./queue.ts";
import { NOT_LINKED, Ring } from "./ring.ts";
import type { Task } from "./task.ts";

export type Lane = "loop" | "thread";

/** Every lane there is. */
export const LANES = ["loop", "thread"] as const satisfies readonly Lane[];

export class ReadyList {
  readonly queue: Queue;
  readonly lane: Lane;
  /** Its place among the lines that take turns. */
  place = NOT_LINKED;
  /** Highest priority first. At most 201 priorities exist, so a level, once made, stays. */
  readonly #levels: Level[] = [];
  #size = 0;

  constructor(queue: Queue, lane: Lane) {
    this.queue = queue;
    this.lane = lane;
  }

  get size(): number {
    return this.#size;
  }

  /** Lines a task up behind those of its priority. */
  pushBack(task: Task): void {
    this.#level(task.priority).ring.pushBack(task);
    this.#size += 1;
  }

  /**
   * Gives a task its turn back, before all others of its priority. It counts as queued for as long as the one that is
   * now behind it, so that the front of a level is always the task that waits longest.
   */
  pushFront(task: Task): void {
    const { ring } = this.#level(task.priority);
    const behind = ring.front();
    if (behind !== undefined) {
      task.queuedSinceMs = Math.min(task.queuedSinceMs, behind.queuedSinceMs);
    }
    ring.pushFront(task);
    this.#size += 1;
  }

  /** Takes out a task that is lined up. */
  remove(task: Task): void {
    this.#level(task.priority).ring.remove(task);
    this.#size -= 1;
  }

  /** The task whose turn it is, which stays. */
  first(): Task | undefined {
    for (const level of this.#levels) {
      if (level.ring.size > 0) return level.ring.front();
    }
    return undefined;
  }

  /** Monotonic time since when the task that waits longest is queued; Infinity when none is. */
  oldestSinceMs(): number {
    let oldestMs = Number.POSITIVE_INFINITY;
    for (const { ring } of this.#levels) {
      oldestMs = Math.min(oldestMs, ring.front()?.queuedSinceMs ?? Number.POSITIVE_INFINITY);
    }
    return oldestMs;
  }

  /** Throws when the line contradicts itself. O(n): for tests. */
  check(): void {
    let size = 0;
    let abovePriority = Number.POSITIVE_INFINITY;
    for (const { priority, ring } of this.#levels) {
      assert(priority < abovePriority, "levels go from the highest priority down");
      abovePriority = priority;
      ring.check();
      let sinceMs = Number.NEGATIVE_INFINITY;
      for (const task of ring) {
        assert(task.queuedSinceMs >= sinceMs, "who is ahead waits no shorter");
        sinceMs = task.queuedSinceMs;
        assert(task.priority === priority, "a task lines up in its own level");
        assert(task.home === this.queue && task.lane === this.lane, "a task is in its own line");
        assert(task.status === "queued", "only queued tasks line up");
      }
      size += ring.size;
    }
    assert(size === this.#size, "a line counts its tasks");
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
