/**
 * The engine in memory: the core, one clock and one timer. It decides nothing about tasks; it brings the core time,
 * randomness and ids, and carries what the core says to those who wait for it.
 */

import { type Clock, systemClock } from "../../clock.ts";
import { Broker, type BrokerLimits, type BrokerObserver } from "../../core/broker.ts";
import type { Random } from "../../core/instant.ts";
import type { Outcome, RevokeReason } from "../../core/outcomes.ts";
import type { Lane } from "../../core/ready-list.ts";
import {
  isFinished,
  type NewTask,
  type Task,
  type TaskStatus,
  type TaskView,
} from "../../core/task.ts";
import { type Log, silentLog } from "../../log.ts";
import type {
  CancelAnswer,
  Claim,
  Engine,
  EngineRemains,
  EngineWorker,
  EnqueueAnswer,
  EnqueueRequest,
  ListAnswer,
  ListRequest,
  PauseAnswer,
  PurgeAnswer,
  QueueReport,
  Readiness,
  RetryAnswer,
  TypeRules,
} from "../engine.ts";
import { Drain } from "../host/drain.ts";
import { logStep, pageOfTasks, reportOf } from "../host/views.ts";
import { Waiters } from "../host/waiters.ts";
import { WakeTimer } from "../host/wake-timer.ts";
import { taskOf, WorkerNotifier } from "../host/worker-notifier.ts";
import { fingerprintOf, Intake, type TaskDefaults } from "../intake.ts";

export interface MemoryEngineOptions {
  readonly limits: BrokerLimits;
  readonly defaults: TaskDefaults;
  /** The types with rules of their own. */
  readonly types?: ReadonlyMap<string, TypeRules>;
  readonly log?: Log;
  readonly clock?: Clock;
  readonly random?: Random;
}

export class MemoryEngine implements Engine, BrokerObserver {
  readonly #broker: Broker;
  readonly #intake: Intake;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #waiters: Waiters;
  readonly #workers = new WorkerNotifier();
  readonly #timer: WakeTimer;
  readonly #drain: Drain;
  #isAccepting = true;
  #finishedWhileStopping = 0;

  constructor({
    limits,
    defaults,
    types = new Map(),
    log = silentLog,
    clock = systemClock,
    random = Math.random,
  }: MemoryEngineOptions) {
    const broker = new Broker(limits, this);
    this.#broker = broker;
    this.#intake = new Intake(defaults, types);
    this.#log = log;
    this.#clock = clock;
    this.#random = random;
    this.#waiters = new Waiters(clock);
    this.#timer = new WakeTimer(broker, clock, (now) => broker.tick(now, random));
    this.#drain = new Drain(clock, (leftMs) => !broker.hasWorkWithin(leftMs, clock.now()));
  }

  get readiness(): Readiness {
    return this.#isAccepting ? "ready" : "stopping";
  }

  enqueue(requests: readonly EnqueueRequest[], idempotencyKey?: string): EnqueueAnswer {
    if (!this.#isAccepting) return { kind: "stopping" };
    const now = this.#clock.now();
    const fresh = this.#intake.read(requests, now.wallMs);
    if ("kind" in fresh) return fresh;
    const key =
      idempotencyKey === undefined
        ? undefined
        : { key: idempotencyKey, fingerprint: fingerprintOf(requests) };
    const outcome = this.#broker.enqueue(fresh, now, key);
    if (outcome.kind === "accepted" && fresh.some(isDelayed)) this.#timer.arm(now);
    return outcome;
  }

  find(id: string): TaskView | undefined {
    return this.#broker.find(id);
  }

  waitFor(id: string, waitMs: number, signal: AbortSignal): Promise<TaskView | undefined> {
    return this.#waiters.wait(this.#broker.find(id), waitMs, signal);
  }

  list(request: ListRequest): ListAnswer {
    return pageOfTasks(this.#broker, request);
  }

  cancel(id: string): CancelAnswer {
    const now = this.#clock.now();
    const outcome = this.#broker.cancel(id, now);
    this.#timer.arm(now);
    return outcome;
  }

  retry(id: string): RetryAnswer {
    if (!this.#isAccepting) return { kind: "stopping" };
    return this.#broker.retry(id, this.#clock.now());
  }

  queues(): readonly QueueReport[] {
    const { monoMs } = this.#clock.now();
    return Array.from(this.#broker.queues(), (queue) => reportOf(queue, monoMs));
  }

  queue(name: string): QueueReport | undefined {
    const queue = this.#broker.findQueue(name);
    return queue === undefined ? undefined : reportOf(queue, this.#clock.now().monoMs);
  }

  setPaused(name: string, isPaused: boolean): PauseAnswer {
    const now = this.#clock.now();
    const outcome = this.#broker.setPaused(name, isPaused, now);
    if (outcome.kind !== "set") return outcome;
    // A resumed queue without tasks is to be forgotten some time.
    this.#timer.arm(now);
    // What waited behind the pause took no step just now, so the workers have not heard of it.
    if (!isPaused) this.#workers.call(outcome.queue);
    this.#drain.check();
    return { kind: "set", queue: reportOf(outcome.queue, now.monoMs) };
  }

  purge(name: string): PurgeAnswer {
    const now = this.#clock.now();
    const cancelled = this.#broker.purge(name, now);
    this.#timer.arm(now);
    return cancelled === undefined ? { kind: "unknown" } : { kind: "purged", cancelled };
  }

  attach(lane: Lane, worker: EngineWorker): void {
    this.#workers.attach(lane, worker);
  }

  claim(lane: Lane): Claim | undefined {
    if (!this.#broker.hasTurn(lane)) return undefined;
    const now = this.#clock.now();
    const task = this.#broker.claim(lane, now);
    if (task === undefined) return undefined;
    this.#timer.armFor(task, now);
    return { task, fence: task.attempt };
  }

  settle(claim: Claim, outcome: Outcome): void {
    const task = taskOf(claim);
    const now = this.#clock.now();
    if (this.#broker.settle(task, claim.fence, outcome, now, this.#random)) {
      this.#timer.armFor(task, now);
    }
  }

  noteProgress(claim: Claim, progress: string): void {
    this.#broker.noteProgress(taskOf(claim), claim.fence, progress);
  }

  stopIntake(): void {
    this.#isAccepting = false;
  }

  async drain(graceMs: number): Promise<void> {
    await this.#drain.start(graceMs);
    this.#waiters.close();
  }

  close(): Promise<EngineRemains> {
    this.#isAccepting = false;
    this.#drain.end();
    this.#waiters.close();
    this.#timer.close();
    return Promise.resolve({
      finishedWhileStopping: this.#finishedWhileStopping,
      unfinished: this.#broker.unfinished,
      areLost: true,
    });
  }

  onStep(task: Task, from: TaskStatus | null): void {
    if (this.#log.isDebug || task.status === "failed") logStep(this.#log, task, from);
    this.#workers.onStep(task, from);
    if (isFinished(task.status)) {
      if (!this.#isAccepting) this.#finishedWhileStopping += 1;
      this.#waiters.answer(task.id);
    }
    this.#drain.checkSoon();
  }

  onRevoke(task: Task, fence: number, reason: RevokeReason): void {
    this.#workers.revoke(task, fence, reason);
  }
}

function isDelayed({ when }: NewTask): boolean {
  return when.kind !== "now";
}
