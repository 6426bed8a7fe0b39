/**
 * The engine that keeps its tasks in a file: the core in memory, and a journal that every change goes through before
 * anybody is told of it.
 *
 * New tasks only hold their places until they are on disk: then they are seen, and may be claimed. What workers did is in
 * memory at once, and told to nobody before it is on disk; while the storage can't be written, nothing is claimed and
 * reads go on with what memory knows.
 */

import { type Clock, systemClock } from "../../clock.ts";
import { Broker, type BrokerLimits, type BrokerObserver } from "../../core/broker.ts";
import type { KeyRecord } from "../../core/idempotency.ts";
import type { Instant, Random } from "../../core/instant.ts";
import type { IdempotencyKey, Outcome, RevokeReason } from "../../core/outcomes.ts";
import type { Queue } from "../../core/queue.ts";
import type { Lane } from "../../core/ready-list.ts";
import { isFinished, type Task, type TaskStatus, type TaskView } from "../../core/task.ts";
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
  MaybePromise,
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
import { DataFileError, type Durability, openDataFile } from "./data-file.ts";
import { GroupCommit, type GroupObserver, STORAGE_UNAVAILABLE } from "./group-commit.ts";
import { readSnapshot } from "./recovery.ts";
import { RunningFile } from "./running-file.ts";
import { SqliteStore } from "./store.ts";

export interface SqliteEngineOptions {
  /** Where the data file is, or is to be. */
  readonly path: string;
  readonly durability: Durability;
  readonly limits: BrokerLimits;
  readonly defaults: TaskDefaults;
  /** The types with rules of their own. */
  readonly types?: ReadonlyMap<string, TypeRules>;
  readonly log?: Log;
  readonly clock?: Clock;
  readonly random?: Random;
}

export class SqliteEngine implements Engine, BrokerObserver, GroupObserver {
  readonly #broker: Broker;
  readonly #intake: Intake;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #store: SqliteStore;
  readonly #running: RunningFile;
  readonly #group: GroupCommit;
  readonly #waiters: Waiters;
  readonly #workers = new WorkerNotifier();
  readonly #timer: WakeTimer;
  readonly #drain: Drain;
  /** The tasks that have finished and whose pollers are still to be told. */
  #finished: string[] = [];
  #isAccepting = true;
  #isClaiming = true;
  #finishedWhileStopping = 0;

  /** Opens the data file, and goes on where it ends. Throws a {@link DataFileError} when that can't be done. */
  constructor({
    path,
    durability,
    limits,
    defaults,
    types = new Map(),
    log = silentLog,
    clock = systemClock,
    random = Math.random,
  }: SqliteEngineOptions) {
    const broker = new Broker(limits, this);
    this.#broker = broker;
    this.#intake = new Intake(defaults, types);
    this.#log = log;
    this.#clock = clock;
    this.#random = random;
    this.#waiters = new Waiters(clock);
    this.#timer = new WakeTimer(broker, clock, (now) => broker.tick(now, random));
    this.#drain = new Drain(clock, () => !this.#isAnythingRunning());
    this.#store = new SqliteStore(openDataFile(path, durability));
    try {
      this.#running = new RunningFile(`${this.#store.path}-running`, this.#store.id);
      this.#group = new GroupCommit({
        broker,
        journal: this.#store,
        board: this.#running,
        clock,
        log,
        observer: this,
      });
      this.#recover();
    } catch (error) {
      this.#store.close();
      if (error instanceof DataFileError) throw error;
      throw new DataFileError(`${path} can't be taken up again: ${String(error)}`, {
        cause: error,
      });
    }
  }

  get readiness(): Readiness {
    if (!this.#isAccepting) return "stopping";
    return this.#group.isWriting ? "ready" : "storage_unavailable";
  }

  enqueue(
    requests: readonly EnqueueRequest[],
    idempotencyKey?: string,
  ): MaybePromise<EnqueueAnswer> {
    if (!this.#isAccepting) return { kind: "stopping" };
    if (!this.#group.isWriting) return STORAGE_UNAVAILABLE;
    const now = this.#clock.now();
    const fresh = this.#intake.read(requests, now.wallMs);
    if ("kind" in fresh) return fresh;
    let key: IdempotencyKey | undefined;
    if (idempotencyKey !== undefined) {
      key = { key: idempotencyKey, fingerprint: fingerprintOf(requests) };
      const again = this.#group.answerAgain(idempotencyKey, key.fingerprint);
      if (again !== undefined) return again;
    }
    const outcome = this.#broker.reserve(fresh, now, key);
    return outcome.kind === "reserved" ? this.#group.add(outcome.reservation) : outcome;
  }

  find(id: string): MaybePromise<TaskView | undefined> {
    const task = this.#broker.find(id);
    return this.#isAheadOfDisk(task) ? this.#group.written().then(() => task) : task;
  }

  async waitFor(id: string, waitMs: number, signal: AbortSignal): Promise<TaskView | undefined> {
    const task = this.#broker.find(id);
    if (this.#isAheadOfDisk(task)) await this.#group.written();
    return this.#waiters.wait(task, waitMs, signal);
  }

  list(request: ListRequest): MaybePromise<ListAnswer> {
    if (this.#group.pending.isEmpty || !this.#group.isWriting)
      return pageOfTasks(this.#broker, request);
    return this.#group.written().then(() => pageOfTasks(this.#broker, request));
  }

  cancel(id: string): Promise<CancelAnswer> {
    return this.#group.command((commands) => commands.cancel(id));
  }

  retry(id: string): MaybePromise<RetryAnswer> {
    if (!this.#isAccepting) return { kind: "stopping" };
    return this.#group.command((commands) => commands.retry(id));
  }

  queues(): readonly QueueReport[] {
    const { monoMs } = this.#clock.now();
    return Array.from(this.#broker.queues(), (queue) => reportOf(queue, monoMs));
  }

  queue(name: string): QueueReport | undefined {
    const queue = this.#broker.findQueue(name);
    return queue === undefined ? undefined : reportOf(queue, this.#clock.now().monoMs);
  }

  setPaused(name: string, isPaused: boolean): Promise<PauseAnswer> {
    return this.#group.command((commands) => commands.setPaused(name, isPaused));
  }

  purge(name: string): Promise<PurgeAnswer> {
    return this.#group.command((commands) => commands.purge(name));
  }

  attach(lane: Lane, worker: EngineWorker): void {
    this.#workers.attach(lane, worker);
  }

  claim(lane: Lane): Claim | undefined {
    if (!this.#isClaiming || !this.#group.isWriting) return undefined;
    if (!this.#broker.hasTurn(lane)) return undefined;
    const now = this.#clock.now();
    const task = this.#broker.claim(lane, now);
    if (task === undefined) return undefined;
    const fence = task.attempt;
    try {
      this.#running.note(task);
    } catch (error) {
      // The handler has not started: whoever asks again, when the storage is back, gets the task.
      this.#group.suspend(error);
      this.#broker.settle(task, fence, { kind: "interrupted" }, now, this.#random);
      return undefined;
    }
    this.#timer.armFor(task, now);
    return { task, fence };
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

  /** Waits for what runs. What waits stays for the next start, so nothing more is claimed. */
  async drain(graceMs: number): Promise<void> {
    this.#isClaiming = false;
    await this.#drain.start(graceMs);
    this.#group.flush();
    this.#waiters.close();
  }

  close(): Promise<EngineRemains> {
    this.#isAccepting = false;
    this.#isClaiming = false;
    this.#drain.end();
    const isComplete = this.#group.close();
    this.#waiters.close();
    this.#timer.close();
    this.#store.close();
    if (isComplete) this.#running.remove();
    else this.#running.close();
    return Promise.resolve({
      finishedWhileStopping: this.#finishedWhileStopping,
      unfinished: this.#broker.unfinished,
      areLost: false,
    });
  }

  onStep(task: Task, from: TaskStatus | null): void {
    if (from === "running") this.#running.clear(task);
    if (this.#group.pending.addStep(task, from)) this.#group.soon();
    if (this.#log.isDebug || task.status === "failed") logStep(this.#log, task, from);
    this.#workers.onStep(task, from);
    if (isFinished(task.status)) {
      if (!this.#isAccepting) this.#finishedWhileStopping += 1;
      if (!this.#waiters.isEmpty) this.#finished.push(task.id);
    }
    this.#drain.checkSoon();
  }

  onRevoke(task: Task, fence: number, reason: RevokeReason): void {
    this.#workers.revoke(task, fence, reason);
  }

  onWritten(now: Instant): void {
    for (const id of this.#finished.splice(0)) this.#waiters.answer(id);
    this.#timer.arm(now);
  }

  onAvailable(): void {
    for (const queue of this.#broker.queues()) this.#workers.call(queue);
  }

  onResume(queue: Queue): void {
    this.#workers.call(queue);
    this.#drain.checkSoon();
  }

  onForget(task: Task): void {
    this.#group.pending.forget(task);
    this.#group.soon();
  }

  onKeyChange(key: KeyRecord): void {
    this.#group.pending.addKey(key);
    this.#group.soon();
  }

  onKeyForget(key: KeyRecord): void {
    this.#group.pending.forgetKey(key);
    this.#group.soon();
  }

  /** Takes back what the data file holds. */
  #recover(): void {
    const now = this.#clock.now();
    this.#broker.restore(
      readSnapshot({
        journal: this.#store,
        claims: this.#running.earlierClaims(),
        intake: this.#intake,
        wallMs: now.wallMs,
        log: this.#log,
      }),
      now,
    );
    // How often a task was interrupted has to be on disk before it may bring the process down again.
    const fault = this.#group.flushAlone();
    if (fault !== null) {
      throw new DataFileError(`${this.#store.path} can't be written: ${fault.message}`);
    }
    this.#running.wipe();
    this.#timer.arm(now);
    let tasks = 0;
    let waiting = 0;
    for (const queue of this.#broker.queues()) {
      tasks += queue.known;
      waiting += queue.waiting;
    }
    this.#log.info("journal_loaded", {
      path: this.#store.path,
      tasks,
      waiting,
      took_ms: Math.round(this.#clock.now().monoMs - now.monoMs),
    });
  }

  /** Whether a task has an end that is not on disk yet, and soon will be: until then nobody is told of it. */
  #isAheadOfDisk(task: Task | undefined): boolean {
    return (
      task !== undefined &&
      isFinished(task.status) &&
      this.#group.isWriting &&
      this.#group.pending.has(task)
    );
  }

  #isAnythingRunning(): boolean {
    for (const queue of this.#broker.queues()) if (queue.counts.running > 0) return true;
    return false;
  }
}
