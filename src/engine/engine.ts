/**
 * The seam between those who ask and those who keep: what HTTP and the workers see of a queue. Every implementation
 * passes the same contract suite, test/contract/contract.ts.
 *
 * An answer may come at once or as a promise: an engine that has to write before it may say yes needs the promise, one
 * in memory would only pay for it. Everything that crosses the seam is plain data of one moment.
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
export type {
  AttemptOutcome,
  ClaimRequest,
  Refusal,
  Retry,
  RevokeReason,
} from "../core/outcomes.ts";
export type { QueueLimits } from "../core/queue.ts";
export { isFinished, TASK_STATUSES, type TaskStatus } from "../core/status.ts";
export type { SettleReceipt, TaskError, TaskView } from "../core/task.ts";

export type MaybePromise<T> = T | Promise<T>;

/** What the tasks of one type get that do not say otherwise, and what their payloads have to be. */
export interface TypeRules {
  readonly queue?: string | undefined;
  readonly maxRetries?: number | undefined;
  readonly timeoutMs?: number | undefined;
  readonly backoff?: Backoff | undefined;
  /** Where they run. */
  readonly lane?: Lane | undefined;
  /** What is wrong with a payload; nothing when it is fine. */
  readonly check?: ((payload: unknown) => readonly FieldFault[]) | undefined;
}

/** A task as it is asked for. What is left out takes the engine's default. The bounds are in core/limits.ts. */
export interface EnqueueRequest {
  /** Any JSON value. */
  readonly payload: unknown;
  readonly type?: string | undefined;
  readonly queue?: string | undefined;
  /** Up to 8, to find it by. */
  readonly tags?: readonly string[] | undefined;
  /** −100…100, higher first. */
  readonly priority?: number | undefined;
  /** Attempts after the first. */
  readonly maxRetries?: number | undefined;
  readonly timeoutMs?: number | undefined;
  /** Not before so many milliseconds from now. Not together with `runAtMs`. */
  readonly delayMs?: number | undefined;
  /** Not before this time: wall-clock milliseconds since the Unix epoch. */
  readonly runAtMs?: number | undefined;
}

export type EnqueueAnswer =
  | { readonly kind: "accepted"; readonly receipts: readonly Receipt[] }
  /** The same key came with the same tasks before: the first answer again, and nothing new. */
  | { readonly kind: "repeated"; readonly receipts: readonly Receipt[] }
  | { readonly kind: "key_reused" }
  | { readonly kind: "invalid"; readonly faults: readonly RequestFault[] }
  | Stopping
  | StorageUnavailable
  | Refusal;

/** The engine is stopping, and takes nothing more of this kind. */
export interface Stopping {
  readonly kind: "stopping";
}

/** What was asked for could not be written, and so was not done: nothing of it is left. It may be tried again. */
export interface StorageUnavailable {
  readonly kind: "storage_unavailable";
}

/** What is wrong with something that was sent. */
export interface FieldFault {
  /** A JSON Pointer into it (RFC 6901). */
  readonly path: string;
  readonly message: string;
}

/** A claim, an extend or a settle of a remote worker is out of its bounds, and changed nothing. */
interface InvalidClaim {
  readonly kind: "invalid";
  readonly faults: readonly FieldFault[];
}

/** What is wrong with an enqueue. The path leads into the request, as `/payload/to` or `/maxRetries`; none for the key. */
export interface RequestFault extends FieldFault {
  /** Which of the requests; null for the idempotency key, which belongs to all of them. */
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
  /** So many waiting tasks are cancelled now. */
  | { readonly kind: "purged"; readonly cancelled: number }
  | { readonly kind: "unknown" }
  | StorageUnavailable;

export interface ListRequest extends ListFilter {
  /** How many tasks to return at most. */
  readonly limit: number;
  /** What the page before gave as `nextCursor`. */
  readonly cursor?: string | undefined;
}

/** A page may come out short, or empty, before the last one: only a cursor of null says that there is no more. */
export type ListAnswer =
  | {
      readonly kind: "page";
      readonly tasks: readonly TaskView[];
      readonly nextCursor: string | null;
    }
  | { readonly kind: "invalid_cursor" };

/** A queue with what only a clock can say of it. */
export interface QueueReport extends QueueView {
  /** How long its longest-waiting queued task has been queued, or null when none is. */
  readonly oldestQueuedMs: number | null;
}

/** One attempt at a task, handed to a worker. Plain data: it can leave the process and come back. */
export interface Claim {
  readonly taskId: string;
  /** Makes the settle of this claim unique: a settle with another fence changes nothing, and no fence ever comes again. */
  readonly fence: number;
  /** When it ends unless it is settled, or extended, before: wall-clock milliseconds. */
  readonly leaseEndsAtMs: number;
  readonly task: TaskView;
}

export type ClaimAnswer =
  /** None when nothing can start now. */
  | { readonly kind: "claimed"; readonly claims: readonly Claim[] }
  | InvalidClaim
  | Stopping
  | StorageUnavailable;

export type SettleAnswer = SettleOutcome | InvalidClaim | StorageUnavailable;

export type ExtendAnswer = ExtendOutcome | InvalidClaim;

/** Runs the tasks of a lane. It must not call the engine from inside these, only afterwards. */
export interface EngineWorker {
  /** So many tasks have just become claimable. */
  onReady(count: number): void;
  /** The attempt lost its task: stop it, and expect its outcome to be ignored. */
  onRevoke(taskId: string, fence: number, reason: RevokeReason): void;
}

export interface Engine {
  /**
   * Takes all of these tasks, or none. `invalid` names everything that is out of its bounds; nothing of the request is
   * left then. An `idempotencyKey` makes it safe to send the request again.
   */
  enqueue(
    requests: readonly EnqueueRequest[],
    idempotencyKey?: string,
  ): MaybePromise<EnqueueAnswer>;
  /** The task as it is now; undefined when it is unknown or forgotten. No end is shown before it is stored. */
  find(id: string): MaybePromise<TaskView | undefined>;
  /** The task once it has finished, or as it is when `waitMs` are over, `signal` aborts or the engine stops. */
  waitFor(id: string, waitMs: number, signal: AbortSignal): Promise<TaskView | undefined>;
  /** A page of the tasks that pass the filter, newest first. */
  list(request: ListRequest): MaybePromise<ListAnswer>;
  /** Cancels a task that has not finished. A running attempt is revoked. */
  cancel(id: string): MaybePromise<CancelAnswer>;
  /** Queues a failed or cancelled task again, with all its retries. It obeys the bounds of its queue. */
  retry(id: string): MaybePromise<RetryAnswer>;
  /** Every queue that is known. */
  queues(): MaybePromise<readonly QueueReport[]>;
  /** One queue; undefined when it is unknown or forgotten. */
  queue(name: string): MaybePromise<QueueReport | undefined>;
  /** Starts no more tasks of a queue; running ones go on. */
  pause(name: string): MaybePromise<PauseAnswer>;
  /** Starts tasks of a paused queue again. */
  resume(name: string): MaybePromise<PauseAnswer>;
  /** Cancels all waiting tasks of a queue. */
  purge(name: string): MaybePromise<PurgeAnswer>;

  /** From now on this worker hears of what concerns the tasks of this lane. One worker a lane. */
  attach(lane: Lane, worker: EngineWorker): void;
  /** Starts up to `max` attempts at the tasks that are next. */
  claim(request: ClaimRequest): MaybePromise<ClaimAnswer>;
  /**
   * Reports how an attempt ended. The settle of a claim that was settled before with the same outcome word gets the first
   * answer again; that of any other claim that is over is `claim_lost`. Neither changes anything.
   */
  settle(taskId: string, fence: number, outcome: AttemptOutcome): MaybePromise<SettleAnswer>;
  /** Makes the lease of a remote claim end `leaseMs` from now, but not beyond its timeout. */
  extend(taskId: string, fence: number, leaseMs: number): MaybePromise<ExtendAnswer>;
  /** Shows the progress of a running attempt on its task: JSON text. Null, or why it was ignored. */
  noteProgress(taskId: string, fence: number, progress: string): ClaimLost | null;

  /** Tells a subscriber what happens from now on. */
  subscribe(subscriber: EventSubscriber): void;

  /** Whether it takes tasks, or why not. */
  readonly readiness: Readiness;
  /** From now on every enqueue and every retry is answered `stopping`; everything else goes on. */
  stopIntake(): void;
  /**
   * Resolves when nothing runs and nothing more can start within `graceMs`, or when these are over. Long polls are
   * answered by then, and from then on at once.
   */
  drain(graceMs: number): Promise<void>;
  /** Lets go of whatever it holds, and says what it leaves behind. */
  close(): Promise<EngineRemains>;
}

export type Readiness = "ready" | "stopping" | "storage_unavailable";

export interface EngineRemains {
  /** Tasks that finished since it stopped to take any. */
  readonly finishedWhileStopping: number;
  /** Tasks that were accepted and are not finished. */
  readonly unfinished: number;
  /** Whether these are lost with the process. */
  readonly areLost: boolean;
  /** Whether a copy of the data file alone would have everything; true without one. */
  readonly isStoreWhole: boolean;
}
