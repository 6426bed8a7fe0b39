/**
 * A task and a queue as they stand on the wire.
 */

import type { Static } from "@sinclair/typebox";
import type { QueueReport, TaskError, TaskView } from "../../engine/engine.ts";
import type { QueueJson } from "./schemas.ts";

/** The task as JSON text. Payload, progress and result are text already, and go in as they are. */
export function taskJson(task: TaskView): string {
  const errors = task.errors.map(errorJson);
  const known = JSON.stringify({
    id: task.id,
    type: task.type,
    queue: task.queue,
    status: task.status,
    priority: task.priority,
    attempt: task.attempt,
    max_retries: task.maxRetries,
    timeout_ms: task.timeoutMs,
    enqueued_at: timeJson(task.enqueuedAtMs),
    run_at: timeJson(task.runAtMs),
    started_at: timeJson(task.startedAtMs),
    finished_at: timeJson(task.finishedAtMs),
    error: errors.at(-1) ?? null,
    errors,
  });
  return `${known.slice(0, -1)},"payload":${task.payload},"progress":${task.progress ?? "null"},"result":${task.result ?? "null"}}`;
}

/** An answer of JSON text. */
export function jsonResponse(text: string, status = 200): Response {
  return new Response(text, { status, headers: { "content-type": "application/json" } });
}

export function queueJson(queue: QueueReport): Static<typeof QueueJson> {
  return {
    name: queue.name,
    paused: queue.isPaused,
    capacity: { tasks: queue.limits.size, bytes: queue.limits.bytes },
    waiting: { tasks: queue.waiting, bytes: queue.waitingBytes },
    depth: { ...queue.counts },
    oldest_waiting_ms: queue.oldestQueuedMs === null ? null : Math.round(queue.oldestQueuedMs),
    totals: { ...queue.totals },
  };
}

function errorJson({ code, message, attempt, atMs }: TaskError): object {
  return { code, message, attempt, at: timeJson(atMs) };
}

function timeJson(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
