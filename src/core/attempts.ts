/**
 * Starts, tracks and ends attempts: an attempt holds its task by a claim. A local attempt ends by
 * its outcome or its timeout, a remote one also by its lease.
 */

import type { Instant, Random } from "./instant.ts";
import { grantLease } from "./lease.ts";
import type {
  AttemptOutcome,
  ClaimLost,
  ClaimRequest,
  ExtendOutcome,
  RevokeReason,
  SettleOutcome,
} from "./outcomes.ts";
import type { QueueRegistry } from "./queue-registry.ts";
import { afterDone, afterFailure, afterLoss, afterSettle, DONE_RECEIPT } from "./rules.ts";
import type { LostClaim, SettleReceipt, StateChange, Task } from "./task.ts";
import type { TaskRegistry } from "./task-registry.ts";

export interface AttemptObserver {
  /**
   * A running attempt lost its task: its worker should stop, and its outcome no longer counts.
   * `worker` is the name of the remote worker whose lease ended.
   */
  onRevoke(task: Task, fence: number, reason: RevokeReason, worker: string | null): void;
}

/** A planned step of a task that is not applied yet. */
export interface Step {
  readonly kind: "step";
  readonly task: Task;
  readonly to: StateChange;
}

/**
 * The number of latest claims that are found without a search: most settles are for one of them. A
 * power of two.
 */
const LATEST_CLAIMS = 1024;

/**
 * The shortest time that a lease lasts after the process started, or was paused for a while: during
 * that time workers could not extend it.
 */
export const LEASE_GRACE_MS = 10_000;

/**
 * A claim of several tasks ends when its payloads have this many bytes, so that its answer stays
 * within a few MiB.
 */
const CLAIM_PAYLOAD_BYTES = 4 * 1024 * 1024;

export class Attempts {
  readonly #tasks: TaskRegistry;
  readonly #queues: QueueRegistry;
  readonly #observer: AttemptObserver;
  readonly #firstFence: number;
  #nextFence: number;
  /** The tasks of the latest claims that are not done, at the slots of their fences. */
  readonly #latest: (Task | undefined)[] = new Array(LATEST_CLAIMS).fill(undefined);
  /** The start of the grace for leases. */
  #graceSinceMs = Number.NEGATIVE_INFINITY;

  constructor(tasks: TaskRegistry, observer: AttemptObserver, firstFence: number) {
    this.#tasks = tasks;
    this.#queues = tasks.queues;
    this.#observer = observer;
    this.#firstFence = firstFence;
    this.#nextFence = firstFence;
  }

  /** Starts attempts at the next tasks, up to `max`. Each gets a new fence. */
  claim(request: ClaimRequest, now: Instant): readonly Task[] {
    if (request.types !== undefined) return this.#claimOfTypes(request.types, request, now);
    const tasks: Task[] = [];
    let payloadBytes = 0;
    while (tasks.length < request.max && payloadBytes < CLAIM_PAYLOAD_BYTES) {
      const task = this.#next(request);
      if (task === undefined) break;
      this.#start(task, request, now);
      tasks.push(task);
      payloadBytes += task.payloadBytes;
    }
    return tasks;
  }

  /** Applies the outcome of an attempt. If its claim no longer holds the task, nothing changes. */
  settle(
    taskId: string,
    fence: number,
    outcome: AttemptOutcome,
    now: Instant,
    random: Random,
  ): SettleOutcome {
    if (outcome.kind === "done") {
      const slot = this.#slotOf(fence);
      const latest = this.#latest[slot];
      const task = latest?.id === taskId ? latest : this.#tasks.find(taskId);
      if (task !== undefined && isHeldBy(task, fence)) {
        this.#latest[slot] = undefined;
        this.#tasks.finish(task, afterDone(fence, outcome.result, now), now);
        return SETTLED_DONE;
      }
    }
    const plan = this.planSettle(taskId, fence, outcome, now, random);
    if (plan.kind !== "step") return plan;
    this.#tasks.take(plan.task, plan.to, now);
    return { kind: "settled", receipt: plan.to.receipt as SettleReceipt };
  }

  /** The step that follows from a settle, or the answer if there is none. */
  planSettle(
    taskId: string,
    fence: number,
    outcome: AttemptOutcome,
    now: Instant,
    random: Random,
  ): Step | SettleOutcome {
    const task = this.#tasks.find(taskId);
    if (task === undefined) return UNKNOWN_CLAIM;
    if (isHeldBy(task, fence)) {
      const to = afterSettle(task, task.settings, fence, outcome, now, random);
      return { kind: "step", task, to };
    }
    const { settledFence, receipt } = task;
    if (settledFence === fence && receipt?.outcome === outcome.kind) {
      return { kind: "repeated", receipt };
    }
    return lostBy(task, fence);
  }

  /**
   * Extends the lease of a remote claim to `leaseMs` from now, but not beyond its timeout. The
   * default is its length so far.
   */
  extend(taskId: string, fence: number, leaseMs: number | undefined, now: Instant): ExtendOutcome {
    const task = this.#tasks.find(taskId);
    if (task === undefined) return UNKNOWN_CLAIM;
    if (!isHeldBy(task, fence) || task.lease === null) return lostBy(task, fence);
    const lengthMs = leaseMs ?? task.lease.lengthMs;
    this.#renew(task, { ...task.lease, lengthMs, endsAtMs: now.monoMs + lengthMs }, now);
    const { endsAtMs, endsAtWallMs } = task.lease;
    // The attempt may be past its timeout already, if the tick that ends it is late.
    const leftMs = Math.max(0, endsAtMs - now.monoMs);
    return { kind: "extended", leaseMs: leftMs, leaseEndsAtMs: endsAtWallMs };
  }

  /** Records the progress of a running attempt. Returns null, or the reason why nothing changed. */
  noteProgress(taskId: string, fence: number, progress: string): ClaimLost | null {
    const task = this.#tasks.find(taskId);
    if (task === undefined) return UNKNOWN_CLAIM;
    if (!isHeldBy(task, fence)) return lostBy(task, fence);
    task.progress = progress;
    return null;
  }

  /** Gives every lease at least {@link LEASE_GRACE_MS} from now, or its length if that is less. */
  allowLateLeases(now: Instant): void {
    this.#graceSinceMs = now.monoMs;
  }

  /** Ends an attempt whose timeout or lease is over. */
  end(task: Task, now: Instant, random: Random): void {
    const { fence, lease, settings } = task;
    if (lease === null || lease.timeoutAtMs <= now.monoMs) {
      const message = `the attempt took longer than ${settings.timeoutMs} ms`;
      const failure = { kind: "failed", code: "timeout", message, retry: BACKOFF } as const;
      this.#tasks.take(task, afterFailure(task, settings, failure, now, random), now);
      this.revoke(task, fence, "timeout");
      return;
    }
    const graceEndMs = this.#graceSinceMs + Math.min(LEASE_GRACE_MS, lease.lengthMs);
    if (graceEndMs > now.monoMs) {
      this.#renew(task, { ...lease, endsAtMs: graceEndMs }, now);
      return;
    }
    this.#tasks.take(task, afterLoss(task, "lease_lost", now), now);
    this.revoke(task, fence, "lease_lost", lease.worker);
  }

  /** Reports a claim that ended without a settle, and remembers how it ended. */
  revoke(task: Task, fence: number, reason: RevokeReason, worker: string | null = null): void {
    task.lostClaim = { fence, ended: ENDED[reason] };
    this.#observer.onRevoke(task, fence, reason, worker);
  }

  /** The task that a claim of one starts. */
  #next({ lane, queues }: ClaimRequest): Task | undefined {
    if (queues === undefined) return this.#queues.nextReady(lane)?.first();
    for (const name of queues) {
      const queue = this.#queues.find(name);
      const task = queue?.isOpenTo(lane) === true ? queue.ready[lane].first() : undefined;
      if (task !== undefined) return task;
    }
    return undefined;
  }

  /** Equal to single claims, but it searches each list once: a search may skip a thousand tasks. */
  #claimOfTypes(types: readonly string[], request: ClaimRequest, now: Instant): readonly Task[] {
    const { lane, queues, max } = request;
    const tasks: Task[] = [];
    let payloadBytes = 0;
    const start = (task: Task): void => {
      this.#start(task, request, now);
      tasks.push(task);
      payloadBytes += task.payloadBytes;
    };
    const isFull = (): boolean => tasks.length === max || payloadBytes >= CLAIM_PAYLOAD_BYTES;
    if (queues !== undefined) {
      for (const name of new Set(queues)) {
        const queue = this.#queues.find(name);
        if (queue === undefined) continue;
        for (const task of queue.ready[lane].firstOf(types, max - tasks.length)) {
          if (queue.isOpenTo(lane) && !isFull()) start(task);
        }
      }
      return tasks;
    }
    // A list that gave a task goes behind all others. A list without a task of these types is not
    // searched again.
    const lists = Array.from(this.#queues.readyLists(lane), (list) => ({
      list,
      found: null as Task[] | null,
    }));
    for (const entry of lists) {
      if (isFull()) break;
      entry.found ??= [...entry.list.firstOf(types, max - tasks.length)].reverse();
      const task = entry.list.queue.isOpenTo(lane) ? entry.found.pop() : undefined;
      if (task === undefined) continue;
      this.#queues.moveToBack(entry.list);
      start(task);
      lists.push(entry);
    }
    return tasks;
  }

  /** Not the bits of the fence itself: it has more than 32, and to convert it costs a call. */
  #slotOf(fence: number): number {
    return (fence - this.#firstFence) & (LATEST_CLAIMS - 1);
  }

  #start(task: Task, { leaseMs, worker }: ClaimRequest, now: Instant): void {
    this.#tasks.leave(task);
    task.attempt += 1;
    task.fence = this.#nextFence;
    this.#latest[this.#slotOf(task.fence)] = task;
    this.#nextFence += 1;
    task.startedAtMs = now.wallMs;
    task.progress = null;
    const { lane, timeoutMs } = task.settings;
    const timeoutAtMs = now.monoMs + timeoutMs;
    task.dueAtMs = timeoutAtMs;
    if (lane === "remote") {
      const lengthMs = leaseMs ?? timeoutMs;
      grantLease(
        task,
        { lengthMs, endsAtMs: now.monoMs + lengthMs, timeoutAtMs, worker: worker ?? null },
        now,
      );
    }
    this.#tasks.enter(task, "running", now);
  }

  #renew(task: Task, lease: Parameters<typeof grantLease>[1], now: Instant): void {
    this.#tasks.schedule.remove(task);
    grantLease(task, lease, now);
    this.#tasks.schedule.add(task);
  }
}

const BACKOFF = { kind: "backoff" } as const;

const SETTLED_DONE: SettleOutcome = { kind: "settled", receipt: DONE_RECEIPT };

const UNKNOWN_CLAIM: ClaimLost = { kind: "claim_lost", ended: "unknown" };

const ENDED: Readonly<Record<RevokeReason, LostClaim["ended"]>> = {
  cancelled: "cancelled",
  timeout: "timeout",
  lease_lost: "expired",
};

/**
 * Whether the claim with this fence holds the task. A late settle loses: the task has a newer claim
 * with another fence.
 */
function isHeldBy(task: Task, fence: number): boolean {
  return task.status === "running" && task.fence === fence;
}

/** How the claim with this fence ended, if the task remembers it. */
function lostBy({ lostClaim, settledFence, receipt }: Task, fence: number): ClaimLost {
  if (lostClaim?.fence === fence) return { kind: "claim_lost", ended: lostClaim.ended };
  const isSettled = receipt !== null && settledFence === fence;
  return isSettled ? { kind: "claim_lost", ended: "settled" } : UNKNOWN_CLAIM;
}
