/**
 * What has changed in memory and is not on disk yet. It is written with the next group; if that fails, it stays here and
 * goes with the one after.
 */

import type { KeyRecord } from "../core/key-register.ts";
import type { Task } from "../core/task.ts";
import type { Journal, TaskState } from "./journal.ts";

export class Unwritten {
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

  add(task: Task): void {
    this.#tasks.add(task);
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

  writeTo(journal: Journal): void {
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
