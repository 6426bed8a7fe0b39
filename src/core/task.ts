/**
 * The task: what was asked for, what has become of it, and where it is linked. It holds data and decides nothing. The
 * statuses and the diagram of a task's life are in status.ts; the rules that change its state in rules.ts.
 */

import type { Backoff } from "./backoff.ts";
import type { KeyRecord } from "./idempotency.ts";
import type { Lane } from "./lane.ts";
import type { Queue } from "./queue.ts";
import { NOT_LINKED } from "./ring.ts";
import type { TaskStatus } from "./status.ts";

/** How a task is treated. Most tasks are treated like many others, and share this with them. */
export interface TaskSettings {
  readonly type: string;
  /** For lists and people. Most tasks have none, and share that. */
  readonly tags: readonly string[];
  readonly priority: number;
  readonly maxRetries: number;
  readonly timeoutMs: number;
  /** Where it runs. */
  readonly lane: Lane;
  /** How long it waits before a retry. */
  readonly backoff: Backoff;
}

/** What was asked for. It never changes: every check is done and every default applied before the core sees it. */
export interface TaskSpec extends TaskSettings {
  readonly id: string;
  /** The name of its queue. */
  readonly queue: string;
  /** The payload as JSON text. */
  readonly payload: string;
  /** The payload's size as UTF-8, in bytes. */
  readonly payloadBytes: number;
}

/** A task that asks to enter. */
export interface NewTask extends TaskSpec {
  readonly when: When;
}

/** When a task may start: at once, some time from now, or at a time on the wall clock. */
export type When =
  | { readonly kind: "now" }
  | { readonly kind: "after"; readonly delayMs: number }
  | { readonly kind: "at"; readonly wallMs: number };

/** One failed attempt, as it is kept and shown. */
export interface TaskError {
  readonly code: string;
  readonly message: string;
  /** The attempt that failed, counted from 1. */
  readonly attempt: number;
  /** Wall-clock milliseconds since the Unix epoch. */
  readonly atMs: number;
}

/** What has become of a task: everything about it that changes and that a durable engine stores. Times are wall-clock. */
export interface TaskState {
  readonly status: TaskStatus;
  /** How often it was started. */
  readonly attempt: number;
  /** Failed attempts since it was enqueued or retried by hand. Released ones do not count. */
  readonly failures: number;
  /** Attempts lost to crashes and ended leases since one last failed, or since it was retried by hand. */
  readonly losses: number;
  /** When it is, or was, due: set by a delay, a time asked for, a backoff, or a release with a delay. */
  readonly runAtMs: number | null;
  /** Whether `runAtMs` follows the wall clock wherever it goes, as a time asked for does. */
  readonly isDueByWall: boolean;
  /** When the latest attempt started. */
  readonly startedAtMs: number | null;
  readonly finishedAtMs: number | null;
  /** JSON text. */
  readonly result: string | null;
  /** What the handler last reported of its progress: JSON text. */
  readonly progress: string | null;
  /** The last few failed attempts, oldest first. */
  readonly errors: readonly TaskError[];
  /** The fence of the last settled claim; 0 before the first. */
  readonly settledFence: number;
  /** The receipt of the last settled claim. */
  readonly receipt: SettleReceipt | null;
}

/** The new values of everything that a step may change in a task's state. */
export type StateChange = Pick<
  TaskState,
  | "status"
  | "failures"
  | "losses"
  | "runAtMs"
  | "finishedAtMs"
  | "result"
  | "errors"
  | "settledFence"
  | "receipt"
>;

/** What the settle of a claim was answered: the same again when it is sent again. */
export interface SettleReceipt {
  readonly outcome: "done" | "failed" | "released";
  /** The task's status after it. */
  readonly status: TaskStatus;
  /** When the task is due again, if the settle made it wait: wall-clock milliseconds. */
  readonly runAtMs: number | null;
}

/** How a remote claim ended that was not settled. */
export interface LostClaim {
  readonly fence: number;
  readonly ended: "expired" | "timeout" | "cancelled";
}

/** The lease of a remote claim. Times are monotonic unless they say otherwise. */
export interface Lease {
  /** Its length when it was last granted. */
  lengthMs: number;
  endsAtMs: number;
  /** For people, and for the time after a restart: wall-clock milliseconds. */
  endsAtWallMs: number;
  /** When the attempt runs out of time, however often the lease is extended. */
  readonly timeoutAtMs: number;
  readonly worker: string | null;
}

export const NO_TAGS: readonly string[] = Object.freeze([]);

export const NO_ERRORS: readonly TaskError[] = [];

/** The state of a task that has just been accepted, but for when it is due. */
export const INITIAL_STATE: TaskState = {
  status: "queued",
  attempt: 0,
  failures: 0,
  losses: 0,
  runAtMs: null,
  isDueByWall: false,
  startedAtMs: null,
  finishedAtMs: null,
  result: null,
  progress: null,
  errors: NO_ERRORS,
  settledFence: 0,
  receipt: null,
};

/** A task as the broker holds it. */
export class Task implements TaskState {
  // What was asked for.
  readonly id: string;
  /** The order of entering ringq: 1, 2, 3, … Newer tasks have larger numbers. */
  readonly seq: number;
  readonly queue: Queue;
  readonly settings: TaskSettings;
  readonly payload: string;
  readonly payloadBytes: number;
  readonly enqueuedAtMs: number;
  /** The idempotency key it was enqueued under, if any. */
  readonly key: KeyRecord | null;

  // What has become of it: the fields of TaskState.
  status: TaskStatus = "queued";
  attempt = 0;
  failures = 0;
  losses = 0;
  runAtMs: number | null = null;
  isDueByWall = false;
  startedAtMs: number | null = null;
  finishedAtMs: number | null = null;
  result: string | null = null;
  progress: string | null = null;
  errors: readonly TaskError[] = NO_ERRORS;
  settledFence = 0;
  receipt: SettleReceipt | null = null;

  // Its claims, in memory only.
  /** The fence of the latest claim; 0 before the first. */
  fence = 0;
  /** While a remote claim holds it. */
  lease: Lease | null = null;
  /** The latest remote claim that ended without a settle. */
  lostClaim: LostClaim | null = null;

  // Where it is linked.
  /** While scheduled or retrying: when it may start. While running: when its attempt ends. Finished: when it is forgotten. */
  dueAtMs = 0;
  /** Monotonic time since when it is queued. */
  queuedSinceMs = 0;
  /** Its number in the order of queueing, which a released task keeps. */
  order = 0;
  /** Its position in the structure that its status puts it in: a ready list, the schedule or retention. */
  position = NOT_LINKED;
  /** Its position in the task index. */
  indexPosition = NOT_LINKED;

  constructor(
    { id, payload, payloadBytes }: TaskSpec,
    settings: TaskSettings,
    seq: number,
    queue: Queue,
    key: KeyRecord | null,
    enqueuedAtMs: number,
  ) {
    this.id = id;
    this.seq = seq;
    this.queue = queue;
    this.settings = settings;
    this.payload = payload;
    this.payloadBytes = payloadBytes;
    this.enqueuedAtMs = enqueuedAtMs;
    this.key = key;
  }

  get lane(): Lane {
    return this.settings.lane;
  }

  /** Takes over what a step changes. */
  apply(to: StateChange): void {
    this.status = to.status;
    this.failures = to.failures;
    this.losses = to.losses;
    this.runAtMs = to.runAtMs;
    this.finishedAtMs = to.finishedAtMs;
    this.result = to.result;
    this.errors = to.errors;
    this.settledFence = to.settledFence;
    this.receipt = to.receipt;
  }

  /** What a finished task keeps in memory for being read: its payload, its result, its progress and its errors. */
  get retainedBytes(): number {
    let bytes = this.payloadBytes + (this.result?.length ?? 0) + (this.progress?.length ?? 0);
    for (const { code, message } of this.errors) bytes += code.length + message.length;
    for (const tag of this.settings.tags) bytes += tag.length;
    return bytes;
  }
}

/** The settings of a task: those of the one before where they are the same, so that alike tasks share one copy. */
export function settingsOf(spec: TaskSettings, before: TaskSettings | null): TaskSettings {
  const { type, tags, priority, maxRetries, timeoutMs, lane, backoff } = spec;
  if (
    before !== null &&
    before.type === type &&
    before.tags === tags &&
    before.priority === priority &&
    before.maxRetries === maxRetries &&
    before.timeoutMs === timeoutMs &&
    before.lane === lane &&
    before.backoff === backoff
  ) {
    return before;
  }
  return { type, tags, priority, maxRetries, timeoutMs, lane, backoff };
}

/** A task as the rest of ringq sees it: plain data of one moment. Times are wall-clock; what is not yet known is null. */
export interface TaskView
  extends Omit<TaskSpec, "lane" | "backoff" | "payloadBytes">,
    Omit<TaskState, "losses" | "isDueByWall" | "settledFence" | "receipt"> {
  readonly enqueuedAtMs: number;
  /** The remote claim that holds it. */
  readonly claim: { readonly worker: string | null; readonly leaseEndsAtMs: number } | null;
}

export function viewOf(task: Task): TaskView {
  const { settings, lease } = task;
  return {
    id: task.id,
    type: settings.type,
    queue: task.queue.name,
    status: task.status,
    payload: task.payload,
    tags: settings.tags,
    priority: settings.priority,
    attempt: task.attempt,
    failures: task.failures,
    maxRetries: settings.maxRetries,
    timeoutMs: settings.timeoutMs,
    enqueuedAtMs: task.enqueuedAtMs,
    runAtMs: task.runAtMs,
    startedAtMs: task.startedAtMs,
    finishedAtMs: task.finishedAtMs,
    result: task.result,
    progress: task.progress,
    errors: task.errors,
    claim: lease === null ? null : { worker: lease.worker, leaseEndsAtMs: lease.endsAtWallMs },
  };
}

/** The stored part of a task, by value. */
export function stateOf(task: Task): TaskState {
  return {
    status: task.status,
    attempt: task.attempt,
    failures: task.failures,
    losses: task.losses,
    runAtMs: task.runAtMs,
    isDueByWall: task.isDueByWall,
    startedAtMs: task.startedAtMs,
    finishedAtMs: task.finishedAtMs,
    result: task.result,
    progress: task.progress,
    errors: task.errors,
    settledFence: task.settledFence,
    receipt: task.receipt,
  };
}
