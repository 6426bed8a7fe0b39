/**
 * The core's broker as the system that is put to the test: does an operation to it, and says in what it differs from
 * the model.
 */

import { Broker, type BrokerLimits, type BrokerObserver } from "../../src/core/broker.ts";
import type { Instant } from "../../src/core/instant.ts";
import type { RevokeReason } from "../../src/core/outcomes.ts";
import type { Task, TaskStatus } from "../../src/core/task.ts";
import { differenceBetween, differenceInEvents } from "./difference.ts";
import { pageInWords, receiptsInWords, refusalInWords } from "./expected.ts";
import type { Model } from "./model.ts";
import type { Operation } from "./operation.ts";

export class BrokerSubject implements BrokerObserver {
  readonly #broker: Broker;
  readonly #heard: (string | number | null)[] = [];

  constructor(limits: BrokerLimits) {
    this.#broker = new Broker(limits, this);
  }

  /** Does it, and gives the answer in words. */
  apply(operation: Operation, now: Instant): string {
    this.#heard.length = 0;
    const broker = this.#broker;
    switch (operation.kind) {
      case "enqueue": {
        const outcome = broker.enqueue(operation.fresh, now, operation.key);
        if (outcome.kind === "refused") return refusalInWords(outcome);
        return outcome.kind === "key_reused"
          ? outcome.kind
          : receiptsInWords(outcome.kind, outcome.receipts);
      }
      case "claim": {
        const task = broker.claim(operation.lane, now);
        return task === undefined ? "nothing" : `${task.id} ${task.attempt}`;
      }
      case "settle": {
        const { id, fence, outcome, chance } = operation;
        const task = broker.find(id);
        if (task === undefined) return "unknown";
        return broker.settle(task, fence, outcome, now, () => chance) ? "settled" : "stale";
      }
      case "progress": {
        const task = broker.find(operation.id);
        if (task === undefined) return "unknown";
        return broker.noteProgress(task, operation.fence, operation.progress) ? "noted" : "stale";
      }
      case "cancel":
        return broker.cancel(operation.id, now).kind;
      case "retry": {
        const outcome = broker.retry(operation.id, now);
        return outcome.kind === "refused" ? refusalInWords(outcome) : outcome.kind;
      }
      case "pause":
      case "resume": {
        const outcome = broker.setPaused(operation.queue, operation.kind === "pause", now);
        return outcome.kind === "refused" ? refusalInWords(outcome) : outcome.kind;
      }
      case "purge":
        return String(broker.purge(operation.queue, now) ?? "unknown");
      case "tick":
        broker.tick(now, () => operation.chance);
        return "";
      case "list": {
        const page = broker.list(operation.filter, operation.limit, operation.beforeSeq);
        return pageInWords(
          page.tasks.map(({ id }) => id),
          page.nextBeforeSeq,
        );
      }
      case "advance":
      case "jumpWall":
        return "";
      default:
        return operation satisfies never;
    }
  }

  /** In what the observer heard something else than it must since the last operation; null when it did not. */
  differenceInNews(model: Model): string | null {
    return differenceInEvents(this.#heard, model.heard);
  }

  /** In what anything that can be seen differs from the model; null when nothing does. */
  differenceInView(model: Model, now: Instant): string | null {
    return differenceBetween(this.#broker, model, now);
  }

  /** Throws when it contradicts itself. */
  check(): void {
    this.#broker.check();
  }

  onStep({ id, status }: Task, from: TaskStatus | null): void {
    this.#heard.push(id, from, status);
  }

  onRevoke({ id }: Task, fence: number, reason: RevokeReason): void {
    this.#heard.push(id, fence, reason);
  }
}
