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

/** The task as JSON text. */
export function taskJson(task: TaskView): string {
  return `{${taskFields(task)}}`;
}

/**
 * The fields of a task as JSON text. Payload, progress and result are already text, and are inserted
 * unchanged. Ids, types, names of queues and tags have nothing to escape (core/limits.ts), so a
 * template is enough: it costs a third of JSON.stringify, and workers claim a hundred tasks at a
 * time.
 */
function taskFields(task: TaskView): string {
  const tags = task.tags.length === 0 ? "[]" : JSON.stringify(task.tags);
  return (
    `"id":"${task.id}","type":"${task.type}","queue":"${task.queue}","status":"${task.status}",` +
    `"tags":${tags},"priority":${task.priority},"attempt":${task.attempt},` +
    `"max_retries":${task.maxRetries},"timeout_ms":${task.timeoutMs},` +
    `"enqueued_at":${timeText(task.enqueuedAtMs)},"run_at":${timeText(task.runAtMs)},` +
    `"started_at":${timeText(task.startedAtMs)},"finished_at":${timeText(task.finishedAtMs)},` +
    `${errorFields(task.errors)},"claim":${claimText(task.claim)},"payload":${task.payload},` +
    `"progress":${task.progress ?? "null"},"result":${task.result ?? "null"}`
  );
}

function errorFields(errors: TaskView["errors"]): string {
  if (errors.length === 0) return '"error":null,"errors":[]';
  const texts = errors.map((error) => JSON.stringify(errorJson(error)));
  return `"error":${texts.at(-1)},"errors":[${texts.join(",")}]`;
}

function claimText(claim: TaskView["claim"]): string {
  if (claim === null) return "null";
  const { worker, leaseEndsAtMs } = claim;
  return `{"worker":${JSON.stringify(worker)},"lease_ends_at":${timeText(leaseEndsAtMs)}}`;
}

/** A claim as JSON text. */
export function claimJson({ taskId, fence, leaseMs, leaseEndsAtMs, task }: Claim): string {
  const token = tokenOf({ taskId, fence });
  const retriesLeft = Math.max(0, task.maxRetries - task.failures);
  return (
    `{"token":"${token}","lease_ms":${Math.round(leaseMs)},"lease_ends_at":${timeText(leaseEndsAtMs)},` +
    `"task":{${taskFields(task)},"retries_left":${retriesLeft}}}`
  );
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

/**
 * The number of times whose text is kept: the tasks of one moment have the same. A prime, so that a
 * time and the end of a lease, some seconds later, do not share a place.
 */
const TIMES_KEPT = 61;

const timesKept: { readonly ms: number; readonly text: string }[] = [];

/** A time as JSON text. */
export function timeText(ms: number | null): string {
  if (ms === null) return "null";
  // As Date does: a fraction of a millisecond is not shown.
  const wholeMs = Math.floor(ms);
  const slot = wholeMs % TIMES_KEPT;
  const kept = timesKept[slot];
  if (kept?.ms === wholeMs) return kept.text;
  const text = `"${new Date(wholeMs).toISOString()}"`;
  timesKept[slot] = { ms: wholeMs, text };
  return text;
}
