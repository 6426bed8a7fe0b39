/** Builds the engine's views of its broker, by value: claims, queues and pages of tasks. */

import type { Broker } from "../../core/broker.ts";
import type { Instant } from "../../core/instant.ts";
import type { Queue } from "../../core/queue.ts";
import { type Task, viewOf } from "../../core/task.ts";
import type { Claim, ListAnswer, ListRequest, QueueReport } from "../engine.ts";

export function pageOfTasks(broker: Broker, { limit, cursor, ...filter }: ListRequest): ListAnswer {
  const beforeSeq = cursor === undefined ? Number.POSITIVE_INFINITY : seqOfCursor(cursor);
  if (beforeSeq === null) return { kind: "invalid_cursor" };
  const { tasks, nextBeforeSeq } = broker.list(filter, limit, beforeSeq);
  return {
    kind: "page",
    tasks: tasks.map(viewOf),
    nextCursor: nextBeforeSeq === null ? null : cursorOfSeq(nextBeforeSeq),
  };
}

export function reportOf(queue: Queue, claimsWaiting: number, nowMs: number): QueueReport {
  const sinceMs = queue.oldestQueuedSinceMs();
  const { name, isPaused, limits, counts, waiting, waitingBytes, claims, totals } = queue;
  return {
    name,
    isPaused,
    limits,
    counts: { ...counts },
    waiting,
    waitingBytes,
    claims,
    claimsWaiting,
    totals: { ...totals },
    oldestQueuedMs: sinceMs === null ? null : nowMs - sinceMs,
  };
}

/** The claim that holds a running task. */
export function claimOf(task: Task, { monoMs, wallMs }: Instant): Claim {
  const { id, fence, lease, dueAtMs } = task;
  const leaseMs = dueAtMs - monoMs;
  const leaseEndsAtMs = lease === null ? wallMs + leaseMs : lease.endsAtWallMs;
  return { taskId: id, fence, leaseMs, leaseEndsAtMs, task: viewOf(task) };
}

function cursorOfSeq(seq: number): string {
  return seq.toString(36);
}

function seqOfCursor(cursor: string): number | null {
  return /^[0-9a-z]{1,10}$/.test(cursor) ? Number.parseInt(cursor, 36) : null;
}
