/**
 * What the model answers to an operation, in words: the answer that every system must give.
 */

import type { Receipt } from "../../src/core/idempotency.ts";
import type { Instant } from "../../src/core/instant.ts";
import type { ClaimLost, ExtendOutcome, Refusal, SettleOutcome } from "../../src/core/outcomes.ts";
import type { Model } from "./model.ts";
import { keptBytes } from "./model-state.ts";
import type { Operation } from "./operation.ts";

/** The answer to an operation that must not be done now, and is done to nobody. */
export const NOT_NOW = "not now";

export function expectedAnswer(model: Model, operation: Operation, now: Instant): string {
  switch (operation.kind) {
    case "enqueue":
    case "reserve": {
      const { kind, fresh, key } = operation;
      if (!model.mayEnqueue(kind === "reserve", key)) return NOT_NOW;
      const outcome = model[kind](fresh, now, key);
      if (outcome.kind === "refused") return refusalInWords(outcome);
      return outcome.kind === "key_reused"
        ? outcome.kind
        : receiptsInWords(outcome.kind, outcome.receipts);
    }
    case "publish":
    case "withdraw":
      model[operation.kind](now);
      return "";
    case "restart":
      model.restart(operation.firstFence, operation.claims, now);
      return "";
    case "claim": {
      const tasks = model.claim(operation.request, now);
      return claimsInWords(tasks.map(({ fresh, fence }) => ({ id: fresh.id, fence })));
    }
    case "settle": {
      const { id, outcome, chance } = operation;
      return settleInWords(model.settle(id, model.fenceOf(operation), outcome, now, () => chance));
    }
    case "extend": {
      const { id, leaseMs } = operation;
      return extendInWords(model.extend(id, model.fenceOf(operation), leaseMs, now));
    }
    case "progress": {
      const { id, progress } = operation;
      return progressInWords(model.noteProgress(id, model.fenceOf(operation), progress));
    }
    case "suspendRemote":
      model.suspendRemote();
      return "";
    case "resumeRemote":
      model.resumeRemote(now);
      return "";
    case "stall":
      model.allowLateLeases(now);
      return "";
    case "cancel":
      return model.cancel(operation.id, now);
    case "retry":
      return kindInWords(model.retry(operation.id, now));
    case "pause":
    case "resume":
      return kindInWords(model.setPaused(operation.queue, operation.kind === "pause", now));
    case "purge":
      return String(model.purge(operation.queue, now) ?? "unknown");
    case "tick":
      model.tick(now, () => operation.chance);
      return "";
    case "list":
      return listInWords(model, operation);
    case "advance":
    case "jumpWall":
      return "";
    default:
      return operation satisfies never;
  }
}

export function refusalInWords({ bound, limit, queue }: Refusal): string {
  return `refused ${bound} ${limit} ${queue}`;
}

export function claimsInWords(
  claims: readonly { readonly id: string; readonly fence: number }[],
): string {
  if (claims.length === 0) return "nothing";
  return claims.map(({ id, fence }) => `${id}/${fence}`).join(" ");
}

export function settleInWords(outcome: SettleOutcome): string {
  if (outcome.kind === "claim_lost") return lossInWords(outcome);
  const { kind, receipt } = outcome;
  return `${kind}: ${receipt.outcome} ${receipt.status} ${receipt.runAtMs}`;
}

export function extendInWords(outcome: ExtendOutcome): string {
  if (outcome.kind === "claim_lost") return lossInWords(outcome);
  return `extended: by ${outcome.leaseMs} to ${outcome.leaseEndsAtMs}`;
}

export function progressInWords(outcome: ClaimLost | null): string {
  return outcome === null ? "noted" : lossInWords(outcome);
}

function lossInWords({ ended }: ClaimLost): string {
  return `claim lost: ${ended}`;
}

export function receiptsInWords(
  kind: "accepted" | "reserved" | "repeated",
  receipts: readonly Receipt[],
): string {
  let words: string = kind;
  for (const { id, status } of receipts) words += ` ${id} ${status}`;
  return words;
}

export function pageInWords(ids: readonly string[], nextBeforeSeq: number | null): string {
  return `${ids.join(" ")}, next before ${nextBeforeSeq}`;
}

function kindInWords(answer: string | Refusal): string {
  return typeof answer === "string" ? answer : refusalInWords(answer);
}

/** A page ends once its tasks are kept for so many bytes. */
const PAGE_BYTES_MAX = 4 * 1024 * 1024;

function listInWords(
  { tasks, marks }: Model,
  { filter, limit, beforeSeq }: Operation & { kind: "list" },
): string {
  const older = tasks.filter(({ seq }) => seq < beforeSeq).reverse();
  const ids: string[] = [];
  let lastSeq = 0;
  let bytes = 0;
  for (const task of older) {
    const { fresh, seq, status } = task;
    if (bytes >= PAGE_BYTES_MAX) marks.push("list: a page is large enough");
    if (ids.length === limit || bytes >= PAGE_BYTES_MAX) return pageInWords(ids, lastSeq);
    lastSeq = seq;
    if (filter.status !== undefined && filter.status !== status) continue;
    if (filter.queue !== undefined && filter.queue !== fresh.queue) continue;
    if (filter.type !== undefined && filter.type !== fresh.type) continue;
    if (filter.tag !== undefined && !fresh.tags.includes(filter.tag)) continue;
    ids.push(fresh.id);
    bytes += keptBytes(task);
  }
  return pageInWords(ids, null);
}
