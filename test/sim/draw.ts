/**
 * Draws the next operation of a history. It looks at nothing but the model, so that a history depends on its seed
 * alone, whatever the system under test makes of it.
 */

import type { Instant } from "../../src/core/instant.ts";
import type { Lane } from "../../src/core/lane.ts";
import type { AttemptOutcome, IdempotencyKey, Retry } from "../../src/core/outcomes.ts";
import { TASK_STATUSES } from "../../src/core/status.ts";
import type { NewTask, When } from "../../src/core/task.ts";
import type { Model } from "./model.ts";
import type { ModelLease, ModelTask } from "./model-state.ts";
import type { Operation } from "./operation.ts";
import type { Prng } from "./prng.ts";
import { drawClaims, FENCE_MAX, type Setup } from "./setup.ts";

const KEYS = ["k1", "k2", "k3", "k4", "k5", "k6"];
const TYPES = ["x", "y"];
const TAGS: readonly (readonly string[])[] = [[], [], ["red"], ["red", "blue"]];
const UNKNOWN_ID = "t0";
const UNKNOWN_QUEUE = "q";
const UNKNOWN_TYPE = "z";
/** Tasks of a higher priority at the beginning of a flood. */
const FLOOD_START = 5;
/** Tasks of the other type at the end of a flood. */
const FLOOD_END = 10;
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
    if (this.#lastId === 0 && this.#setup.floodTasks > 0) return this.#flood(now);
    const kind = prng.pick(this.#setup.mix);
    switch (kind) {
      case "enqueue":
        return this.#enqueue([this.#newTask(this.#queue(), now)], undefined);
      case "enqueueWithKey":
        return this.#enqueue([this.#newTask(this.#queue(), now)], this.#key());
      case "publish":
      case "withdraw":
      case "suspendRemote":
      case "resumeRemote":
        return { kind };
      case "restart":
        return {
          kind,
          firstFence: prng.whole(1, FENCE_MAX),
          claims: prng.oneIn(3) ? drawClaims(prng) : null,
        };
      case "batch":
        return this.#batch(now);
      case "claim":
        return this.#claim();
      case "settle":
        return this.#settle();
      case "settleStale":
        return this.#settleStale();
      case "settleAgain":
        return this.#settleAgain();
      case "extend":
        return this.#extend();
      case "extendStale":
        return this.#extendStale();
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
      case "stall":
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
    const { lanes, backoff, priorities, maxRetriesMax, timeoutMsMax } = this.#setup;
    const { payloadBytesMax, payloadUnitBytes } = this.#setup;
    this.#lastId += 1;
    // The ends of some are the same, and with them their hashes.
    const id = this.#lastId % 4 === 0 ? `t${this.#lastId}-collides` : `t${this.#lastId}`;
    return {
      id,
      type: prng.pick(TYPES),
      queue,
      tags: prng.pick(TAGS),
      payload: id,
      payloadBytes: prng.whole(0, payloadBytesMax / payloadUnitBytes) * payloadUnitBytes,
      priority: prng.pick(priorities),
      maxRetries: prng.whole(0, maxRetriesMax),
      timeoutMs: prng.whole(1, timeoutMsMax),
      lane: prng.pick(lanes),
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

  /**
   * About as many tasks of one type as a search by type looks at, the first of them of a higher priority, and behind them
   * a few of another.
   */
  #flood(now: Instant): Operation {
    const { lanes, queues, floodTasks } = this.#setup;
    const queue = this.#prng.pick(queues);
    const lane = this.#prng.pick(lanes);
    const fresh = Array.from({ length: floodTasks }, (_, index): NewTask => {
      const type = index < floodTasks - FLOOD_END ? "x" : "y";
      const task = this.#newTask(queue, now);
      const priority = index < FLOOD_START ? 1 : 0;
      return { ...task, type, lane, priority, when: { kind: "now" } };
    });
    return this.#enqueue(fresh, undefined);
  }

  /** While something is reserved, everything else is reserved as well; no key is reserved twice. */
  #enqueue(fresh: readonly NewTask[], key: IdempotencyKey | undefined): Operation {
    const { reservations } = this.#model;
    const isReserve = reservations.length > 0 || (this.#setup.hasJournal && this.#prng.oneIn(2));
    const isFree = !isReserve || this.#model.mayEnqueue(true, key);
    return { kind: isReserve ? "reserve" : "enqueue", fresh, key: isFree ? key : undefined };
  }

  #claim(): Operation {
    const prng = this.#prng;
    const lane: Lane = prng.pick(this.#setup.lanes);
    const queues = prng.oneIn(4) ? this.#some([...this.#setup.queues, UNKNOWN_QUEUE]) : undefined;
    const types = this.#types();
    const max = prng.oneIn(4) ? prng.whole(2, 5) : 1;
    if (lane !== "remote") return { kind: "claim", request: { lane, queues, types, max } };
    const worker = prng.oneIn(2) ? "w" : undefined;
    const request = { lane, queues, types, max, leaseMs: this.#leaseMs(), worker };
    return { kind: "claim", request };
  }

  #types(): string[] | undefined {
    const prng = this.#prng;
    if (this.#setup.floodTasks > 0 && prng.oneIn(2)) return ["y"];
    return prng.oneIn(4) ? this.#some([...TYPES, UNKNOWN_TYPE]) : undefined;
  }

  /** Some of these, at least one, in any order. */
  #some(all: readonly string[]): string[] {
    const rest = [...all];
    const count = this.#prng.whole(1, rest.length);
    return Array.from({ length: count }, () => {
      const each = this.#prng.pick(rest);
      rest.splice(rest.indexOf(each), 1);
      return each;
    });
  }

  #leaseMs(): number {
    return this.#prng.whole(1, this.#setup.leaseMsMax);
  }

  #settle(): Operation {
    const task = this.#pickTask(({ status }) => status === "running");
    return task === undefined ? this.#claim() : this.#settleOf(task, task.fences.length);
  }

  #settleStale(): Operation {
    const task = this.#anyTask();
    const settle = this.#settleOf(task, this.#earlierClaim(task));
    return this.#prng.oneIn(4) ? this.#ofAnother(settle) : settle;
  }

  /** A claim from before, or the last one of a task that no longer runs. */
  #earlierClaim(task: ModelTask | undefined): number {
    if (task === undefined) return 1;
    const last = task.fences.length - (task.status === "running" ? 1 : 0);
    // Most often the last: what is older is rarely still known.
    return this.#prng.oneIn(4) ? this.#prng.whole(0, last) : last;
  }

  /** The same with the latest claim of a task that runs: most often another one. */
  #ofAnother(operation: Operation & { kind: "settle" | "extend" }): Operation {
    const task = this.#pickTask(({ status }) => status === "running");
    if (task === undefined) return operation;
    return { ...operation, claim: task.fences.length, of: task.fresh.id };
  }

  /** The settle that was taken last, often with the same word. */
  #settleAgain(): Operation {
    const task = this.#pickTask(({ receipt }) => receipt !== null);
    if (task === undefined) return this.#settleStale();
    const again = this.#settleOf(task, task.fences.indexOf(task.settledFence) + 1);
    if (this.#prng.oneIn(4)) return again;
    return { ...again, outcome: this.#outcomeOf(task.receipt?.outcome ?? "done") };
  }

  #settleOf(task: ModelTask | undefined, claim: number): Operation & { kind: "settle" } {
    return {
      kind: "settle",
      id: this.#idOf(task),
      claim,
      outcome: this.#outcome(),
      chance: this.#prng.next(),
    };
  }

  #extend(): Operation {
    const task = this.#pickTask(({ lease }) => lease !== null);
    return task === undefined ? this.#extendStale() : this.#extendOf(task, task.fences.length);
  }

  #extendStale(): Operation {
    const task = this.#anyTask();
    const extend = this.#extendOf(task, this.#earlierClaim(task));
    return this.#prng.oneIn(4) ? this.#ofAnother(extend) : extend;
  }

  #extendOf(task: ModelTask | undefined, claim: number): Operation & { kind: "extend" } {
    const extend = { kind: "extend", id: this.#idOf(task), claim } as const;
    return this.#prng.oneIn(4) ? extend : { ...extend, leaseMs: this.#leaseMs() };
  }

  #outcome(): AttemptOutcome {
    const prng = this.#prng;
    if (prng.oneIn(5)) return this.#outcomeOf("released");
    return this.#outcomeOf(prng.oneIn(3) ? "done" : "failed");
  }

  #outcomeOf(kind: AttemptOutcome["kind"]): AttemptOutcome {
    const prng = this.#prng;
    if (kind === "released") {
      if (prng.oneIn(2)) return { kind };
      return { kind, delayMs: prng.whole(0, this.#setup.delayMsMax) };
    }
    if (kind === "done") {
      return { kind, result: prng.oneIn(2) ? null : "r".repeat(prng.whole(0, 9)) };
    }
    return { kind, code: "broken", message: "it broke", retry: this.#retry() };
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
    const claim = Math.max(0, (task?.fences.length ?? 1) - (prng.oneIn(4) ? 1 : 0));
    return {
      kind: "progress",
      id: this.#idOf(task),
      claim,
      progress: "p".repeat(prng.whole(1, 9)),
    };
  }

  #list(): Operation {
    const prng = this.#prng;
    const status = prng.oneIn(3) ? prng.pick(TASK_STATUSES) : undefined;
    const queue = prng.oneIn(3) ? this.#queue() : undefined;
    const type = prng.oneIn(3) ? prng.pick(TYPES) : undefined;
    const tag = prng.oneIn(4) ? prng.pick(["red", "blue", "none"]) : undefined;
    return {
      kind: "list",
      filter: { status, queue, type, tag },
      limit: prng.whole(1, 9),
      beforeSeq: prng.oneIn(2) ? FOREVER : prng.whole(0, this.#lastId + 2),
    };
  }

  /** Often to the very millisecond in which something is due, or to the one before. */
  #timeToGoBy(now: Instant): number {
    const prng = this.#prng;
    const held = prng.oneIn(3) ? this.#pickTask(({ lease }) => lease !== null) : undefined;
    const untilDueMs = held?.lease
      ? this.#untilEndMs(held.lease, now)
      : this.#model.msToNextDue(now);
    if (prng.oneIn(2) && untilDueMs < FOREVER) {
      return Math.max(0, untilDueMs - (prng.oneIn(3) ? 1 : 0));
    }
    return prng.oneIn(12) ? prng.whole(0, 20_000) : prng.whole(0, this.#setup.delayMsMax);
  }

  /** Until a lease ends, or the time of its attempt. */
  #untilEndMs({ endsMonoMs, timeoutMonoMs }: ModelLease, now: Instant): number {
    return (this.#prng.oneIn(2) ? endsMonoMs : timeoutMonoMs) - now.monoMs;
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
