/**
 * The broker: every rule of the queue in one deterministic state machine. It holds the tasks, says yes or no to new
 * ones, hands them out, and takes their outcomes. The diagram of a task's life is in status.ts, the rules of its steps in
 * rules.ts.
 *
 * It never waits, never reads a clock and never draws a random number of its own: time and randomness are arguments,
 * so the same calls give the same history. What it decided it returns; what happened to a task it tells its observer.
 *
 * A step that has to be written before it is taken comes in two halves: a plan, which changes nothing, and `take`.
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

/** Hears what happens to tasks, at once and in order. It must not call back into the broker. */
export interface BrokerObserver extends RegistryObserver, AttemptObserver {
  /** A paused queue was resumed: its ready tasks can be claimed again, without a step of their own. */
  onResume?(queue: Queue): void;
}

/** How many due tasks one tick moves. The rest follows in the next, after the event loop had its turn. */
export const TICK_MAX = 4096;

export class Broker {
  readonly #observer: BrokerObserver;
  readonly #tasks: TaskRegistry;
  readonly #queues: QueueRegistry;
  readonly #keys: IdempotencyKeys;
  readonly #schedule: Schedule;
  readonly #attempts: Attempts;

  /** Fences count up from `firstFence`. Drawn at random below 2⁵², it makes sure that none ever comes again. */
  constructor(limits: BrokerLimits, observer: BrokerObserver, firstFence: number) {
    this.#observer = observer;
    this.#tasks = new TaskRegistry(limits, observer);
    this.#queues = this.#tasks.queues;
    this.#keys = this.#tasks.keys;
    this.#schedule = this.#tasks.schedule;
    this.#attempts = new Attempts(this.#tasks, observer, firstFence);
  }

  /** Takes all of these tasks, or none. */
  enqueue(specs: readonly NewTask[], now: Instant, idempotency?: IdempotencyKey): EnqueueOutcome {
    const answer = this.#answerOf(specs, idempotency);
    if (answer !== null) return answer;
    // Counted loops, here and in what it calls: for a single task, the most common case, closures and iterators cost more.
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
   * Takes all of these tasks, or none, but does not show them yet: they hold their places, and nobody finds, lists or
   * claims them until they are published. What was reserved first has to be published or withdrawn first, and no key may
   * be reserved twice at a time.
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

  /** Shows what was reserved: from now on it can be claimed. */
  publish({ tasks, key }: Reservation, now: Instant): void {
    if (key !== null) this.#keys.add(key);
    for (const task of tasks) {
      task.queue.release(task);
      this.#tasks.admit(task, now);
    }
  }

  /** Gives back what was reserved: nothing of it is left. */
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
   * Takes back what an earlier process left behind, into a broker that is still empty. Attempts that ran in it were lost;
   * remote claims go on.
   */
  restore(snapshot: Snapshot, now: Instant): void {
    this.allowLateLeases(now);
    this.#tasks.restore(snapshot, now);
  }

  /** Whether there is something to claim in this lane. */
  hasReady(lane: Lane): boolean {
    return this.#queues.hasReady(lane);
  }

  /** Starts up to `max` attempts at the tasks that are next. Each has a new fence. */
  claim(request: ClaimRequest, now: Instant): readonly Task[] {
    return this.#attempts.claim(request, now);
  }

  /** Takes the outcome of an attempt, unless its claim no longer holds the task: then nothing changes. */
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

  /** The step that a settle leads to, or the answer where there is none to take. */
  planSettle(
    taskId: string,
    fence: number,
    outcome: AttemptOutcome,
    now: Instant,
    random: Random,
  ): Step | SettleOutcome {
    return this.#attempts.planSettle(taskId, fence, outcome, now, random);
  }

  /** Makes the lease of a remote claim end `leaseMs` from now, but not beyond its timeout. */
  extend(taskId: string, fence: number, leaseMs: number, now: Instant): ExtendOutcome {
    return this.#attempts.extend(taskId, fence, leaseMs, now);
  }

  /** Notes the progress of a running attempt. Null, or why it changed nothing. */
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

  /** Queues a failed or cancelled task again, with all its retries, as an operator asked. */
  retry(id: string, now: Instant): RetryOutcome {
    const plan = this.planRetry(id);
    if (plan.kind !== "step") return plan;
    this.take(plan, now);
    this.forgetWhatIsOver(now);
    return { kind: "queued", task: plan.task };
  }

  planRetry(id: string): Step | RetryOutcome {
    const task = this.#tasks.find(id);
    if (task === undefined) return { kind: "unknown" };
    if (!isRetryable(task.status)) return { kind: "not_retryable", task };
    const { queue, payloadBytes } = task;
    const refusal = this.#queues.refusalOf([{ queue: queue.name, payloadBytes }]);
    return refusal ?? { kind: "step", task, to: afterRetry(task) };
  }

  /** Takes a planned step. Nothing may have happened to its task since. */
  take(step: Step, now: Instant): void {
    this.#take(step.task, step.to, now);
  }

  /** Forgets the finished tasks that are too many or too old: after the last of several planned steps, since it may be theirs. */
  forgetWhatIsOver(now: Instant): void {
    this.#tasks.forgetWhatIsOver(now.monoMs);
  }

  /** Starts no more tasks of a queue. */
  pause(name: string, now: Instant): PauseOutcome {
    const queue = this.#queues.find(name);
    if (queue === undefined) return { kind: "unknown" };
    const refusal = this.pauseRefusal(queue);
    if (refusal !== null) return refusal;
    this.setPaused(queue, true, now);
    return { kind: "set", queue };
  }

  /** Starts tasks of a paused queue again. */
  resume(name: string, now: Instant): PauseOutcome {
    const queue = this.#queues.find(name);
    if (queue === undefined) return { kind: "unknown" };
    this.setPaused(queue, false, now);
    return { kind: "set", queue };
  }

  /** Why a queue can't be paused, or null when it can. A paused queue is in use: there must be room for that. */
  pauseRefusal(queue: Queue): Refusal | null {
    return this.#queues.mayBeInUse(queue) ? null : this.#queues.queuesRefusal(queue.name);
  }

  setPaused(queue: Queue, isPaused: boolean, now: Instant): void {
    queue.isPaused = isPaused;
    this.#queues.changed(queue, now.monoMs);
    if (!isPaused) this.#observer.onResume?.(queue);
  }

  /** Keeps a queue in use while a command for it is under way. */
  pin(queue: Queue, now: Instant): void {
    queue.pins += 1;
    this.#queues.changed(queue, now.monoMs);
  }

  unpin(queue: Queue, now: Instant): void {
    queue.pins -= 1;
    this.#queues.changed(queue, now.monoMs);
  }

  /** Cancels all waiting tasks of a queue and returns their number; undefined when there is no such queue. */
  purge(name: string, now: Instant): number | undefined {
    const steps = this.planPurge(name, now);
    if (steps === undefined) return undefined;
    for (const step of steps) this.take(step, now);
    this.forgetWhatIsOver(now);
    return steps.length;
  }

  /** The cancels of all waiting tasks of a queue, oldest first; undefined when there is no such queue. O(n) in all tasks. */
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

  /** Does what is due by now: up to {@link TICK_MAX} tasks become ready, or lose their attempt. */
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

  /** From now on no remote claim ends by itself: its settle could not be taken. */
  suspendRemote(): void {
    this.#schedule.isRemoteSuspended = true;
  }

  resumeRemote(now: Instant): void {
    this.#schedule.isRemoteSuspended = false;
    this.allowLateLeases(now);
  }

  /** Nothing was heard for a while: no lease ends before `LEASE_GRACE_MS` from now, or its length if that is less. */
  allowLateLeases(now: Instant): void {
    this.#attempts.allowLateLeases(now);
  }

  /**
   * Whether anything runs, or could start within `ms`. A task that waits in a paused queue can not; one that is due there
   * in time counts until it is due.
   */
  hasWorkWithin(ms: number, now: Instant): boolean {
    if (LANES.some((lane) => this.#queues.hasReady(lane))) return true;
    // Running attempts are scheduled as well: they count as work, however long they may take.
    return this.#schedule.msToNext(now) <= ms || this.runningHere > 0 || this.hasLeases;
  }

  /** How many attempts run in the process. */
  get runningHere(): number {
    let running = 0;
    for (const queue of this.#queues.all()) running += queue.counts.running;
    return running - this.#schedule.leases;
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

  /** All tasks, newest first. They must not change meanwhile. */
  tasks(): Iterable<Task> {
    return this.#tasks.index.newestFirst(Number.POSITIVE_INFINITY);
  }

  findQueue(name: string): Queue | undefined {
    return this.#queues.find(name);
  }

  /** How many tasks wait or run. */
  get unfinished(): number {
    let unfinished = 0;
    for (const queue of this.#queues.all()) unfinished += queue.unfinished;
    return unfinished;
  }

  queues(): Iterable<Queue> {
    return this.#queues.all();
  }

  /** Throws when the broker contradicts itself. O(n): for tests. */
  verify(): void {
    this.#tasks.verify();
  }

  /** Why these tasks are not taken, or what was answered to them before; null when they are new and fit. */
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

  /** The record of a key for tasks that are about to be made; null without one, or when there are no tasks to keep it. */
  #keyOf(idempotency: IdempotencyKey | undefined, receipts: readonly Receipt[]): KeyRecord | null {
    if (idempotency === undefined || receipts.length === 0) return null;
    const { key, fingerprint } = idempotency;
    return newKey(key, fingerprint, receipts, this.#tasks.nextSeq);
  }

  /** Takes a step that was asked for. One that takes a task from its attempt revokes that. */
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
