/**
 * What a broker must do, told a second time as plainly as can be: every task in one array, everything else counted anew
 * from it whenever it is asked for. It is slow on purpose and takes nothing from src/core but types. Where the two
 * disagree, one of them has a defect.
 */

import type { BrokerLimits } from "../../src/core/broker.ts";
import type { Receipt } from "../../src/core/idempotency.ts";
import type { Instant, Random } from "../../src/core/instant.ts";
import type { IdempotencyKey, Outcome, Refusal, Retry } from "../../src/core/outcomes.ts";
import type { QueueLimits } from "../../src/core/queue.ts";
import type { Lane } from "../../src/core/ready-list.ts";
import type { NewTask, TaskStatus } from "../../src/core/task.ts";
import {
  bytesOf,
  drop,
  isFinished,
  isWaiting,
  keepIf,
  keptBytes,
  least,
  type ModelKey,
  type ModelQueue,
  type ModelReservation,
  type ModelTask,
} from "./model-state.ts";

export type ModelEnqueue =
  | { readonly kind: "accepted" | "reserved" | "repeated"; readonly receipts: readonly Receipt[] }
  | { readonly kind: "key_reused" }
  | Refusal;

const ERRORS_KEPT = 5;
const CRASHES_MAX = 3;

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
  readonly turns: Record<Lane, ModelQueue[]> = { loop: [], thread: [] };
  /** What an observer must have heard, in threes: id, from, to for a step; id, fence, reason for a revocation. */
  readonly heard: (string | number | null)[] = [];
  #seq = 0;
  /** Counts up by one for everything that has an order. */
  #rank = 0;

  constructor(limits: BrokerLimits) {
    this.#limits = limits;
  }

  find(id: string): ModelTask | undefined {
    return this.tasks.find((task) => task.fresh.id === id);
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
      task.home.totals.enqueued += 1;
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
      const { home } = task;
      if (home.totals.enqueued === 0 && !home.isPaused && !this.#hasTasks(home)) {
        drop(this.queues, (queue) => queue === home);
      }
      this.#lineUp(now);
    }
    this.reservations.shift();
  }

  /**
   * The process ends here and another one takes back what was written down: what was published, by its numbers. What ran
   * was interrupted; what that happened to too often fails.
   */
  restart(now: Instant): void {
    this.reservations.length = 0;
    const lastSeqs = this.keys.map(({ lastSeq }) => lastSeq);
    const paused = this.queues.filter(({ isPaused }) => isPaused).map(({ name }) => name);
    const names = new Set([...paused, ...this.tasks.map(({ home }) => home.name)]);
    this.queues.length = 0;
    this.turns.loop.length = 0;
    this.turns.thread.length = 0;
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

  claim(lane: Lane, now: Instant): ModelTask | undefined {
    const home = this.turns[lane].shift();
    if (home === undefined) return undefined;
    this.turns[lane].push(home);
    const task = this.nextOf(home, lane);
    if (task === undefined) throw new Error("the model let a queue without tasks take a turn");
    task.attempt += 1;
    task.startedAtMs = now.wallMs;
    task.progress = null;
    this.#step(task, "running", now);
    task.dueMonoMs = now.monoMs + task.fresh.timeoutMs;
    return task;
  }

  /**
   * The queued task of this queue and lane that is next: the highest priority, or the one that is given, and within it
   * the smallest rank.
   */
  nextOf(home: ModelQueue, lane: Lane, priority?: number): ModelTask | undefined {
    return least(
      this.tasks,
      (task) =>
        task.status === "queued" &&
        task.home === home &&
        task.fresh.lane === lane &&
        task.fresh.priority === (priority ?? task.fresh.priority),
      (a, b) =>
        a.fresh.priority > b.fresh.priority ||
        (a.fresh.priority === b.fresh.priority && a.rank < b.rank),
    );
  }

  settle(task: ModelTask, fence: number, outcome: Outcome, now: Instant, random: Random): boolean {
    if (task.status !== "running" || task.attempt !== fence) return false;
    if (outcome.kind === "done") {
      task.result = outcome.result;
      this.#step(task, "done", now);
    } else if (outcome.kind === "failed") {
      this.#fail(task, outcome.code, outcome.message, outcome.retry, now, random);
    } else {
      task.home.totals.interrupted += 1;
      const behind = this.nextOf(task.home, task.fresh.lane, task.fresh.priority);
      this.#step(task, "queued", now);
      // Ahead of everyone: each rank that was given out is smaller than the next one.
      task.rank = -task.rank;
      if (behind !== undefined) task.queuedSinceMs = behind.queuedSinceMs;
    }
    this.#forgetTasks(now);
    return true;
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
    task.crashes = 0;
    task.runAtMs = null;
    task.finishedAtMs = null;
    if (task.key !== null && this.keys.includes(task.key)) {
      task.key.unfinished.push(id);
      task.key.forgetAtMs = Number.POSITIVE_INFINITY;
      task.key.finishedAtMs = null;
    }
    this.#step(task, "queued", now);
    return "queued";
  }

  noteProgress(task: ModelTask, fence: number, progress: string): boolean {
    if (task.status !== "running" || task.attempt !== fence) return false;
    task.progress = progress;
    return true;
  }

  setPaused(name: string, isPaused: boolean, now: Instant): "unknown" | "set" | Refusal {
    const queue = this.queueNamed(name);
    if (queue === undefined) return "unknown";
    if (isPaused && !this.#isInUse(queue) && this.#inUse() >= this.#limits.queuesMax) {
      const limit = this.#limits.queuesMax;
      return { kind: "refused", bound: "queues_max", queue: name, limit };
    }
    queue.isPaused = isPaused;
    this.#lineUp(now);
    return "set";
  }

  purge(name: string, now: Instant): number | undefined {
    const queue = this.queueNamed(name);
    if (queue === undefined) return undefined;
    const waiting = this.tasks.filter((task) => task.home === queue && isWaiting(task));
    for (const task of waiting) this.#cancel(task, now);
    this.#forgetTasks(now);
    return waiting.length;
  }

  tick(now: Instant, random: Random): void {
    for (let task = this.#due(now); task !== undefined; task = this.#due(now)) {
      if (task.status !== "running") this.#step(task, "queued", now);
      else {
        const fence = task.attempt;
        const message = `the attempt took longer than ${task.fresh.timeoutMs} ms`;
        this.#fail(task, "timeout", message, { kind: "backoff" }, now, random);
        this.heard.push(task.fresh.id, fence, "timeout");
      }
    }
    this.#forgetTasks(now);
    drop(this.keys, (key) => key.forgetAtMs <= now.monoMs);
    drop(this.queues, (queue) => queue.idleSinceMs + this.#limits.retainMs <= now.monoMs);
  }

  hasWorkWithin(ms: number, now: Instant): boolean {
    return this.tasks.some((task) => {
      if (task.status === "running") return true;
      if (task.status === "queued") return !task.home.isPaused;
      return task.dueMonoMs - now.monoMs <= ms || task.dueWallMs - now.wallMs <= ms;
    });
  }

  msToNextDue(now: Instant): number {
    const { retainMs } = this.#limits;
    let atMs = Number.POSITIVE_INFINITY;
    let wallMs = Number.POSITIVE_INFINITY;
    for (const task of this.tasks) {
      atMs = Math.min(atMs, task.dueMonoMs);
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
      home: this.queueNamed(fresh.queue) ?? this.#makeQueue(fresh.queue),
      key,
      enqueuedAtMs: now.wallMs,
      status: "queued",
      attempt: 0,
      failures: 0,
      crashes: 0,
      runAtMs: null,
      startedAtMs: null,
      finishedAtMs: null,
      result: null,
      progress: null,
      errors: [],
      dueMonoMs: Number.POSITIVE_INFINITY,
      dueWallMs: Number.POSITIVE_INFINITY,
      rank: 0,
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
    const home = this.queueNamed(task.fresh.queue);
    if (home === undefined) throw new Error("the model lost a queue");
    task.home = home;
    if (task.status === "running") {
      task.crashes += 1;
      task.dueMonoMs = Number.POSITIVE_INFINITY;
      task.status = "queued";
      if (task.crashes === CRASHES_MAX) {
        task.status = "failed";
        task.finishedAtMs = now.wallMs;
        const message = `the process ended ${CRASHES_MAX} times while the task ran`;
        this.#addError(task, "crash_loop", message, now);
      }
      this.heard.push(task.fresh.id, "running", task.status);
    }
    if (task.status === "queued") {
      this.#rank += 1;
      task.rank = this.#rank;
      task.queuedSinceMs = now.monoMs;
    }
    if (task.dueMonoMs !== Number.POSITIVE_INFINITY) {
      task.dueMonoMs = now.monoMs + (task.runAtMs ?? 0) - now.wallMs;
    }
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
    task.dueMonoMs = Number.POSITIVE_INFINITY;
    task.dueWallMs = Number.POSITIVE_INFINITY;
    if (to === "queued") {
      task.rank = this.#rank;
      task.queuedSinceMs = now.monoMs;
    } else if (to === "done" || to === "failed" || to === "cancelled") {
      task.home.totals[to] += 1;
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
    task.failures += 1;
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
    task.home.totals.retried += 1;
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
    if (wasRunning) this.heard.push(task.fresh.id, task.attempt, "cancelled");
  }

  /** What is due by now: first by the monotonic clock, then by the wall clock, earliest and then oldest first. */
  #due(now: Instant): ModelTask | undefined {
    return (
      least(
        this.tasks,
        (task) => task.dueMonoMs <= now.monoMs,
        (a, b) => a.dueMonoMs < b.dueMonoMs || (a.dueMonoMs === b.dueMonoMs && a.seq < b.seq),
      ) ??
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
        .filter((task) => task.home.name === name)
        .map((task) => task.fresh);
      const queue = this.queueNamed(name);
      const isInUse = queue !== undefined && this.#isInUse(queue);
      const limits = this.#limitsOf(name);
      const refused = (bound: Refusal["bound"], limit: number): Refusal => ({
        kind: "refused",
        bound,
        queue: name,
        limit,
      });
      if (!isInUse && this.#inUse() + comingIntoUse + 1 > this.#limits.queuesMax)
        return refused("queues_max", this.#limits.queuesMax);
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
    return [...this.tasks, ...this.reserved()].some(({ home }) => home === queue);
  }

  #inUse(): number {
    return this.queues.filter((queue) => this.#isInUse(queue)).length;
  }

  #isInUse(queue: ModelQueue): boolean {
    return (
      queue.isPaused ||
      this.tasks.some((task) => task.home === queue && !isFinished(task)) ||
      this.reservations.some(({ tasks }) => tasks.some(({ home }) => home === queue))
    );
  }

  /** After every change: which queues stand in line for a turn, and which are idle. */
  #lineUp(now: Instant): void {
    for (const queue of this.queues) {
      let known = 0;
      let running = 0;
      let forLoop = 0;
      let forThread = 0;
      for (const task of this.tasks) {
        if (task.home !== queue) continue;
        known += 1;
        if (task.status === "running") running += 1;
        if (task.status !== "queued") continue;
        if (task.fresh.lane === "loop") forLoop += 1;
        else forThread += 1;
      }
      const isOpen = !queue.isPaused && running < queue.limits.concurrency;
      keepIf(isOpen && forLoop > 0, queue, this.turns.loop);
      keepIf(isOpen && forThread > 0, queue, this.turns.thread);
      for (const { tasks } of this.reservations) {
        for (const { home } of tasks) if (home === queue) known += 1;
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
