/**
 * What the model answers to an operation, in words: the answer that every system must give.
 */

import type { Receipt } from "../../src/core/idempotency.ts";
import type { Instant } from "../../src/core/instant.ts";
import type { Refusal } from "../../src/core/outcomes.ts";
import type { Model } from "./model.ts";
import type { ModelTask } from "./model-state.ts";
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
      model.restart(now);
      return "";
    case "claim": {
      const task = model.claim(operation.lane, now);
      return task === undefined ? "nothing" : `${task.fresh.id} ${task.attempt}`;
    }
    case "settle": {
      const { id, fence, outcome, chance } = operation;
      const task = model.find(id);
      if (task === undefined) return "unknown";
      return model.settle(task, fence, outcome, now, () => chance) ? "settled" : "stale";
    }
    case "progress": {
      const task = model.find(operation.id);
      if (task === undefined) return "unknown";
      return model.noteProgress(task, operation.fence, operation.progress) ? "noted" : "stale";
    }
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
      return listInWords(model.tasks, operation);
    case "advance":
    case "jumpWall":
      return "";
    default:
      return operation satisfies never;
  }
}

export function refusalInWords({ bound, queue }: Refusal): string {
  return `refused ${bound} ${queue}`;
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

function listInWords(
  tasks: readonly ModelTask[],
  { filter, limit, beforeSeq }: Operation & { kind: "list" },
): string {
  const older = tasks.filter(({ seq }) => seq < beforeSeq).reverse();
  const ids: string[] = [];
  let lastSeq = 0;
  for (const { fresh, seq, status } of older) {
    if (ids.length === limit) return pageInWords(ids, lastSeq);
    lastSeq = seq;
    if (filter.status !== undefined && filter.status !== status) continue;
    if (filter.queue !== undefined && filter.queue !== fresh.queue) continue;
    if (filter.type !== undefined && filter.type !== fresh.type) continue;
    ids.push(fresh.id);
  }
  return pageInWords(ids, null);
}
