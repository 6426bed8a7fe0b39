/**
 * The ready tasks of one queue and one lane: by priority, and within a priority by arrival.
 * Released tasks come before the rest of their priority, in their order before the claim.
 */

import { assert } from "./assert.ts";
import type { Lane } from "./lane.ts";
import type { Queue } from "./queue.ts";
import { NOT_LINKED, Ring } from "./ring.ts";
import type { Task } from "./task.ts";

/**
 * The number of tasks that a search by type examines: it must not block the event loop while a
 * million tasks of other types wait.
 */
export const SEARCHED_MAX = 1000;

export class ReadyList {
  readonly queue: Queue;
  readonly lane: Lane;
  /** Its position among the lists that take turns. */
  position = NOT_LINKED;
  /**
   * Highest priority first. At most 201 priorities exist (limits.ts), so an existing level is never
   * removed.
   */
  readonly #levels: Level[] = [];
  #size = 0;

  constructor(queue: Queue, lane: Lane) {
    this.queue = queue;
    this.lane = lane;
  }

  get size(): number {
    return this.#size;
  }

  /** Adds a task behind all others of its priority. */
  pushBack(task: Task): void {
    this.#level(task.settings.priority).waiting.pushBack(task);
    this.#size += 1;
  }

  /**
   * Puts a released task back before the rest of its priority. Its time in the queue counts as at
   * least that of the task behind it, so that the front of a level is always the longest-waiting
   * task.
   */
  putBack(task: Task): void {
    const { released, waiting } = this.#level(task.settings.priority);
    const index = indexOf(released, task.order);
    const behind = released[index] ?? waiting.front();
    if (behind !== undefined) {
      task.queuedSinceMs = Math.min(task.queuedSinceMs, behind.queuedSinceMs);
    }
    released.splice(index, 0, task);
    this.#size += 1;
  }

  /** Removes a task of this list. */
  remove(task: Task): void {
    const { released, waiting } = this.#level(task.settings.priority);
    if (task.position !== NOT_LINKED) waiting.remove(task);
    else {
      const index = indexOf(released, task.order);
      assert(released[index] === task, "only a task of this list can be removed from it");
      released.splice(index, 1);
    }
    this.#size -= 1;
  }

  /** The next task. It stays in the list. */
  first(): Task | undefined {
    for (const { released, waiting } of this.#levels) {
      const task = released[0] ?? waiting.front();
      if (task !== undefined) return task;
    }
    return undefined;
  }

  /**
   * The next tasks of these types, up to `max`, among the first {@link SEARCHED_MAX} of any type.
   * They stay in the list.
   */
  firstOf(types: readonly string[], max: number): readonly Task[] {
    const found: Task[] = [];
    let searched = 0;
    for (const { released, waiting } of this.#levels) {
      for (const tasks of [released, waiting]) {
        for (const task of tasks) {
          if (searched === SEARCHED_MAX || found.length === max) return found;
          searched += 1;
          if (types.includes(task.settings.type)) found.push(task);
        }
      }
    }
    return found;
  }

  /**
   * The monotonic time since when the longest-waiting task is queued; Infinity when there is none.
   */
  oldestSinceMs(): number {
    let oldestMs = Number.POSITIVE_INFINITY;
    for (const { released, waiting } of this.#levels) {
      const task = released[0] ?? waiting.front();
      oldestMs = Math.min(oldestMs, task?.queuedSinceMs ?? Number.POSITIVE_INFINITY);
    }
    return oldestMs;
  }

  /** Throws when the list is inconsistent. O(n): for tests. */
  verify(): void {
    let size = 0;
    let abovePriority = Number.POSITIVE_INFINITY;
    for (const { priority, released, waiting } of this.#levels) {
      assert(priority < abovePriority, "levels go from the highest priority down");
      abovePriority = priority;
      waiting.verify();
      assert(areInOrder(released), "released tasks are in the order of queueing");
      assert(areInOrder([...waiting]), "waiting tasks are in the order of queueing");
      let sinceMs = Number.NEGATIVE_INFINITY;
      for (const task of [...released, ...waiting]) {
        assert(task.queuedSinceMs >= sinceMs, "the task ahead waits no shorter");
        sinceMs = task.queuedSinceMs;
        assert(task.settings.priority === priority, "a task is in the level of its priority");
        assert(
          task.queue === this.queue && task.lane === this.lane,
          "a task is in the list of its queue and lane",
        );
        assert(task.status === "queued", "only queued tasks are ready");
        size += 1;
      }
    }
    assert(size === this.#size, "a list counts its tasks");
  }

  #level(priority: number): Level {
    const levels = this.#levels;
    let index = 0;
    for (; index < levels.length; index += 1) {
      const level = levels[index] as Level;
      if (level.priority === priority) return level;
      if (level.priority < priority) break;
    }
    const level = { priority, released: [], waiting: new Ring<Task>() };
    levels.splice(index, 0, level);
    return level;
  }
}

interface Level {
  readonly priority: number;
  /** Few, since they were in flight before: sorted by their order. */
  readonly released: Task[];
  readonly waiting: Ring<Task>;
}

function areInOrder(tasks: readonly Task[]): boolean {
  return tasks.every((task, index) => task.order > (tasks[index - 1]?.order ?? 0));
}

/** The index of the first task whose order is not below this one. */
function indexOf(tasks: readonly Task[], order: number): number {
  let low = 0;
  let high = tasks.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((tasks[middle] as Task).order < order) low = middle + 1;
    else high = middle;
  }
  return low;
}
