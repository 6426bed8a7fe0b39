/**
 * Every known task, in the structures that its status asks for: a line, the schedule or retention, and always the
 * timeline and the counts of its queue. It moves tasks and keeps the books; which step is to be taken, the broker
 * decides.
 */

import { assert } from "./assert.ts";
import { ageOf, IdempotencyKeys, type KeyObserver, type KeyRecord } from "./idempotency.ts";
import type { Instant } from "./instant.ts";
import type { Queue, QueueLimits } from "./queue.ts";
import { QueueRegistry } from "./queue-registry.ts";
import { Retention } from "./retention.ts";
import { Schedule } from "./schedule.ts";
import type { SavedTask, Snapshot } from "./snapshot.ts";
import {
  isFinished,
  isStep,
  type NewTask,
  settingsOf,
  Task,
  type TaskSettings,
  type TaskStatus,
} from "./task.ts";
import { TaskIndex } from "./task-index.ts";

export interface RegistryLimits {
  readonly queue: QueueLimits;
  /** The queues with limits of their own, by name. */
  readonly queues: ReadonlyMap<string, QueueLimits>;
  readonly queuesMax: number;
  readonly retainTasks: number;
  readonly retainBytes: number;
  readonly retainMs: number;
}

/** Hears what happens to tasks, at once and in order. It must not call back into the core. */
export interface RegistryObserver extends KeyObserver {
  /** A task took a step; `from` is null for one that has just entered. */
  onStep(task: Task, from: TaskStatus | null): void;
  /** A finished task was forgotten. */
  onForget?(task: Task): void;
}

/** How often a task may run when the process crashes. One that brings it down each time must not do so for ever. */
export const CRASHES_MAX = 3;

export class TaskRegistry {
  readonly timeline = new TaskIndex();
  readonly schedule = new Schedule();
  readonly queues: QueueRegistry;
  readonly keys: IdempotencyKeys;
  readonly retention: Retention;
  readonly #observer: RegistryObserver;
  #lastSeq = 0;
  /** Those of the task that was made last: the next one is most often treated alike. */
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

  /** The number that the next task gets. */
  get nextSeq(): number {
    return this.#lastSeq + 1;
  }

  find(id: string): Task | undefined {
    return this.timeline.find(id);
  }

  /** Makes a new task, which is in no structure yet. */
  make(fresh: NewTask, key: KeyRecord | null, now: Instant): Task {
    this.#lastSeq += 1;
    const home = this.queues.findOrMake(fresh.queue);
    this.#settings = settingsOf(fresh, this.#settings);
    const task = new Task(fresh, this.#settings, this.#lastSeq, home, key, now.wallMs);
    const { when } = fresh;
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

  /** Lets a task in that was made. */
  admit(task: Task, now: Instant): void {
    this.timeline.append(task);
    task.home.totals.enqueued += 1;
    this.enter(task, task.runAtMs === null ? "queued" : "scheduled", now, null);
  }

  /**
   * Takes back what an earlier life left behind: paused queues, keys, and tasks by their numbers. Only into an empty
   * broker. What ran when that life ended was interrupted by its end; a task to which that happens too often fails.
   */
  restore({ paused, keys, tasks }: Snapshot, now: Instant): void {
    assert(this.#lastSeq === 0, "only an empty broker takes back what was");
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
      this.#takeBack(task, now);
      if (isFinished(task.status)) finished.push(task);
      else if (task.key !== null) task.key.unfinished += 1;
    }
    // A key may outlive its tasks, and is still known by the number of the first: no other task may get that again.
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

  /** Takes a task out of the one structure that its status puts it in. The other half of a step is {@link TaskRegistry.enter}. */
  leave(task: Task): void {
    const { status, home } = task;
    switch (status) {
      case "queued":
        home.lines[task.lane].remove(task);
        break;
      case "scheduled":
      case "retrying":
      case "running":
        this.schedule.remove(task);
        task.isDueByWall = false;
        break;
      case "done":
      case "failed":
      case "cancelled":
        this.retention.remove(task);
        break;
      default:
        status satisfies never;
    }
    home.countOut(task, status);
  }

  /** Puts a task into the structure that its new status asks for, and tells. Its times are set by the caller. */
  enter(task: Task, status: TaskStatus, now: Instant, from: TaskStatus | null = task.status): void {
    assert(from === null || isStep(from, status), "a task only takes a step that exists");
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
        this.schedule.add(task);
        break;
      case "done":
      case "failed":
      case "cancelled":
        home.totals[status] += 1;
        task.finishedAtMs = now.wallMs;
        this.retention.add(task, now.monoMs);
        if (task.key !== null) this.keys.finished(task.key, now);
        break;
      default:
        status satisfies never;
    }
    this.queues.changed(home, now.monoMs);
    this.#observer.onStep(task, from);
  }

  /** The one step that keeps a task's turn: an interrupted attempt was ahead of all who wait. */
  enterAtFront(task: Task, now: Instant): void {
    const { home } = task;
    task.status = "queued";
    task.queuedSinceMs = now.monoMs;
    home.countIn(task, "queued");
    home.lines[task.lane].pushFront(task);
    this.queues.changed(home, now.monoMs);
    this.#observer.onStep(task, "running");
  }

  /** Forgets the finished tasks that are too many or too old. */
  forgetWhatIsOver(nowMs: number): void {
    for (
      let task = this.retention.nextToForget(nowMs);
      task !== undefined;
      task = this.retention.nextToForget(nowMs)
    ) {
      this.leave(task);
      this.timeline.remove(task);
      // Finished tasks hold a queue only by being there: nothing changes for it before the last one goes.
      if (task.home.known === 0) this.queues.changed(task.home, nowMs);
      this.#observer.onForget?.(task);
    }
  }

  /** Throws when the stock contradicts itself. O(n): for tests. */
  check(): void {
    this.timeline.check();
    this.queues.check();
    this.retention.check();
    this.schedule.check();
    const seen = { scheduled: 0, finished: 0 };
    const known = new Map<Queue, number>();
    for (const task of this.timeline.newestFirst(Number.POSITIVE_INFINITY)) {
      assert(this.queues.find(task.queue) === task.home, "a known task's queue is known");
      known.set(task.home, (known.get(task.home) ?? 0) + 1);
      if (isFinished(task.status)) seen.finished += 1;
      else if (task.status !== "queued") seen.scheduled += 1;
      assert(
        isFinished(task.status) === (task.finishedAtMs !== null),
        "exactly the finished tasks have an end",
      );
      assert(task.failures <= task.maxRetries + 1, "no task fails more often than it may");
    }
    assert(seen.scheduled === this.schedule.size, "what is delayed or runs is in the schedule");
    assert(seen.finished === this.retention.size, "what is finished is in retention");
    for (const queue of this.queues.all())
      assert(queue.known === (known.get(queue) ?? 0), "a queue counts its tasks");
  }

  #makeAgain(saved: SavedTask): Task {
    assert(saved.seq > this.#lastSeq, "saved tasks come by their numbers");
    this.#lastSeq = saved.seq;
    const home = this.queues.findOrMake(saved.queue);
    this.#settings = settingsOf(saved, this.#settings);
    const { key, enqueuedAtMs } = saved;
    const task = new Task(saved, this.#settings, saved.seq, home, key, enqueuedAtMs);
    task.status = saved.status;
    task.attempt = saved.attempt;
    task.failures = saved.failures;
    task.crashes = saved.crashes;
    task.runAtMs = saved.runAtMs;
    task.startedAtMs = saved.startedAtMs;
    task.finishedAtMs = saved.finishedAtMs;
    task.result = saved.result;
    task.progress = saved.progress;
    task.errors = saved.errors;
    task.isDueByWall = saved.isDueByWall;
    this.timeline.append(task);
    return task;
  }

  /** Puts a restored task where it belongs; a finished one only into the counts, since retention goes by another order. */
  #takeBack(task: Task, now: Instant): void {
    const hasRun = task.status === "running";
    if (hasRun) endByCrash(task, now);
    const { home, status } = task;
    home.countIn(task, status);
    if (status === "queued") {
      task.queuedSinceMs = now.monoMs;
      home.lines[task.lane].pushBack(task);
    } else if (status === "scheduled" || status === "retrying") {
      const runAtMs = task.runAtMs ?? now.wallMs;
      task.dueAtMs = task.isDueByWall ? runAtMs : now.monoMs + runAtMs - now.wallMs;
      this.schedule.add(task);
    }
    if (hasRun) this.#observer.onStep(task, "running");
  }
}

/** A task that ran when the process ended has lost its attempt: it waits again, or fails when that was once too often. */
function endByCrash(task: Task, now: Instant): void {
  task.crashes += 1;
  if (task.crashes < CRASHES_MAX) {
    task.status = "queued";
    return;
  }
  task.status = "failed";
  task.finishedAtMs = now.wallMs;
  const message = `the process ended ${CRASHES_MAX} times while the task ran`;
  task.addError({ code: "crash_loop", message, attempt: task.attempt, atMs: now.wallMs });
}

function finishedAtOf({ finishedAtMs }: Task): number {
  assert(finishedAtMs !== null, "a finished task has an end");
  return finishedAtMs;
}
