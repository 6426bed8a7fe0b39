/**
 * Those who wait for a task to finish.
 */

import type { Clock } from "../../clock.ts";
import { isFinished, type Task, type TaskView } from "../../core/task.ts";

export class Waiters {
  readonly #clock: Clock;
  /** By the id of the task. */
  readonly #waiters = new Map<string, Set<() => void>>();
  #isClosed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The task once it has finished, or as it is when `waitMs` are over, `signal` aborts or nobody may wait any more. */
  wait(task: Task | undefined, waitMs: number, signal: AbortSignal): Promise<TaskView | undefined> {
    if (
      task === undefined ||
      isFinished(task.status) ||
      waitMs <= 0 ||
      signal.aborted ||
      this.#isClosed
    ) {
      return Promise.resolve(task);
    }
    return new Promise((resolve) => {
      const { id } = task;
      const waiters = this.#waiters.get(id) ?? new Set();
      const forgetWaiters = (): void => {
        this.#waiters.delete(id);
      };
      const cancelTimer = this.#clock.after(waitMs, settle);
      // The task itself is answered, not a fresh look: with a small retention it may be forgotten by the next turn.
      function settle(): void {
        cancelTimer();
        signal.removeEventListener("abort", settle);
        waiters.delete(settle);
        if (waiters.size === 0) forgetWaiters();
        resolve(task);
      }
      signal.addEventListener("abort", settle);
      waiters.add(settle);
      this.#waiters.set(id, waiters);
    });
  }

  /** Whether nobody waits. */
  get isEmpty(): boolean {
    return this.#waiters.size === 0;
  }

  /** Answers those who wait for this task: it has finished. */
  answer(taskId: string): void {
    // Most often nobody waits: then the id need not be hashed.
    if (this.isEmpty) return;
    const waiters = this.#waiters.get(taskId);
    if (waiters !== undefined) for (const settle of [...waiters]) settle();
  }

  /** Answers everybody. From now on nobody waits. */
  close(): void {
    this.#isClosed = true;
    for (const waiters of [...this.#waiters.values()]) for (const settle of [...waiters]) settle();
  }
}
