/**
 * What the broker is told and what it answers, as values. A refusal is an answer, not an error.
 */

import type { KeyRecord, Receipt } from "./idempotency.ts";
import type { Queue } from "./queue.ts";
import type { Task } from "./task.ts";

export type RevokeReason = "cancelled" | "timeout";

/** A key that makes an enqueue repeatable, and a fingerprint that tells what was asked for under it. */
export interface IdempotencyKey {
  readonly key: string;
  readonly fingerprint: string;
}

export type EnqueueOutcome =
  | { readonly kind: "accepted"; readonly receipts: readonly Receipt[] }
  /** The same key and fingerprint were accepted before, with this answer. */
  | { readonly kind: "repeated"; readonly receipts: readonly Receipt[] }
  | { readonly kind: "key_reused" }
  | Refusal;

export type ReserveOutcome =
  | { readonly kind: "reserved"; readonly reservation: Reservation }
  | Exclude<EnqueueOutcome, { readonly kind: "accepted" }>;

/** Tasks that were let in but can't be seen yet. They hold their places until they are published or withdrawn. */
export interface Reservation {
  readonly tasks: readonly Task[];
  readonly key: KeyRecord | null;
  readonly receipts: readonly Receipt[];
}

/** Nothing was changed, because something would have passed its bound. */
export interface Refusal {
  readonly kind: "refused";
  readonly bound: "queue_size" | "queue_bytes" | "queues_max";
  /** The queue that is full, or that there is no room for. */
  readonly queue: string;
  /** The bound itself: tasks, bytes or queues. */
  readonly limit: number;
}

/** How an attempt ended. */
export type Outcome =
  | { readonly kind: "done"; readonly result: string | null }
  | {
      readonly kind: "failed";
      readonly code: string;
      readonly message: string;
      readonly retry: Retry;
    }
  /** It ended through no fault of its own: the task goes back to the front of its queue and pays no retry. */
  | { readonly kind: "interrupted" };

/** What a failed attempt asks for: the usual backoff, no further attempt, or one after a time of its choice. */
export type Retry =
  | { readonly kind: "backoff" }
  | { readonly kind: "never" }
  | { readonly kind: "after"; readonly ms: number };

export type CancelOutcome =
  | { readonly kind: "cancelled" | "finished"; readonly task: Task }
  | { readonly kind: "unknown" };

export type PauseOutcome =
  | { readonly kind: "set"; readonly queue: Queue }
  | { readonly kind: "unknown" }
  | Refusal;

export type RetryOutcome =
  | { readonly kind: "queued" | "not_retryable"; readonly task: Task }
  | { readonly kind: "unknown" }
  | Refusal;
