/** The requests that wait for a task to finish. */

import type { Clock } from "../../clock.ts";
import { isFinished, type TaskStatus } from "../../core/status.ts";
import { type Task, type TaskView, viewOf } from "../../core/task.ts";
import type { EventSubscriber, TaskEvent } from "../events.ts";

export class Waiters implements EventSubscriber {
  readonly #clock: Clock;
  /** By task id. */
  readonly #waiters = new Map<string, Set<() => void>>();
  #isClosed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * The task once it has finished, or its state when `waitMs` are over, `signal` aborts or the
   * waiters are closed.
   */
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
      // Answers with this task object, without a new look-up: with a small retention, the task may
      // be forgotten by the next tick.
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
    // Most often there are no waiters: then no event is made.
    return this.#waiters.size > 0 && isFinished(status);
  }

  onTask({ taskId }: TaskEvent): void {
    const waiters = this.#waiters.get(taskId);
    if (waiters !== undefined) for (const settle of [...waiters]) settle();
  }

  /** Answers all waiting requests. Later ones are answered at once. */
  close(): void {
    this.#isClosed = true;
    for (const waiters of [...this.#waiters.values()]) for (const settle of [...waiters]) settle();
  }
}
