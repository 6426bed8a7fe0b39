/**
 * Translates tasks and queues between JSON and the engine: bodies into requests, and views into
 * answers.
 */

import type { Static } from "@sinclair/typebox";
import {
  type Claim,
  type EnqueueRequest,
  LIMITS,
  type QueueReport,
  type TaskError,
  type TaskView,
} from "../../engine/engine.ts";
import type { EnqueueBody, QueueJson } from "./schemas.ts";
import { tokenOf } from "./token.ts";

type Asked = { readonly [Field in keyof EnqueueRequest]-?: EnqueueRequest[Field] };

/**
 * The request in this body. An invalid `run_at` gives NaN: {@link runAtFault} says why. The fields
 * are spelled out, since a loop over the names costs more; the type makes sure that none is
 * missing.
 */
export function requestOf(body: EnqueueBody): Asked {
  return {
    payload: body.payload,
    type: body.type,
    queue: body.queue,
    tags: body.tags,
    priority: body.priority,
    maxRetries: body.max_retries,
    timeoutMs: body.timeout_ms,
    delayMs: body.delay_ms,
    runAtMs: body.run_at === undefined ? undefined : msOfTime(body.run_at),
  };
}

/** The wire name of each request field. */
const NAMES: Readonly<Record<keyof EnqueueRequest, keyof EnqueueBody>> = {
  payload: "payload",
  type: "type",
  queue: "queue",
  tags: "tags",
  priority: "priority",
  maxRetries: "max_retries",
  timeoutMs: "timeout_ms",
  delayMs: "delay_ms",
  runAtMs: "run_at",
};

const NAME_OF: ReadonlyMap<string, string> = new Map(Object.entries(NAMES));

/**
 * Turns a pointer into an engine request into a pointer into the body: `/maxRetries` is
 * `/max_retries`.
 */
export function wirePath(path: string): string {
  const [, field = "", rest = ""] = /^\/([^/]*)(.*)$/s.exec(path) ?? [];
  return path === "" ? "" : `/${NAME_OF.get(field) ?? field}${rest}`;
}

/** The format of a time (RFC 3339), as in `2026-11-24T09:30:00.250Z` or with an offset. */
export const RFC_3339 =
  "^\\d{4}-\\d{2}-\\d{2}[Tt]\\d{2}:\\d{2}:\\d{2}(\\.\\d+)?([Zz]|[+-]\\d{2}:\\d{2})$";

/** The fault in the start time of a body; null when there is none. */
export function runAtFault({ run_at: runAt, delay_ms: delayMs }: EnqueueBody): string | null {
  if (runAt === undefined) return null;
  if (delayMs !== undefined) return "can't be combined with delay_ms";
  // Computer clocks do not show leap seconds, and future ones are unknown.
  if (runAt.slice(17, 19) === "60") return "is in a leap second: use the next second";
  const ms = msOfTime(runAt);
  if (Number.isNaN(ms)) return "is not a valid time";
  return LIMITS.runAtMs.allows(ms) ? null : "is outside the years 0000 to 9999 (UTC)";
}

/**
 * Milliseconds since the Unix epoch, or NaN for a time that does not exist. The format alone is not
 * enough: parsers read 30 February as 2 March, and 24:00, which RFC 3339 does not have, as the next
 * day.
 */
function msOfTime(time: string): number {
  const day = new Date(`${time.slice(0, 10)}T00:00:00Z`);
  if (Number.isNaN(day.getTime()) || day.toISOString().slice(0, 10) !== time.slice(0, 10))
    return Number.NaN;
  return time.slice(11, 13) === "24" ? Number.NaN : Date.parse(time.toUpperCase());
}

/**
 * The task as JSON text. Payload, progress and result are already text, and are inserted unchanged.
 */
export function taskJson(task: TaskView): string {
  const { claim } = task;
  const errors = task.errors.map(errorJson);
  const known = JSON.stringify({
    id: task.id,
    type: task.type,
    queue: task.queue,
    status: task.status,
    tags: task.tags,
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
    claim:
      claim === null
        ? null
        : { worker: claim.worker, lease_ends_at: timeJson(claim.leaseEndsAtMs) },
  });
  return `${known.slice(0, -1)},"payload":${task.payload},"progress":${task.progress ?? "null"},"result":${task.result ?? "null"}}`;
}

/** A claim as JSON text. */
export function claimJson({ taskId, fence, leaseMs, leaseEndsAtMs, task }: Claim): string {
  const token = tokenOf({ taskId, fence });
  const retriesLeft = Math.max(0, task.maxRetries - task.failures);
  const known = `"token":"${token}","lease_ms":${Math.floor(leaseMs)},"lease_ends_at":"${timeJson(leaseEndsAtMs)}"`;
  return `{${known},"task":${taskJson(task).slice(0, -1)},"retries_left":${retriesLeft}}}`;
}

export function queueJson(queue: QueueReport): Static<typeof QueueJson> {
  return {
    name: queue.name,
    paused: queue.isPaused,
    capacity: { tasks: queue.limits.size, bytes: queue.limits.bytes },
    waiting: { tasks: queue.waiting, bytes: queue.waitingBytes },
    depth: { ...queue.counts },
    oldest_waiting_ms: queue.oldestQueuedMs === null ? null : Math.round(queue.oldestQueuedMs),
    claims: { running: queue.claims, waiting: queue.claimsWaiting },
    totals: { ...queue.totals },
  };
}

function errorJson({ code, message, attempt, atMs }: TaskError): object {
  return { code, message, attempt, at: timeJson(atMs) };
}

export function timeJson(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
