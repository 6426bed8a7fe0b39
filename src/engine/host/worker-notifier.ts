/**
 * The workers of an engine, one a lane, and what they are told.
 */

import type { RevokeReason } from "../../core/outcomes.ts";
import type { Queue } from "../../core/queue.ts";
import { LANES, type Lane } from "../../core/ready-list.ts";
import type { Task, TaskStatus } from "../../core/task.ts";
import type { Claim, EngineWorker } from "../engine.ts";

export class WorkerNotifier {
  readonly #workers: Partial<Record<Lane, EngineWorker>> = {};

  attach(lane: Lane, worker: EngineWorker): void {
    this.#workers[lane] = worker;
  }

  /** Tells of what a step of a task makes claimable. */
  onStep({ status, home, lane }: Task, from: TaskStatus | null): void {
    if (status === "queued" && home.isOpen) this.#workers[lane]?.onReady(1);
    // A queue that was at its limit of running tasks has a place again.
    if (from === "running" && home.limits.concurrency !== Number.POSITIVE_INFINITY) this.call(home);
  }

  /** Tells of what is lined up in a queue that has just opened. */
  call({ isOpen, lines }: Queue): void {
    if (!isOpen) return;
    for (const lane of LANES) {
      const { size } = lines[lane];
      if (size > 0) this.#workers[lane]?.onReady(size);
    }
  }

  /** Tells that an attempt has lost its lease. */
  revoke({ id, lane }: Task, fence: number, reason: RevokeReason): void {
    this.#workers[lane]?.onRevoke(id, fence, reason);
  }
}

/** The task that a worker claimed. Every claim is one of the engine's own, and holds the task itself. */
export function taskOf({ task }: Claim): Task {
  return task as Task;
}
