/**
 * The core's broker as the system that is put to the test: does an operation to it, and says in what it differs from
 * the model.
 */

import { Broker, type BrokerLimits, type BrokerObserver } from "../../src/core/broker.ts";
import type { KeyRecord } from "../../src/core/idempotency.ts";
import type { Instant } from "../../src/core/instant.ts";
import type { Reservation, RevokeReason } from "../../src/core/outcomes.ts";
import { NOT_LINKED } from "../../src/core/ring.ts";
import type { SavedTask, Snapshot } from "../../src/core/snapshot.ts";
import type { Task, TaskStatus } from "../../src/core/task.ts";
import { differenceBetween, differenceInEvents } from "./difference.ts";
import { pageInWords, receiptsInWords, refusalInWords } from "./expected.ts";
import type { Model } from "./model.ts";
import type { Operation } from "./operation.ts";

/** Keeps what has to outlive the broker, as an engine with a data file does. */
export interface Keeper extends Required<Omit<BrokerObserver, "onRevoke">> {
  onPublish(tasks: readonly Task[]): void;
  onClaim(task: Task): void;
  onPause(queue: string, isPaused: boolean): void;
  /** What the next broker takes back. */
  snapshot(now: Instant): Snapshot;
}

export class BrokerSubject implements BrokerObserver {
  readonly #limits: BrokerLimits;
  /** Without one, what outlives the broker is copied from it. */
  readonly #keeper: Keeper | null;
  #broker: Broker;
  readonly #heard: (string | number | null)[] = [];
  /** In the order in which they were made. */
  readonly #reservations: Reservation[] = [];
  /** The keys that are not forgotten, as a journal would keep them. */
  readonly #keys = new Map<string, KeyRecord>();

  constructor(limits: BrokerLimits, keeper: Keeper | null = null) {
    this.#limits = limits;
    this.#keeper = keeper;
    this.#broker = new Broker(limits, this);
  }

  /** Does it, and gives the answer in words. */
  apply(operation: Operation, now: Instant): string {
    this.#heard.length = 0;
    const broker = this.#broker;
    switch (operation.kind) {
      case "enqueue":
      case "reserve":
        return this.#enqueue(operation, now);
      case "publish": {
        const reservation = this.#reservations.shift();
        if (reservation !== undefined) {
          this.#keeper?.onPublish(reservation.tasks);
          broker.publish(reservation, now);
          this.#noteKey(reservation.tasks[0]);
        }
        return "";
      }
      case "withdraw": {
        const reservation = this.#reservations.shift();
        if (reservation !== undefined) broker.withdraw(reservation, now);
        return "";
      }
      case "restart":
        this.#restart(now);
        return "";
      case "claim": {
        const task = broker.claim(operation.lane, now);
        if (task !== undefined) this.#keeper?.onClaim(task);
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
        const isPaused = operation.kind === "pause";
        const outcome = broker.setPaused(operation.queue, isPaused, now);
        if (outcome.kind === "set") this.#keeper?.onPause(operation.queue, isPaused);
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

  onKeyForget(record: KeyRecord): void {
    if (this.#keys.get(record.key) === record) this.#keys.delete(record.key);
    this.#keeper?.onKeyForget(record);
  }

  onKeyChange(record: KeyRecord): void {
    this.#keeper?.onKeyChange(record);
  }

  onForget(task: Task): void {
    this.#keeper?.onForget(task);
  }

  onStep(task: Task, from: TaskStatus | null): void {
    this.#heard.push(task.id, from, task.status);
    this.#keeper?.onStep(task, from);
  }

  onRevoke({ id }: Task, fence: number, reason: RevokeReason): void {
    this.#heard.push(id, fence, reason);
  }

  #enqueue(
    { kind, fresh, key }: Operation & { kind: "enqueue" | "reserve" },
    now: Instant,
  ): string {
    const outcome = this.#broker[kind](fresh, now, key);
    switch (outcome.kind) {
      case "accepted":
        this.#noteKey(this.#broker.find(fresh[0]?.id ?? ""));
        this.#keeper?.onPublish(
          fresh.flatMap(({ id }) => {
            const task = this.#broker.find(id);
            return task === undefined ? [] : [task];
          }),
        );
        return receiptsInWords(outcome.kind, outcome.receipts);
      case "repeated":
        return receiptsInWords(outcome.kind, outcome.receipts);
      case "reserved":
        this.#reservations.push(outcome.reservation);
        return receiptsInWords(outcome.kind, outcome.reservation.receipts);
      case "refused":
        return refusalInWords(outcome);
      case "key_reused":
        return outcome.kind;
      default:
        return outcome satisfies never;
    }
  }

  #noteKey(first: Task | undefined): void {
    if (first !== undefined && first.key !== null) this.#keys.set(first.key.key, first.key);
  }

  /** What is reserved is lost, and a new broker takes back the rest as a journal would give it. */
  #restart(now: Instant): void {
    this.#reservations.length = 0;
    if (this.#keeper !== null) {
      const order = Array.from(this.#broker.queues(), ({ name }) => name);
      const { paused, keys, tasks } = this.#keeper.snapshot(now);
      this.#broker = new Broker(this.#limits, this);
      // No order is promised among queues without tasks: the model has the one from before.
      const asBefore = [...paused].sort((a, b) => order.indexOf(a) - order.indexOf(b));
      this.#broker.restore({ paused: asBefore, keys, tasks }, now);
      return;
    }
    const before = this.#broker;
    const again = new Map<KeyRecord, KeyRecord>();
    for (const record of this.#keys.values()) {
      again.set(record, { ...record, unfinished: 0, forgetAtMs: 0, place: NOT_LINKED });
    }
    const { tasks } = before.list({}, 1e9, Number.POSITIVE_INFINITY);
    this.#keys.clear();
    for (const record of again.values()) this.#keys.set(record.key, record);
    this.#broker = new Broker(this.#limits, this);
    this.#broker.restore(
      {
        paused: Array.from(before.queues())
          .filter(({ isPaused }) => isPaused)
          .map(({ name }) => name),
        keys: [...again.values()],
        tasks: tasks.toReversed().map((task) => saved(task, again)),
      },
      now,
    );
  }
}

/** A task as it would be read again. A key that it has outlived is not there any more. */
function saved(task: Task, again: ReadonlyMap<KeyRecord, KeyRecord>): SavedTask {
  const { id, type, queue, payload, payloadBytes, priority, maxRetries, timeoutMs } = task;
  return {
    id,
    type,
    queue,
    payload,
    payloadBytes,
    priority,
    maxRetries,
    timeoutMs,
    lane: task.lane,
    backoff: task.backoff,
    seq: task.seq,
    key: task.key === null ? null : (again.get(task.key) ?? null),
    enqueuedAtMs: task.enqueuedAtMs,
    status: task.status,
    attempt: task.attempt,
    failures: task.failures,
    crashes: task.crashes,
    runAtMs: task.runAtMs,
    isDueByWall: task.isDueByWall,
    startedAtMs: task.startedAtMs,
    finishedAtMs: task.finishedAtMs,
    result: task.result,
    progress: task.progress,
    errors: task.errors,
  };
}
