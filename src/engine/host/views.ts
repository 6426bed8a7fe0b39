/**
 * What an engine shows of its core: pages of tasks, reports of queues, and lines in the log.
 */

import type { Broker } from "../../core/broker.ts";
import type { Queue } from "../../core/queue.ts";
import type { Task, TaskStatus } from "../../core/task.ts";
import type { Log } from "../../log.ts";
import type { ListAnswer, ListRequest, QueueReport } from "../engine.ts";

export function pageOfTasks(
  broker: Broker,
  { status, queue, type, limit, cursor }: ListRequest,
): ListAnswer {
  const beforeSeq = cursor === undefined ? Number.POSITIVE_INFINITY : seqOfCursor(cursor);
  if (beforeSeq === null) return { kind: "invalid_cursor" };
  const { tasks, nextBeforeSeq } = broker.list({ status, queue, type }, limit, beforeSeq);
  return {
    kind: "page",
    tasks,
    nextCursor: nextBeforeSeq === null ? null : cursorOfSeq(nextBeforeSeq),
  };
}

export function reportOf(queue: Queue, nowMs: number): QueueReport {
  const sinceMs = queue.oldestQueuedSinceMs();
  const { name, isPaused, limits, counts, waiting, waitingBytes, totals } = queue;
  const oldestQueuedMs = sinceMs === null ? null : nowMs - sinceMs;
  return { name, isPaused, limits, counts, waiting, waitingBytes, totals, oldestQueuedMs };
}

/** Writes of a task's step: a failed task always, every other step only to debug. */
export function logStep(
  log: Log,
  { id, type, queue, status, attempt, errors }: Task,
  from: TaskStatus | null,
): void {
  if (!log.isDebug && status !== "failed") return;
  const code = status === "failed" || status === "retrying" ? errors.at(-1)?.code : undefined;
  const event = from === null ? "task_enqueued" : `task_${status}`;
  log[status === "failed" ? "warn" : "debug"](event, { id, type, queue, attempt, code });
}

function cursorOfSeq(seq: number): string {
  return seq.toString(36);
}

function seqOfCursor(cursor: string): number | null {
  return /^[0-9a-z]{1,10}$/.test(cursor) ? Number.parseInt(cursor, 36) : null;
}
