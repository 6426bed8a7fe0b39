/**
 * The seam between those who ask and those who keep: what HTTP and the workers see of a queue. Every implementation
 * passes the same contract suite, test/contract/contract.ts.
 *
 * An answer may come at once or as a promise: an engine that has to write before it may say yes needs the promise, one
 * in memory would only pay for it.
 */

import type { Backoff } from "../core/backoff.ts";
import type { Receipt } from "../core/idempotency.ts";
import type { Outcome, Refusal, RevokeReason } from "../core/outcomes.ts";
import type { QueueView } from "../core/queue.ts";
import type { Lane } from "../core/ready-list.ts";
import type { TaskStatus, TaskView } from "../core/task.ts";

export type { Backoff } from "../core/backoff.ts";
export type { Receipt } from "../core/idempotency.ts";
export { LIMITS } from "../core/limits.ts";
export type { Outcome, Refusal, Retry, RevokeReason } from "../core/outcomes.ts";
export type { QueueLimits } from "../core/queue.ts";
export type { Lane } from "../core/ready-list.ts";
export {
  isFinished,
  TASK_STATUSES,
  type TaskError,
  type TaskStatus,
  type TaskView,
} from "../core/task.ts";

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
  readonly check?: ((payload: unknown) => readonly PayloadFault[]) | undefined;
}

export interface PayloadFault {
  /** A JSON Pointer into the payload (RFC 6901). */
  readonly path: string;
  readonly message: string;
}

/** A task as it is asked for. What is left out takes the engine's default. */
export interface EnqueueRequest {
  /** Any JSON value. */
  readonly payload: unknown;
  readonly type?: string | undefined;
  readonly queue?: string | undefined;
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
  | { readonly kind: "stopping" }
  | StorageUnavailable
  | Refusal;

/** What was asked for could not be written, and so was not done: nothing of it is left. It may be tried again. */
export interface StorageUnavailable {
  readonly kind: "storage_unavailable";
}

/** What is wrong with the payload of the request at `index`. */
export interface RequestFault extends PayloadFault {
  readonly index: number;
}

export type CancelAnswer =
  | { readonly kind: "cancelled" | "finished"; readonly task: TaskView }
  | { readonly kind: "unknown" }
  | StorageUnavailable;

export type RetryAnswer =
  | { readonly kind: "queued" | "not_retryable"; readonly task: TaskView }
  | { readonly kind: "unknown" }
  | { readonly kind: "stopping" }
  | StorageUnavailable
  | Refusal;

export type PauseAnswer =
  | { readonly kind: "set"; readonly queue: QueueReport }
  | { readonly kind: "unknown" }
  | StorageUnavailable
  | Refusal;

export type PurgeAnswer =
  /** So many tasks that waited are cancelled now. */
  | { readonly kind: "purged"; readonly cancelled: number }
  | { readonly kind: "unknown" }
  | StorageUnavailable;

export interface ListRequest {
  readonly status?: TaskStatus | undefined;
  readonly queue?: string | undefined;
  readonly type?: string | undefined;
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

/** One attempt at a task, handed to a worker. */
export interface Claim {
  readonly task: TaskView;
  /** The number of this attempt. A settle with another one changes nothing. */
  readonly fence: number;
}

/** Whoever works on the tasks of an engine. It must not call the engine from inside these, only afterwards. */
export interface EngineWorker {
  /** So many tasks have just become claimable. */
  onReady(count: number): void;
  /** The attempt lost its lease: stop it, and expect its outcome to be ignored. */
  onRevoke(taskId: string, fence: number, reason: RevokeReason): void;
}

export interface Engine {
  /** Takes all of these tasks, or none. */
  enqueue(
    requests: readonly EnqueueRequest[],
    idempotencyKey?: string,
  ): MaybePromise<EnqueueAnswer>;
  find(id: string): MaybePromise<TaskView | undefined>;
  /** The task once it has finished, or as it is when `waitMs` are over, `signal` aborts or the engine stops. */
  waitFor(id: string, waitMs: number, signal: AbortSignal): Promise<TaskView | undefined>;
  list(request: ListRequest): MaybePromise<ListAnswer>;
  cancel(id: string): MaybePromise<CancelAnswer>;
  retry(id: string): MaybePromise<RetryAnswer>;
  queues(): MaybePromise<readonly QueueReport[]>;
  queue(name: string): MaybePromise<QueueReport | undefined>;
  setPaused(name: string, isPaused: boolean): MaybePromise<PauseAnswer>;
  /** Cancels what waits in a queue. */
  purge(name: string): MaybePromise<PurgeAnswer>;

  /** From now on this worker hears of what concerns the tasks of this lane. One worker a lane. */
  attach(lane: Lane, worker: EngineWorker): void;
  claim(lane: Lane): MaybePromise<Claim | undefined>;
  settle(claim: Claim, outcome: Outcome): MaybePromise<void>;
  /** Shows on the task how far the attempt is: JSON text. Ignored when the attempt no longer holds the task. */
  noteProgress(claim: Claim, progress: string): void;

  readonly readiness: Readiness;
  /** From now on every enqueue is answered `stopping`; everything else goes on. */
  stopIntake(): void;
  /**
   * Resolves when nothing runs and nothing more can start within `graceMs`, or when these are over. Long polls are
   * answered by then, and from then on at once.
   */
  drain(graceMs: number): Promise<void>;
  /** Lets go of whatever it holds, and says what it leaves behind. */
  close(): Promise<EngineRemains>;
}

/** Whether it takes tasks, or why not. */
export type Readiness = "ready" | "stopping" | "storage_unavailable";

export interface EngineRemains {
  /** Tasks that finished since it stopped to take any. */
  readonly finishedWhileStopping: number;
  /** Tasks that were accepted and are not finished. */
  readonly unfinished: number;
  /** Whether these are lost with the process. */
  readonly areLost: boolean;
}
