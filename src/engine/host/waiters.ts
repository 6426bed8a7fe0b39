/**
 * Requests that wait for a task to finish.
 */

import type { Clock } from "../../clock.ts";
import { isFinished, type TaskStatus } from "../../core/status.ts";
import { type Task, type TaskView, viewOf } from "../../core/task.ts";
import type { EventSubscriber, TaskEvent } from "../events.ts";

export class Waiters implements EventSubscriber {
  readonly #clock: Clock;
  /** By the id of the task. */
  readonly #waiters = new Map<string, Set<() => void>>();
  #isClosed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The task once it has finished, or as it is when `waitMs` are over, `signal` aborts or nobody may wait any more. */
  wait(task: Task, waitMs: number, signal: AbortSignal): Promise<TaskView> {
    if (isFinished(task.status) || waitMs <= 0 || signal.aborted || this.#isClosed) {
      return Promise.resolve(viewOf(task));
    }
    return new Promise((resolve) => {
      const { id } = task;
      const waiters = this.#waiters.get(id) ?? new Set();
      const forgetWaiters = (): void => {
        this.#waiters.delete(id);
      };
      const cancelTimer = this.#clock.after(waitMs, settle);
      // The task itself is answered, not a fresh look: with a small retention it may be forgotten by the next tick.
      function settle(): void {
        cancelTimer();
        signal.removeEventListener("abort", settle);
        waiters.delete(settle);
        if (waiters.size === 0) forgetWaiters();
        resolve(viewOf(task));
      }
      signal.addEventListener("abort", settle);
      waiters.add(settle);
      this.#waiters.set(id, waiters);
    });
  }

  wants(status: TaskStatus): boolean {
    // Most often nobody waits: then no event is made.
    return this.#waiters.size > 0 && isFinished(status);
  }

  onTask({ taskId }: TaskEvent): void {
    const waiters = this.#waiters.get(taskId);
    if (waiters !== undefined) for (const settle of [...waiters]) settle();
  }

  /** Answers everybody. From now on nobody waits. */
  close(): void {
    this.#isClosed = true;
    for (const waiters of [...this.#waiters.values()]) for (const settle of [...waiters]) settle();
  }
}
