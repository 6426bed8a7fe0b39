/** The requests and answers of the broker, as values. A refusal is an answer, not an error. */

import type { KeyRecord, Receipt } from "./idempotency.ts";
import type { Lane } from "./lane.ts";
import type { Queue } from "./queue.ts";
import type { SettleReceipt, Task } from "./task.ts";

/** A key that makes an enqueue safe to repeat, and a fingerprint of its request. */
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

/**
 * Accepted tasks that are not visible yet. They hold their places until they are published or
 * withdrawn.
 */
export interface Reservation {
  readonly tasks: readonly Task[];
  readonly key: KeyRecord | null;
  readonly receipts: readonly Receipt[];
}

/** Nothing was changed, because a bound would have been exceeded. */
export interface Refusal {
  readonly kind: "refused";
  readonly bound: "queue_size" | "queue_bytes" | "queues_max";
  /** The value of the bound. */
  readonly limit: number;
  /** The full queue, or the queue that could not come into use. */
  readonly queue: string;
}

/** The request of a worker for tasks. */
export interface ClaimRequest {
  readonly lane: Lane;
  /** Claims from these queues, strictly in this order; default: from all queues in turn. */
  readonly queues?: readonly string[] | undefined;
  /** Skips tasks of other types; default: tasks of every type. */
  readonly types?: readonly string[] | undefined;
  /** The largest number of tasks. Equal to `max` single claims. */
  readonly max: number;
  /**
   * The length of the lease of a remote claim; it can be extended. Local claims end only by their
   * timeout.
   */
  readonly leaseMs?: number | undefined;
  /** The name of the remote worker. */
  readonly worker?: string | undefined;
}

/** The end of an attempt. */
export type AttemptOutcome =
  | { readonly kind: "done"; readonly result: string | null }
  | {
      readonly kind: "failed";
      readonly code: string;
      readonly message: string;
      readonly retry: Retry;
    }
  /**
   * The attempt ended through no fault of the task, and costs no retry: the task goes back to the
   * front of its queue. With a delay, it waits for that time and goes to the back.
   */
  | { readonly kind: "released"; readonly delayMs?: number };

/**
 * The retry that a failed attempt requests: the usual backoff, none, or one after a chosen time.
 */
export type Retry =
  | { readonly kind: "backoff" }
  | { readonly kind: "never" }
  | { readonly kind: "after"; readonly ms: number };

export type SettleOutcome =
  /** `repeated`: the same settle came before, and this was its answer. */
  { readonly kind: "settled" | "repeated"; readonly receipt: SettleReceipt } | ClaimLost;

export type ExtendOutcome =
  | {
      readonly kind: "extended";
      readonly leaseMs: number;
      /** Wall-clock milliseconds. */
      readonly leaseEndsAtMs: number;
    }
  | ClaimLost;

/** The claim no longer holds its task. Nothing was changed. */
export interface ClaimLost {
  readonly kind: "claim_lost";
  readonly ended: ClaimEnd;
}

/**
 * The ways a claim can end. `unknown`: the task is forgotten, or the claim never existed, or is too
 * old.
 */
export const CLAIM_ENDS = ["expired", "timeout", "settled", "cancelled", "unknown"] as const;

export type ClaimEnd = (typeof CLAIM_ENDS)[number];

/** The reason why a running attempt has lost its task. */
export type RevokeReason = "cancelled" | "timeout" | "lease_lost";

export type CancelOutcome =
  | { readonly kind: "cancelled" | "finished"; readonly task: Task }
  | { readonly kind: "unknown" };

export type PauseOutcome =
  | { readonly kind: "set"; readonly queue: Queue }
  | { readonly kind: "unknown" }
  | Refusal;

export type RetryOutcome = { readonly kind: "queued"; readonly task: Task } | NotRetried;

export type NotRetried =
  | { readonly kind: "not_retryable"; readonly task: Task }
  | { readonly kind: "unknown" }
  | Refusal;
