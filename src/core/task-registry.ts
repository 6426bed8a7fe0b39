/**
 * The registry of all known tasks. Each is in the structure for its status (a ready list, the
 * schedule or retention), and always in the task index and the counts of its queue. The registry
 * moves and counts tasks; the broker decides their steps.
 */

import { assert } from "./assert.ts";
import { ageOf, IdempotencyKeys, type KeyObserver, type KeyRecord } from "./idempotency.ts";
import type { Instant } from "./instant.ts";
import type { Queue, QueueLimits } from "./queue.ts";
import { QueueRegistry } from "./queue-registry.ts";
import { restoreLease, restoreWait } from "./restore.ts";
import { Retention } from "./retention.ts";
import { afterLoss, type DoneChange } from "./rules.ts";
import { Schedule } from "./schedule.ts";
import type { SavedClaim, SavedTask, Snapshot } from "./snapshot.ts";
import { holderOf, isFinished, isStep, isWaiting, type TaskStatus } from "./status.ts";
import { type NewTask, type StateChange, settingsOf, Task, type TaskSettings } from "./task.ts";
import { TaskIndex } from "./task-index.ts";

export interface RegistryLimits {
  readonly queue: QueueLimits;
  /** The queues with their own limits, by name. */
  readonly queues: ReadonlyMap<string, QueueLimits>;
  readonly queuesMax: number;
  readonly retainTasks: number;
  readonly retainBytes: number;
  readonly retainMs: number;
}

/** Receives the steps of tasks, at once and in order. It must not call the core. */
export interface RegistryObserver extends KeyObserver {
  /** A task took a step; `from` is null for a task that has just entered. */
  onStep(task: Task, from: TaskStatus | null, now: Instant): void;
  /** A finished task was forgotten. */
  onForget?(task: Task): void;
}

export class TaskRegistry {
  readonly index = new TaskIndex();
  readonly schedule = new Schedule();
  readonly queues: QueueRegistry;
  readonly keys: IdempotencyKeys;
  readonly retention: Retention;
  readonly #observer: RegistryObserver;
  #lastSeq = 0;
  /** The number of the last task that was added to the back of a ready list. */
  #lastOrder = 0;
  /** The settings of the previous task: the next one most often has the same. */
  #settings: TaskSettings | null = null;

  constructor(limits: RegistryLimits, observer: RegistryObserver) {
    this.#observer = observer;
    this.queues = new QueueRegistry({
      queue: limits.queue,
      queues: limits.queues,
      queuesMax: limits.queuesMax,
      idleMs: limits.retainMs,
    });
    this.keys = new IdempotencyKeys(
      { idsMax: limits.retainTasks, retainMs: limits.retainMs },
      observer,
    );
    this.retention = new Retention({
      tasks: limits.retainTasks,
      bytes: limits.retainBytes,
      ageMs: limits.retainMs,
    });
  }

  /** The number of the next task. */
  get nextSeq(): number {
    return this.#lastSeq + 1;
  }

  find(id: string): Task | undefined {
    return this.index.find(id);
  }

  /** Makes a new task, which is in no structure yet. */
  make(spec: NewTask, key: KeyRecord | null, now: Instant): Task {
    this.#lastSeq += 1;
    const queue = this.queues.findOrMake(spec.queue);
    this.#settings = settingsOf(spec, this.#settings);
    const task = new Task(spec, this.#settings, this.#lastSeq, queue, key, now.wallMs);
    const { when } = spec;
    switch (when.kind) {
      case "now":
        break;
      case "after":
        task.dueAtMs = now.monoMs + when.delayMs;
        task.runAtMs = now.wallMs + when.delayMs;
        break;
      case "at":
        task.dueAtMs = when.wallMs;
        task.runAtMs = when.wallMs;
        task.isDueByWall = true;
        break;
      default:
        when satisfies never;
    }
    return task;
  }

  /** Adds a new task to its structures. */
  admit(task: Task, now: Instant): void {
    this.index.append(task);
    task.queue.totals.enqueued += 1;
    this.enter(task, task.runAtMs === null ? "queued" : "scheduled", now, null);
  }

  /**
   * Restores the state of an earlier process: paused queues, keys, and tasks by their numbers. Only
   * into an empty broker. Attempts in that process were lost with it; remote claims continue.
   */
  restore({ paused, keys, tasks }: Snapshot, now: Instant): void {
    assert(this.#lastSeq === 0, "only an empty broker is restored");
    for (const name of paused) {
      const queue = this.queues.findOrMake(name);
      queue.isPaused = true;
      this.queues.changed(queue, now.monoMs);
    }
    let lastKeySeq = 0;
    for (const key of keys) {
      this.keys.add(key);
      lastKeySeq = Math.max(lastKeySeq, key.seq + key.receipts.length - 1);
    }
    const finished: Task[] = [];
    for (const saved of tasks) {
      const task = this.#makeAgain(saved);
      this.#takeBack(task, saved.claim, now);
      if (isFinished(task.status)) finished.push(task);
      else if (task.key !== null) task.key.unfinished += 1;
    }
    // A key may outlive its tasks, and is still identified by the number of the first one: no other
    // task may get that number.
    this.#lastSeq = Math.max(this.#lastSeq, lastKeySeq);
    finished.sort((a, b) => finishedAtOf(a) - finishedAtOf(b) || a.seq - b.seq);
    for (const task of finished) {
      this.retention.add(task, now.monoMs - ageOf(finishedAtOf(task), now));
    }
    this.keys.sortRestored(now);
    for (const queue of this.queues.all()) this.queues.changed(queue, now.monoMs);
    this.queues.allowRestored();
    this.forgetWhatIsOver(now.monoMs);
  }

  /**
   * Applies a step: changes the state of a task, and moves it to the structure for its new status.
   */
  take(task: Task, to: StateChange, now: Instant): void {
    const from = task.status;
    if (from === "running" && isWaiting(to.status)) {
      // A failure costs a retry, and a release does not.
      task.queue.totals[to.failures > task.failures ? "retried" : "interrupted"] += 1;
    }
    this.leave(task);
    task.apply(to);
    if (to.runAtMs !== null) task.dueAtMs = now.monoMs + (to.runAtMs - now.wallMs);
    if (isFinished(from) && task.key !== null) this.keys.resumed(task.key);
    this.enter(task, to.status, now, from);
  }

  /** The step of nearly every task, cheaper than {@link take}. */
  finish(task: Task, to: DoneChange, now: Instant): void {
    this.leave(task);
    task.finishedAtMs = to.finishedAtMs;
    task.result = to.result;
    task.settledFence = to.settledFence;
    task.receipt = to.receipt;
    this.enter(task, to.status, now, "running");
  }

  /**
   * Removes a task from the structure for its status: the first half of a step. The second is
   * {@link enter}.
   */
  leave(task: Task): void {
    const { status, queue } = task;
    const holder = holderOf(status);
    queue.countOut(task, status);
    switch (holder) {
      case "ready":
        queue.ready[task.lane].remove(task);
        break;
      case "schedule":
        this.schedule.remove(task);
        task.isDueByWall = false;
        task.lease = null;
        break;
      case "retention":
        this.retention.remove(task);
        break;
      default:
        holder satisfies never;
    }
  }

  /**
   * Adds a task to the structure for its new status, and reports the step. The caller sets its
   * times. A step from running to queued is a release: the task goes back to its old position.
   */
  enter(task: Task, status: TaskStatus, now: Instant, from: TaskStatus | null = task.status): void {
    assert(from === null || isStep(from, status), "a task only takes a step that exists");
    const { queue } = task;
    const holder = holderOf(status);
    task.status = status;
    queue.countIn(task, status);
    switch (holder) {
      case "ready":
        task.queuedSinceMs = now.monoMs;
        if (from === "running") queue.ready[task.lane].putBack(task);
        else this.#pushBack(task);
        break;
      case "schedule":
        this.schedule.add(task);
        break;
      case "retention":
        if (isFinished(status)) queue.totals[status] += 1;
        this.retention.add(task, now.monoMs);
        if (task.key !== null) this.keys.finished(task.key, now);
        break;
      default:
        holder satisfies never;
    }
    this.queues.changed(queue, now.monoMs, task.lane);
    this.#observer.onStep(task, from, now);
  }

  /** Forgets finished tasks beyond the bounds of retention. */
  forgetWhatIsOver(nowMs: number): void {
    for (
      let task = this.retention.nextToForget(nowMs);
      task !== undefined;
      task = this.retention.nextToForget(nowMs)
    ) {
      this.leave(task);
      this.index.remove(task);
      // Finished tasks keep a queue known, no more: nothing changes for it before the last one is
      // forgotten.
      if (task.queue.known === 0) this.queues.changed(task.queue, nowMs);
      this.#observer.onForget?.(task);
    }
  }

  /** Throws when the registry is inconsistent. O(n): for tests. */
  verify(): void {
    this.index.verify();
    this.queues.verify();
    this.retention.verify();
    this.schedule.verify();
    const seen = { scheduled: 0, finished: 0 };
    const known = new Map<Queue, number>();
    const claims = new Map<Queue, number>();
    for (const task of this.index.newestFirst(Number.POSITIVE_INFINITY)) {
      assert(this.queues.find(task.queue.name) === task.queue, "a known task's queue is known");
      known.set(task.queue, (known.get(task.queue) ?? 0) + 1);
      if (task.lease !== null) claims.set(task.queue, (claims.get(task.queue) ?? 0) + 1);
      if (isFinished(task.status)) seen.finished += 1;
      else if (holderOf(task.status) === "schedule") seen.scheduled += 1;
      assert(task.lease === null || task.status === "running", "only a running task has a lease");
      assert(
        isFinished(task.status) === (task.finishedAtMs !== null),
        "exactly the finished tasks have an end",
      );
      assert(task.failures <= task.settings.maxRetries + 1, "no task fails more often than it may");
    }
    assert(seen.scheduled === this.schedule.size, "delayed and running tasks are in the schedule");
    assert(seen.finished === this.retention.size, "finished tasks are in retention");
    for (const queue of this.queues.all()) {
      assert(queue.known === (known.get(queue) ?? 0), "a queue counts its tasks");
      assert(queue.claims === (claims.get(queue) ?? 0), "a queue counts its remote claims");
    }
  }

  #makeAgain(saved: SavedTask): Task {
    assert(saved.seq > this.#lastSeq, "saved tasks come by their numbers");
    this.#lastSeq = saved.seq;
    const queue = this.queues.findOrMake(saved.queue);
    this.#settings = settingsOf(saved, this.#settings);
    const { key, enqueuedAtMs } = saved;
    const task = new Task(saved, this.#settings, saved.seq, queue, key, enqueuedAtMs);
    const { isDueByWall, attempt, startedAtMs, progress } = saved;
    Object.assign(task, { isDueByWall, attempt, startedAtMs, progress });
    task.apply(saved);
    this.index.append(task);
    return task;
  }

  /**
   * Adds a restored task to its structure. A finished one is only counted, since retention has
   * another order.
   */
  #takeBack(task: Task, claim: SavedClaim | null, now: Instant): void {
    const isCrashed = task.status === "running" && claim === null;
    if (isCrashed) task.apply(afterLoss(task, "crash_loop", now));
    const { queue, status } = task;
    const holder = holderOf(status);
    if (claim !== null) {
      restoreLease(task, claim, now);
      task.order = this.#nextOrder();
    }
    queue.countIn(task, status);
    if (holder === "ready") {
      task.queuedSinceMs = now.monoMs;
      this.#pushBack(task);
    } else if (holder === "schedule") {
      if (claim === null) restoreWait(task, now);
      this.schedule.add(task);
    }
    if (isCrashed) this.#observer.onStep(task, "running", now);
  }

  #nextOrder(): number {
    this.#lastOrder += 1;
    return this.#lastOrder;
  }

  #pushBack(task: Task): void {
    task.order = this.#nextOrder();
    task.queue.ready[task.lane].pushBack(task);
  }
}

function finishedAtOf({ finishedAtMs }: Task): number {
  assert(finishedAtMs !== null, "a finished task has an end");
  return finishedAtMs;
}
