/**
 * What a broker must do, told a second time as plainly as can be: every task in one array, everything else counted anew
 * from it whenever it is asked for. It is slow on purpose and takes nothing from src/core but types. Where the two
 * disagree, one of them has a defect.
 */

import type { BrokerLimits } from "../../src/core/broker.ts";
import type { Receipt } from "../../src/core/idempotency.ts";
import type { Instant, Random } from "../../src/core/instant.ts";
import type { Lane } from "../../src/core/lane.ts";
import type {
  AttemptOutcome,
  ClaimLost,
  ClaimRequest,
  ExtendOutcome,
  IdempotencyKey,
  Refusal,
  Retry,
  RevokeReason,
  SettleOutcome,
} from "../../src/core/outcomes.ts";
import type { QueueLimits } from "../../src/core/queue.ts";
import type { TaskStatus } from "../../src/core/status.ts";
import type { LostClaim, NewTask, SettleReceipt } from "../../src/core/task.ts";
import {
  bytesOf,
  drop,
  isFinished,
  isWaiting,
  keepIf,
  keptBytes,
  least,
  type ModelKey,
  type ModelLease,
  type ModelQueue,
  type ModelReservation,
  type ModelTask,
} from "./model-state.ts";
import type { ClaimOf } from "./operation.ts";

export type ModelEnqueue =
  | { readonly kind: "accepted" | "reserved" | "repeated"; readonly receipts: readonly Receipt[] }
  | { readonly kind: "key_reused" }
  | Refusal;

const ERRORS_KEPT = 5;
const LOSSES_MAX = 3;

/** So many tasks of a queue are looked at when a claim names types. */
const SEARCHED_MAX = 1000;

/** By queue, the tasks that one claim looks at for their types. */
type LookedAt = Map<ModelQueue, readonly ModelTask[]>;

/** A worker gets so much time to come back after the process was away, or less when its lease is shorter. */
const LATE_MS = 10_000;

/** Every kind of mark: the tally asks that each is made. */
export const MARKS = [
  "restart: a remote claim goes on",
  "restart: a lease goes on at its length, since the wall clock was set back",
  "restart: the timeout of a remote claim is over",
  "restart: a wait goes on at its length, since the wall clock was set back",
  "claim: passes over a task of another type",
  "claim: nothing of its types among the tasks it looks at",
  "claim: the last task that it looks at",
  "claim: passes over a queue without its types",
  "claim: nothing of its types, while others wait",
  "claim: nothing in its queues, while others have tasks",
  "settle: after the end of its lease",
  "settle: after its timeout",
  "settle: while the storage is away",
  "settle: a failure ends a row of losses",
  "release: before another released task",
  "release: behind another released task",
  "release: into a full queue",
  "extend: to an earlier end",
  "extend: up to the timeout",
  "extend: after the end of its lease",
  "extend: after its timeout",
  "extend: while the storage is away",
  "storage: is away while a lease has ended",
  "storage: is away while a timeout is over",
  "storage: is away while a tick does something else",
  "storage: comes back when a lease has ended",
  "stall: a lease has ended meanwhile",
  "stall: a timeout is over meanwhile",
  "tick: gives a lease more time",
  "tick: gives a lease more time, up to the timeout",
  "tick: ends a lease to the very millisecond",
  "tick: the end of a lease is the timeout",
  "tick: a lease and after it the timeout have ended",
  "tick: a second lease in a row is lost",
  "tick: a third lease in a row is lost",
] as const;

type Mark = (typeof MARKS)[number];

export class Model {
  readonly #limits: BrokerLimits;
  /** Every known task, in the order of arrival. */
  readonly tasks: ModelTask[] = [];
  /** Every known queue, in the order of coming into being. */
  readonly queues: ModelQueue[] = [];
  readonly keys: ModelKey[] = [];
  /** In the order in which they were made. */
  readonly reservations: ModelReservation[] = [];
  /** The queues with something to claim in this lane: the one that waits longest for its turn first. */
  readonly turns: Record<Lane, ModelQueue[]> = { loop: [], thread: [], remote: [] };
  /** What an observer must have heard, in threes: id, from, to for a step; id, fence, reason for a revocation. */
  readonly heard: (string | number | null)[] = [];
  /** What happened that neither an answer nor an observer tells, for the tally. */
  readonly marks: Mark[] = [];
  #seq = 0;
  /** Counts up by one for everything that has an order. */
  #rank = 0;
  #nextFence: number;
  /** Since when the process can be reached again. */
  #backSinceMs = Number.NEGATIVE_INFINITY;
  /** Whether the storage is away. */
  isRemoteSuspended = false;

  constructor(limits: BrokerLimits, firstFence: number) {
    this.#limits = limits;
    this.#nextFence = firstFence;
  }

  find(id: string): ModelTask | undefined {
    return this.tasks.find((task) => task.fresh.id === id);
  }

  /** The fence of a claim, by its number; 0 when there was none. */
  fenceOf({ id, claim, of = id }: ClaimOf): number {
    return this.find(of)?.fences[claim - 1] ?? 0;
  }

  enqueue(fresh: readonly NewTask[], now: Instant, asked?: IdempotencyKey): ModelEnqueue {
    const outcome = this.reserve(fresh, now, asked);
    if (outcome.kind !== "reserved") return outcome;
    this.publish(now);
    return { kind: "accepted", receipts: outcome.receipts };
  }

  /** Whether an operation keeps to what a broker asks of those who reserve. */
  mayEnqueue(isReserve: boolean, asked: IdempotencyKey | undefined): boolean {
    if (isReserve)
      return !this.reservations.some(({ key }) => key !== null && key.name === asked?.key);
    return this.reservations.length === 0;
  }

  reserve(fresh: readonly NewTask[], now: Instant, asked?: IdempotencyKey): ModelEnqueue {
    const known = this.keys.find(({ name }) => name === asked?.key);
    if (known !== undefined) {
      if (known.fingerprint !== asked?.fingerprint) return { kind: "key_reused" };
      return { kind: "repeated", receipts: known.receipts };
    }
    const refusal = this.#refusalOf(fresh);
    if (refusal !== null) return refusal;
    const receipts: Receipt[] = fresh.map(({ id, when }) => ({
      id,
      status: when.kind === "now" ? "queued" : "scheduled",
    }));
    const key = asked === undefined ? null : newKey(asked, receipts, this.#seq);
    this.reservations.push({ tasks: fresh.map((each) => this.#make(each, key, now)), key });
    this.#lineUp(now);
    return { kind: "reserved", receipts };
  }

  /** Shows what was reserved first. */
  publish(now: Instant): void {
    const [reservation] = this.reservations;
    if (reservation === undefined) return;
    const { tasks, key } = reservation;
    if (key !== null) this.keys.push(key);
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) {
      const { dueMonoMs, dueWallMs } = task;
      this.tasks.push(task);
      task.queue.totals.enqueued += 1;
      this.#step(task, task.fresh.when.kind === "now" ? "queued" : "scheduled", now, null);
      task.dueMonoMs = dueMonoMs;
      task.dueWallMs = dueWallMs;
    }
    this.reservations.shift();
  }

  /** Gives back what was reserved first, task by task. A queue that never had a task goes with its last one. */
  withdraw(now: Instant): void {
    const [reservation] = this.reservations;
    if (reservation === undefined) return;
    const { tasks } = reservation;
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) {
      const { queue } = task;
      if (queue.totals.enqueued === 0 && !queue.isPaused && !this.#hasTasks(queue)) {
        drop(this.queues, (each) => each === queue);
      }
      this.#lineUp(now);
    }
    this.reservations.shift();
  }

  /**
   * The process ends here and another one takes back what was written down: what was published, by its numbers. What ran
   * in the process has lost an attempt, and fails for it the third time; what ran elsewhere goes on.
   */
  restart(firstFence: number, now: Instant): void {
    this.#nextFence = firstFence;
    this.isRemoteSuspended = false;
    this.#backSinceMs = now.monoMs;
    this.reservations.length = 0;
    const lastSeqs = this.keys.map(({ lastSeq }) => lastSeq);
    const paused = this.queues.filter(({ isPaused }) => isPaused).map(({ name }) => name);
    const names = new Set([...paused, ...this.tasks.map(({ queue }) => queue.name)]);
    this.queues.length = 0;
    this.turns.loop.length = 0;
    this.turns.thread.length = 0;
    this.turns.remote.length = 0;
    for (const name of names) this.#makeQueue(name).isPaused = paused.includes(name);
    for (const task of this.tasks) this.#takeBack(task, now);
    const finished = this.tasks.filter(isFinished);
    for (const task of byEnd(finished, now)) {
      this.#rank += 1;
      task.finishRank = this.#rank;
      task.finishedMonoMs = now.monoMs - ageOf(task.finishedAtMs, now);
    }
    for (const key of this.keys) {
      const isOpen = (id: string) =>
        this.tasks.some((task) => task.fresh.id === id && !isFinished(task));
      key.unfinished = key.receipts.map(({ id }) => id).filter(isOpen);
    }
    for (const key of byEnd(
      this.keys.filter(({ unfinished }) => unfinished.length === 0),
      now,
    )) {
      this.#rank += 1;
      key.finishRank = this.#rank;
      key.finishedAtMs ??= now.wallMs;
      key.forgetAtMs = now.monoMs - ageOf(key.finishedAtMs, now) + this.#limits.retainMs;
    }
    this.#forgetSurplusKeys();
    // The numbers of a key's tasks are not given again, although the key may have outlived them.
    this.#seq = Math.max(this.tasks.at(-1)?.seq ?? 0, ...lastSeqs);
    this.#lineUp(now);
    this.#forgetTasks(now);
  }

  /** A claim of several tasks is as many claims of one, but together they look at so many tasks of a queue only. */
  claim(request: ClaimRequest, now: Instant): ModelTask[] {
    const claimed: ModelTask[] = [];
    const lookedAt: LookedAt = new Map();
    while (claimed.length < request.max) {
      const task = this.#takeNext(request, lookedAt);
      if (task === undefined) break;
      this.#start(task, request, now);
      claimed.push(task);
    }
    return claimed;
  }

  /**
   * The next task of this queue and lane, of one of these types if any are named: the highest priority, within it
   * released ones first, and then the smallest order. Only so many tasks are looked at for their types.
   */
  nextOf(
    queue: ModelQueue,
    lane: Lane,
    types?: readonly string[],
    lookedAt: LookedAt = new Map(),
  ): ModelTask | undefined {
    const isReady = (task: ModelTask) =>
      task.status === "queued" && task.queue === queue && task.fresh.lane === lane;
    if (types === undefined) return least(this.tasks, isReady, isAhead);
    const isWanted = (task: ModelTask) => types.includes(task.fresh.type);
    const ready = this.tasks.filter(isReady).sort((a, b) => (isAhead(a, b) ? -1 : 1));
    const looked = lookedAt.get(queue) ?? ready.slice(0, SEARCHED_MAX);
    lookedAt.set(queue, looked);
    const found = ready.find((task) => isWanted(task) && looked.includes(task));
    this.#markIf(
      found === undefined && ready.some(isWanted),
      "claim: nothing of its types among the tasks it looks at",
    );
    this.#markIf(
      looked.length === SEARCHED_MAX && found === looked.at(-1),
      "claim: the last task that it looks at",
    );
    return found;
  }

  settle(
    id: string,
    fence: number,
    outcome: AttemptOutcome,
    now: Instant,
    random: Random,
  ): SettleOutcome {
    const task = this.find(id);
    if (task === undefined || !holds(task, fence)) {
      if (task?.settledFence === fence && task.receipt?.outcome === outcome.kind) {
        return { kind: "repeated", receipt: task.receipt };
      }
      return lost(task, fence);
    }
    this.#markTaken(task, "settle", now);
    if (outcome.kind === "done") {
      task.result = outcome.result;
      this.#step(task, "done", now);
    } else if (outcome.kind === "failed") {
      this.#fail(task, outcome.code, outcome.message, outcome.retry, now, random);
    } else {
      this.#release(task, outcome.delayMs ?? 0, now);
    }
    const { status } = task;
    const runAtMs = status === "retrying" ? task.runAtMs : null;
    const receipt: SettleReceipt = { outcome: outcome.kind, status, runAtMs };
    task.settledFence = fence;
    task.receipt = receipt;
    this.#forgetTasks(now);
    return { kind: "settled", receipt };
  }

  /** Only remote claims are extended. */
  extend(id: string, fence: number, leaseMs: number, now: Instant): ExtendOutcome {
    const task = this.find(id);
    if (task === undefined || !holds(task, fence) || task.lease === null) return lost(task, fence);
    this.#markTaken(task, "extend", now);
    const beforeMs = task.lease.endsMonoMs;
    this.#endLease(task, task.lease, Math.min(now.monoMs + leaseMs, task.lease.timeoutMonoMs), now);
    task.lease.lengthMs = leaseMs;
    this.#markIf(task.lease.endsMonoMs < beforeMs, "extend: to an earlier end");
    this.#markIf(task.lease.endsMonoMs === task.lease.timeoutMonoMs, "extend: up to the timeout");
    const { endsMonoMs, endsWallMs } = task.lease;
    // Less than nothing would be left of one whose timeout could not be noticed while the storage was away.
    const leaseLeftMs = Math.max(0, endsMonoMs - now.monoMs);
    return { kind: "extended", leaseMs: leaseLeftMs, leaseEndsAtMs: endsWallMs };
  }

  noteProgress(id: string, fence: number, progress: string): ClaimLost | null {
    const task = this.find(id);
    if (task === undefined || !holds(task, fence)) return lost(task, fence);
    task.progress = progress;
    return null;
  }

  /**
   * Nobody could reach the process for a while: whoever holds a lease gets time to come back. It is shown with its own end
   * until that has come.
   */
  allowLateLeases(now: Instant): void {
    this.#backSinceMs = now.monoMs;
    const ends = this.#endsBy(now);
    this.#markIf(ends.lease, "stall: a lease has ended meanwhile");
    this.#markIf(ends.timeout, "stall: a timeout is over meanwhile");
  }

  /** The storage is away: until it is back no remote claim ends by itself. */
  suspendRemote(): void {
    this.isRemoteSuspended = true;
  }

  resumeRemote(now: Instant): void {
    this.isRemoteSuspended = false;
    this.#backSinceMs = now.monoMs;
    this.#markIf(this.#endsBy(now).lease, "storage: comes back when a lease has ended");
  }

  cancel(id: string, now: Instant): "unknown" | "finished" | "cancelled" {
    const task = this.find(id);
    if (task === undefined) return "unknown";
    if (isFinished(task)) return "finished";
    this.#cancel(task, now);
    this.#forgetTasks(now);
    return "cancelled";
  }

  retry(id: string, now: Instant): "unknown" | "not_retryable" | "queued" | Refusal {
    const task = this.find(id);
    if (task === undefined) return "unknown";
    if (task.status !== "failed" && task.status !== "cancelled") return "not_retryable";
    const refusal = this.#refusalOf([task.fresh]);
    if (refusal !== null) return refusal;
    task.failures = 0;
    task.losses = 0;
    task.runAtMs = null;
    task.finishedAtMs = null;
    if (task.key !== null && this.keys.includes(task.key)) {
      task.key.unfinished.push(id);
      task.key.forgetAtMs = Number.POSITIVE_INFINITY;
      task.key.finishedAtMs = null;
    }
    this.#step(task, "queued", now);
    this.#forgetTasks(now);
    return "queued";
  }

  setPaused(name: string, isPaused: boolean, now: Instant): "unknown" | "set" | Refusal {
    const queue = this.queueNamed(name);
    if (queue === undefined) return "unknown";
    if (isPaused && !this.#isInUse(queue) && this.#inUse() >= this.#limits.queuesMax) {
      return { kind: "refused", bound: "queues_max", limit: this.#limits.queuesMax, queue: name };
    }
    queue.isPaused = isPaused;
    this.#lineUp(now);
    return "set";
  }

  purge(name: string, now: Instant): number | undefined {
    const queue = this.queueNamed(name);
    if (queue === undefined) return undefined;
    const waiting = this.tasks.filter((task) => task.queue === queue && isWaiting(task));
    for (const task of waiting) this.#cancel(task, now);
    this.#forgetTasks(now);
    return waiting.length;
  }

  tick(now: Instant, random: Random): void {
    if (this.isRemoteSuspended) {
      const ends = this.#endsBy(now);
      this.#markIf(ends.lease, "storage: is away while a lease has ended");
      this.#markIf(ends.timeout, "storage: is away while a timeout is over");
      const isAnyDue = this.#due(now) !== undefined;
      this.#markIf(isAnyDue, "storage: is away while a tick does something else");
    }
    for (let task = this.#due(now); task !== undefined; task = this.#due(now)) {
      if (task.status !== "running") this.#step(task, "queued", now);
      else if (task.lease !== null && task.lease.timeoutMonoMs > now.monoMs) {
        const lateMs = this.#backSinceMs + Math.min(LATE_MS, task.lease.lengthMs);
        const { endsMonoMs, timeoutMonoMs } = task.lease;
        if (lateMs <= now.monoMs) {
          this.#markIf(endsMonoMs === now.monoMs, "tick: ends a lease to the very millisecond");
          this.#lose(task, now);
        } else {
          const isUpToTimeout = lateMs >= timeoutMonoMs;
          this.#markIf(!isUpToTimeout, "tick: gives a lease more time");
          this.#markIf(isUpToTimeout, "tick: gives a lease more time, up to the timeout");
          this.#endLease(task, task.lease, Math.min(lateMs, timeoutMonoMs), now);
        }
      } else {
        if (task.lease !== null) {
          const isOneEnd = task.lease.endsMonoMs === task.lease.timeoutMonoMs;
          this.#markIf(isOneEnd, "tick: the end of a lease is the timeout");
          this.#markIf(!isOneEnd, "tick: a lease and after it the timeout have ended");
        }
        // Also when the lease has ended as well, now or before: both end at this tick, and the timeout is the reason.
        const message = `the attempt took longer than ${task.fresh.timeoutMs} ms`;
        this.#fail(task, "timeout", message, { kind: "backoff" }, now, random);
        this.#revoke(task, "timeout", "timeout");
      }
    }
    this.#forgetTasks(now);
    drop(this.keys, (key) => key.forgetAtMs <= now.monoMs);
    drop(this.queues, (queue) => queue.idleSinceMs + this.#limits.retainMs <= now.monoMs);
  }

  hasWorkWithin(ms: number, now: Instant): boolean {
    return this.tasks.some((task) => {
      if (task.status === "running") return true;
      if (task.status === "queued") return !task.queue.isPaused;
      return task.dueMonoMs - now.monoMs <= ms || task.dueWallMs - now.wallMs <= ms;
    });
  }

  msToNextDue(now: Instant): number {
    const { retainMs } = this.#limits;
    let atMs = Number.POSITIVE_INFINITY;
    let wallMs = Number.POSITIVE_INFINITY;
    for (const task of this.tasks) {
      if (!this.#isHeldUp(task)) atMs = Math.min(atMs, task.dueMonoMs);
      wallMs = Math.min(wallMs, task.dueWallMs);
      if (isFinished(task)) atMs = Math.min(atMs, task.finishedMonoMs + retainMs);
    }
    for (const key of this.keys) atMs = Math.min(atMs, key.forgetAtMs);
    for (const queue of this.queues) atMs = Math.min(atMs, queue.idleSinceMs + retainMs);
    return Math.max(0, Math.min(atMs - now.monoMs, wallMs - now.wallMs));
  }

  followsWallClock(): boolean {
    return this.tasks.some((task) => task.dueWallMs !== Number.POSITIVE_INFINITY);
  }

  queueNamed(name: string): ModelQueue | undefined {
    return this.queues.find((queue) => queue.name === name);
  }

  #make(fresh: NewTask, key: ModelKey | null, now: Instant): ModelTask {
    const { when } = fresh;
    this.#seq += 1;
    const task: ModelTask = {
      fresh,
      seq: this.#seq,
      queue: this.queueNamed(fresh.queue) ?? this.#makeQueue(fresh.queue),
      key,
      enqueuedAtMs: now.wallMs,
      status: "queued",
      attempt: 0,
      failures: 0,
      losses: 0,
      runAtMs: null,
      startedAtMs: null,
      finishedAtMs: null,
      result: null,
      progress: null,
      errors: [],
      dueMonoMs: Number.POSITIVE_INFINITY,
      dueWallMs: Number.POSITIVE_INFINITY,
      order: 0,
      isReleased: false,
      fences: [],
      fence: 0,
      lease: null,
      settledFence: 0,
      receipt: null,
      lostClaim: null,
      queuedSinceMs: 0,
      finishRank: 0,
      finishedMonoMs: 0,
    };
    if (when.kind === "after") {
      task.dueMonoMs = now.monoMs + when.delayMs;
      task.runAtMs = now.wallMs + when.delayMs;
    } else if (when.kind === "at") {
      task.dueWallMs = when.wallMs;
      task.runAtMs = when.wallMs;
    }
    return task;
  }

  #takeBack(task: ModelTask, now: Instant): void {
    const queue = this.queueNamed(task.fresh.queue);
    if (queue === undefined) throw new Error("the model lost a queue");
    task.queue = queue;
    task.isReleased = false;
    task.lostClaim = null;
    if (task.lease === null) task.fence = 0;
    if (task.lease !== null) this.#takeBackLease(task, task.lease, now);
    else if (task.status === "running") {
      task.losses += 1;
      task.dueMonoMs = Number.POSITIVE_INFINITY;
      task.status = "queued";
      if (task.losses === LOSSES_MAX) {
        task.status = "failed";
        task.finishedAtMs = now.wallMs;
        const message = `the attempt was lost ${LOSSES_MAX} times in a row, the last time when the process ended`;
        this.#addError(task, "crash_loop", message, now);
      }
      this.heard.push(task.fresh.id, "running", task.status);
    }
    this.#rank += 1;
    task.order = this.#rank;
    if (task.status === "queued") task.queuedSinceMs = now.monoMs;
    if (task.dueMonoMs !== Number.POSITIVE_INFINITY && task.status !== "running") {
      this.#takeBackWait(task, now);
    }
  }

  /**
   * A lease goes on with what the wall clock leaves of it, at most its length, and so does its timeout. That it does not
   * end soon after the start is seen to when it is about to.
   */
  #takeBackLease(
    task: ModelTask,
    { lengthMs, endsWallMs, worker }: ModelLease,
    now: Instant,
  ): void {
    const { timeoutMs } = task.fresh;
    const ranMs = now.wallMs - (task.startedAtMs ?? 0);
    const timeoutLeftMs = Math.min(Math.max(timeoutMs - ranMs, 0), timeoutMs);
    this.#markIf(true, "restart: a remote claim goes on");
    this.#markIf(
      endsWallMs - now.wallMs > lengthMs && timeoutLeftMs > lengthMs,
      "restart: a lease goes on at its length, since the wall clock was set back",
    );
    this.#markIf(timeoutLeftMs === 0, "restart: the timeout of a remote claim is over");
    const leftMs = Math.min(Math.max(endsWallMs - now.wallMs, 0), lengthMs);
    const timeoutMonoMs = now.monoMs + timeoutLeftMs;
    task.lease = { lengthMs, endsMonoMs: 0, endsWallMs: 0, timeoutMonoMs, worker };
    this.#endLease(task, task.lease, now.monoMs + Math.min(leftMs, timeoutLeftMs), now);
  }

  /** A wait goes on with what the wall clock leaves of it, at most its length. */
  #takeBackWait(task: ModelTask, now: Instant): void {
    const runAtMs = task.runAtMs ?? 0;
    const lastError = task.errors.at(-1);
    const attemptEndedAtMs =
      lastError?.attempt === task.attempt ? lastError.atMs : (task.startedAtMs ?? 0);
    const setAtMs = task.status === "scheduled" ? task.enqueuedAtMs : attemptEndedAtMs;
    let leftMs = runAtMs - now.wallMs;
    if (runAtMs >= setAtMs && leftMs > runAtMs - setAtMs) {
      leftMs = runAtMs - setAtMs;
      task.runAtMs = now.wallMs + leftMs;
      this.#markIf(
        leftMs > 0,
        "restart: a wait goes on at its length, since the wall clock was set back",
      );
    }
    task.dueMonoMs = now.monoMs + leftMs;
  }

  #makeQueue(name: string): ModelQueue {
    const queue = {
      name,
      limits: this.#limitsOf(name),
      totals: { enqueued: 0, done: 0, failed: 0, cancelled: 0, retried: 0, interrupted: 0 },
      isPaused: false,
      idleSinceMs: Number.POSITIVE_INFINITY,
      idleRank: 0,
    };
    this.queues.push(queue);
    return queue;
  }

  #limitsOf(name: string): QueueLimits {
    return this.#limits.queues.get(name) ?? this.#limits.queue;
  }

  /** Every change of status goes through here. */
  #step(
    task: ModelTask,
    to: TaskStatus,
    now: Instant,
    from: TaskStatus | null = task.status,
  ): void {
    this.#rank += 1;
    task.status = to;
    task.lease = null;
    task.isReleased = false;
    task.dueMonoMs = Number.POSITIVE_INFINITY;
    task.dueWallMs = Number.POSITIVE_INFINITY;
    if (to === "queued") {
      task.order = this.#rank;
      task.queuedSinceMs = now.monoMs;
    } else if (to === "done" || to === "failed" || to === "cancelled") {
      task.queue.totals[to] += 1;
      task.finishedAtMs = now.wallMs;
      task.finishedMonoMs = now.monoMs;
      task.finishRank = this.#rank;
      this.#finishKey(task, now);
    }
    this.heard.push(task.fresh.id, from, to);
    this.#lineUp(now);
  }

  #fail(
    task: ModelTask,
    code: string,
    message: string,
    retry: Retry,
    now: Instant,
    random: Random,
  ): void {
    this.#addError(task, code, message, now);
    this.#markIf(task.losses > 0, "settle: a failure ends a row of losses");
    task.failures += 1;
    task.losses = 0;
    if (retry.kind === "never" || task.failures === task.fresh.maxRetries + 1) {
      this.#step(task, "failed", now);
      return;
    }
    const { baseMs, jitterMs, maxMs } = task.fresh.backoff;
    const doubled = baseMs * 2 ** (task.failures - 1);
    const delayMs =
      retry.kind === "after"
        ? retry.ms
        : Math.min(maxMs, doubled + Math.floor(random() * (jitterMs + 1)));
    task.queue.totals.retried += 1;
    this.#step(task, "retrying", now);
    task.dueMonoMs = now.monoMs + delayMs;
    task.runAtMs = now.wallMs + delayMs;
  }

  #addError(task: ModelTask, code: string, message: string, now: Instant): void {
    task.errors.push({ code, message, attempt: task.attempt, atMs: now.wallMs });
    if (task.errors.length > ERRORS_KEPT) task.errors.shift();
  }

  #cancel(task: ModelTask, now: Instant): void {
    const wasRunning = task.status === "running";
    this.#step(task, "cancelled", now);
    if (wasRunning) this.#revoke(task, "cancelled", "cancelled");
  }

  /** A claim that was not settled has lost its task. */
  #revoke(task: ModelTask, reason: RevokeReason, ended: LostClaim["ended"]): void {
    task.lostClaim = { fence: task.fence, ended };
    this.heard.push(task.fresh.id, task.fence, reason);
  }

  /** Takes the task out of the turns: the queue that is next, or the first of those that are named. */
  #takeNext({ lane, queues, types }: ClaimRequest, lookedAt: LookedAt): ModelTask | undefined {
    const turns = this.turns[lane];
    if (queues === undefined) {
      for (const queue of turns) {
        const task = this.nextOf(queue, lane, types, lookedAt);
        if (task === undefined) {
          this.#markIf(true, "claim: passes over a queue without its types");
          continue;
        }
        this.#markPassedOver(task, lane);
        turns.splice(turns.indexOf(queue), 1);
        turns.push(queue);
        return task;
      }
      this.#markIf(turns.length > 0, "claim: nothing of its types, while others wait");
      return undefined;
    }
    for (const name of queues) {
      const queue = turns.find((each) => each.name === name);
      const task = queue === undefined ? undefined : this.nextOf(queue, lane, types, lookedAt);
      if (task === undefined) continue;
      this.#markPassedOver(task, lane);
      return task;
    }
    this.#markIf(turns.length > 0, "claim: nothing in its queues, while others have tasks");
    return undefined;
  }

  #markPassedOver(task: ModelTask, lane: Lane): void {
    const isFirst = this.nextOf(task.queue, lane) === task;
    this.#markIf(!isFirst, "claim: passes over a task of another type");
  }

  #start(task: ModelTask, { leaseMs = 0, worker }: ClaimRequest, now: Instant): void {
    task.attempt += 1;
    task.startedAtMs = now.wallMs;
    task.progress = null;
    task.fence = this.#nextFence;
    task.fences.push(task.fence);
    this.#nextFence += 1;
    this.#step(task, "running", now);
    const timeoutMonoMs = now.monoMs + task.fresh.timeoutMs;
    task.dueMonoMs = timeoutMonoMs;
    if (task.fresh.lane !== "remote") return;
    task.lease = {
      lengthMs: leaseMs,
      endsMonoMs: 0,
      endsWallMs: 0,
      timeoutMonoMs,
      worker: worker ?? null,
    };
    this.#endLease(task, task.lease, Math.min(now.monoMs + leaseMs, timeoutMonoMs), now);
  }

  #endLease(task: ModelTask, lease: ModelLease, endsMonoMs: number, now: Instant): void {
    lease.endsMonoMs = endsMonoMs;
    lease.endsWallMs = now.wallMs + endsMonoMs - now.monoMs;
    task.dueMonoMs = endsMonoMs;
  }

  /** An attempt ends through no fault of its own: its task goes back to its old place, or after a delay to the end. */
  #release(task: ModelTask, delayMs: number, now: Instant): void {
    const { order, fresh, queue } = task;
    queue.totals.interrupted += 1;
    if (delayMs > 0) {
      this.#step(task, "retrying", now);
      task.dueMonoMs = now.monoMs + delayMs;
      task.runAtMs = now.wallMs + delayMs;
      return;
    }
    this.#step(task, "queued", now);
    task.order = order;
    task.isReleased = true;
    const behind = least(
      this.tasks,
      (other) =>
        other.status === "queued" &&
        other.queue === queue &&
        other.fresh.lane === fresh.lane &&
        other.fresh.priority === fresh.priority &&
        isAhead(task, other),
      isAhead,
    );
    // The longest-waiting task is always one that is ahead.
    this.#markIf(behind?.isReleased === true, "release: before another released task");
    this.#markIf(
      this.tasks.some((other) => other.isReleased && other.queue === queue && isAhead(other, task)),
      "release: behind another released task",
    );
    const waiting = this.tasks.filter((other) => other.queue === queue && isWaiting(other)).length;
    this.#markIf(waiting > queue.limits.size, "release: into a full queue");
    if (behind !== undefined) task.queuedSinceMs = Math.min(now.monoMs, behind.queuedSinceMs);
  }

  /** A lease has ended: the attempt is lost, and one time too many fails the task. */
  #lose(task: ModelTask, now: Instant): void {
    task.losses += 1;
    this.#markIf(task.losses === 2, "tick: a second lease in a row is lost");
    this.#markIf(task.losses === 3, "tick: a third lease in a row is lost");
    if (task.losses < LOSSES_MAX) this.#release(task, 0, now);
    else {
      const message = `the attempt was lost ${LOSSES_MAX} times in a row, the last time when its lease ended`;
      this.#addError(task, "lease_lost", message, now);
      this.#step(task, "failed", now);
    }
    this.#revoke(task, "lease_lost", "expired");
  }

  #markIf(isSo: boolean, mark: Mark): void {
    if (isSo) this.marks.push(mark);
  }

  /** A claim was in time although the clock says that it is over, or nobody could write what came of it. */
  #markTaken({ lease }: ModelTask, kind: "settle" | "extend", now: Instant): void {
    if (lease === null) return;
    const isLate = lease.endsMonoMs <= now.monoMs;
    this.#markIf(isLate, `${kind}: after the end of its lease`);
    this.#markIf(lease.timeoutMonoMs <= now.monoMs, `${kind}: after its timeout`);
    this.#markIf(this.isRemoteSuspended, `${kind}: while the storage is away`);
  }

  /** Whether the lease of a claim has ended by now, and whether the timeout of one is over. */
  #endsBy({ monoMs }: Instant): { readonly lease: boolean; readonly timeout: boolean } {
    const leases = this.tasks.flatMap(({ lease }) => lease ?? []);
    return {
      lease: leases.some((each) => each.endsMonoMs <= monoMs && each.timeoutMonoMs > monoMs),
      timeout: leases.some(({ timeoutMonoMs }) => timeoutMonoMs <= monoMs),
    };
  }

  /** Whether its claim does not end by itself now, whatever the clock says. */
  #isHeldUp({ lease }: ModelTask): boolean {
    return this.isRemoteSuspended && lease !== null;
  }

  /**
   * What is due by now: delays, retries and local timeouts, then remote claims, then what waits for the wall clock; of
   * each kind the earliest and then the oldest first.
   */
  #due(now: Instant): ModelTask | undefined {
    const firstDue = (isOfKind: (task: ModelTask) => boolean) =>
      least(
        this.tasks,
        (task) => task.dueMonoMs <= now.monoMs && isOfKind(task),
        (a, b) => a.dueMonoMs < b.dueMonoMs || (a.dueMonoMs === b.dueMonoMs && a.seq < b.seq),
      );
    return (
      firstDue(({ lease }) => lease === null) ??
      firstDue((task) => task.lease !== null && !this.#isHeldUp(task)) ??
      least(
        this.tasks,
        (task) => task.dueWallMs <= now.wallMs,
        (a, b) => a.dueWallMs < b.dueWallMs || (a.dueWallMs === b.dueWallMs && a.seq < b.seq),
      )
    );
  }

  #refusalOf(fresh: readonly NewTask[]): Refusal | null {
    let comingIntoUse = 0;
    for (const name of new Set(fresh.map(({ queue }) => queue))) {
      const share = fresh.filter(({ queue }) => queue === name);
      const waiting = [...this.tasks.filter(isWaiting), ...this.reserved()]
        .filter((task) => task.queue.name === name)
        .map((task) => task.fresh);
      const queue = this.queueNamed(name);
      const isInUse = queue !== undefined && this.#isInUse(queue);
      const limits = this.#limitsOf(name);
      const refused = (bound: Refusal["bound"], limit: number): Refusal => ({
        kind: "refused",
        bound,
        limit,
        queue: name,
      });
      const { queuesMax } = this.#limits;
      if (!isInUse && this.#inUse() + comingIntoUse + 1 > queuesMax)
        return refused("queues_max", queuesMax);
      if (waiting.length + share.length > limits.size) return refused("queue_size", limits.size);
      if (bytesOf(waiting) + bytesOf(share) > limits.bytes)
        return refused("queue_bytes", limits.bytes);
      if (!isInUse) comingIntoUse += 1;
    }
    return null;
  }

  /** The tasks that hold a place and are not to be seen. */
  reserved(): ModelTask[] {
    return this.reservations.flatMap(({ tasks }) => tasks);
  }

  #hasTasks(queue: ModelQueue): boolean {
    return [...this.tasks, ...this.reserved()].some((task) => task.queue === queue);
  }

  #inUse(): number {
    return this.queues.filter((queue) => this.#isInUse(queue)).length;
  }

  #isInUse(queue: ModelQueue): boolean {
    return (
      queue.isPaused ||
      this.tasks.some((task) => task.queue === queue && !isFinished(task)) ||
      this.reservations.some(({ tasks }) => tasks.some((task) => task.queue === queue))
    );
  }

  /** After every change: which queues stand in line for a turn, and which are idle. */
  #lineUp(now: Instant): void {
    for (const queue of this.queues) {
      let known = 0;
      let running = 0;
      let claims = 0;
      const ready: Record<Lane, number> = { loop: 0, thread: 0, remote: 0 };
      for (const task of this.tasks) {
        if (task.queue !== queue) continue;
        known += 1;
        if (task.status === "running") running += 1;
        if (task.status === "running" && task.fresh.lane === "remote") claims += 1;
        if (task.status === "queued") ready[task.fresh.lane] += 1;
      }
      const isOpen = !queue.isPaused && running < queue.limits.concurrency;
      keepIf(isOpen && ready.loop > 0, queue, this.turns.loop);
      keepIf(isOpen && ready.thread > 0, queue, this.turns.thread);
      const isOpenToRemote = isOpen && claims < queue.limits.claims;
      keepIf(isOpenToRemote && ready.remote > 0, queue, this.turns.remote);
      for (const { tasks } of this.reservations) {
        for (const task of tasks) if (task.queue === queue) known += 1;
      }
      const isIdle = known === 0 && !queue.isPaused;
      if (!isIdle) queue.idleSinceMs = Number.POSITIVE_INFINITY;
      else if (queue.idleSinceMs === Number.POSITIVE_INFINITY) {
        this.#rank += 1;
        queue.idleSinceMs = now.monoMs;
        queue.idleRank = this.#rank;
      }
    }
    this.#forgetSurplusQueues();
  }

  /** No more idle queues are kept than may be in use; the ones that are idle for longest go first. */
  #forgetSurplusQueues(): void {
    const idle = this.queues.filter((queue) => queue.idleSinceMs !== Number.POSITIVE_INFINITY);
    if (idle.length <= this.#limits.queuesMax) return;
    idle.sort((a, b) => a.idleRank - b.idleRank);
    const surplus = idle.slice(0, idle.length - this.#limits.queuesMax);
    drop(this.queues, (queue) => surplus.includes(queue));
  }

  /** Forgets finished tasks, the one that finished first before all others, while they are too many or too old. */
  #forgetTasks(now: Instant): void {
    const { retainTasks, retainBytes, retainMs } = this.#limits;
    for (;;) {
      const finished = this.tasks.filter(isFinished);
      const oldest = least(
        finished,
        () => true,
        (a, b) => a.finishRank < b.finishRank,
      );
      if (oldest === undefined) return;
      const bytes = finished.reduce((sum, task) => sum + keptBytes(task), 0);
      const isTooOld = oldest.finishedMonoMs + retainMs <= now.monoMs;
      if (finished.length <= retainTasks && bytes <= retainBytes && !isTooOld) return;
      drop(this.tasks, (task) => task === oldest);
      this.#lineUp(now);
    }
  }

  #finishKey({ key, fresh }: ModelTask, now: Instant): void {
    if (key === null || !this.keys.includes(key)) return;
    key.unfinished = key.unfinished.filter((id) => id !== fresh.id);
    if (key.unfinished.length > 0) return;
    key.finishRank = this.#rank;
    key.forgetAtMs = now.monoMs + this.#limits.retainMs;
    key.finishedAtMs = now.wallMs;
    this.#forgetSurplusKeys();
  }

  #forgetSurplusKeys(): void {
    // The keys of finished tasks may hold as many ids as finished tasks are kept.
    for (;;) {
      const finished = this.keys.filter(({ unfinished }) => unfinished.length === 0);
      const ids = finished.reduce((sum, { receipts }) => sum + receipts.length, 0);
      if (ids <= this.#limits.retainTasks) return;
      const oldest = least(
        finished,
        () => true,
        (a, b) => a.finishRank < b.finishRank,
      );
      drop(this.keys, (candidate) => candidate === oldest);
    }
  }
}

/** Whether the claim with this fence holds the task now. */
function holds(task: ModelTask, fence: number): boolean {
  return task.status === "running" && task.fence === fence;
}

/** How a claim ended that no longer holds its task, as far as that is remembered. */
function lost(task: ModelTask | undefined, fence: number): ClaimLost {
  if (task !== undefined && task.receipt !== null && task.settledFence === fence) {
    return { kind: "claim_lost", ended: "settled" };
  }
  const ended = task?.lostClaim?.fence === fence ? task.lostClaim.ended : "unknown";
  return { kind: "claim_lost", ended };
}

/** The order of the ready tasks of a queue and lane. */
function isAhead(a: ModelTask, b: ModelTask): boolean {
  if (a.fresh.priority !== b.fresh.priority) return a.fresh.priority > b.fresh.priority;
  if (a.isReleased !== b.isReleased) return a.isReleased;
  return a.order < b.order;
}

function newKey(
  { key, fingerprint }: IdempotencyKey,
  receipts: readonly Receipt[],
  seqBefore: number,
): ModelKey {
  return {
    name: key,
    fingerprint,
    receipts,
    unfinished: receipts.map(({ id }) => id),
    finishRank: 0,
    forgetAtMs: Number.POSITIVE_INFINITY,
    finishedAtMs: null,
    lastSeq: seqBefore + receipts.length,
  };
}

/** How long ago something ended by the wall clock; no less than nothing, should that have been set back. */
function ageOf(finishedAtMs: number | null, { wallMs }: Instant): number {
  return finishedAtMs === null ? 0 : Math.max(0, wallMs - finishedAtMs);
}

/** By when they ended on the wall clock, and as they were where that is the same. What ended without a time ends now. */
function byEnd<T extends { readonly finishedAtMs: number | null }>(all: T[], now: Instant): T[] {
  return all.sort((a, b) => (a.finishedAtMs ?? now.wallMs) - (b.finishedAtMs ?? now.wallMs));
}
