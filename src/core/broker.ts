/**
 * The broker: every rule of the queue in one deterministic state machine. It holds the tasks, says yes or no to new
 * ones, hands them out, and takes their outcomes. The diagram of a task's life is in task.ts.
 *
 * It never waits, never reads a clock and never draws a random number of its own: time and randomness are arguments,
 * so the same calls give the same history. What it decided it returns; what happened to a task it tells its observer.
 */

import { assert } from "./assert.ts";
import { backoffMs } from "./backoff.ts";
import type { Instant, Random } from "./instant.ts";
import { type KeyRecord, KeyRegister, type Receipt } from "./key-register.ts";
import type { Lane } from "./line.ts";
import type {
  CancelOutcome,
  EnqueueOutcome,
  IdempotencyKey,
  Outcome,
  PauseOutcome,
  RetryOutcome,
  RevokeReason,
} from "./outcomes.ts";
import { type ListFilter, pageOf, type TaskPage } from "./page.ts";
import type { Queue, QueueLimits } from "./queue.ts";
import { QueueRegister } from "./queue-register.ts";
import { Retention } from "./retention.ts";
import { Schedule } from "./schedule.ts";
import { ERRORS_KEPT, isFinished, type NewTask, STEPS, Task, type TaskStatus } from "./task.ts";
import { Timeline } from "./timeline.ts";

export interface BrokerLimits {
  readonly queue: QueueLimits;
  /** The queues with limits of their own, by name. */
  readonly queues: ReadonlyMap<string, QueueLimits>;
  readonly queuesMax: number;
  readonly retainTasks: number;
  readonly retainBytes: number;
  readonly retainMs: number;
}

/** Hears what happens to tasks, at once and in order. It must not call back into the broker. */
export interface BrokerObserver {
  /** A task took a step; `from` is null for one that has just entered. */
  onStep(task: Task, from: TaskStatus | null): void;
  /** A running attempt lost its lease: whoever runs it should stop, and its outcome no longer counts. */
  onRevoke(task: Task, fence: number, reason: RevokeReason): void;
}

/** How many due tasks one tick moves. The rest follows in the next, after the event loop had its turn. */
export const TICK_MAX = 4096;

export class Broker {
  readonly #observer: BrokerObserver;
  readonly #byId = new Map<string, Task>();
  readonly #timeline = new Timeline();
  readonly #queues: QueueRegister;
  readonly #keys: KeyRegister;
  readonly #retention: Retention;
  readonly #schedule = new Schedule();
  #lastSeq = 0;

  constructor(limits: BrokerLimits, observer: BrokerObserver) {
    this.#observer = observer;
    this.#queues = new QueueRegister({
      queue: limits.queue,
      queues: limits.queues,
      queuesMax: limits.queuesMax,
      idleMs: limits.retainMs,
    });
    this.#keys = new KeyRegister({ idsMax: limits.retainTasks, retainMs: limits.retainMs });
    this.#retention = new Retention({
      tasks: limits.retainTasks,
      bytes: limits.retainBytes,
      ageMs: limits.retainMs,
    });
  }

  /** Takes all of these tasks, or none. */
  enqueue(fresh: readonly NewTask[], now: Instant, idempotency?: IdempotencyKey): EnqueueOutcome {
    if (idempotency !== undefined) {
      const known = this.#keys.find(idempotency.key);
      if (known !== undefined) {
        if (known.fingerprint !== idempotency.fingerprint) return { kind: "key_reused" };
        return { kind: "repeated", receipts: known.receipts };
      }
    }
    const refusal = this.#queues.refusalOf(fresh);
    if (refusal !== null) return refusal;

    const receipts: readonly Receipt[] = fresh.map(({ id, when }) => ({
      id,
      status: when.kind === "now" ? "queued" : "scheduled",
    }));
    const key =
      idempotency === undefined
        ? null
        : this.#keys.add(idempotency.key, idempotency.fingerprint, receipts);
    for (const each of fresh) this.#admit(each, key, now);
    return { kind: "accepted", receipts };
  }

  /** Hands out the task of this lane whose turn it is, if there is one. Its attempt number is the fence for settling it. */
  claim(lane: Lane, now: Instant): Task | undefined {
    const line = this.#queues.takeTurn(lane);
    if (line === undefined) return undefined;
    const task = line.first();
    assert(task !== undefined, "a line that takes a turn has a task to give");
    this.#leave(task);
    task.attempt += 1;
    task.startedAtMs = now.wallMs;
    task.dueAtMs = now.monoMs + task.timeoutMs;
    task.progress = null;
    this.#enter(task, "running", now);
    return task;
  }

  /** Takes the outcome of an attempt. Says false, and changes nothing, when the attempt no longer holds the task. */
  settle(task: Task, fence: number, outcome: Outcome, now: Instant, random: Random): boolean {
    // A late settle loses: the lease moved on, so the fence no longer matches.
    if (task.status !== "running" || task.attempt !== fence) return false;
    switch (outcome.kind) {
      case "done":
        this.#leave(task);
        task.result = outcome.result;
        this.#enter(task, "done", now);
        break;
      case "failed":
        this.#fail(task, outcome, now, random);
        break;
      case "interrupted":
        this.#leave(task);
        task.home.totals.interrupted += 1;
        this.#enterAtFront(task, now);
        break;
      default:
        outcome satisfies never;
    }
    this.#forgetWhatIsOver(now.monoMs);
    return true;
  }

  cancel(id: string, now: Instant): CancelOutcome {
    const task = this.#byId.get(id);
    if (task === undefined) return { kind: "unknown" };
    if (isFinished(task.status)) return { kind: "finished", task };
    this.#cancel(task, now);
    this.#forgetWhatIsOver(now.monoMs);
    return { kind: "cancelled", task };
  }

  /** Queues a failed or cancelled task again, with all its retries, as an operator asked. */
  retry(id: string, now: Instant): RetryOutcome {
    const task = this.#byId.get(id);
    if (task === undefined) return { kind: "unknown" };
    if (task.status !== "failed" && task.status !== "cancelled")
      return { kind: "not_retryable", task };
    const refusal = this.#queues.refusalOf([task]);
    if (refusal !== null) return refusal;
    this.#leave(task);
    task.failures = 0;
    task.runAtMs = null;
    task.finishedAtMs = null;
    if (task.key !== null) this.#keys.resumed(task.key);
    this.#enter(task, "queued", now);
    return { kind: "queued", task };
  }

  /** Notes how far a running attempt is. Says false, and changes nothing, when it no longer holds the task. */
  noteProgress(task: Task, fence: number, progress: string): boolean {
    if (task.status !== "running" || task.attempt !== fence) return false;
    task.progress = progress;
    return true;
  }

  /** Stops or resumes claiming from a queue. A paused queue is in use, so there must be room for that. */
  setPaused(name: string, isPaused: boolean, now: Instant): PauseOutcome {
    const queue = this.#queues.find(name);
    if (queue === undefined) return { kind: "unknown" };
    if (isPaused && !this.#queues.mayBeInUse(queue)) {
      return { kind: "refused", bound: "queues_max", queue: name };
    }
    queue.isPaused = isPaused;
    this.#queues.changed(queue, now.monoMs);
    return { kind: "set", queue };
  }

  /** Cancels everything that waits in a queue, and says how many that were; undefined when there is no such queue. */
  purge(name: string, now: Instant): number | undefined {
    const queue = this.#queues.find(name);
    if (queue === undefined) return undefined;
    const waiting = [...this.#timeline.newestFirst(Number.POSITIVE_INFINITY)].filter(
      (task) => task.home === queue && task.status !== "running" && !isFinished(task.status),
    );
    for (const task of waiting.reverse()) this.#cancel(task, now);
    this.#forgetWhatIsOver(now.monoMs);
    return waiting.length;
  }

  /** Does what is due by now: up to {@link TICK_MAX} tasks start to wait for their turn or lose their lease. */
  tick(now: Instant, random: Random): void {
    for (let left = TICK_MAX; left > 0; left -= 1) {
      const task = this.#schedule.due(now);
      if (task === undefined) break;
      if (task.status === "running") this.#expireLease(task, now, random);
      else this.#becomeQueued(task, now);
    }
    this.#forgetWhatIsOver(now.monoMs);
    this.#keys.expire(now.monoMs);
    this.#queues.expire(now.monoMs);
  }

  /**
   * Whether anything runs, or could start within `ms`. A task that waits in a paused queue can not; one that is due there
   * in time counts until it is due.
   */
  hasWorkWithin(ms: number, now: Instant): boolean {
    if (this.#queues.hasTurns) return true;
    // Leases are scheduled as well: whatever runs counts as work, however long its lease is.
    if (this.#schedule.msToNext(now) <= ms) return true;
    for (const queue of this.#queues.all()) if (queue.counts.running > 0) return true;
    return false;
  }

  /** How long from now the next tick has something to do, in milliseconds; Infinity when nothing is ever due. */
  msToNextDue(now: Instant): number {
    const expiryMs = Math.min(
      this.#retention.nextExpiryMs(),
      this.#keys.nextExpiryMs(),
      this.#queues.nextExpiryMs(),
    );
    return Math.max(0, Math.min(this.#schedule.msToNext(now), expiryMs - now.monoMs));
  }

  /** Whether a task waits for the wall clock, which may jump. */
  get followsWallClock(): boolean {
    return this.#schedule.followsWallClock;
  }

  find(id: string): Task | undefined {
    return this.#byId.get(id);
  }

  /** Newest first, from the newest task whose number is below `beforeSeq`. */
  list(filter: ListFilter, limit: number, beforeSeq: number): TaskPage {
    return pageOf(this.#timeline.newestFirst(beforeSeq), filter, limit);
  }

  findQueue(name: string): Queue | undefined {
    return this.#queues.find(name);
  }

  queues(): Iterable<Queue> {
    return this.#queues.all();
  }

  /** Throws when the broker contradicts itself. O(n): for tests. */
  check(): void {
    this.#timeline.check();
    this.#queues.check();
    this.#retention.check();
    this.#schedule.check();
    assert(this.#timeline.size === this.#byId.size, "the timeline holds every known task");
    const seen = { scheduled: 0, finished: 0 };
    const known = new Map<Queue, number>();
    for (const task of this.#byId.values()) {
      assert(this.#queues.find(task.queue) === task.home, "a known task's queue is known");
      known.set(task.home, (known.get(task.home) ?? 0) + 1);
      if (isFinished(task.status)) seen.finished += 1;
      else if (task.status !== "queued") seen.scheduled += 1;
      assert(
        isFinished(task.status) === (task.finishedAtMs !== null),
        "exactly the finished tasks have an end",
      );
      assert(task.failures <= task.maxRetries + 1, "no task fails more often than it may");
    }
    assert(seen.scheduled === this.#schedule.size, "what is delayed or runs is in the schedule");
    assert(seen.finished === this.#retention.size, "what is finished is in retention");
    for (const queue of this.#queues.all())
      assert(queue.known === (known.get(queue) ?? 0), "a queue counts its tasks");
  }

  #admit(fresh: NewTask, key: KeyRecord | null, now: Instant): void {
    const home = this.#queues.findOrMake(fresh.queue);
    this.#lastSeq += 1;
    const task = new Task(fresh, this.#lastSeq, home, key, now.wallMs);
    this.#byId.set(task.id, task);
    this.#timeline.append(task);
    home.totals.enqueued += 1;
    const { when } = fresh;
    switch (when.kind) {
      case "now":
        this.#enter(task, "queued", now, null);
        break;
      case "after":
        task.dueAtMs = now.monoMs + when.delayMs;
        task.runAtMs = now.wallMs + when.delayMs;
        this.#enter(task, "scheduled", now, null);
        break;
      case "at":
        task.dueAtMs = when.wallMs;
        task.runAtMs = when.wallMs;
        task.isDueByWall = true;
        this.#enter(task, "scheduled", now, null);
        break;
      default:
        when satisfies never;
    }
  }

  #fail(
    task: Task,
    { code, message, retry }: Outcome & { kind: "failed" },
    now: Instant,
    random: Random,
  ): void {
    this.#leave(task);
    const error = { code, message, attempt: task.attempt, atMs: now.wallMs };
    task.errors = [...task.errors.slice(1 - ERRORS_KEPT), error];
    task.failures += 1;
    if (retry.kind === "never" || task.failures > task.maxRetries) {
      this.#enter(task, "failed", now);
      return;
    }
    // The delay counts from now, when the failure is known, not from when the attempt started.
    const delayMs =
      retry.kind === "after" ? retry.ms : backoffMs(task.backoff, task.failures - 1, random);
    task.dueAtMs = now.monoMs + delayMs;
    task.runAtMs = now.wallMs + delayMs;
    task.home.totals.retried += 1;
    this.#enter(task, "retrying", now);
  }

  #expireLease(task: Task, now: Instant, random: Random): void {
    const fence = task.attempt;
    const message = `the attempt took longer than ${task.timeoutMs} ms`;
    this.#fail(
      task,
      { kind: "failed", code: "timeout", message, retry: { kind: "backoff" } },
      now,
      random,
    );
    this.#observer.onRevoke(task, fence, "timeout");
  }

  #becomeQueued(task: Task, now: Instant): void {
    this.#leave(task);
    this.#enter(task, "queued", now);
  }

  #cancel(task: Task, now: Instant): void {
    const isRunning = task.status === "running";
    this.#leave(task);
    this.#enter(task, "cancelled", now);
    if (isRunning) this.#observer.onRevoke(task, task.attempt, "cancelled");
  }

  /** Takes a task out of the one structure that its status puts it in. The other half of a step is {@link #enter}. */
  #leave(task: Task): void {
    const { status, home } = task;
    switch (status) {
      case "queued":
        home.lines[task.lane].remove(task);
        break;
      case "scheduled":
      case "retrying":
      case "running":
        this.#schedule.remove(task);
        task.isDueByWall = false;
        break;
      case "done":
      case "failed":
      case "cancelled":
        this.#retention.remove(task);
        break;
      default:
        status satisfies never;
    }
    home.countOut(task, status);
  }

  /** Puts a task into the structure that its new status asks for, and tells. Its times are set by the caller. */
  #enter(
    task: Task,
    status: TaskStatus,
    now: Instant,
    from: TaskStatus | null = task.status,
  ): void {
    assert(from === null || STEPS[from].includes(status), "a task only takes a step that exists");
    const { home } = task;
    task.status = status;
    home.countIn(task, status);
    switch (status) {
      case "queued":
        task.queuedSinceMs = now.monoMs;
        home.lines[task.lane].pushBack(task);
        break;
      case "scheduled":
      case "retrying":
      case "running":
        this.#schedule.add(task);
        break;
      case "done":
      case "failed":
      case "cancelled":
        home.totals[status] += 1;
        task.finishedAtMs = now.wallMs;
        this.#retention.add(task, now.monoMs);
        if (task.key !== null) this.#keys.finished(task.key, now.monoMs);
        break;
      default:
        status satisfies never;
    }
    this.#queues.changed(home, now.monoMs);
    this.#observer.onStep(task, from);
  }

  /** The one step that keeps a task's turn: an interrupted attempt was ahead of all who wait. */
  #enterAtFront(task: Task, now: Instant): void {
    const { home } = task;
    task.status = "queued";
    task.queuedSinceMs = now.monoMs;
    home.countIn(task, "queued");
    home.lines[task.lane].pushFront(task);
    this.#queues.changed(home, now.monoMs);
    this.#observer.onStep(task, "running");
  }

  #forgetWhatIsOver(nowMs: number): void {
    for (
      let task = this.#retention.nextToForget(nowMs);
      task !== undefined;
      task = this.#retention.nextToForget(nowMs)
    ) {
      this.#leave(task);
      this.#byId.delete(task.id);
      this.#timeline.remove(task);
      this.#queues.changed(task.home, nowMs);
    }
  }
}
