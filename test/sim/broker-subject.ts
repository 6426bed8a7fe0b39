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
import type { TaskStatus } from "../../src/core/status.ts";
import type { Task } from "../../src/core/task.ts";
import { stateOf } from "../support/builders.ts";
import { differenceBetween, differenceInEvents } from "./difference.ts";
import {
  claimsInWords,
  extendInWords,
  pageInWords,
  progressInWords,
  receiptsInWords,
  refusalInWords,
  settleInWords,
} from "./expected.ts";
import type { Model } from "./model.ts";
import type { ClaimOf, Operation } from "./operation.ts";
import { withClaims } from "./setup.ts";

/** Keeps what has to outlive the broker, as an engine with a data file does. */
export interface Keeper extends Required<Omit<BrokerObserver, "onRevoke" | "onResume">> {
  onPublish(tasks: readonly Task[]): void;
  onClaim(task: Task): void;
  onExtend(task: Task): void;
  onPause(queue: string, isPaused: boolean): void;
  /** What the next broker takes back, when one ends that has these tasks. */
  snapshot(now: Instant, tasks: Iterable<Task>): Snapshot;
  /** It was taken back, as these tasks. */
  onRestored(tasks: Iterable<Task>): void;
}

export class BrokerSubject implements BrokerObserver {
  #limits: BrokerLimits;
  /** Without one, what outlives the broker is copied from it. */
  readonly #keeper: Keeper | null;
  #broker: Broker;
  readonly #heard: (string | number | null)[] = [];
  /** In the order in which they were made. */
  readonly #reservations: Reservation[] = [];
  /** The keys that are not forgotten, as a journal would keep them. */
  readonly #keys = new Map<string, KeyRecord>();
  /** By task, the fences of all claims that were answered: a worker keeps them across restarts. */
  readonly #fences = new Map<string, number[]>();

  constructor(limits: BrokerLimits, firstFence: number, keeper: Keeper | null = null) {
    this.#limits = limits;
    this.#keeper = keeper;
    this.#broker = new Broker(limits, this, firstFence);
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
        if (operation.claims !== null) this.#limits = withClaims(this.#limits, operation.claims);
        this.#restart(operation.firstFence, now);
        return "";
      case "claim": {
        const tasks = broker.claim(operation.request, now);
        for (const task of tasks) {
          this.#fences.set(task.id, [...(this.#fences.get(task.id) ?? []), task.fence]);
          this.#keeper?.onClaim(task);
        }
        return claimsInWords(tasks);
      }
      case "settle": {
        const { id, outcome, chance } = operation;
        return settleInWords(
          broker.settle(id, this.#fenceOf(operation), outcome, now, () => chance),
        );
      }
      case "extend": {
        const { id, leaseMs } = operation;
        const outcome = broker.extend(id, this.#fenceOf(operation), leaseMs, now);
        const task = broker.find(id);
        if (outcome.kind === "extended" && task !== undefined) this.#keeper?.onExtend(task);
        return extendInWords(outcome);
      }
      case "progress": {
        const { id, progress } = operation;
        return progressInWords(broker.noteProgress(id, this.#fenceOf(operation), progress));
      }
      case "suspendRemote":
        broker.suspendRemote();
        return "";
      case "resumeRemote":
        broker.resumeRemote(now);
        return "";
      case "stall":
        broker.allowLateLeases(now);
        return "";
      case "cancel":
        return broker.cancel(operation.id, now).kind;
      case "retry": {
        const outcome = broker.retry(operation.id, now);
        return outcome.kind === "refused" ? refusalInWords(outcome) : outcome.kind;
      }
      case "pause":
      case "resume": {
        const outcome = broker[operation.kind](operation.queue, now);
        if (outcome.kind === "set") {
          this.#keeper?.onPause(operation.queue, operation.kind === "pause");
        }
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
    this.#broker.verify();
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

  onStep(task: Task, from: TaskStatus | null, now: Instant): void {
    this.#heard.push(task.id, from, task.status);
    this.#keeper?.onStep(task, from, now);
  }

  onRevoke({ id }: Task, fence: number, reason: RevokeReason): void {
    this.#heard.push(id, fence, reason);
  }

  #fenceOf({ id, claim, of = id }: ClaimOf): number {
    return this.#fences.get(of)?.[claim - 1] ?? 0;
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
  #restart(firstFence: number, now: Instant): void {
    this.#reservations.length = 0;
    if (this.#keeper !== null) {
      const order = Array.from(this.#broker.queues(), ({ name }) => name);
      const { paused, keys, tasks } = this.#keeper.snapshot(now, this.#broker.tasks());
      this.#broker = new Broker(this.#limits, this, firstFence);
      // No order is promised among queues without tasks: the model has the one from before.
      const asBefore = [...paused].sort((a, b) => order.indexOf(a) - order.indexOf(b));
      this.#broker.restore({ paused: asBefore, keys, tasks }, now);
      this.#keeper.onRestored(this.#broker.tasks());
      return;
    }
    const before = this.#broker;
    const again = new Map<KeyRecord, KeyRecord>();
    for (const record of this.#keys.values()) {
      again.set(record, { ...record, unfinished: 0, forgetAtMs: 0, position: NOT_LINKED });
    }
    this.#keys.clear();
    for (const record of again.values()) this.#keys.set(record.key, record);
    this.#broker = new Broker(this.#limits, this, firstFence);
    this.#broker.restore(
      {
        paused: Array.from(before.queues())
          .filter(({ isPaused }) => isPaused)
          .map(({ name }) => name),
        keys: [...again.values()],
        tasks: [...before.tasks()].reverse().map((task) => saved(task, again)),
      },
      now,
    );
  }
}

/** A task as it would be read again. A key that it has outlived is not there any more. */
function saved(task: Task, again: ReadonlyMap<KeyRecord, KeyRecord>): SavedTask {
  const { id, seq, settings, queue, payload, payloadBytes, key, enqueuedAtMs, lease } = task;
  return {
    ...settings,
    ...stateOf(task),
    id,
    seq,
    queue: queue.name,
    payload,
    payloadBytes,
    key: key === null ? null : (again.get(key) ?? null),
    enqueuedAtMs,
    claim:
      lease === null
        ? null
        : {
            fence: task.fence,
            worker: lease.worker,
            leaseMs: lease.lengthMs,
            leaseEndsAtMs: lease.endsAtWallMs,
          },
  };
}
