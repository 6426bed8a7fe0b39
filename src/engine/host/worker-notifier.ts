/** Notifies the workers of an engine, by lane, of claimable tasks and of revoked attempts. */

import { LANES, type Lane } from "../../core/lane.ts";
import type { RevokeReason } from "../../core/outcomes.ts";
import type { Queue } from "../../core/queue.ts";
import { SEARCHED_MAX } from "../../core/ready-list.ts";
import type { TaskStatus } from "../../core/status.ts";
import type { Task } from "../../core/task.ts";
import type { EngineWorker } from "../engine.ts";

export class WorkerNotifier {
  readonly #workers: Readonly<Record<Lane, EngineWorker[]>> = { loop: [], thread: [], remote: [] };

  attach(lane: Lane, worker: EngineWorker): void {
    this.#workers[lane].push(worker);
  }

  /** Tells the workers about tasks that became claimable. */
  onStep({ status, settings, queue, lane }: Task, from: TaskStatus | null): void {
    if (status === "queued" && queue.isOpenTo(lane)) {
      this.#onReady(lane, 1, queue.name, settings.type);
    }
    // A queue that was at its concurrency limit may start another task.
    if (from === "running" && queue.limits.concurrency !== Number.POSITIVE_INFINITY) {
      this.onOpen(queue);
    } else if (queue.ready.remote.size > 0) this.#onRemoteStep(queue, lane, from);
  }

  /** Tells the workers about the ready tasks of a queue that may have just opened. */
  onOpen(queue: Queue): void {
    for (const lane of LANES) this.#onOpenTo(lane, queue);
  }

  onRevoke({ id, lane }: Task, fence: number, reason: RevokeReason): void {
    for (const worker of this.#workers[lane]) worker.onRevoke(id, fence, reason);
  }

  /** Tells remote workers about tasks that were ready, and that this step lets them have. */
  #onRemoteStep(queue: Queue, lane: Lane, from: TaskStatus | null): void {
    const { claims, limits, ready } = queue;
    // The queue was at its limit of claims. The lane of a restored claim may have changed since.
    const hasOpened = from === "running" && claims === limits.claims - 1;
    // A search by type sees one more task of a long list when one before it has left.
    const hasLeft = from === "queued" && lane === "remote" && ready.remote.size >= SEARCHED_MAX;
    if (hasOpened || hasLeft) this.#onOpenTo("remote", queue);
  }

  #onOpenTo(lane: Lane, queue: Queue): void {
    const { size } = queue.ready[lane];
    if (size > 0 && queue.isOpenTo(lane)) this.#onReady(lane, size, queue.name);
  }

  #onReady(lane: Lane, count: number, queue: string, type?: string): void {
    const workers = this.#workers[lane];
    for (let index = 0; index < workers.length; index += 1) {
      workers[index]?.onReady(count, queue, type);
    }
  }
}
