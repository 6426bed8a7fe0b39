/**
 * The broker: every rule of the queue in one deterministic state machine. It holds the tasks,
 * accepts or refuses new ones, hands them out, and applies their outcomes. status.ts has the
 * diagram of a task's life, rules.ts the rules of its steps.
 *
 * It never waits, never reads a clock and never draws a random number: time and randomness are
 * arguments, so the same calls give the same history. It returns its decisions, and reports the
 * steps of tasks to its observer.
 *
 * A step that has to be written before it is applied has two halves: a plan, which changes nothing,
 * and `take`.
 */

import { type AttemptObserver, Attempts, type Step } from "./attempts.ts";
import { type IdempotencyKeys, type KeyRecord, newKey, type Receipt } from "./idempotency.ts";
import type { Instant, Random } from "./instant.ts";
import { LANES, type Lane } from "./lane.ts";
import type {
  AttemptOutcome,
  CancelOutcome,
  ClaimLost,
  ClaimRequest,
  EnqueueOutcome,
  ExtendOutcome,
  IdempotencyKey,
  NotRetried,
  PauseOutcome,
  Refusal,
  Reservation,
  ReserveOutcome,
  RetryOutcome,
  SettleOutcome,
} from "./outcomes.ts";
import { type ListFilter, pageOf, type TaskPage } from "./page.ts";
import type { Queue } from "./queue.ts";
import type { QueueRegistry } from "./queue-registry.ts";
import { afterCancel, afterRetry, isRetryable } from "./rules.ts";
import type { Schedule } from "./schedule.ts";
import type { Snapshot } from "./snapshot.ts";
import { isFinished, isWaiting } from "./status.ts";
import type { NewTask, StateChange, Task } from "./task.ts";
import { type RegistryLimits, type RegistryObserver, TaskRegistry } from "./task-registry.ts";

export type BrokerLimits = RegistryLimits;

/** Receives the steps of tasks, at once and in order. It must not call the broker. */
export interface BrokerObserver extends RegistryObserver, AttemptObserver {
  /** A paused queue was resumed: its ready tasks are claimable again, without a step. */
  onResume?(queue: Queue): void;
}

/**
 * The number of due tasks that one tick moves. The rest follows in the next tick, so that the event
 * loop can do other work in between.
 */
export const TICK_MAX = 4096;

export class Broker {
  readonly #observer: BrokerObserver;
  readonly #tasks: TaskRegistry;
  readonly #queues: QueueRegistry;
  readonly #keys: IdempotencyKeys;
  readonly #schedule: Schedule;
  readonly #attempts: Attempts;

  /**
   * Fences count up from `firstFence`. It is drawn at random below 2⁵², so that no fence is ever
   * used again.
   */
  constructor(limits: BrokerLimits, observer: BrokerObserver, firstFence: number) {
    this.#observer = observer;
    this.#tasks = new TaskRegistry(limits, observer);
    this.#queues = this.#tasks.queues;
    this.#keys = this.#tasks.keys;
    this.#schedule = this.#tasks.schedule;
    this.#attempts = new Attempts(this.#tasks, observer, firstFence);
  }

  /** Accepts all of these tasks, or none. */
  enqueue(specs: readonly NewTask[], now: Instant, idempotency?: IdempotencyKey): EnqueueOutcome {
    const answer = this.#answerOf(specs, idempotency);
    if (answer !== null) return answer;
    // Counted loops, here and in the functions it calls: for a single task, the most common case,
    // closures and iterators cost more.
    const receipts: Receipt[] = [];
    for (let index = 0; index < specs.length; index += 1) {
      receipts.push(receiptOf(specs[index] as NewTask));
    }
    const key = this.#keyOf(idempotency, receipts);
    if (key !== null) this.#keys.add(key);
    for (let index = 0; index < specs.length; index += 1) {
      this.#tasks.admit(this.#tasks.make(specs[index] as NewTask, key, now), now);
    }
    return { kind: "accepted", receipts };
  }

  /**
   * Accepts all of these tasks, or none, but does not show them yet: they hold their places, and
   * are not found, listed or claimed before they are published. Publish or withdraw reservations in
   * their order. A key can have only one reservation at a time.
   */
  reserve(specs: readonly NewTask[], now: Instant, idempotency?: IdempotencyKey): ReserveOutcome {
    const answer = this.#answerOf(specs, idempotency);
    if (answer !== null) return answer;
    const receipts = specs.map(receiptOf);
    const key = this.#keyOf(idempotency, receipts);
    const tasks = specs.map((each) => this.#tasks.make(each, key, now));
    for (const task of tasks) this.holdPlace(task, now);
    return { kind: "reserved", reservation: { tasks, key, receipts } };
  }

  /** Publishes reserved tasks: they can be claimed now. */
  publish({ tasks, key }: Reservation, now: Instant): void {
    if (key !== null) this.#keys.add(key);
    for (const task of tasks) {
      task.queue.release(task);
      this.#tasks.admit(task, now);
    }
  }

  /** Withdraws a reservation, without a trace. */
  withdraw({ tasks }: Reservation, now: Instant): void {
    for (const task of tasks) this.releasePlace(task, now);
  }

  /** Holds a place in the bounds of its queue for a task that is about to wait there. */
  holdPlace(task: Task, now: Instant): void {
    task.queue.reserve(task);
    this.#queues.changed(task.queue, now.monoMs);
  }

  releasePlace(task: Task, now: Instant): void {
    task.queue.release(task);
    this.#queues.withdrawn(task.queue, now.monoMs);
  }

  /**
   * Restores the state of an earlier process into an empty broker. Attempts in that process were
   * lost; remote claims continue.
   */
  restore(snapshot: Snapshot, now: Instant): void {
    this.allowLateLeases(now);
    this.#tasks.restore(snapshot, now);
  }

  /** Whether this lane has a claimable task. */
  hasReady(lane: Lane): boolean {
    return this.#queues.hasReady(lane);
  }

  /** Starts attempts at the next tasks, up to `max`. Each gets a new fence. */
  claim(request: ClaimRequest, now: Instant): readonly Task[] {
    return this.#attempts.claim(request, now);
  }

  /** Applies the outcome of an attempt. If its claim no longer holds the task, nothing changes. */
  settle(
    taskId: string,
    fence: number,
    outcome: AttemptOutcome,
    now: Instant,
    random: Random,
  ): SettleOutcome {
    const answer = this.#attempts.settle(taskId, fence, outcome, now, random);
    if (answer.kind === "settled") this.forgetWhatIsOver(now);
    return answer;
  }

  /** The step that follows from a settle, or the answer if there is none. */
  planSettle(
    taskId: string,
    fence: number,
    outcome: AttemptOutcome,
    now: Instant,
    random: Random,
  ): Step | SettleOutcome {
    return this.#attempts.planSettle(taskId, fence, outcome, now, random);
  }

  /**
   * Extends the lease of a remote claim to `leaseMs` from now, but not beyond its timeout. The
   * default is its length so far.
   */
  extend(taskId: string, fence: number, leaseMs: number | undefined, now: Instant): ExtendOutcome {
    return this.#attempts.extend(taskId, fence, leaseMs, now);
  }

  /** Records the progress of a running attempt. Returns null, or the reason why nothing changed. */
  noteProgress(taskId: string, fence: number, progress: string): ClaimLost | null {
    return this.#attempts.noteProgress(taskId, fence, progress);
  }

  cancel(id: string, now: Instant): CancelOutcome {
    const plan = this.planCancel(id, now);
    if (plan.kind !== "step") return plan;
    this.take(plan, now);
    this.forgetWhatIsOver(now);
    return { kind: "cancelled", task: plan.task };
  }

  planCancel(id: string, now: Instant): Step | CancelOutcome {
    const task = this.#tasks.find(id);
    if (task === undefined) return { kind: "unknown" };
    if (isFinished(task.status)) return { kind: "finished", task };
    return { kind: "step", task, to: afterCancel(task, now) };
  }

  /** Queues a failed or cancelled task again, with all its retries, for an operator. */
  retry(id: string, now: Instant): RetryOutcome {
    const plan = this.planRetry(id);
    if (plan.kind !== "step") return plan;
    this.take(plan, now);
    this.forgetWhatIsOver(now);
    return { kind: "queued", task: plan.task };
  }

  planRetry(id: string): Step | NotRetried {
    const task = this.#tasks.find(id);
    if (task === undefined) return { kind: "unknown" };
    if (!isRetryable(task.status)) return { kind: "not_retryable", task };
    const { queue, payloadBytes } = task;
    const refusal = this.#queues.refusalOf([{ queue: queue.name, payloadBytes }]);
    return refusal ?? { kind: "step", task, to: afterRetry(task) };
  }

  /** Applies a planned step. Its task must not have changed since the plan. */
  take(step: Step, now: Instant): void {
    this.#take(step.task, step.to, now);
  }

  /**
   * Forgets finished tasks beyond the bounds of retention. Call it after the last of several
   * planned steps, since their tasks may be among them.
   */
  forgetWhatIsOver(now: Instant): void {
    this.#tasks.forgetWhatIsOver(now.monoMs);
  }

  /** Pauses a queue: no more of its tasks start. */
  pause(name: string, now: Instant): PauseOutcome {
    const queue = this.#queues.find(name);
    if (queue === undefined) return { kind: "unknown" };
    const refusal = this.pauseRefusal(queue);
    if (refusal !== null) return refusal;
    this.setPaused(queue, true, now);
    return { kind: "set", queue };
  }

  /** Resumes a paused queue: its tasks start again. */
  resume(name: string, now: Instant): PauseOutcome {
    const queue = this.#queues.find(name);
    if (queue === undefined) return { kind: "unknown" };
    this.setPaused(queue, false, now);
    return { kind: "set", queue };
  }

  /**
   * The reason why a queue can't be paused, or null. A paused queue is in use, so the bound on
   * queues in use applies.
   */
  pauseRefusal(queue: Queue): Refusal | null {
    return this.#queues.mayBeInUse(queue) ? null : this.#queues.queuesRefusal(queue.name);
  }

  setPaused(queue: Queue, isPaused: boolean, now: Instant): void {
    queue.isPaused = isPaused;
    this.#queues.changed(queue, now.monoMs);
    if (!isPaused) this.#observer.onResume?.(queue);
  }

  /** Keeps a queue in use while a command for it is pending. */
  pin(queue: Queue, now: Instant): void {
    queue.pins += 1;
    this.#queues.changed(queue, now.monoMs);
  }

  unpin(queue: Queue, now: Instant): void {
    queue.pins -= 1;
    this.#queues.changed(queue, now.monoMs);
  }

  /**
   * Cancels all waiting tasks of a queue and returns their number; undefined when the queue does
   * not exist.
   */
  purge(name: string, now: Instant): number | undefined {
    const steps = this.planPurge(name, now);
    if (steps === undefined) return undefined;
    for (const step of steps) this.take(step, now);
    this.forgetWhatIsOver(now);
    return steps.length;
  }

  /**
   * The steps that cancel all waiting tasks of a queue, oldest first; undefined when the queue does
   * not exist. O(n) in all tasks.
   */
  planPurge(name: string, now: Instant): readonly Step[] | undefined {
    const queue = this.#queues.find(name);
    if (queue === undefined) return undefined;
    const steps: Step[] = [];
    for (const task of this.tasks()) {
      if (task.queue !== queue || !isWaiting(task.status)) continue;
      steps.push({ kind: "step", task, to: afterCancel(task, now) });
    }
    return steps.reverse();
  }

  /** Applies what is due: up to {@link TICK_MAX} tasks become ready, or lose their attempt. */
  tick(now: Instant, random: Random): void {
    for (let left = TICK_MAX; left > 0; left -= 1) {
      const task = this.#schedule.due(now);
      if (task === undefined) break;
      if (task.status === "running") this.#attempts.end(task, now, random);
      else this.#becomeReady(task, now);
    }
    this.#tasks.forgetWhatIsOver(now.monoMs);
    this.#keys.expire(now.monoMs);
    this.#queues.expire(now.monoMs);
  }

  /** Suspends the ends of remote claims, because their settles could not be stored. */
  suspendRemote(): void {
    this.#schedule.isRemoteSuspended = true;
  }

  resumeRemote(now: Instant): void {
    this.#schedule.isRemoteSuspended = false;
    this.allowLateLeases(now);
  }

  /**
   * Call it after a pause of the process: every lease gets at least `LEASE_GRACE_MS` from now, or
   * its length if that is less.
   */
  allowLateLeases(now: Instant): void {
    this.#attempts.allowLateLeases(now);
  }

  /**
   * Whether an attempt runs, or could start within `ms`. A waiting task of a paused queue can't
   * start; a task that is due there within `ms` counts until it is due.
   */
  hasWorkWithin(ms: number, now: Instant): boolean {
    if (LANES.some((lane) => this.#queues.hasReady(lane))) return true;
    // Running attempts are scheduled as well: they count as work, whatever their remaining time.
    return this.#schedule.msToNext(now) <= ms || this.runningHere > 0 || this.hasLeases;
  }

  /** The number of attempts that run in the process. */
  get runningHere(): number {
    let running = 0;
    for (const queue of this.#queues.all()) running += queue.counts.running;
    return running - this.#schedule.leases;
  }

  /** The time until the next tick has work, in milliseconds; Infinity when nothing is scheduled. */
  msToNextDue(now: Instant): number {
    const expiryMs = Math.min(
      this.#tasks.retention.nextExpiryMs(),
      this.#keys.nextExpiryMs(),
      this.#queues.nextExpiryMs(),
    );
    return Math.max(0, Math.min(this.#schedule.msToNext(now), expiryMs - now.monoMs));
  }

  /** Whether a remote claim holds a task. */
  get hasLeases(): boolean {
    return this.#schedule.leases > 0;
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
    return pageOf(this.#tasks.index.newestFirst(beforeSeq), filter, limit);
  }

  /** All tasks, newest first. They must not change during the iteration. */
  tasks(): Iterable<Task> {
    return this.#tasks.index.newestFirst(Number.POSITIVE_INFINITY);
  }

  findQueue(name: string): Queue | undefined {
    return this.#queues.find(name);
  }

  /** The number of tasks that wait or run. */
  get unfinished(): number {
    let unfinished = 0;
    for (const queue of this.#queues.all()) unfinished += queue.unfinished;
    return unfinished;
  }

  queues(): Iterable<Queue> {
    return this.#queues.all();
  }

  /** Throws when the state of the broker is inconsistent. O(n): for tests. */
  verify(): void {
    this.#tasks.verify();
  }

  /** The refusal of these tasks, or the earlier answer to them; null when they are new and fit. */
  #answerOf(
    specs: readonly NewTask[],
    idempotency: IdempotencyKey | undefined,
  ): Exclude<EnqueueOutcome, { readonly kind: "accepted" }> | null {
    if (idempotency !== undefined) {
      const known = this.#keys.find(idempotency.key);
      if (known !== undefined) {
        if (known.fingerprint !== idempotency.fingerprint) return { kind: "key_reused" };
        return { kind: "repeated", receipts: known.receipts };
      }
    }
    return this.#queues.refusalOf(specs);
  }

  /**
   * The record of a key for tasks that are about to be made; null without a key, or without tasks.
   */
  #keyOf(idempotency: IdempotencyKey | undefined, receipts: readonly Receipt[]): KeyRecord | null {
    if (idempotency === undefined || receipts.length === 0) return null;
    const { key, fingerprint } = idempotency;
    return newKey(key, fingerprint, receipts, this.#tasks.nextSeq);
  }

  /** Applies a requested step. If it takes a task from its attempt, the attempt is revoked. */
  #take(task: Task, to: StateChange, now: Instant): void {
    const { status, fence } = task;
    this.#tasks.take(task, to, now);
    if (status === "running" && to.status === "cancelled") {
      this.#attempts.revoke(task, fence, "cancelled");
    }
  }

  #becomeReady(task: Task, now: Instant): void {
    this.#tasks.leave(task);
    this.#tasks.enter(task, "queued", now);
  }
}

function receiptOf({ id, when }: NewTask): Receipt {
  return { id, status: when.kind === "now" ? "queued" : "scheduled" };
}
