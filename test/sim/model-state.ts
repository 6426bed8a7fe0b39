/**
 * What the model keeps, and the few things one can ask of an array. Nothing here is counted ahead or kept in step: the
 * model counts anew whenever it is asked.
 */

import type { Receipt } from "../../src/core/idempotency.ts";
import type { QueueLimits, QueueTotals } from "../../src/core/queue.ts";
import type { TaskStatus } from "../../src/core/status.ts";
import type { LostClaim, NewTask, SettleReceipt, TaskError } from "../../src/core/task.ts";

export interface ModelTask {
  /** What it was asked to be. */
  readonly fresh: NewTask;
  readonly seq: number;
  queue: ModelQueue;
  readonly key: ModelKey | null;
  readonly enqueuedAtMs: number;
  status: TaskStatus;
  attempt: number;
  failures: number;
  losses: number;
  runAtMs: number | null;
  startedAtMs: number | null;
  finishedAtMs: number | null;
  result: string | null;
  progress: string | null;
  errors: TaskError[];
  /** The fences of all its claims, the first one first: a worker may come back with any of them. */
  readonly fences: number[];
  /** The fence of its latest claim; 0 before the first, and when a restart has ended it. */
  fence: number;
  /** While a remote claim holds it. */
  lease: ModelLease | null;
  /** The fence of the claim that was settled last, and what was answered; 0 and null before the first. */
  settledFence: number;
  receipt: SettleReceipt | null;
  lostClaim: LostClaim | null;
  /** When a delay, a backoff, a timeout or a lease ends on the monotonic clock; Infinity when none is under way. */
  dueMonoMs: number;
  /** When its time of day comes on the wall clock; Infinity when it waits for none. */
  dueWallMs: number;
  /** Its place among the queued tasks of its priority: the smallest number is next, but released ones come before. */
  order: number;
  isReleased: boolean;
  queuedSinceMs: number;
  /** The order of finishing, and the monotonic time of it. */
  finishRank: number;
  finishedMonoMs: number;
}

/** When the claim of a remote worker ends. It never ends later than its timeout. */
export interface ModelLease {
  lengthMs: number;
  endsMonoMs: number;
  endsWallMs: number;
  readonly timeoutMonoMs: number;
  readonly worker: string | null;
}

export interface ModelQueue {
  readonly name: string;
  readonly limits: QueueLimits;
  readonly totals: QueueTotals;
  isPaused: boolean;
  /** Since when it knows no task and is not paused; Infinity while it does or is. */
  idleSinceMs: number;
  idleRank: number;
}

/** Tasks that hold their places and are not to be seen yet. */
export interface ModelReservation {
  readonly tasks: ModelTask[];
  readonly key: ModelKey | null;
}

export interface ModelKey {
  readonly name: string;
  readonly fingerprint: string;
  readonly receipts: readonly Receipt[];
  /** The ids of its tasks that are not finished. */
  unfinished: string[];
  /** The order of its last task's finishing, and when it is forgotten for it; Infinity while some are unfinished. */
  finishRank: number;
  forgetAtMs: number;
  /** When that was on the wall clock; null while some are unfinished. */
  finishedAtMs: number | null;
  /** The number of its last task. */
  readonly lastSeq: number;
}

export function isFinished({ status }: ModelTask): boolean {
  return status === "done" || status === "failed" || status === "cancelled";
}

export function isWaiting({ status }: ModelTask): boolean {
  return status === "scheduled" || status === "queued" || status === "retrying";
}

/** The payload, the result, the last progress and the errors are what a finished task is kept for. */
export function keptBytes({ fresh, result, progress, errors }: ModelTask): number {
  const said = errors.map(({ code, message }) => code + message).join("");
  const tags = fresh.tags.join("");
  return fresh.payloadBytes + `${result ?? ""}${progress ?? ""}${said}${tags}`.length;
}

export function bytesOf(tasks: readonly NewTask[]): number {
  return tasks.reduce((sum, { payloadBytes }) => sum + payloadBytes, 0);
}

/** The candidate that comes before all others, if there is any. */
export function least<T>(
  all: readonly T[],
  isCandidate: (each: T) => boolean,
  isBefore: (a: T, b: T) => boolean,
): T | undefined {
  let first: T | undefined;
  for (const each of all) {
    if (isCandidate(each) && (first === undefined || isBefore(each, first))) first = each;
  }
  return first;
}

/** Takes out everything that is to go, and keeps the order of the rest. */
export function drop<T>(all: T[], isToGo: (each: T) => boolean): void {
  for (let index = all.length - 1; index >= 0; index -= 1) {
    if (isToGo(all[index] as T)) all.splice(index, 1);
  }
}

/** Joins the end of the line, or leaves it. */
export function keepIf<T>(isIn: boolean, each: T, line: T[]): void {
  const index = line.indexOf(each);
  if (isIn && index === -1) line.push(each);
  else if (!isIn && index !== -1) line.splice(index, 1);
}
