/**
 * Tells the workers of an engine, one a lane, what they can claim and which attempts have lost their task.
 */

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

  /** Tells of what a step of a task makes claimable. */
  onStep({ status, queue, lane }: Task, from: TaskStatus | null): void {
    if (status === "queued" && queue.isOpen) this.#workers[lane]?.onReady(1);
    // A queue that was at its limit of running tasks may start one again.
    if (from === "running" && queue.limits.concurrency !== Number.POSITIVE_INFINITY) {
      this.onOpen(queue);
    }
  }

  /** Tells of the ready tasks of a queue that may have just opened. */
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
