/**
 * The task: its request, its state, and its positions in the structures. It holds data and decides
 * nothing. status.ts has the statuses and the diagram of a task's life, rules.ts the rules that
 * change its state.
 */

import type { Backoff } from "./backoff.ts";
import type { KeyRecord } from "./idempotency.ts";
import type { Lane } from "./lane.ts";
import type { Queue } from "./queue.ts";
import { NOT_LINKED } from "./ring.ts";
import type { TaskStatus } from "./status.ts";

/** The settings of a task. Most tasks have the same as many others, and share one object. */
export interface TaskSettings {
  readonly type: string;
  /** For lists and people. Most tasks have none, and share one empty list. */
  readonly tags: readonly string[];
  readonly priority: number;
  readonly maxRetries: number;
  readonly timeoutMs: number;
  /** The lane where it runs. */
  readonly lane: Lane;
  /** The wait before a retry. */
  readonly backoff: Backoff;
}

/**
 * The request. It never changes: every check is done and every default applied before it enters the
 * core.
 */
export interface TaskSpec extends TaskSettings {
  readonly id: string;
  /** The name of its queue. */
  readonly queue: string;
  /** The payload as JSON text. */
  readonly payload: string;
  /** The payload's size as UTF-8, in bytes. */
  readonly payloadBytes: number;
}

/** A new task that is not accepted yet. */
export interface NewTask extends TaskSpec {
  readonly when: When;
}

/** The start time of a task: at once, after a delay, or at a wall-clock time. */
export type When =
  | { readonly kind: "now" }
  | { readonly kind: "after"; readonly delayMs: number }
  | { readonly kind: "at"; readonly wallMs: number };

/** One failed attempt, as it is stored and shown. */
export interface TaskError {
  readonly code: string;
  readonly message: string;
  /** The attempt that failed, counted from 1. */
  readonly attempt: number;
  /** Wall-clock milliseconds since the Unix epoch. */
  readonly atMs: number;
}

/**
 * The state of a task: everything that changes and that a durable engine stores. Times are
 * wall-clock.
 */
export interface TaskState {
  readonly status: TaskStatus;
  /** The number of starts. */
  readonly attempt: number;
  /** Failed attempts since it was enqueued or retried by hand. Released ones do not count. */
  readonly failures: number;
  /**
   * Attempts lost to crashes and ended leases since the last failed attempt, or since the last
   * retry by hand.
   */
  readonly losses: number;
  /**
   * The time when it is, or was, due: set by a delay, a requested time, a backoff, or a release
   * with a delay.
   */
  readonly runAtMs: number | null;
  /** Whether `runAtMs` follows the wall clock even when that jumps, like a requested time. */
  readonly isDueByWall: boolean;
  /** The start of the latest attempt. */
  readonly startedAtMs: number | null;
  readonly finishedAtMs: number | null;
  /** JSON text. */
  readonly result: string | null;
  /** The last progress that the handler reported: JSON text. */
  readonly progress: string | null;
  /** The last few failed attempts, oldest first. */
  readonly errors: readonly TaskError[];
  /** The fence of the last settled claim; 0 before the first. */
  readonly settledFence: number;
  /** The receipt of the last settled claim. */
  readonly receipt: SettleReceipt | null;
}

/** The new values of all state fields that a step may change. */
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

/** The answer to the settle of a claim: repeated when the same settle is sent again. */
export interface SettleReceipt {
  readonly outcome: "done" | "failed" | "released";
  /** The status of the task after the settle. */
  readonly status: TaskStatus;
  /** The time when the task is due again, if the settle made it wait: wall-clock milliseconds. */
  readonly runAtMs: number | null;
}

/** The end of a remote claim that was not settled. */
export interface LostClaim {
  readonly fence: number;
  readonly ended: "expired" | "timeout" | "cancelled";
}

/** The lease of a remote claim. Times are monotonic unless noted. */
export interface Lease {
  /** Its length at the last grant or extension. */
  lengthMs: number;
  endsAtMs: number;
  /** For people, and for the time after a restart: wall-clock milliseconds. */
  endsAtWallMs: number;
  /** The time when the attempt times out, whatever the extensions of the lease. */
  readonly timeoutAtMs: number;
  readonly worker: string | null;
}

export const NO_TAGS: readonly string[] = Object.freeze([]);

export const NO_ERRORS: readonly TaskError[] = [];

/** The state of a task that has just been accepted, without its due time. */
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

/** A task in the broker. */
export class Task implements TaskState {
  // The request.
  readonly id: string;
  /** The order of entering ringq: 1, 2, 3, … Newer tasks have larger numbers. */
  readonly seq: number;
  readonly queue: Queue;
  readonly settings: TaskSettings;
  readonly payload: string;
  readonly payloadBytes: number;
  readonly enqueuedAtMs: number;
  /** The idempotency key of its request, if any. */
  readonly key: KeyRecord | null;

  // The state: the fields of TaskState.
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

  // The claims, in memory only.
  /** The fence of the latest claim; 0 before the first. */
  fence = 0;
  /** The lease of the remote claim that holds it. */
  lease: Lease | null = null;
  /** The latest remote claim that ended without a settle. */
  lostClaim: LostClaim | null = null;

  // The positions.
  /**
   * While scheduled or retrying: the start time. While running: the end of its attempt. Finished:
   * the time when it is forgotten.
   */
  dueAtMs = 0;
  /** The monotonic time since when it is queued. */
  queuedSinceMs = 0;
  /** Its number in the order of the queue, which a released task keeps. */
  order = 0;
  /** Its position in the structure for its status: a ready list, the schedule or retention. */
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

  /** Applies the changes of a step. */
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

  /**
   * The memory of a finished task that is kept for reading: payload, result, progress and errors.
   */
  get retainedBytes(): number {
    let bytes = this.payloadBytes + (this.result?.length ?? 0) + (this.progress?.length ?? 0);
    for (const { code, message } of this.errors) bytes += code.length + message.length;
    for (const tag of this.settings.tags) bytes += tag.length;
    return bytes;
  }
}

/**
 * The settings of a task. If they equal those of the previous task, they are the same object, so
 * that similar tasks share one copy.
 */
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

/**
 * A task as it is visible outside the core: plain data of one moment. Times are wall-clock; unknown
 * values are null.
 */
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
