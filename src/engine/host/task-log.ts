/** Logs the steps of tasks: failed tasks always, all other steps only at level debug. */

import type { TaskStatus } from "../../core/status.ts";
import type { Log } from "../../log.ts";
import type { EventSubscriber, TaskEvent } from "../events.ts";

export class TaskLog implements EventSubscriber {
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  wants(status: TaskStatus): boolean {
    return status === "failed" || this.#log.isDebug;
  }

  onTask({ taskId: id, type, queue, status, from, attempt, code }: TaskEvent): void {
    const name = from === null ? "task_enqueued" : `task_${status}`;
    this.#log[status === "failed" ? "warn" : "debug"](name, { id, type, queue, attempt, code });
  }
}
