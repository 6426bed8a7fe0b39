/**
 * Draws the next operation of a history. It looks at nothing but the model, so that a history depends on its seed
 * alone, whatever the system under test makes of it.
 */

import type { Instant } from "../../src/core/instant.ts";
import type { IdempotencyKey, Outcome, Retry } from "../../src/core/outcomes.ts";
import { type NewTask, TASK_STATUSES, type When } from "../../src/core/task.ts";
import type { Model } from "./model.ts";
import type { ModelTask } from "./model-state.ts";
import type { Operation } from "./operation.ts";
import type { Prng } from "./prng.ts";
import type { Setup } from "./setup.ts";

const KEYS = ["k1", "k2", "k3", "k4", "k5", "k6"];
const TYPES = ["x", "y"];
const UNKNOWN_ID = "t0";
const FOREVER = Number.POSITIVE_INFINITY;

export class Draw {
  readonly #prng: Prng;
  readonly #setup: Setup;
  readonly #model: Model;
  #lastId = 0;

  constructor(prng: Prng, setup: Setup, model: Model) {
    this.#prng = prng;
    this.#setup = setup;
    this.#model = model;
  }

  next(now: Instant): Operation {
    const prng = this.#prng;
    const kind = prng.pick(this.#setup.mix);
    switch (kind) {
      case "enqueue":
        return this.#enqueue([this.#newTask(this.#queue(), now)], undefined);
      case "enqueueWithKey":
        return this.#enqueue([this.#newTask(this.#queue(), now)], this.#key());
      case "publish":
      case "withdraw":
      case "restart":
        return { kind };
      case "batch":
        return this.#batch(now);
      case "claim":
        return this.#claim();
      case "settle":
        return this.#settle();
      case "settleStale":
        return this.#settleStale();
      case "progress":
        return this.#progress();
      case "cancel":
        return { kind, id: this.#idOf(prng.oneIn(8) ? undefined : this.#anyTask()) };
      case "retry":
        return { kind, id: this.#idOf(prng.oneIn(8) ? this.#anyTask() : this.#anyRetryable()) };
      case "pause":
      case "resume":
      case "purge":
        return { kind, queue: this.#queue() };
      case "tick":
        return { kind, chance: prng.next() };
      case "list":
        return this.#list();
      case "advance":
        return { kind, ms: this.#timeToGoBy(now) };
      case "jumpWall":
        return { kind, ms: this.#jump(now) };
      default:
        return kind satisfies never;
    }
  }

  #queue(): string {
    return this.#prng.pick(this.#setup.queues);
  }

  #newTask(queue: string, now: Instant): NewTask {
    const prng = this.#prng;
    const { hasThreads, backoff, priorities, payloadBytesMax, maxRetriesMax, timeoutMsMax } =
      this.#setup;
    this.#lastId += 1;
    // The ends of some are the same, and with them their hashes.
    const id = this.#lastId % 4 === 0 ? `t${this.#lastId}-collides` : `t${this.#lastId}`;
    return {
      id,
      type: prng.pick(TYPES),
      queue,
      payload: id,
      payloadBytes: prng.whole(0, payloadBytesMax),
      priority: prng.pick(priorities),
      maxRetries: prng.whole(0, maxRetriesMax),
      timeoutMs: prng.whole(1, timeoutMsMax),
      lane: hasThreads && prng.oneIn(2) ? "thread" : "loop",
      backoff,
      when: this.#when(now),
    };
  }

  #when(now: Instant): When {
    const prng = this.#prng;
    const { delayMsMax } = this.#setup;
    if (prng.oneIn(6)) return { kind: "after", delayMs: prng.whole(1, delayMsMax) };
    // Also in the past: the engine sends no such time, but the wall clock may have moved since it looked.
    if (prng.oneIn(8)) return { kind: "at", wallMs: now.wallMs + prng.whole(-5, delayMsMax) };
    return { kind: "now" };
  }

  /** Few keys and fewer fingerprints, so that both come again soon. */
  #key(): IdempotencyKey {
    return { key: this.#prng.pick(KEYS), fingerprint: this.#prng.oneIn(4) ? "f2" : "f1" };
  }

  #batch(now: Instant): Operation {
    const prng = this.#prng;
    const common = prng.oneIn(2) ? this.#queue() : undefined;
    const fresh = Array.from({ length: prng.whole(1, 5) }, () =>
      this.#newTask(common ?? this.#queue(), now),
    );
    return this.#enqueue(fresh, prng.oneIn(4) ? this.#key() : undefined);
  }

  /** While something is reserved, everything else is reserved as well; no key is reserved twice. */
  #enqueue(fresh: readonly NewTask[], key: IdempotencyKey | undefined): Operation {
    const { reservations } = this.#model;
    const isReserve = reservations.length > 0 || (this.#setup.hasJournal && this.#prng.oneIn(2));
    const isFree = !isReserve || this.#model.mayEnqueue(true, key);
    return { kind: isReserve ? "reserve" : "enqueue", fresh, key: isFree ? key : undefined };
  }

  #claim(): Operation {
    const isForThread = this.#setup.hasThreads && this.#prng.oneIn(2);
    return { kind: "claim", lane: isForThread ? "thread" : "loop" };
  }

  #settle(): Operation {
    const task = this.#pickTask(({ status }) => status === "running");
    return task === undefined ? this.#claim() : this.#settleOf(task, task.attempt);
  }

  /** An attempt from before, or the last one of a task that no longer runs. */
  #settleStale(): Operation {
    const task = this.#anyTask();
    if (task === undefined) return this.#settleOf(task, 1);
    const isCurrent = task.status === "running";
    return this.#settleOf(task, isCurrent ? task.attempt - 1 : task.attempt);
  }

  #settleOf(task: ModelTask | undefined, fence: number): Operation {
    return {
      kind: "settle",
      id: this.#idOf(task),
      fence,
      outcome: this.#outcome(),
      chance: this.#prng.next(),
    };
  }

  #outcome(): Outcome {
    const prng = this.#prng;
    if (prng.oneIn(6)) return { kind: "interrupted" };
    if (prng.oneIn(3)) {
      return { kind: "done", result: prng.oneIn(2) ? null : "r".repeat(prng.whole(0, 9)) };
    }
    return { kind: "failed", code: "broken", message: "it broke", retry: this.#retry() };
  }

  #retry(): Retry {
    const prng = this.#prng;
    if (prng.oneIn(8)) return { kind: "never" };
    return prng.oneIn(6)
      ? { kind: "after", ms: prng.whole(0, this.#setup.delayMsMax) }
      : { kind: "backoff" };
  }

  #progress(): Operation {
    const prng = this.#prng;
    const task = this.#pickTask(({ status }) => status === "running") ?? this.#anyTask();
    const fence = (task?.attempt ?? 1) - (prng.oneIn(4) ? 1 : 0);
    return {
      kind: "progress",
      id: this.#idOf(task),
      fence,
      progress: "p".repeat(prng.whole(1, 9)),
    };
  }

  #list(): Operation {
    const prng = this.#prng;
    const status = prng.oneIn(3) ? prng.pick(TASK_STATUSES) : undefined;
    const queue = prng.oneIn(3) ? this.#queue() : undefined;
    const type = prng.oneIn(3) ? prng.pick(TYPES) : undefined;
    return {
      kind: "list",
      filter: { status, queue, type },
      limit: prng.whole(1, 9),
      beforeSeq: prng.oneIn(2) ? FOREVER : prng.whole(0, this.#lastId + 2),
    };
  }

  /** Often to the very millisecond in which something is due, or to the one before. */
  #timeToGoBy(now: Instant): number {
    const prng = this.#prng;
    const untilDueMs = this.#model.msToNextDue(now);
    if (prng.oneIn(2) && untilDueMs < FOREVER) {
      return Math.max(0, untilDueMs - (prng.oneIn(3) ? 1 : 0));
    }
    return prng.oneIn(12) ? prng.whole(0, 20_000) : prng.whole(0, this.#setup.delayMsMax);
  }

  #jump(now: Instant): number {
    const prng = this.#prng;
    const waiting = this.#pickTask(({ dueWallMs }) => dueWallMs < FOREVER);
    if (waiting !== undefined && prng.oneIn(2)) {
      return waiting.dueWallMs - now.wallMs - (prng.oneIn(3) ? 1 : 0);
    }
    return prng.whole(-5000, 5000);
  }

  #idOf(task: ModelTask | undefined): string {
    return task?.fresh.id ?? UNKNOWN_ID;
  }

  #anyTask(): ModelTask | undefined {
    const { tasks } = this.#model;
    return tasks.length === 0 ? undefined : this.#prng.pick(tasks);
  }

  #anyRetryable(): ModelTask | undefined {
    return this.#pickTask(({ status }) => status === "failed" || status === "cancelled");
  }

  #pickTask(isWanted: (task: ModelTask) => boolean): ModelTask | undefined {
    const wanted = this.#model.tasks.filter(isWanted);
    return wanted.length === 0 ? undefined : this.#prng.pick(wanted);
  }
}
