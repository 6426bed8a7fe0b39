/**
 * What can be done to a queue, as data: drawn once, it can be done to a model and to any system that claims to be one,
 * again and again, in whole or in part.
 */

import type { AttemptOutcome, ClaimRequest, IdempotencyKey } from "../../src/core/outcomes.ts";
import type { ListFilter } from "../../src/core/page.ts";
import type { NewTask } from "../../src/core/task.ts";

export type Operation =
  | {
      /** Tasks that are reserved hold their places and are not to be seen until they are published. */
      readonly kind: "enqueue" | "reserve";
      readonly fresh: readonly NewTask[];
      readonly key: IdempotencyKey | undefined;
    }
  /** The oldest reservation is shown, or given back. */
  | { readonly kind: "publish" | "withdraw" }
  /** The process ends, and another one takes back what was written down: perhaps with another bound of claims for all. */
  | { readonly kind: "restart"; readonly firstFence: number; readonly claims: number | null }
  | { readonly kind: "claim"; readonly request: ClaimRequest }
  | (ClaimOf & {
      readonly kind: "settle";
      readonly outcome: AttemptOutcome;
      readonly chance: number;
    })
  /** Without a length, it keeps the one that it has. */
  | (ClaimOf & { readonly kind: "extend"; readonly leaseMs?: number })
  | (ClaimOf & { readonly kind: "progress"; readonly progress: string })
  /** The storage goes away, and comes back. */
  | { readonly kind: "suspendRemote" | "resumeRemote" }
  | { readonly kind: "cancel" | "retry"; readonly id: string }
  | { readonly kind: "pause" | "resume" | "purge"; readonly queue: string }
  /** Does what is due. Chance is what the random source gives meanwhile. */
  | { readonly kind: "tick"; readonly chance: number }
  | {
      readonly kind: "list";
      readonly filter: ListFilter;
      readonly limit: number;
      readonly beforeSeq: number;
    }
  /** The process stands still: time goes by on both clocks, and then it notices. */
  | { readonly kind: "stall"; readonly ms: number }
  /** Time goes by on both clocks. */
  | { readonly kind: "advance"; readonly ms: number }
  /** The wall clock is set forward, or back, and no time goes by. */
  | { readonly kind: "jumpWall"; readonly ms: number };

/**
 * A claim by its number among those of its task, counted from 1; with 0, one that never was. Not by its fence: a history
 * that is shortened gives other fences.
 */
export interface ClaimOf {
  readonly id: string;
  readonly claim: number;
  /** The task whose claim it is, where somebody took it for a claim of this one. */
  readonly of?: string;
}

/** Tasks of one enqueue that are shown: all but those of a flood. */
const SHOWN_MAX = 8;

/** An operation on one line, for people. */
export function inWords(operation: Operation): string {
  const { kind, ...details } = operation;
  if (operation.kind !== "enqueue" && operation.kind !== "reserve")
    return `${kind} ${JSON.stringify(details)}`;
  const { length } = operation.fresh;
  const tasks = operation.fresh
    .slice(0, SHOWN_MAX)
    .map(
      ({ id, queue, payloadBytes, priority, maxRetries, timeoutMs, lane, when }) =>
        `${id} (${queue}, ${lane}, ${payloadBytes} bytes, priority ${priority}, ${maxRetries} retries, ` +
        `timeout ${timeoutMs} ms, ${JSON.stringify(when)})`,
    );
  const key =
    operation.key === undefined ? "" : ` key ${operation.key.key}/${operation.key.fingerprint}`;
  const rest = length > SHOWN_MAX ? ` and ${length - SHOWN_MAX} more` : "";
  return `${kind}${key} ${tasks.join(" and ")}${rest}`;
}
