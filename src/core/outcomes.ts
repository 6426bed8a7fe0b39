/**
 * What the broker is asked and what it answers, as values. A refusal is an answer, not an error.
 */

import type { KeyRecord, Receipt } from "./idempotency.ts";
import type { Lane } from "./lane.ts";
import type { Queue } from "./queue.ts";
import type { SettleReceipt, Task } from "./task.ts";

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
  /** The value of the bound. */
  readonly limit: number;
  /** The queue that is full, or that there is no room for. */
  readonly queue: string;
}

/** What a worker asks for. */
export interface ClaimRequest {
  readonly lane: Lane;
  /** Strictly in this order; left out: all queues, in turn. */
  readonly queues?: readonly string[] | undefined;
  /** Passes over tasks of other types; left out: tasks of every type. */
  readonly types?: readonly string[] | undefined;
  /** How many tasks at most. It is the same as so many claims of one task. */
  readonly max: number;
  /** How long a remote claim holds its task unless it is extended. Local claims end by their timeout alone. */
  readonly leaseMs?: number | undefined;
  /** The name that a remote worker gives itself. */
  readonly worker?: string | undefined;
}

/** How an attempt ended. */
export type AttemptOutcome =
  | { readonly kind: "done"; readonly result: string | null }
  | {
      readonly kind: "failed";
      readonly code: string;
      readonly message: string;
      readonly retry: Retry;
    }
  /**
   * It ended through no fault of its own, and pays no retry: the task goes back to the front of its queue, or, with a
   * delay, waits for that long and goes to the back.
   */
  | { readonly kind: "released"; readonly delayMs?: number };

/** What a failed attempt asks for: the usual backoff, no further attempt, or one after a time of its choice. */
export type Retry =
  | { readonly kind: "backoff" }
  | { readonly kind: "never" }
  | { readonly kind: "after"; readonly ms: number };

export type SettleOutcome =
  /** `repeated`: this settle came before, and this was the answer to it. */
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

/** How a claim ended. `unknown`: the task is forgotten, or this claim was never made, or it is too long ago. */
export type ClaimEnd = "expired" | "timeout" | "settled" | "cancelled" | "unknown";

/** Why a running attempt has lost its task. */
export type RevokeReason = "cancelled" | "timeout" | "lease_lost";

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
