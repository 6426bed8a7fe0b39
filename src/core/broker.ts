/**
 * The broker: every rule of the queue in one deterministic state machine. It holds the tasks, says yes or no to new
 * ones, hands them out, and takes their outcomes. The diagram of a task's life is in task.ts.
 *
 * It never waits, never reads a clock and never draws a random number of its own: time and randomness are arguments,
 * so the same calls give the same history. What it decided it returns; what happened to a task it tells its observer.
 */

import { assert } from "./assert.ts";
import { backoffMs } from "./backoff.ts";
import { type IdempotencyKeys, type KeyRecord, newKey, type Receipt } from "./idempotency.ts";
import type { Instant, Random } from "./instant.ts";
import type {
  CancelOutcome,
  EnqueueOutcome,
  IdempotencyKey,
  Outcome,
  PauseOutcome,
  Reservation,
  ReserveOutcome,
  RetryOutcome,
  RevokeReason,
} from "./outcomes.ts";
import { type ListFilter, pageOf, type TaskPage } from "./page.ts";
import type { Queue } from "./queue.ts";
import type { QueueRegistry } from "./queue-registry.ts";
import { LANES, type Lane } from "./ready-list.ts";
import type { Schedule } from "./schedule.ts";
import type { Snapshot } from "./snapshot.ts";
import { isFinished, isWaiting, type NewTask, type Task } from "./task.ts";
import { type RegistryLimits, type RegistryObserver, TaskRegistry } from "./task-registry.ts";

export type BrokerLimits = RegistryLimits;

/** Hears what happens to tasks, at once and in order. It must not call back into the broker. */
export interface BrokerObserver extends RegistryObserver {
  /** A running attempt lost its lease: whoever runs it should stop, and its outcome no longer counts. */
  onRevoke(task: Task, fence: number, reason: RevokeReason): void;
}

/** How many due tasks one tick moves. The rest follows in the next, after the event loop had its turn. */
export const TICK_MAX = 4096;

export class Broker {
  readonly #observer: BrokerObserver;
  readonly #tasks: TaskRegistry;
  readonly #queues: QueueRegistry;
  readonly #keys: IdempotencyKeys;
  readonly #schedule: Schedule;

  constructor(limits: BrokerLimits, observer: BrokerObserver) {
    this.#observer = observer;
    this.#tasks = new TaskRegistry(limits, observer);
    this.#queues = this.#tasks.queues;
    this.#keys = this.#tasks.keys;
    this.#schedule = this.#tasks.schedule;
  }

  /** Takes all of these tasks, or none. */
  enqueue(fresh: readonly NewTask[], now: Instant, idempotency?: IdempotencyKey): EnqueueOutcome {
    const answer = this.#answerOf(fresh, idempotency);
    if (answer !== null) return answer;
    // Counted loops, here and in what it calls: for a single task, the most common case, closures and iterators cost more.
    const receipts: Receipt[] = [];
    for (let index = 0; index < fresh.length; index += 1) {
      receipts.push(receiptOf(fresh[index] as NewTask));
    }
    const key = this.#keyOf(idempotency, receipts);
    if (key !== null) this.#keys.add(key);
    for (let index = 0; index < fresh.length; index += 1) {
      this.#tasks.admit(this.#tasks.make(fresh[index] as NewTask, key, now), now);
    }
    return { kind: "accepted", receipts };
  }

  /**
   * Takes all of these tasks, or none, but does not show them yet: they hold their places, and nobody finds, lists or
   * claims them until they are published. What was reserved first has to be published or withdrawn first, and no key may
   * be reserved twice at a time.
   */
  reserve(fresh: readonly NewTask[], now: Instant, idempotency?: IdempotencyKey): ReserveOutcome {
    const answer = this.#answerOf(fresh, idempotency);
    if (answer !== null) return answer;
    const receipts = fresh.map(receiptOf);
    const key = this.#keyOf(idempotency, receipts);
    const tasks = fresh.map((each) => this.#tasks.make(each, key, now));
    for (const task of tasks) {
      task.home.reserve(task);
      this.#queues.changed(task.home, now.monoMs);
    }
    return { kind: "reserved", reservation: { tasks, key, receipts } };
  }

  /** Shows what was reserved: from now on it can be claimed. */
  publish({ tasks, key }: Reservation, now: Instant): void {
    if (key !== null) this.#keys.add(key);
    for (const task of tasks) {
      task.home.release(task);
      this.#tasks.admit(task, now);
    }
  }

  /** Gives back what was reserved: nothing of it is left. */
  withdraw({ tasks }: Reservation, now: Instant): void {
    for (const task of tasks) {
      task.home.release(task);
      this.#queues.withdrawn(task.home, now.monoMs);
    }
  }

  /**
   * Takes back what an earlier life left behind, into a broker that is still empty. What ran when that life ended was
   * interrupted by its end.
   */
  restore(snapshot: Snapshot, now: Instant): void {
    this.#tasks.restore(snapshot, now);
  }

  /** Whether there is something to claim in this lane. */
  hasTurn(lane: Lane): boolean {
    return this.#queues.hasTurn(lane);
  }

  /** Hands out the task of this lane whose turn it is, if there is one. Its attempt number is the fence for settling it. */
  claim(lane: Lane, now: Instant): Task | undefined {
    const line = this.#queues.takeTurn(lane);
    if (line === undefined) return undefined;
    const task = line.first();
    assert(task !== undefined, "a line that takes a turn has a task to give");
    this.#tasks.leave(task);
    task.attempt += 1;
    task.startedAtMs = now.wallMs;
    task.dueAtMs = now.monoMs + task.timeoutMs;
    task.progress = null;
    this.#tasks.enter(task, "running", now);
    return task;
  }

  /** Takes the outcome of an attempt. Says false, and changes nothing, when the attempt no longer holds the task. */
  settle(task: Task, fence: number, outcome: Outcome, now: Instant, random: Random): boolean {
    // A late settle loses: the lease moved on, so the fence no longer matches.
    if (task.status !== "running" || task.attempt !== fence) return false;
    switch (outcome.kind) {
      case "done":
        this.#tasks.leave(task);
        task.result = outcome.result;
        this.#tasks.enter(task, "done", now);
        break;
      case "failed":
        this.#fail(task, outcome, now, random);
        break;
      case "interrupted":
        this.#tasks.leave(task);
        task.home.totals.interrupted += 1;
        this.#tasks.enterAtFront(task, now);
        break;
      default:
        outcome satisfies never;
    }
    this.#tasks.forgetWhatIsOver(now.monoMs);
    return true;
  }

  cancel(id: string, now: Instant): CancelOutcome {
    const task = this.#tasks.find(id);
    if (task === undefined) return { kind: "unknown" };
    if (isFinished(task.status)) return { kind: "finished", task };
    this.#cancel(task, now);
    this.#tasks.forgetWhatIsOver(now.monoMs);
    return { kind: "cancelled", task };
  }

  /** Why a task can't be queued again, or null when it can. */
  retryRefusal(id: string): Exclude<RetryOutcome, { readonly kind: "queued" }> | null {
    const task = this.#tasks.find(id);
    if (task === undefined) return { kind: "unknown" };
    if (task.status !== "failed" && task.status !== "cancelled")
      return { kind: "not_retryable", task };
    return this.#queues.refusalOf([task]);
  }

  /** Queues a failed or cancelled task again, with all its retries, as an operator asked. */
  retry(id: string, now: Instant): RetryOutcome {
    const refusal = this.retryRefusal(id);
    if (refusal !== null) return refusal;
    const task = this.#tasks.find(id) as Task;
    this.#tasks.leave(task);
    task.failures = 0;
    task.crashes = 0;
    task.runAtMs = null;
    task.finishedAtMs = null;
    if (task.key !== null) this.#keys.resumed(task.key);
    this.#tasks.enter(task, "queued", now);
    return { kind: "queued", task };
  }

  /** Notes how far a running attempt is. Says false, and changes nothing, when it no longer holds the task. */
  noteProgress(task: Task, fence: number, progress: string): boolean {
    if (task.status !== "running" || task.attempt !== fence) return false;
    task.progress = progress;
    return true;
  }

  /** Why a queue can't be paused or resumed, or null when it can. A paused queue is in use: there must be room for that. */
  pauseRefusal(
    name: string,
    isPaused: boolean,
  ): Exclude<PauseOutcome, { readonly kind: "set" }> | null {
    const queue = this.#queues.find(name);
    if (queue === undefined) return { kind: "unknown" };
    if (!isPaused || this.#queues.mayBeInUse(queue)) return null;
    return this.#queues.refusalOfUse(name);
  }

  /** Stops or resumes claiming from a queue. */
  setPaused(name: string, isPaused: boolean, now: Instant): PauseOutcome {
    const refusal = this.pauseRefusal(name, isPaused);
    if (refusal !== null) return refusal;
    const queue = this.#queues.find(name) as Queue;
    queue.isPaused = isPaused;
    this.#queues.changed(queue, now.monoMs);
    return { kind: "set", queue };
  }

  /** Everything that waits in a queue, oldest first; undefined when there is no such queue. O(n) in all tasks. */
  waitingIn(name: string): readonly Task[] | undefined {
    const queue = this.#queues.find(name);
    if (queue === undefined) return undefined;
    return [...this.#tasks.timeline.newestFirst(Number.POSITIVE_INFINITY)]
      .filter((task) => task.home === queue && isWaiting(task.status))
      .reverse();
  }

  /** Cancels everything that waits in a queue, and says how many that were; undefined when there is no such queue. */
  purge(name: string, now: Instant): number | undefined {
    const waiting = this.waitingIn(name);
    if (waiting === undefined) return undefined;
    for (const task of waiting) this.#cancel(task, now);
    this.#tasks.forgetWhatIsOver(now.monoMs);
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
    this.#tasks.forgetWhatIsOver(now.monoMs);
    this.#keys.expire(now.monoMs);
    this.#queues.expire(now.monoMs);
  }

  /**
   * Whether anything runs, or could start within `ms`. A task that waits in a paused queue can not; one that is due there
   * in time counts until it is due.
   */
  hasWorkWithin(ms: number, now: Instant): boolean {
    if (LANES.some((lane) => this.#queues.hasTurn(lane))) return true;
    // Leases are scheduled as well: whatever runs counts as work, however long its lease is.
    if (this.#schedule.msToNext(now) <= ms) return true;
    for (const queue of this.#queues.all()) if (queue.counts.running > 0) return true;
    return false;
  }

  /** How long from now the next tick has something to do, in milliseconds; Infinity when nothing is ever due. */
  msToNextDue(now: Instant): number {
    const expiryMs = Math.min(
      this.#tasks.retention.nextExpiryMs(),
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
    return this.#tasks.find(id);
  }

  /** Newest first, from the newest task whose number is below `beforeSeq`. */
  list(filter: ListFilter, limit: number, beforeSeq: number): TaskPage {
    return pageOf(this.#tasks.timeline.newestFirst(beforeSeq), filter, limit);
  }

  findQueue(name: string): Queue | undefined {
    return this.#queues.find(name);
  }

  /** How many tasks wait or run. */
  get unfinished(): number {
    let unfinished = 0;
    for (const queue of this.#queues.all()) unfinished += queue.load;
    return unfinished;
  }

  queues(): Iterable<Queue> {
    return this.#queues.all();
  }

  /** Throws when the broker contradicts itself. O(n): for tests. */
  check(): void {
    this.#tasks.check();
  }

  /** Why these tasks are not taken, or what was answered to them before; null when they are new and fit. */
  #answerOf(
    fresh: readonly NewTask[],
    idempotency: IdempotencyKey | undefined,
  ): Exclude<EnqueueOutcome, { readonly kind: "accepted" }> | null {
    if (idempotency !== undefined) {
      const known = this.#keys.find(idempotency.key);
      if (known !== undefined) {
        if (known.fingerprint !== idempotency.fingerprint) return { kind: "key_reused" };
        return { kind: "repeated", receipts: known.receipts };
      }
    }
    return this.#queues.refusalOf(fresh);
  }

  /** The record of a key for tasks that are about to be made; null without one, or when there are no tasks to keep it. */
  #keyOf(idempotency: IdempotencyKey | undefined, receipts: readonly Receipt[]): KeyRecord | null {
    if (idempotency === undefined || receipts.length === 0) return null;
    const { key, fingerprint } = idempotency;
    return newKey(key, fingerprint, receipts, this.#tasks.nextSeq);
  }

  #fail(
    task: Task,
    { code, message, retry }: Outcome & { kind: "failed" },
    now: Instant,
    random: Random,
  ): void {
    this.#tasks.leave(task);
    task.addError({ code, message, attempt: task.attempt, atMs: now.wallMs });
    task.failures += 1;
    if (retry.kind === "never" || task.failures > task.maxRetries) {
      this.#tasks.enter(task, "failed", now);
      return;
    }
    // The delay counts from now, when the failure is known, not from when the attempt started.
    const delayMs =
      retry.kind === "after" ? retry.ms : backoffMs(task.backoff, task.failures - 1, random);
    task.dueAtMs = now.monoMs + delayMs;
    task.runAtMs = now.wallMs + delayMs;
    task.home.totals.retried += 1;
    this.#tasks.enter(task, "retrying", now);
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
    this.#tasks.leave(task);
    this.#tasks.enter(task, "queued", now);
  }

  #cancel(task: Task, now: Instant): void {
    const isRunning = task.status === "running";
    this.#tasks.leave(task);
    this.#tasks.enter(task, "cancelled", now);
    if (isRunning) this.#observer.onRevoke(task, task.attempt, "cancelled");
  }
}

function receiptOf({ id, when }: NewTask): Receipt {
  return { id, status: when.kind === "now" ? "queued" : "scheduled" };
}
