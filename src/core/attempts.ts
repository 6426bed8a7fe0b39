/**
 * Attempts: how one starts, which claim holds its task, and how it ends. Local attempts end by their outcome or their
 * timeout; remote ones also by their lease.
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

/** Hears when a running attempt lost its task: its worker should stop, and its outcome no longer counts. */
export interface AttemptObserver {
  onRevoke(task: Task, fence: number, reason: RevokeReason): void;
}

/** A step of a task that was planned and not taken yet. */
export interface Step {
  readonly kind: "step";
  readonly task: Task;
  readonly to: StateChange;
}

/** How many of the latest claims are found without a search: most settles are for one of them. A power of two. */
const LATEST_CLAIMS = 64;

/** How long a lease lasts at least after the process started, or did not run for a while: workers could not extend it. */
export const LEASE_GRACE_MS = 10_000;

export class Attempts {
  readonly #tasks: TaskRegistry;
  readonly #queues: QueueRegistry;
  readonly #observer: AttemptObserver;
  #nextFence: number;
  /** The tasks of the latest claims that are not done, by the low bits of their fences. */
  readonly #latest: (Task | undefined)[] = new Array(LATEST_CLAIMS).fill(undefined);
  /** Since when leases have their grace. */
  #graceSinceMs = Number.NEGATIVE_INFINITY;

  constructor(tasks: TaskRegistry, observer: AttemptObserver, firstFence: number) {
    this.#tasks = tasks;
    this.#queues = tasks.queues;
    this.#observer = observer;
    this.#nextFence = firstFence;
  }

  /** Starts up to `max` attempts at the tasks that are next. Each has a new fence. */
  claim(request: ClaimRequest, now: Instant): readonly Task[] {
    if (request.types !== undefined) return this.#claimOfTypes(request.types, request, now);
    const tasks: Task[] = [];
    while (tasks.length < request.max) {
      const task = this.#next(request);
      if (task === undefined) break;
      this.#start(task, request, now);
      tasks.push(task);
    }
    return tasks;
  }

  /** Takes the outcome of an attempt, unless its claim no longer holds the task: then nothing changes. */
  settle(
    taskId: string,
    fence: number,
    outcome: AttemptOutcome,
    now: Instant,
    random: Random,
  ): SettleOutcome {
    if (outcome.kind === "done") {
      const slot = fence & (LATEST_CLAIMS - 1);
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

  /** The step that a settle leads to, or the answer where there is none to take. */
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

  /** Makes the lease of a remote claim end `leaseMs` from now, but not beyond its timeout. */
  extend(taskId: string, fence: number, leaseMs: number, now: Instant): ExtendOutcome {
    const task = this.#tasks.find(taskId);
    if (task === undefined) return UNKNOWN_CLAIM;
    if (!isHeldBy(task, fence) || task.lease === null) return lostBy(task, fence);
    this.#renew(task, { ...task.lease, lengthMs: leaseMs, endsAtMs: now.monoMs + leaseMs }, now);
    const { endsAtMs, endsAtWallMs } = task.lease;
    // The attempt may have run out of time already, and the tick that ends it is late.
    const leftMs = Math.max(0, endsAtMs - now.monoMs);
    return { kind: "extended", leaseMs: leftMs, leaseEndsAtMs: endsAtWallMs };
  }

  /** Notes the progress of a running attempt. Null, or why it changed nothing. */
  noteProgress(taskId: string, fence: number, progress: string): ClaimLost | null {
    const task = this.#tasks.find(taskId);
    if (task === undefined) return UNKNOWN_CLAIM;
    if (!isHeldBy(task, fence)) return lostBy(task, fence);
    task.progress = progress;
    return null;
  }

  /** No lease ends before {@link LEASE_GRACE_MS} from now, or its length if that is less. */
  allowLateLeases(now: Instant): void {
    this.#graceSinceMs = now.monoMs;
  }

  /** The attempt of a task is due: its time is up, or its lease has ended. */
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
    this.revoke(task, fence, "lease_lost");
  }

  /** Tells that a claim has ended without a settle, and remembers how. */
  revoke(task: Task, fence: number, reason: RevokeReason): void {
    task.lostClaim = { fence, ended: ENDED[reason] };
    this.#observer.onRevoke(task, fence, reason);
  }

  /** The task that a claim of one starts. */
  #next({ lane, queues }: ClaimRequest): Task | undefined {
    if (queues === undefined) return this.#queues.nextReady(lane)?.first();
    for (const name of queues) {
      const queue = this.#queues.find(name);
      const task = queue?.isOpen === true ? queue.ready[lane].first() : undefined;
      if (task !== undefined) return task;
    }
    return undefined;
  }

  /** The same as single claims, but it searches each list once: a search may pass over a thousand tasks. */
  #claimOfTypes(types: readonly string[], request: ClaimRequest, now: Instant): readonly Task[] {
    const { lane, queues, max } = request;
    const tasks: Task[] = [];
    const start = (task: Task): void => {
      this.#start(task, request, now);
      tasks.push(task);
    };
    if (queues !== undefined) {
      for (const name of new Set(queues)) {
        const queue = this.#queues.find(name);
        if (queue === undefined) continue;
        for (const task of queue.ready[lane].firstOf(types, max - tasks.length)) {
          if (queue.isOpen) start(task);
        }
      }
      return tasks;
    }
    // Lists that gave a task come again after all others; one that has none of these types does not come again.
    const lists = Array.from(this.#queues.readyLists(lane), (list) => ({
      list,
      found: null as Task[] | null,
    }));
    for (const turn of lists) {
      if (tasks.length === max) break;
      turn.found ??= [...turn.list.firstOf(types, max - tasks.length)].reverse();
      const task = turn.list.queue.isOpen ? turn.found.pop() : undefined;
      if (task === undefined) continue;
      this.#queues.tookTurn(turn.list);
      start(task);
      lists.push(turn);
    }
    return tasks;
  }

  #start(task: Task, { leaseMs, worker }: ClaimRequest, now: Instant): void {
    this.#tasks.leave(task);
    task.attempt += 1;
    task.fence = this.#nextFence;
    this.#latest[task.fence & (LATEST_CLAIMS - 1)] = task;
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

/** Whether the claim with this fence holds the task. A late settle loses: the task has moved on, so the fence is another. */
function isHeldBy(task: Task, fence: number): boolean {
  return task.status === "running" && task.fence === fence;
}

/** How the claim with this fence ended, as far as the task remembers. */
function lostBy({ lostClaim, settledFence, receipt }: Task, fence: number): ClaimLost {
  if (lostClaim?.fence === fence) return { kind: "claim_lost", ended: lostClaim.ended };
  const isSettled = receipt !== null && settledFence === fence;
  return isSettled ? { kind: "claim_lost", ended: "settled" } : UNKNOWN_CLAIM;
}
