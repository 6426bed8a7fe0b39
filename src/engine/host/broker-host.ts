/**
 * The engine around a broker, for every persistence. It gives the broker time, randomness and ids,
 * and passes the broker's events to workers, long polls and the store. It decides nothing about
 * tasks.
 *
 * An engine is in one of three modes:
 * - `open`: it accepts tasks and hands them out.
 * - `stopping`, after `stopIntake`: it accepts no more tasks and no retries. It hands out tasks
 *   only if they would be lost with the process. Reads, settles and cancels still work.
 * - `closed`, after `close`: it hands out nothing, and the timer is closed.
 *
 * While the store is unavailable (`Persistence.isAvailable`), an open engine accepts and hands out
 * nothing either.
 */

import { type Clock, systemClock } from "../../clock.ts";
import { assert } from "../../core/assert.ts";
import { Broker, type BrokerLimits, type BrokerObserver } from "../../core/broker.ts";
import type { KeyRecord } from "../../core/idempotency.ts";
import type { Instant, Random } from "../../core/instant.ts";
import type { Lane } from "../../core/lane.ts";
import type { AttemptOutcome, ClaimLost, ClaimRequest, RevokeReason } from "../../core/outcomes.ts";
import type { Queue } from "../../core/queue.ts";
import { afterRelease } from "../../core/rules.ts";
import { isFinished, type TaskStatus } from "../../core/status.ts";
import { type Task, type TaskView, viewOf } from "../../core/task.ts";
import { type Log, silentLog } from "../../log.ts";
import { claimFaults, extendFaults, outcomeFaults } from "../claim-intake.ts";
import type {
  CancelAnswer,
  Claim,
  ClaimAnswer,
  Engine,
  EngineRemains,
  EngineWorker,
  EnqueueAnswer,
  EnqueueRequest,
  ExtendAnswer,
  ListAnswer,
  ListRequest,
  MaybePromise,
  PauseAnswer,
  PurgeAnswer,
  QueueReport,
  Readiness,
  RetryAnswer,
  SettleAnswer,
  Stopping,
  StorageUnavailable,
  TooManyWaiting,
  TypeRules,
} from "../engine.ts";
import { EventPublisher, type EventSubscriber } from "../events.ts";
import { Intake, type TaskDefaults } from "../intake.ts";
import {
  type Command,
  cancelCommand,
  pauseCommand,
  purgeCommand,
  retryCommand,
  settleCommand,
} from "./commands.ts";
import { Drain } from "./drain.ts";
import type { Persistence, PersistenceHost } from "./persistence.ts";
import { TaskLog } from "./task-log.ts";
import { claimOf, pageOfTasks, reportOf } from "./views.ts";
import { Waiters } from "./waiters.ts";
import { WaitingClaims } from "./waiting-claims.ts";
import { WakeTimer } from "./wake-timer.ts";
import { WorkerNotifier } from "./worker-notifier.ts";

interface HostLimits extends BrokerLimits {
  /** The largest number of claims that wait for a task. */
  readonly claimsWaitingMax: number;
}

export interface HostOptions {
  readonly limits: HostLimits;
  readonly defaults: TaskDefaults;
  /** The types with their own rules. */
  readonly types?: ReadonlyMap<string, TypeRules>;
  /** The rules of all other types. */
  readonly otherTypes?: TypeRules;
  readonly log?: Log;
  readonly clock?: Clock;
  readonly random?: Random;
}

const STOPPING: Stopping = { kind: "stopping" };

export const STORAGE_UNAVAILABLE: StorageUnavailable = { kind: "storage_unavailable" };

/**
 * The first fence is a random number below this, so that two processes never give out the same
 * fence, and no fence exceeds 2⁵³.
 */
const FIRST_FENCE_MAX = 2 ** 52;

type Mode = "open" | "stopping" | "closed";

export class BrokerHost implements Engine, BrokerObserver, PersistenceHost {
  readonly broker: Broker;
  readonly intake: Intake;
  readonly clock: Clock;
  readonly log: Log;
  readonly #random: Random;
  readonly #persistence: Persistence;
  readonly #events: EventPublisher;
  readonly #waiters: Waiters;
  readonly #waitingClaims: WaitingClaims;
  readonly #workers = new WorkerNotifier();
  readonly #timer: WakeTimer;
  readonly #drain: Drain;
  #mode: Mode = "open";
  #finishedWhileStopping = 0;
  #isStoreWhole = true;

  constructor(
    {
      limits,
      defaults,
      types = new Map(),
      otherTypes = {},
      log = silentLog,
      clock = systemClock,
      random = Math.random,
    }: HostOptions,
    persistenceOf: (host: BrokerHost) => Persistence,
  ) {
    const broker = new Broker(limits, this, 1 + Math.floor(Math.random() * FIRST_FENCE_MAX));
    this.broker = broker;
    this.intake = new Intake({ defaults, types, otherTypes, keyedTasksMax: limits.retainTasks });
    this.clock = clock;
    this.log = log;
    this.#random = random;
    this.#waiters = new Waiters(clock);
    this.#waitingClaims = new WaitingClaims({
      clock,
      max: limits.claimsWaitingMax,
      claim: (request) => this.claim(request),
    });
    this.attach("remote", this.#waitingClaims);
    this.#timer = new WakeTimer(broker, clock, (now) => broker.tick(now, random));
    this.#drain = new Drain(clock, (leftMs) => this.#isDry(leftMs));
    this.#persistence = persistenceOf(this);
    this.#events = new EventPublisher(() => this.#persistence.isAhead);
    this.subscribe(new TaskLog(log));
    this.subscribe(this.#waiters);
    this.#timer.arm(clock.now());
  }

  get readiness(): Readiness {
    if (this.#mode !== "open") return "stopping";
    return this.#persistence.isAvailable ? "ready" : "storage_unavailable";
  }

  enqueue(
    requests: readonly EnqueueRequest[],
    idempotencyKey?: string,
  ): MaybePromise<EnqueueAnswer> {
    if (this.#mode !== "open") return STOPPING;
    if (!this.#persistence.isAvailable) return STORAGE_UNAVAILABLE;
    const now = this.clock.now();
    const admission = this.intake.admit(requests, idempotencyKey, now.wallMs);
    if (admission.kind === "invalid") return admission;
    const answer = this.#persistence.enqueue(admission.specs, now, admission.key);
    this.#timer.update(now);
    return answer;
  }

  find(id: string): MaybePromise<TaskView | undefined> {
    const task = this.broker.find(id);
    if (task === undefined) return undefined;
    const stored = this.#persistence.untilStored(task);
    return stored === null ? viewOf(task) : stored.then(() => viewOf(task));
  }

  async waitFor(id: string, waitMs: number, signal: AbortSignal): Promise<TaskView | undefined> {
    const task = this.broker.find(id);
    if (task === undefined) return undefined;
    const stored = this.#persistence.untilStored(task);
    // Only wait if necessary: during a wait the task could finish, and its end would be shown
    // before it is stored.
    if (stored !== null) await stored;
    return this.#waiters.wait(task, waitMs, signal);
  }

  list(request: ListRequest): MaybePromise<ListAnswer> {
    return this.#persistence.whenAllStored(() => pageOfTasks(this.broker, request));
  }

  queues(): MaybePromise<readonly QueueReport[]> {
    return this.#persistence.whenAllStored(() => {
      const now = this.clock.now();
      return Array.from(this.broker.queues(), (queue) => this.#reportOf(queue, now));
    });
  }

  queue(name: string): MaybePromise<QueueReport | undefined> {
    return this.#persistence.whenAllStored(() => {
      const queue = this.broker.findQueue(name);
      return queue === undefined ? undefined : this.#reportOf(queue, this.clock.now());
    });
  }

  cancel(id: string): MaybePromise<CancelAnswer> {
    return this.#run(cancelCommand(this.broker, id));
  }

  retry(id: string): MaybePromise<RetryAnswer> {
    if (this.#mode !== "open") return STOPPING;
    return this.#run(retryCommand(this.broker, id));
  }

  pause(name: string): MaybePromise<PauseAnswer> {
    return this.#run(this.#pauseCommand(name, true));
  }

  resume(name: string): MaybePromise<PauseAnswer> {
    return this.#run(this.#pauseCommand(name, false));
  }

  purge(name: string): MaybePromise<PurgeAnswer> {
    return this.#run(purgeCommand(this.broker, name));
  }

  attach(lane: Lane, worker: EngineWorker): void {
    this.#workers.attach(lane, worker);
  }

  claim(request: ClaimRequest): ClaimAnswer {
    if (!this.#handsOut) return STOPPING;
    if (!this.#persistence.isAvailable) return STORAGE_UNAVAILABLE;
    if (request.lane === "remote") {
      const faults = claimFaults(request);
      if (faults.length > 0) return { kind: "invalid", faults };
    }
    if (!this.broker.hasReady(request.lane)) return NOTHING_CLAIMED;
    const now = this.clock.now();
    const claims: Claim[] = [];
    for (const task of this.broker.claim(request, now)) {
      if (this.#persistence.noteClaim(task)) claims.push(claimOf(task, now));
      // The attempt has not started: the task is handed out again when the store is available.
      else this.broker.take({ kind: "step", task, to: afterRelease(task, 0, now) }, now);
    }
    this.#timer.update(now);
    if (claims.length === 0 && !this.#persistence.isAvailable) return STORAGE_UNAVAILABLE;
    return { kind: "claimed", claims };
  }

  claimOrWait(
    request: ClaimRequest,
    waitMs: number,
    signal: AbortSignal,
  ): MaybePromise<ClaimAnswer | TooManyWaiting> {
    return this.#waitingClaims.claim(request, waitMs, signal);
  }

  settle(taskId: string, fence: number, outcome: AttemptOutcome): MaybePromise<SettleAnswer> {
    const { isDurable } = this.#persistence;
    // Without a store, a result needs no check and no command: most settles are these.
    if ((isDurable || outcome.kind !== "done") && this.#isRemote(taskId)) {
      const faults = outcomeFaults(outcome);
      if (faults.length > 0) return { kind: "invalid", faults };
      // An answer to a remote worker must hold after a crash. An attempt in the process would end
      // with the process.
      if (isDurable) {
        return this.#run(settleCommand(this.broker, this.#random, taskId, fence, outcome));
      }
    }
    const now = this.clock.now();
    const answer = this.broker.settle(taskId, fence, outcome, now, this.#random);
    this.#timer.update(now);
    return answer;
  }

  extend(taskId: string, fence: number, leaseMs?: number): ExtendAnswer {
    const faults = extendFaults(leaseMs);
    if (faults.length > 0) return { kind: "invalid", faults };
    const now = this.clock.now();
    const outcome = this.broker.extend(taskId, fence, leaseMs, now);
    const task = this.broker.find(taskId);
    if (outcome.kind === "extended" && task !== undefined) {
      this.#persistence.noteExtend(task);
      this.#timer.arm(now);
    }
    return outcome;
  }

  noteProgress(taskId: string, fence: number, progress: string): ClaimLost | null {
    return this.broker.noteProgress(taskId, fence, progress);
  }

  subscribe(subscriber: EventSubscriber): void {
    this.#events.subscribe(subscriber);
  }

  stopIntake(): void {
    if (this.#mode === "open") this.#setMode("stopping");
    if (!this.#handsOut) this.#waitingClaims.close();
  }

  async drain(graceMs: number): Promise<void> {
    await this.#drain.start(graceMs);
    this.#persistence.flush();
    this.#waiters.close();
    this.#waitingClaims.close();
  }

  close(): Promise<EngineRemains> {
    this.stopIntake();
    if (this.#mode === "stopping") {
      this.#setMode("closed");
      this.#drain.end();
      try {
        this.#isStoreWhole = this.#persistence.close().isWhole;
      } finally {
        this.#waiters.close();
        this.#waitingClaims.close();
        this.#timer.close();
      }
    }
    return Promise.resolve({
      finishedWhileStopping: this.#finishedWhileStopping,
      unfinished: this.broker.unfinished,
      areLost: !this.#persistence.isDurable,
      isStoreWhole: this.#isStoreWhole,
    });
  }

  onStep(task: Task, from: TaskStatus | null, now: Instant): void {
    this.#persistence.onStep(task, from);
    this.#events.publish(task, from, now);
    this.#workers.onStep(task, from);
    if (isFinished(task.status) && this.#mode !== "open") this.#finishedWhileStopping += 1;
    this.#timer.note(task);
    this.#drain.updateSoon();
  }

  onRevoke(task: Task, fence: number, reason: RevokeReason, worker: string | null): void {
    if (reason === "lease_lost") {
      const { id, settings, queue, attempt } = task;
      this.log.warn("lease_lost", { id, type: settings.type, queue: queue.name, attempt, worker });
    }
    this.#workers.onRevoke(task, fence, reason);
  }

  onResume(queue: Queue): void {
    this.#workers.onOpen(queue);
  }

  onForget(task: Task): void {
    this.#persistence.onForget(task);
  }

  onKeyChange(key: KeyRecord): void {
    this.#persistence.onKeyChange?.(key);
  }

  onKeyForget(key: KeyRecord): void {
    this.#persistence.onKeyForget?.(key);
  }

  onStored(now: Instant): void {
    this.#events.release();
    this.#timer.arm(now);
  }

  onAvailability(now: Instant): void {
    if (!this.#persistence.isAvailable) {
      this.broker.suspendRemote();
      // During the outage, reads and waiting requests get the state in memory.
      this.#events.release();
      return;
    }
    this.broker.resumeRemote(now);
    this.#timer.arm(now);
    for (const queue of this.broker.queues()) this.#workers.onOpen(queue);
  }

  /**
   * Whether the task's lane is remote, or a remote claim holds the task: its type may have been
   * remote before.
   */
  #isRemote(taskId: string): boolean {
    // Without any remote claim, none can be settled: the common case stops here.
    if (!this.broker.hasLeases) return false;
    const task = this.broker.find(taskId);
    return task !== undefined && (task.lane === "remote" || task.lease !== null);
  }

  /** Whether attempts may start. */
  get #handsOut(): boolean {
    return this.#mode === "open" || (this.#mode === "stopping" && !this.#persistence.isDurable);
  }

  /**
   * Whether a drain has nothing more to wait for. A durable engine leaves waiting tasks and remote
   * attempts to the next process.
   */
  #isDry(leftMs: number): boolean {
    if (this.#persistence.isDurable) return this.broker.runningHere === 0;
    return !this.broker.hasWorkWithin(leftMs, this.clock.now());
  }

  #reportOf(queue: Queue, { monoMs }: Instant): QueueReport {
    return reportOf(queue, this.#waitingClaims.countFor(queue.name), monoMs);
  }

  #pauseCommand(name: string, isPaused: boolean): Command<PauseAnswer> {
    return pauseCommand(this.broker, name, isPaused, (queue, now) => this.#reportOf(queue, now));
  }

  #setMode(mode: Mode): void {
    const isNext =
      (this.#mode === "open" && mode === "stopping") ||
      (this.#mode === "stopping" && mode === "closed");
    assert(isNext, "an engine is open, then stopping, then closed");
    this.#mode = mode;
  }

  #run<Answer>(command: Command<Answer>): MaybePromise<Answer | StorageUnavailable> {
    const now = this.clock.now();
    const answer = this.#persistence.run(command, now);
    this.broker.forgetWhatIsOver(now);
    this.#timer.arm(now);
    this.#drain.updateSoon();
    return answer;
  }
}

const NOTHING_CLAIMED: ClaimAnswer = { kind: "claimed", claims: [] };
