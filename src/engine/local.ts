/**
 * The engine in memory: the core, one clock and one timer. It decides nothing about tasks; it brings the core time,
 * randomness and ids, and carries what the core says to those who wait for it.
 */

import type { Backoff } from "../core/backoff.ts";
import { Broker, type BrokerLimits, type BrokerObserver } from "../core/broker.ts";
import type { Instant, Random } from "../core/instant.ts";
import { LANES, type Lane } from "../core/line.ts";
import type { Outcome, RevokeReason } from "../core/outcomes.ts";
import type { Queue } from "../core/queue.ts";
import {
  isFinished,
  type NewTask,
  type Task,
  type TaskStatus,
  type TaskView,
  type When,
} from "../core/task.ts";
import { type Log, silentLog } from "../log.ts";
import { type Clock, systemClock } from "./clock.ts";
import type {
  CancelAnswer,
  Claim,
  Engine,
  EngineRemains,
  EngineWorker,
  EnqueueAnswer,
  EnqueueRequest,
  ListAnswer,
  ListRequest,
  PauseAnswer,
  QueueReport,
  RequestFault,
  RetryAnswer,
  TypeRules,
} from "./engine.ts";
import { encodePayload } from "./payload.ts";

export interface LocalEngineOptions {
  readonly limits: BrokerLimits;
  readonly defaults: TaskDefaults;
  /** The types with rules of their own. */
  readonly types?: ReadonlyMap<string, TypeRules>;
  readonly log?: Log;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** What a task gets that does not say otherwise. */
export interface TaskDefaults {
  readonly maxRetries: number;
  readonly timeoutMs: number;
  readonly backoff: Backoff;
}

/** A jump of the wall clock is noticed within this time. */
const WALL_CLOCK_CHECK_MS = 1000;

const TYPE_DEFAULT = "default";

const QUEUE_DEFAULT = "default";

const NO_RULES: TypeRules = {};

const NOW: When = { kind: "now" };

export class LocalEngine implements Engine, BrokerObserver {
  readonly #broker: Broker;
  readonly #defaults: TaskDefaults;
  readonly #types: ReadonlyMap<string, TypeRules>;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #random: Random;
  /** Those who wait for a task to finish, by its id. */
  readonly #waiters = new Map<string, Set<() => void>>();
  readonly #workers: Partial<Record<Lane, EngineWorker>> = {};
  #isAccepting = true;
  #isDrained = false;
  #finishedWhileStopping = 0;
  /** When the armed timer fires, in monotonic milliseconds; Infinity when none is armed. */
  #armedForMs = Number.POSITIVE_INFINITY;
  #disarm: (() => void) | null = null;
  #drain: { readonly deadlineMs: number; readonly end: () => void } | null = null;

  constructor({
    limits,
    defaults,
    types = new Map(),
    log = silentLog,
    clock = systemClock,
    random = Math.random,
  }: LocalEngineOptions) {
    this.#broker = new Broker(limits, this);
    this.#defaults = defaults;
    this.#types = types;
    this.#log = log;
    this.#clock = clock;
    this.#random = random;
  }

  get isAccepting(): boolean {
    return this.#isAccepting;
  }

  enqueue(requests: readonly EnqueueRequest[], idempotencyKey?: string): EnqueueAnswer {
    if (!this.#isAccepting) return { kind: "stopping" };
    const now = this.#clock.now();
    const fresh: NewTask[] = [];
    const faults: RequestFault[] = [];
    for (const [index, request] of requests.entries()) {
      const rules = this.#types.get(request.type ?? TYPE_DEFAULT) ?? NO_RULES;
      const encoded = encodePayload(request.payload);
      const wrong = encoded.kind === "invalid" ? [encoded] : (rules.check?.(request.payload) ?? []);
      for (const { path, message } of wrong) faults.push({ index, path, message });
      if (encoded.kind === "encoded")
        fresh.push(this.#newTask(request, rules, encoded, now.wallMs));
    }
    if (faults.length > 0) return { kind: "invalid", faults };

    const key =
      idempotencyKey === undefined
        ? undefined
        : { key: idempotencyKey, fingerprint: fingerprintOf(requests) };
    const outcome = this.#broker.enqueue(fresh, now, key);
    switch (outcome.kind) {
      case "accepted":
        this.#arm(now);
        return { kind: "accepted", receipts: outcome.receipts };
      case "repeated":
      case "key_reused":
      case "refused":
        return outcome;
      default:
        return outcome satisfies never;
    }
  }

  find(id: string): TaskView | undefined {
    return this.#broker.find(id);
  }

  findFinished(id: string, waitMs: number, signal: AbortSignal): Promise<TaskView | undefined> {
    const task = this.#broker.find(id);
    if (
      task === undefined ||
      isFinished(task.status) ||
      waitMs <= 0 ||
      signal.aborted ||
      this.#isDrained
    ) {
      return Promise.resolve(task);
    }
    return new Promise((resolve) => {
      const waiters = this.#waiters.get(id) ?? new Set();
      const forgetWaiters = (): void => {
        this.#waiters.delete(id);
      };
      const cancelTimer = this.#clock.after(waitMs, settle);
      // The task itself is answered, not a fresh look: with a small retention it may be forgotten by the next turn.
      function settle(): void {
        cancelTimer();
        signal.removeEventListener("abort", settle);
        waiters.delete(settle);
        if (waiters.size === 0) forgetWaiters();
        resolve(task);
      }
      signal.addEventListener("abort", settle);
      waiters.add(settle);
      this.#waiters.set(id, waiters);
    });
  }

  list({ status, queue, type, limit, cursor }: ListRequest): ListAnswer {
    const beforeSeq = cursor === undefined ? Number.POSITIVE_INFINITY : seqOfCursor(cursor);
    if (beforeSeq === null) return { kind: "invalid_cursor" };
    const { tasks, nextBeforeSeq } = this.#broker.list({ status, queue, type }, limit, beforeSeq);
    return {
      kind: "page",
      tasks,
      nextCursor: nextBeforeSeq === null ? null : cursorOfSeq(nextBeforeSeq),
    };
  }

  cancel(id: string): CancelAnswer {
    const now = this.#clock.now();
    const outcome = this.#broker.cancel(id, now);
    this.#arm(now);
    return outcome;
  }

  retry(id: string): RetryAnswer {
    if (!this.#isAccepting) return { kind: "stopping" };
    return this.#broker.retry(id, this.#clock.now());
  }

  queues(): readonly QueueReport[] {
    return Array.from(this.#broker.queues(), (queue) => this.#report(queue));
  }

  queue(name: string): QueueReport | undefined {
    const queue = this.#broker.findQueue(name);
    return queue === undefined ? undefined : this.#report(queue);
  }

  setPaused(name: string, isPaused: boolean): PauseAnswer {
    const now = this.#clock.now();
    const outcome = this.#broker.setPaused(name, isPaused, now);
    if (outcome.kind !== "set") return outcome;
    // A resumed queue without tasks is to be forgotten some time.
    this.#arm(now);
    // What waited behind the pause took no step just now, so the workers have not heard of it.
    if (!isPaused) this.#callWorkers(outcome.queue);
    this.#endDrainIfDry();
    return { kind: "set", queue: this.#report(outcome.queue) };
  }

  purge(name: string): number | undefined {
    const now = this.#clock.now();
    const purged = this.#broker.purge(name, now);
    this.#arm(now);
    return purged;
  }

  attach(lane: Lane, worker: EngineWorker): void {
    this.#workers[lane] = worker;
  }

  claim(lane: Lane): Claim | undefined {
    const now = this.#clock.now();
    const task = this.#broker.claim(lane, now);
    if (task === undefined) return undefined;
    this.#arm(now);
    return { task, fence: task.attempt };
  }

  settle({ task: { id }, fence }: Claim, outcome: Outcome): void {
    const task = this.#broker.find(id);
    if (task === undefined) return;
    const now = this.#clock.now();
    this.#broker.settle(task, fence, outcome, now, this.#random);
    this.#arm(now);
  }

  noteProgress({ task: { id }, fence }: Claim, progress: string): void {
    const task = this.#broker.find(id);
    if (task !== undefined) this.#broker.noteProgress(task, fence, progress);
  }

  stopIntake(): void {
    this.#isAccepting = false;
  }

  drain(graceMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancelTimer = this.#clock.after(graceMs, () => this.#drain?.end());
      const end = (): void => {
        cancelTimer();
        this.#drain = null;
        this.#answerPolls();
        resolve();
      };
      this.#drain = { deadlineMs: this.#clock.now().monoMs + graceMs, end };
      this.#endDrainIfDry();
    });
  }

  close(): Promise<EngineRemains> {
    this.#isAccepting = false;
    this.#drain?.end();
    this.#answerPolls();
    this.#disarm?.();
    // A worker may still settle what it has in hand, but nothing is due any more.
    this.#armedForMs = Number.NEGATIVE_INFINITY;
    let unfinished = 0;
    for (const queue of this.#broker.queues()) unfinished += queue.load;
    return Promise.resolve({
      finishedWhileStopping: this.#finishedWhileStopping,
      unfinished,
      areLost: true,
    });
  }

  onStep(task: Task, from: TaskStatus | null): void {
    if (this.#log.isDebug || task.status === "failed") this.#logStep(task, from);
    if (task.status === "queued") {
      if (task.home.isOpen) this.#workers[task.lane]?.onReady(1);
    } else if (isFinished(task.status)) {
      if (!this.#isAccepting) this.#finishedWhileStopping += 1;
      const waiters = this.#waiters.get(task.id);
      if (waiters !== undefined) for (const settle of [...waiters]) settle();
    }
    // A queue that was at its limit of running tasks has a place again.
    if (from === "running" && task.home.limits.concurrency !== Number.POSITIVE_INFINITY) {
      this.#callWorkers(task.home);
    }
    // The step is not over yet: the core may not be asked before the turn is.
    if (this.#drain !== null) queueMicrotask(() => this.#endDrainIfDry());
  }

  onRevoke(task: Task, fence: number, reason: RevokeReason): void {
    this.#workers[task.lane]?.onRevoke(task.id, fence, reason);
  }

  #newTask(
    request: EnqueueRequest,
    rules: TypeRules,
    { text, bytes }: { readonly text: string; readonly bytes: number },
    wallMs: number,
  ): NewTask {
    return {
      id: Bun.randomUUIDv7(),
      type: request.type ?? TYPE_DEFAULT,
      queue: request.queue ?? rules.queue ?? QUEUE_DEFAULT,
      payload: text,
      payloadBytes: bytes,
      priority: request.priority ?? 0,
      maxRetries: request.maxRetries ?? rules.maxRetries ?? this.#defaults.maxRetries,
      timeoutMs: request.timeoutMs ?? rules.timeoutMs ?? this.#defaults.timeoutMs,
      lane: rules.lane ?? "loop",
      backoff: rules.backoff ?? this.#defaults.backoff,
      when: whenOf(request, wallMs),
    };
  }

  /** Lets the workers know of what is lined up in a queue that has just opened. */
  #callWorkers({ isOpen, lines }: Queue): void {
    if (!isOpen) return;
    for (const lane of LANES) {
      const { size } = lines[lane];
      if (size > 0) this.#workers[lane]?.onReady(size);
    }
  }

  #logStep({ id, type, queue, status, attempt, errors }: Task, from: TaskStatus | null): void {
    const code = status === "failed" || status === "retrying" ? errors.at(-1)?.code : undefined;
    const event = from === null ? "task_enqueued" : `task_${status}`;
    this.#log[status === "failed" ? "warn" : "debug"](event, { id, type, queue, attempt, code });
  }

  #report(queue: Queue): QueueReport {
    const sinceMs = queue.oldestQueuedSinceMs();
    const { name, isPaused, limits, counts, waiting, waitingBytes, totals } = queue;
    const oldestQueuedMs = sinceMs === null ? null : this.#clock.now().monoMs - sinceMs;
    return { name, isPaused, limits, counts, waiting, waitingBytes, totals, oldestQueuedMs };
  }

  #tick(): void {
    this.#disarm = null;
    this.#armedForMs = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    this.#broker.tick(now, this.#random);
    this.#arm(now);
  }

  /** Makes the timer fire when the core next has something to do. A timer that fires too early costs one empty tick. */
  #arm(now: Instant): void {
    let delayMs = this.#broker.msToNextDue(now);
    if (this.#broker.followsWallClock) delayMs = Math.min(delayMs, WALL_CLOCK_CHECK_MS);
    const atMs = now.monoMs + delayMs;
    if (atMs >= this.#armedForMs) return;
    this.#disarm?.();
    this.#armedForMs = atMs;
    this.#disarm = this.#clock.after(delayMs, () => this.#tick());
  }

  /** From now on nobody waits for a task to finish. */
  #answerPolls(): void {
    this.#isDrained = true;
    for (const waiters of [...this.#waiters.values()]) for (const settle of [...waiters]) settle();
  }

  #endDrainIfDry(): void {
    if (this.#drain === null) return;
    const now = this.#clock.now();
    if (!this.#broker.hasWorkWithin(this.#drain.deadlineMs - now.monoMs, now)) this.#drain.end();
  }
}

function whenOf({ delayMs, runAtMs }: EnqueueRequest, wallMs: number): When {
  if (runAtMs !== undefined) return runAtMs > wallMs ? { kind: "at", wallMs: runAtMs } : NOW;
  return delayMs !== undefined && delayMs > 0 ? { kind: "after", delayMs } : NOW;
}

/** The same requests give the same fingerprint, in whatever order a client writes the fields of a task. */
function fingerprintOf(requests: readonly EnqueueRequest[]): string {
  const hasher = new Bun.CryptoHasher("sha256");
  for (const {
    payload,
    type,
    queue,
    priority,
    maxRetries,
    timeoutMs,
    delayMs,
    runAtMs,
  } of requests) {
    hasher.update(
      JSON.stringify([payload, type, queue, priority, maxRetries, timeoutMs, delayMs, runAtMs]),
    );
    hasher.update("\n");
  }
  return hasher.digest("base64");
}

function cursorOfSeq(seq: number): string {
  return seq.toString(36);
}

function seqOfCursor(cursor: string): number | null {
  return /^[0-9a-z]{1,10}$/.test(cursor) ? Number.parseInt(cursor, 36) : null;
}
