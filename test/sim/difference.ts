/**
 * Compares everything that can be seen of a broker with what the model says it must be.
 */

import type { Broker } from "../../src/core/broker.ts";
import type { Instant } from "../../src/core/instant.ts";
import type { Queue } from "../../src/core/queue.ts";
import type { TaskStatus } from "../../src/core/status.ts";
import type { Task } from "../../src/core/task.ts";
import type { Model } from "./model.ts";
import { isWaiting, type ModelQueue, type ModelTask } from "./model-state.ts";

/** The first thing in which the two differ, as a sentence; null when they agree. */
export function differenceBetween(broker: Broker, model: Model, now: Instant): string | null {
  return (
    differenceInTasks(broker, model) ??
    differenceInQueues(broker, model) ??
    differs("msToNextDue", broker.msToNextDue(now), model.msToNextDue(now)) ??
    differs("followsWallClock", broker.followsWallClock, model.followsWallClock()) ??
    differs("hasWorkWithin 0 ms", broker.hasWorkWithin(0, now), model.hasWorkWithin(0, now)) ??
    differs("hasWorkWithin 100 ms", broker.hasWorkWithin(100, now), model.hasWorkWithin(100, now))
  );
}

/** A sentence when a value is not what it must be. */
function differs(what: string, actual: unknown, expected: unknown): string | null {
  if (actual === expected) return null;
  return `${what} is ${JSON.stringify(actual)}, and must be ${JSON.stringify(expected)}`;
}

/** What an observer heard, in order. */
export function differenceInEvents(
  heard: readonly (string | number | null)[],
  expected: readonly (string | number | null)[],
): string | null {
  if (heard.length === expected.length) {
    let index = 0;
    while (index < heard.length && heard[index] === expected[index]) index += 1;
    if (index === heard.length) return null;
  }
  return `the observer heard ${JSON.stringify(heard)}, and must hear ${JSON.stringify(expected)}`;
}

/** Also the order of a list: newest first. */
function differenceInTasks(broker: Broker, model: Model): string | null {
  const tasks = [...broker.tasks()];
  const count = model.tasks.length;
  if (tasks.length !== count) return differs("the number of known tasks", tasks.length, count);
  for (let index = 0; index < count; index += 1) {
    const task = tasks[index] as Task;
    const expected = model.tasks[count - 1 - index] as ModelTask;
    const difference = differenceInTask(task, expected);
    if (difference !== null) return `task ${expected.fresh.id}: ${difference}`;
    if (broker.find(expected.fresh.id) !== task) return `task ${expected.fresh.id} is not found`;
  }
  return null;
}

function differenceInTask(task: Task, model: ModelTask): string | null {
  const { fresh } = model;
  if (
    task.id === fresh.id &&
    task.seq === model.seq &&
    task.settings.type === fresh.type &&
    task.queue.name === fresh.queue &&
    task.lane === fresh.lane &&
    task.status === model.status &&
    task.payload === fresh.payload &&
    task.settings.priority === fresh.priority &&
    task.settings.tags.join() === fresh.tags.join() &&
    task.attempt === model.attempt &&
    task.failures === model.failures &&
    task.losses === model.losses &&
    task.fence === model.fence &&
    task.settledFence === model.settledFence &&
    hasSameReceipt(task, model) &&
    hasSameLease(task, model) &&
    task.settings.maxRetries === fresh.maxRetries &&
    task.settings.timeoutMs === fresh.timeoutMs &&
    task.enqueuedAtMs === model.enqueuedAtMs &&
    task.runAtMs === model.runAtMs &&
    task.startedAtMs === model.startedAtMs &&
    task.finishedAtMs === model.finishedAtMs &&
    task.result === model.result &&
    task.progress === model.progress &&
    hasSameErrors(task, model)
  ) {
    return null;
  }
  return (
    differs("id", task.id, fresh.id) ??
    differs("seq", task.seq, model.seq) ??
    differs("type", task.settings.type, fresh.type) ??
    differs("queue", task.queue.name, fresh.queue) ??
    differs("lane", task.lane, fresh.lane) ??
    differs("status", task.status, model.status) ??
    differs("payload", task.payload, fresh.payload) ??
    differs("priority", task.settings.priority, fresh.priority) ??
    differs("tags", task.settings.tags.join(), fresh.tags.join()) ??
    differs("attempt", task.attempt, model.attempt) ??
    differs("failures", task.failures, model.failures) ??
    differs("losses", task.losses, model.losses) ??
    differs("fence", task.fence, model.fence) ??
    differs("settledFence", task.settledFence, model.settledFence) ??
    (hasSameReceipt(task, model) ? null : unlike("receipt", task.receipt, model.receipt)) ??
    (hasSameLease(task, model) ? null : unlike("lease", task.lease, model.lease)) ??
    differs("maxRetries", task.settings.maxRetries, fresh.maxRetries) ??
    differs("timeoutMs", task.settings.timeoutMs, fresh.timeoutMs) ??
    differs("enqueuedAtMs", task.enqueuedAtMs, model.enqueuedAtMs) ??
    differs("runAtMs", task.runAtMs, model.runAtMs) ??
    differs("startedAtMs", task.startedAtMs, model.startedAtMs) ??
    differs("finishedAtMs", task.finishedAtMs, model.finishedAtMs) ??
    differs("result", task.result, model.result) ??
    differs("progress", task.progress, model.progress) ??
    unlike("errors", task.errors, model.errors)
  );
}

/** The sentence for values that are compared part by part. */
function unlike(what: string, actual: unknown, expected: unknown): string {
  return `${what} is ${JSON.stringify(actual)}, and must be ${JSON.stringify(expected)}`;
}

function hasSameReceipt({ receipt }: Task, { receipt: expected }: ModelTask): boolean {
  return (
    receipt?.outcome === expected?.outcome &&
    receipt?.status === expected?.status &&
    receipt?.runAtMs === expected?.runAtMs
  );
}

function hasSameLease({ lease }: Task, { lease: expected }: ModelTask): boolean {
  return (
    lease?.lengthMs === expected?.lengthMs &&
    lease?.endsAtMs === expected?.endsMonoMs &&
    lease?.endsAtWallMs === expected?.endsWallMs &&
    lease?.timeoutAtMs === expected?.timeoutMonoMs &&
    lease?.worker === expected?.worker
  );
}

function hasSameErrors(task: Task, model: ModelTask): boolean {
  if (task.errors.length !== model.errors.length) return false;
  for (let index = 0; index < model.errors.length; index += 1) {
    const error = task.errors[index];
    const expected = model.errors[index];
    if (error === expected) continue;
    if (
      error?.code !== expected?.code ||
      error?.attempt !== expected?.attempt ||
      error?.atMs !== expected?.atMs ||
      error?.message !== expected?.message
    ) {
      return false;
    }
  }
  return true;
}

/** Also their order: as they came into being. */
function differenceInQueues(broker: Broker, model: Model): string | null {
  let index = 0;
  for (const queue of broker.queues()) {
    const expected = model.queues[index];
    if (expected === undefined) return `queue ${queue.name} exists, and must not`;
    const difference = differenceInQueue(queue, expected, model);
    if (difference !== null) return `queue ${expected.name}: ${difference}`;
    if (broker.findQueue(expected.name) !== queue) return `queue ${expected.name} is not found`;
    index += 1;
  }
  return differs("the number of queues", index, model.queues.length);
}

const counts: Record<TaskStatus, number> = {
  scheduled: 0,
  queued: 0,
  running: 0,
  retrying: 0,
  done: 0,
  failed: 0,
  cancelled: 0,
};

function differenceInQueue(
  queue: Queue,
  model: ModelQueue,
  { tasks, reservations }: Model,
): string | null {
  let reserved = 0;
  let reservedBytes = 0;
  for (const reservation of reservations) {
    for (const task of reservation.tasks) {
      if (task.queue !== model) continue;
      reserved += 1;
      reservedBytes += task.fresh.payloadBytes;
    }
  }
  counts.scheduled = 0;
  counts.queued = 0;
  counts.running = 0;
  counts.retrying = 0;
  counts.done = 0;
  counts.failed = 0;
  counts.cancelled = 0;
  let waiting = 0;
  let waitingBytes = 0;
  let claims = 0;
  let oldestMs = Number.POSITIVE_INFINITY;
  for (const task of tasks) {
    if (task.queue !== model) continue;
    counts[task.status] += 1;
    if (task.lease !== null) claims += 1;
    if (task.status === "queued" && task.queuedSinceMs < oldestMs) oldestMs = task.queuedSinceMs;
    if (!isWaiting(task)) continue;
    waiting += 1;
    waitingBytes += task.fresh.payloadBytes;
  }
  const oldestOrNullMs = oldestMs === Number.POSITIVE_INFINITY ? null : oldestMs;
  return (
    differs("name", queue.name, model.name) ??
    differs("isPaused", queue.isPaused, model.isPaused) ??
    differs("limits", queue.limits, model.limits) ??
    differs("claims", queue.claims, claims) ??
    differs("scheduled", queue.counts.scheduled, counts.scheduled) ??
    differs("queued", queue.counts.queued, counts.queued) ??
    differs("running", queue.counts.running, counts.running) ??
    differs("retrying", queue.counts.retrying, counts.retrying) ??
    differs("done", queue.counts.done, counts.done) ??
    differs("failed", queue.counts.failed, counts.failed) ??
    differs("cancelled", queue.counts.cancelled, counts.cancelled) ??
    differs("waiting", queue.waiting, waiting) ??
    differs("waitingBytes", queue.waitingBytes, waitingBytes) ??
    differs("reserved", queue.reserved, reserved) ??
    differs("reservedBytes", queue.reservedBytes, reservedBytes) ??
    differs("total enqueued", queue.totals.enqueued, model.totals.enqueued) ??
    differs("total done", queue.totals.done, model.totals.done) ??
    differs("total failed", queue.totals.failed, model.totals.failed) ??
    differs("total cancelled", queue.totals.cancelled, model.totals.cancelled) ??
    differs("total retried", queue.totals.retried, model.totals.retried) ??
    differs("total interrupted", queue.totals.interrupted, model.totals.interrupted) ??
    differs("oldestQueuedSinceMs", queue.oldestQueuedSinceMs(), oldestOrNullMs)
  );
}
