/**
 * The task: what it is, the states it goes through, and which steps between them exist.
 *
 *               delay/run_at                 claim                    ok
 *    enqueue ──► scheduled ──due──► queued ────────► running ──────────────► done
 *       └──────────────────────────► ▲  ▲              │ │ │
 *                                    │  └─interrupted──┘ │ └─error, none left─► failed ──retry──► queued
 *                                    └──due── retrying ◄─┘ error, retries left
 *    cancel: scheduled | queued | retrying | running ──► cancelled ──retry──► queued
 *
 * A task holds data and its places in the broker's structures; it decides nothing.
 */

import type { Backoff } from "./backoff.ts";
import type { KeyRecord } from "./idempotency.ts";
import type { Queue } from "./queue.ts";
import type { Lane } from "./ready-list.ts";
import { NOT_LINKED } from "./ring.ts";

export type TaskStatus =
  | "scheduled"
  | "queued"
  | "running"
  | "retrying"
  | "done"
  | "failed"
  | "cancelled";

/** Every status, in the order of a task's life. */
export const TASK_STATUSES = [
  "scheduled",
  "queued",
  "running",
  "retrying",
  "done",
  "failed",
  "cancelled",
] as const satisfies readonly TaskStatus[];

/** The steps that exist. Whatever is not listed here never happens. */
const STEPS: Readonly<Record<TaskStatus, Readonly<Partial<Record<TaskStatus, true>>>>> = {
  scheduled: { queued: true, cancelled: true },
  queued: { running: true, cancelled: true },
  running: { done: true, retrying: true, failed: true, queued: true, cancelled: true },
  retrying: { queued: true, cancelled: true },
  done: {},
  failed: { queued: true },
  cancelled: { queued: true },
};

export function isStep(from: TaskStatus, to: TaskStatus): boolean {
  return STEPS[from][to] === true;
}

/** Whether a task in this status holds a place in its queue's bounds. */
export function isWaiting(status: TaskStatus): boolean {
  return status === "queued" || status === "scheduled" || status === "retrying";
}

export function isFinished(status: TaskStatus): boolean {
  return status === "done" || status === "failed" || status === "cancelled";
}

/** One failed attempt, as it is kept and shown. */
export interface TaskError {
  readonly code: string;
  readonly message: string;
  /** The attempt that failed, counted from 1. */
  readonly attempt: number;
  /** Wall-clock milliseconds since the Unix epoch. */
  readonly atMs: number;
}

/** How many errors a task keeps: enough to see a pattern, few enough to bound what a failing task holds. */
const ERRORS_KEPT = 5;

/** How a task is treated. Most tasks are treated like many others, and share this with them. */
export interface TaskSettings {
  readonly type: string;
  readonly priority: number;
  readonly maxRetries: number;
  readonly timeoutMs: number;
  /** Where it runs. */
  readonly lane: Lane;
  /** How long it waits before a retry. */
  readonly backoff: Backoff;
}

/** What a task is from the first to the last, but for what entering ringq gives it. */
export interface TaskBasis extends TaskSettings {
  readonly id: string;
  readonly queue: string;
  /** The payload as JSON text. */
  readonly payload: string;
  /** The payload's size as UTF-8, in bytes. */
  readonly payloadBytes: number;
}

/** What it takes to enqueue a task: everything is checked and every default applied before the core sees it. */
export interface NewTask extends TaskBasis {
  readonly when: When;
}

/** When a task may start: at once, some time from now, or at a time on the wall clock. */
export type When =
  | { readonly kind: "now" }
  | { readonly kind: "after"; readonly delayMs: number }
  | { readonly kind: "at"; readonly wallMs: number };

/** What the rest of ringq may see of a task. Times are wall-clock milliseconds; what is not yet known is null. */
export interface TaskView {
  readonly id: string;
  readonly type: string;
  readonly queue: string;
  readonly status: TaskStatus;
  /** JSON text. */
  readonly payload: string;
  readonly priority: number;
  /** How often it was started. */
  readonly attempt: number;
  readonly maxRetries: number;
  readonly timeoutMs: number;
  readonly enqueuedAtMs: number;
  /** When it was, or is, due: set by a delay, a time asked for, or the backoff before a retry. */
  readonly runAtMs: number | null;
  /** When the latest attempt started. */
  readonly startedAtMs: number | null;
  readonly finishedAtMs: number | null;
  /** JSON text. */
  readonly result: string | null;
  /** What the handler last said of how far it is: JSON text. */
  readonly progress: string | null;
  /** The last few failed attempts, oldest first. */
  readonly errors: readonly TaskError[];
}

const NO_ERRORS: readonly TaskError[] = [];

export class Task implements TaskView {
  readonly id: string;
  /** The order of entering ringq: 1, 2, 3, … Newer tasks have larger numbers. */
  readonly seq: number;
  readonly home: Queue;
  readonly settings: TaskSettings;
  readonly payload: string;
  readonly payloadBytes: number;
  readonly enqueuedAtMs: number;
  /** The idempotency key it was enqueued under, if any. */
  readonly key: KeyRecord | null;

  status: TaskStatus = "queued";
  attempt = 0;
  /** Failed attempts since it was enqueued or retried by hand. Interrupted ones do not count. */
  failures = 0;
  /** How often the process ended while it ran, since it was enqueued or retried by hand. */
  crashes = 0;
  runAtMs: number | null = null;
  startedAtMs: number | null = null;
  finishedAtMs: number | null = null;
  result: string | null = null;
  progress: string | null = null;
  errors: readonly TaskError[] = NO_ERRORS;

  /** While scheduled or retrying: when it may start. While running: when its lease ends. Finished: when it is forgotten. */
  dueAtMs = 0;
  /** Whether `dueAtMs` is on the wall clock, as it is for a task scheduled by `run_at`. */
  isDueByWall = false;
  /** Monotonic time since when it is queued. */
  queuedSinceMs = 0;

  /** Its place in the one structure that its status puts it in: a line, the schedule or retention. */
  place = NOT_LINKED;
  /** Its index in the timeline. */
  line = -1;

  constructor(
    { id, payload, payloadBytes }: TaskBasis,
    settings: TaskSettings,
    seq: number,
    home: Queue,
    key: KeyRecord | null,
    enqueuedAtMs: number,
  ) {
    this.id = id;
    this.seq = seq;
    this.home = home;
    this.settings = settings;
    this.payload = payload;
    this.payloadBytes = payloadBytes;
    this.enqueuedAtMs = enqueuedAtMs;
    this.key = key;
  }

  get queue(): string {
    return this.home.name;
  }

  get type(): string {
    return this.settings.type;
  }

  get priority(): number {
    return this.settings.priority;
  }

  get maxRetries(): number {
    return this.settings.maxRetries;
  }

  get timeoutMs(): number {
    return this.settings.timeoutMs;
  }

  get lane(): Lane {
    return this.settings.lane;
  }

  get backoff(): Backoff {
    return this.settings.backoff;
  }

  /** Notes a failed attempt; of many, the last {@link ERRORS_KEPT} are kept. */
  addError(error: TaskError): void {
    this.errors = [...this.errors.slice(1 - ERRORS_KEPT), error];
  }

  /** What a finished task keeps in memory for being read: its payload, its result, its progress and its errors. */
  get retainedBytes(): number {
    let bytes = this.payloadBytes + (this.result?.length ?? 0) + (this.progress?.length ?? 0);
    for (const { code, message } of this.errors) bytes += code.length + message.length;
    return bytes;
  }
}

/** The settings of a task: those of the one before where they are the same, so that alike tasks share one copy. */
export function settingsOf(fresh: TaskBasis, before: TaskSettings | null): TaskSettings {
  const { type, priority, maxRetries, timeoutMs, lane, backoff } = fresh;
  if (
    before !== null &&
    before.type === type &&
    before.priority === priority &&
    before.maxRetries === maxRetries &&
    before.timeoutMs === timeoutMs &&
    before.lane === lane &&
    before.backoff === backoff
  ) {
    return before;
  }
  return { type, priority, maxRetries, timeoutMs, lane, backoff };
}
