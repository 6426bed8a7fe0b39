/**
 * The engine's interface: everything that HTTP and the workers use. Every implementation passes the
 * same contract suite, test/contract/contract.ts.
 *
 * An answer comes at once or as a promise: an engine that has to write before it may answer needs
 * the promise, and an engine in memory avoids its cost. All values that cross this interface are
 * plain data of one moment.
 */

import type { Backoff } from "../core/backoff.ts";
import type { Receipt } from "../core/idempotency.ts";
import type { Lane } from "../core/lane.ts";
import type {
  AttemptOutcome,
  ClaimLost,
  ClaimRequest,
  ExtendOutcome,
  Refusal,
  RevokeReason,
  SettleOutcome,
} from "../core/outcomes.ts";
import type { ListFilter } from "../core/page.ts";
import type { QueueView } from "../core/queue.ts";
import type { TaskView } from "../core/task.ts";
import type { EventSubscriber } from "./events.ts";

export type { Backoff } from "../core/backoff.ts";
export type { Receipt } from "../core/idempotency.ts";
export type { Lane } from "../core/lane.ts";
export { LIMITS } from "../core/limits.ts";
export {
  type AttemptOutcome,
  CLAIM_ENDS,
  type ClaimEnd,
  type ClaimLost,
  type ClaimRequest,
  type Refusal,
  type Retry,
  type RevokeReason,
} from "../core/outcomes.ts";
export type { QueueLimits } from "../core/queue.ts";
export { isFinished, TASK_STATUSES, type TaskStatus } from "../core/status.ts";
export type { SettleReceipt, TaskError, TaskView } from "../core/task.ts";

export type MaybePromise<T> = T | Promise<T>;

/** The defaults for the tasks of one type, and the check of their payloads. */
export interface TypeRules {
  readonly queue?: string | undefined;
  readonly maxRetries?: number | undefined;
  readonly timeoutMs?: number | undefined;
  readonly backoff?: Backoff | undefined;
  /** The lane where they run. */
  readonly lane?: Lane | undefined;
  /** The faults of a payload; none when it is valid. */
  readonly check?: ((payload: unknown) => readonly FieldFault[]) | undefined;
}

/**
 * A request for a task. Missing fields take the engine's defaults. The bounds are in
 * core/limits.ts.
 */
export interface EnqueueRequest {
  /** Any JSON value. */
  readonly payload: unknown;
  readonly type?: string | undefined;
  readonly queue?: string | undefined;
  /** Up to 8 tags, to find the task by. */
  readonly tags?: readonly string[] | undefined;
  /** −100…100, higher first. */
  readonly priority?: number | undefined;
  /** Attempts after the first. */
  readonly maxRetries?: number | undefined;
  readonly timeoutMs?: number | undefined;
  /** The earliest start, in milliseconds from now. Not together with `runAtMs`. */
  readonly delayMs?: number | undefined;
  /** The earliest start: wall-clock milliseconds since the Unix epoch. */
  readonly runAtMs?: number | undefined;
}

export type EnqueueAnswer =
  | { readonly kind: "accepted"; readonly receipts: readonly Receipt[] }
  /**
   * The same key came with the same tasks before: the first answer is repeated, and nothing is
   * enqueued.
   */
  | { readonly kind: "repeated"; readonly receipts: readonly Receipt[] }
  | { readonly kind: "key_reused" }
  | { readonly kind: "invalid"; readonly faults: readonly RequestFault[] }
  | Stopping
  | StorageUnavailable
  | Refusal;

/** The engine is stopping, and accepts no more requests of this kind. */
export interface Stopping {
  readonly kind: "stopping";
}

/** The request could not be stored, and nothing was changed. Retry later. */
export interface StorageUnavailable {
  readonly kind: "storage_unavailable";
}

/** A fault in a value that was sent. */
export interface FieldFault {
  /** A JSON Pointer into the value (RFC 6901). */
  readonly path: string;
  readonly message: string;
}

/** A claim, an extend or a settle of a remote worker is out of bounds, and changed nothing. */
interface InvalidClaim {
  readonly kind: "invalid";
  readonly faults: readonly FieldFault[];
}

/**
 * A fault in an enqueue. The path leads into the request, as in `/payload/to` or `/maxRetries`; it
 * is empty for the key.
 */
export interface RequestFault extends FieldFault {
  /** The index of the request; null for the idempotency key, which belongs to all requests. */
  readonly index: number | null;
}

export type CancelAnswer =
  | { readonly kind: "cancelled" | "finished"; readonly task: TaskView }
  | { readonly kind: "unknown" }
  | StorageUnavailable;

export type RetryAnswer =
  | { readonly kind: "queued" | "not_retryable"; readonly task: TaskView }
  | { readonly kind: "unknown" }
  | Stopping
  | StorageUnavailable
  | Refusal;

export type PauseAnswer =
  | { readonly kind: "set"; readonly queue: QueueReport }
  | { readonly kind: "unknown" }
  | StorageUnavailable
  | Refusal;

export type PurgeAnswer =
  /** The number of cancelled tasks. */
  | { readonly kind: "purged"; readonly cancelled: number }
  | { readonly kind: "unknown" }
  | StorageUnavailable;

export interface ListRequest extends ListFilter {
  /** The largest number of tasks to return. */
  readonly limit: number;
  /** The `nextCursor` of the previous page. */
  readonly cursor?: string | undefined;
}

/** A page before the last one may be short or empty. Only a null cursor marks the last page. */
export type ListAnswer =
  | {
      readonly kind: "page";
      readonly tasks: readonly TaskView[];
      readonly nextCursor: string | null;
    }
  | { readonly kind: "invalid_cursor" };

/** A queue, with the values that need a clock. */
export interface QueueReport extends QueueView {
  /** The time since its longest-waiting queued task was queued, or null when none is queued. */
  readonly oldestQueuedMs: number | null;
  /** The waiting claims of remote workers that would take a task of this queue. */
  readonly claimsWaiting: number;
}

/** One attempt at a task, given to a worker. Plain data: it can leave the process and come back. */
export interface Claim {
  readonly taskId: string;
  /**
   * Makes the settle of this claim unique: a settle with another fence changes nothing, and no
   * fence is ever used again.
   */
  readonly fence: number;
  /** The length of the lease, in milliseconds: the part of it that ends before the timeout. */
  readonly leaseMs: number;
  /**
   * The end of the lease unless the claim is settled or extended before: wall-clock milliseconds.
   */
  readonly leaseEndsAtMs: number;
  readonly task: TaskView;
}

export type ClaimAnswer =
  /** Empty when nothing can start now. */
  | { readonly kind: "claimed"; readonly claims: readonly Claim[] }
  | InvalidClaim
  | Stopping
  | StorageUnavailable;

/** As many claims as allowed wait already. */
export interface TooManyWaiting {
  readonly kind: "too_many_waiting";
  readonly max: number;
}

export type SettleAnswer = SettleOutcome | InvalidClaim | StorageUnavailable;

export type ExtendAnswer = ExtendOutcome | InvalidClaim;

/**
 * Runs the tasks of a lane. It must not call the engine from inside these methods, only afterwards.
 */
export interface EngineWorker {
  /**
   * `count` tasks of a queue have just become claimable; all of this type, if one is given.
   */
  onReady(count: number, queue: string, type?: string): void;
  /** The attempt lost its task: stop it. Its outcome will be ignored. */
  onRevoke(taskId: string, fence: number, reason: RevokeReason): void;
}

export interface Engine {
  /**
   * Enqueues all of these tasks, or none. `invalid` lists every fault, and then nothing was
   * changed. An `idempotencyKey` makes it safe to send the request again.
   */
  enqueue(
    requests: readonly EnqueueRequest[],
    idempotencyKey?: string,
  ): MaybePromise<EnqueueAnswer>;
  /**
   * The current state of the task; undefined when it is unknown or forgotten. A finished state is
   * not shown before it is stored.
   */
  find(id: string): MaybePromise<TaskView | undefined>;
  /**
   * The task once it has finished, or its state when `waitMs` are over, `signal` aborts or the
   * engine stops.
   */
  waitFor(id: string, waitMs: number, signal: AbortSignal): Promise<TaskView | undefined>;
  /** One page of the tasks that match the filter, newest first. */
  list(request: ListRequest): MaybePromise<ListAnswer>;
  /** Cancels an unfinished task. A running attempt is revoked. */
  cancel(id: string): MaybePromise<CancelAnswer>;
  /**
   * Queues a failed or cancelled task again, with all its retries. The bounds of its queue apply.
   */
  retry(id: string): MaybePromise<RetryAnswer>;
  /** All known queues. */
  queues(): MaybePromise<readonly QueueReport[]>;
  /** One queue; undefined when it is unknown or forgotten. */
  queue(name: string): MaybePromise<QueueReport | undefined>;
  /** Pauses a queue: no more of its tasks start, and running ones continue. */
  pause(name: string): MaybePromise<PauseAnswer>;
  /** Resumes a paused queue: its tasks start again. */
  resume(name: string): MaybePromise<PauseAnswer>;
  /** Cancels all waiting tasks of a queue. */
  purge(name: string): MaybePromise<PurgeAnswer>;

  /** Registers a worker of a lane. */
  attach(lane: Lane, worker: EngineWorker): void;
  /** Starts attempts at the next tasks, up to `max`. */
  claim(request: ClaimRequest): MaybePromise<ClaimAnswer>;
  /**
   * Claims for a remote worker. When nothing can start, it waits: until something can, `waitMs` are
   * over, `signal` aborts, or the engine stops. Waiting claims are served first come, first served.
   * A claim whose signal has aborted takes nothing.
   */
  claimOrWait(
    request: ClaimRequest,
    waitMs: number,
    signal: AbortSignal,
  ): MaybePromise<ClaimAnswer | TooManyWaiting>;
  /**
   * Reports the end of an attempt. If the claim was settled before with the same outcome word, the
   * first answer is repeated. If the claim ended in another way, or was settled with another word,
   * the answer is `claim_lost`. Neither changes anything.
   */
  settle(taskId: string, fence: number, outcome: AttemptOutcome): MaybePromise<SettleAnswer>;
  /**
   * Extends the lease of a remote claim to `leaseMs` from now, but not beyond its timeout. The
   * default is its length so far.
   */
  extend(taskId: string, fence: number, leaseMs?: number): MaybePromise<ExtendAnswer>;
  /**
   * Shows the progress of a running attempt on its task: JSON text. Returns null, or the reason why
   * it was ignored.
   */
  noteProgress(taskId: string, fence: number, progress: string): ClaimLost | null;

  /** Sends all further events to a subscriber. */
  subscribe(subscriber: EventSubscriber): void;

  /** Whether the engine accepts tasks, or the reason why not. */
  readonly readiness: Readiness;
  /**
   * Stops the intake: every further enqueue and retry is answered with `stopping`; all other calls
   * still work.
   */
  stopIntake(): void;
  /**
   * Resolves when nothing runs and nothing more can start within `graceMs`, or when these are over.
   * By then all long polls are answered, and later ones are answered at once.
   */
  drain(graceMs: number): Promise<void>;
  /** Closes the engine, and reports what is left. */
  close(): Promise<EngineRemains>;
}

export type Readiness = "ready" | "stopping" | "storage_unavailable";

export interface EngineRemains {
  /** Tasks that finished after the intake stopped. */
  readonly finishedWhileStopping: number;
  /** Accepted tasks that have not finished. */
  readonly unfinished: number;
  /** Whether these tasks are lost with the process. */
  readonly areLost: boolean;
  /** Whether a copy of the data file alone would be complete; true without a data file. */
  readonly isStoreWhole: boolean;
}
