/**
 * What goes into and comes out of the client. Names are those of the HTTP API in camelCase, times
 * are Dates, and values that do not exist yet are null. docs/API.md describes each field.
 */

import type { ClaimEnd, Problem, Retry } from "./errors.ts";
import type { CallOptions } from "./http.ts";

export type TaskStatus =
  | "scheduled"
  | "queued"
  | "running"
  | "retrying"
  | "done"
  | "failed"
  | "cancelled";

/**
 * The types of tasks and their payloads. The result of `defineHandlers` has this form, so
 * `Client<typeof handlers>` checks payloads. Without a handlers module:
 * `Client<TaskTypes<{ mail: { to: string } }>>`.
 */
export interface TaskTypes<Payloads = Readonly<Record<string, unknown>>> {
  /** Only for the compiler. */
  readonly payloads?: Payloads;
}

/** The map from type to payload. Without known types, every type is allowed. */
export type PayloadsOf<Types extends TaskTypes<unknown>> = unknown extends Types["payloads"]
  ? Readonly<Record<string, unknown>>
  : NonNullable<Types["payloads"]>;

/** The options of a task. The handlers of the server have the defaults. */
export interface TaskOptions {
  readonly queue?: string | undefined;
  /** Up to 8 tags, to find the task by. */
  readonly tags?: readonly string[] | undefined;
  /** −100…100, higher first. */
  readonly priority?: number | undefined;
  /** Attempts after the first. */
  readonly maxRetries?: number | undefined;
  /** The time limit of one attempt. */
  readonly timeoutMs?: number | undefined;
  /** The earliest start, in milliseconds from now. Not together with `runAt`. */
  readonly delayMs?: number | undefined;
  /** The earliest start: a Date, or an RFC 3339 time. */
  readonly runAt?: Date | string | undefined;
}

/** A task to enqueue. If the types are known, `payload` must be that of `type`. */
export type EnqueueRequest<Payloads = Readonly<Record<string, unknown>>> = {
  readonly [Type in keyof Payloads & string]: TaskOptions & {
    readonly payload: Payloads[Type];
  } & TypeField<Type>;
}[keyof Payloads & string];

/** A task without a type has the type `default`. */
type TypeField<Type extends string> = "default" extends Type
  ? { readonly type?: Type | undefined }
  : { readonly type: Type };

export interface EnqueueOptions extends CallOptions {
  /**
   * Makes the call safe to repeat: 1–255 printable ASCII characters. Default: a random key for each
   * call, so that the client can send it again after a lost connection. Null: no key, and so no
   * repetition.
   */
  readonly idempotencyKey?: string | null | undefined;
  /**
   * `fail` (the default): the call rejects with `queue_full` at once. A full queue is the server's
   * way to slow its clients down, and only the program knows which work it can drop or postpone.
   * `wait`: the client tries again until there is room, or until `timeoutMs`.
   */
  readonly whenFull?: "fail" | "wait" | undefined;
}

export interface Receipt {
  readonly id: string;
  readonly status: "queued" | "scheduled";
}

export interface TaskError {
  readonly code: string;
  readonly message: string;
  readonly attempt: number;
  readonly at: Date;
}

export interface Task<Payload = unknown> {
  readonly id: string;
  readonly type: string;
  readonly queue: string;
  readonly status: TaskStatus;
  readonly tags: readonly string[];
  readonly priority: number;
  /** The number of attempts that have started. */
  readonly attempt: number;
  readonly maxRetries: number;
  readonly timeoutMs: number;
  readonly enqueuedAt: Date;
  readonly runAt: Date | null;
  readonly startedAt: Date | null;
  readonly finishedAt: Date | null;
  /** The latest failed attempt. */
  readonly error: TaskError | null;
  /** The last few failed attempts, oldest first. */
  readonly errors: readonly TaskError[];
  readonly payload: Payload;
  readonly progress: unknown;
  readonly result: unknown;
  /** The claim of a remote worker that runs the task. */
  readonly claim: { readonly worker: string | null; readonly leaseEndsAt: Date } | null;
}

export interface WaitOptions extends CallOptions {
  /** The longest wait in milliseconds. Default: until the task has finished. */
  readonly waitMs?: number | undefined;
}

export interface TaskFilter {
  readonly status?: TaskStatus | undefined;
  readonly queue?: string | undefined;
  readonly type?: string | undefined;
  readonly tag?: string | undefined;
  /** The largest number of tasks in a page: 1–500. Default: 50. */
  readonly limit?: number | undefined;
}

export interface ListOptions extends TaskFilter, CallOptions {
  /** The `nextCursor` of the previous page. */
  readonly cursor?: string | undefined;
}

/** A page can be short or empty: only a `nextCursor` of null marks the last one. */
export interface TaskPage {
  readonly tasks: readonly Task[];
  readonly nextCursor: string | null;
}

export interface Queue {
  readonly name: string;
  readonly paused: boolean;
  readonly capacity: { readonly tasks: number; readonly bytes: number };
  readonly waiting: { readonly tasks: number; readonly bytes: number };
  readonly depth: Readonly<Record<TaskStatus, number>>;
  readonly oldestWaitingMs: number | null;
  readonly totals: Readonly<
    Record<"enqueued" | "done" | "failed" | "cancelled" | "retried" | "interrupted", number>
  >;
  /** The claims of remote workers that run, and their requests that wait for a task. */
  readonly claims: { readonly running: number; readonly waiting: number };
}

export interface ClaimRequest {
  /** Claims from these queues, strictly in this order: 1–32 names. Default: from all in turn. */
  readonly queues?: readonly string[] | undefined;
  /** Claims only tasks of these types: 1–32 names. Default: of every type. */
  readonly types?: readonly string[] | undefined;
  /** The largest number of tasks: 1–100. Default: 1. */
  readonly max?: number | undefined;
  /** The length of the lease: 1,000 ms to 12 h. Default: that of the server. */
  readonly leaseMs?: number | undefined;
  /** How long to wait for a first task: 0–60,000 ms. Default: 0. */
  readonly waitMs?: number | undefined;
  /** The name of the worker: 1–128 printable ASCII characters. */
  readonly worker?: string | undefined;
}

/** The right to run one attempt at a task, until the lease ends. */
export interface Claim<Payload = unknown> extends Lease {
  readonly token: string;
  readonly task: Task<Payload> & { readonly retriesLeft: number };
}

export interface Lease {
  /** The length of the lease that was granted. Measure it with a clock of your own. */
  readonly leaseMs: number;
  /** The end of the lease by the clock of the server: for people. */
  readonly leaseEndsAt: Date;
}

export interface Failure {
  /** 1–64 characters of A–Z a–z 0–9 _ . : -. Default: `handler_error`. */
  readonly code?: string | undefined;
  /** The server keeps 1,000 characters. */
  readonly message?: string | undefined;
  /** `never`: the task fails even if it has retries left. Default: `backoff`. */
  readonly retry?: Exclude<Retry["kind"], "after"> | undefined;
  /** The wait before the next attempt: 0–30 days. Not together with `retry`. */
  readonly retryAfterMs?: number | undefined;
}

/** The end of an attempt. */
export type Settle = { readonly token: string } & (
  | { readonly outcome: "done"; readonly result?: unknown }
  | ({ readonly outcome: "failed" } & Failure)
  | { readonly outcome: "released"; readonly delayMs?: number | undefined }
);

export interface SettleReceipt {
  readonly id: string;
  /** The status of the task after the attempt. */
  readonly status: TaskStatus;
  /** The start of the next attempt, if it has to wait. */
  readonly runAt: Date | null;
}

export type SettleResult =
  | ({ readonly token: string; readonly problem?: undefined } & SettleReceipt)
  | {
      readonly token: string;
      /** Usually `claim_lost`. */
      readonly problem: Problem & { readonly ended?: ClaimEnd };
    };
