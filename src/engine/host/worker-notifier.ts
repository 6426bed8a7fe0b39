/** Notifies the workers of an engine, one per lane, of claimable tasks and of revoked attempts. */

import { LANES, type Lane } from "../../core/lane.ts";
import type { RevokeReason } from "../../core/outcomes.ts";
import type { Queue } from "../../core/queue.ts";
import type { TaskStatus } from "../../core/status.ts";
import type { Task } from "../../core/task.ts";
import type { EngineWorker } from "../engine.ts";

export class WorkerNotifier {
  readonly #workers: Partial<Record<Lane, EngineWorker>> = {};

  attach(lane: Lane, worker: EngineWorker): void {
    this.#workers[lane] = worker;
  }

  /** Tells the worker about tasks that became claimable. */
  onStep({ status, queue, lane }: Task, from: TaskStatus | null): void {
    if (status === "queued" && queue.isOpen) this.#workers[lane]?.onReady(1);
    // A queue that was at its concurrency limit may start another task.
    if (from === "running" && queue.limits.concurrency !== Number.POSITIVE_INFINITY) {
      this.onOpen(queue);
    }
  }

  /** Tells the workers about the ready tasks of a queue that may have just opened. */
  onOpen({ isOpen, ready }: Queue): void {
    if (!isOpen) return;
    for (const lane of LANES) {
      const { size } = ready[lane];
      if (size > 0) this.#workers[lane]?.onReady(size);
    }
  }

  onRevoke({ id, lane }: Task, fence: number, reason: RevokeReason): void {
    this.#workers[lane]?.onRevoke(id, fence, reason);
  }
}
