/**
 * The changes in memory that are not on disk yet. They are written with the next group; if that
 * fails, they stay here for the group after it.
 */

import type { KeyRecord } from "../../core/idempotency.ts";
import type { TaskStatus } from "../../core/status.ts";
import type { Task } from "../../core/task.ts";
import { stateRowOf } from "./columns.ts";
import type { SqliteStore } from "./store.ts";

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

  has(task: Task): boolean {
    return this.#tasks.has(task);
  }

  add(task: Task): void {
    this.#tasks.add(task);
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

  writeTo(store: SqliteStore): void {
    for (const task of this.#tasks) store.putState(task.seq, stateRowOf(task));
    for (const key of this.#keys) store.putKeyFinish(key);
    if (this.#forgottenTasks.length > 0) store.deleteTasks(this.#forgottenTasks);
    for (const seq of this.#forgottenKeys) store.deleteKey(seq);
  }

  clear(): void {
    this.#tasks.clear();
    this.#keys.clear();
    this.#forgottenTasks = [];
    this.#forgottenKeys = [];
  }
}

/** Whether a step of a task has to be written. */
export function isToBeWritten(status: TaskStatus, from: TaskStatus | null): boolean {
  switch (status) {
    case "scheduled":
      // Only a new task is scheduled, and it is written before its first step.
      return false;
    case "running":
      // The running file has it.
      return false;
    case "queued":
      // A task that has become due needs no write: its time is on disk.
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
