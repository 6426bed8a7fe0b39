/**
 * What has changed in memory and is not on disk yet. It is written with the next group; if that fails, it stays here and
 * goes with the one after.
 */

import type { KeyRecord } from "../../core/idempotency.ts";
import type { Task, TaskStatus } from "../../core/task.ts";
import type { SqliteStore, TaskState } from "./store.ts";

export class PendingWrites {
  readonly #tasks = new Set<Task>();
  readonly #keys = new Set<KeyRecord>();
  #forgottenTasks: number[] = [];
  #forgottenKeys: number[] = [];

  get isEmpty(): boolean {
    return (
      this.#tasks.size === 0 &&
      this.#keys.size === 0 &&
      this.#forgottenTasks.length === 0 &&
      this.#forgottenKeys.length === 0
    );
  }

  get tasks(): Iterable<Task> {
    return this.#tasks;
  }

  has(task: Task): boolean {
    return this.#tasks.has(task);
  }

  /** Takes note of a step of a task, and says whether there is anything to write about it. */
  addStep(task: Task, from: TaskStatus | null): boolean {
    if (!isToBeWritten(task.status, from)) return false;
    this.#tasks.add(task);
    return true;
  }

  /** What is on disk of this task is what is in memory. */
  remove(task: Task): void {
    this.#tasks.delete(task);
  }

  forget(task: Task): void {
    this.#tasks.delete(task);
    this.#forgottenTasks.push(task.seq);
  }

  addKey(key: KeyRecord): void {
    this.#keys.add(key);
  }

  forgetKey(key: KeyRecord): void {
    this.#keys.delete(key);
    this.#forgottenKeys.push(key.seq);
  }

  writeTo(journal: SqliteStore): void {
    for (const task of this.#tasks) journal.putState(stateOf(task));
    for (const key of this.#keys) journal.putKeyFinish(key);
    if (this.#forgottenTasks.length > 0) journal.deleteTasks(this.#forgottenTasks);
    for (const seq of this.#forgottenKeys) journal.deleteKey(seq);
  }

  clear(): void {
    this.#tasks.clear();
    this.#keys.clear();
    this.#forgottenTasks = [];
    this.#forgottenKeys = [];
  }
}

/** What is written of a task. That an attempt runs stands on the board: here it is as it was before. */
function stateOf(task: Task): TaskState {
  if (task.status !== "running") return task;
  const { seq, failures, crashes, runAtMs, startedAtMs, result, progress, errors } = task;
  return {
    seq,
    status: "queued",
    attempt: task.attempt - 1,
    failures,
    crashes,
    runAtMs,
    startedAtMs,
    finishedAtMs: null,
    result,
    progress,
    errors,
  };
}

function isToBeWritten(status: TaskStatus, from: TaskStatus | null): boolean {
  switch (status) {
    case "scheduled":
      // Only a new task is scheduled, and that is written before it takes its first step.
      return false;
    case "running":
      // The board has it.
      return false;
    case "queued":
      // What has become due needs no word: its time is on disk.
      return from === "running" || from === "failed" || from === "cancelled";
    case "retrying":
    case "done":
    case "failed":
    case "cancelled":
      return true;
    default:
      return status satisfies never;
  }
}
