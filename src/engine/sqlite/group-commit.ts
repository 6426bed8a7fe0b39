/**
 * Writes the changes of one event-loop tick as one group, in one transaction, at the end of the
 * tick: new tasks, steps by workers, and commands. The write is synchronous, so nothing comes in
 * between.
 *
 * New tasks only hold their places until they are on disk, and commands are only planned: if a
 * group can't be written, its requests change nothing. Steps by workers in the process are in
 * memory at once; they stay there, and are written when writes work again.
 */

import type { Clock } from "../../clock.ts";
import type { Broker } from "../../core/broker.ts";
import type { KeyRecord } from "../../core/idempotency.ts";
import type { Instant } from "../../core/instant.ts";
import type { IdempotencyKey, Reservation } from "../../core/outcomes.ts";
import { isFinished, type TaskStatus } from "../../core/status.ts";
import type { NewTask, Task } from "../../core/task.ts";
import type { Log } from "../../log.ts";
import type { EnqueueAnswer, MaybePromise, StorageUnavailable } from "../engine.ts";
import { STORAGE_UNAVAILABLE } from "../host/broker-host.ts";
import type { Command } from "../host/commands.ts";
import type { Persistence, PersistenceHost, StoreRemains } from "../host/persistence.ts";
import { stateRowOf } from "./columns.ts";
import { CommandGroup, type PlannedCommand } from "./command-group.ts";
import { Outage } from "./outage.ts";
import { isToBeWritten, PendingWrites } from "./pending-writes.ts";
import type { RunningFile } from "./running-file.ts";
import type { SqliteStore, StoreFault } from "./store.ts";

export interface GroupCommitOptions {
  readonly host: PersistenceHost;
  readonly store: SqliteStore;
  readonly running: RunningFile;
  readonly clock: Clock;
  readonly log: Log;
}

/** An enqueue that waits for the write of its group. */
interface Entry {
  readonly reservation: Reservation;
  readonly answer: (answer: EnqueueAnswer) => void;
}

/**
 * A group is collected (`idle` while it is empty) and written once it is `due`; when `closed`,
 * nothing is written.
 */
type Mode = "idle" | "due" | "closed";

export class GroupCommit implements Persistence {
  readonly isDurable = true;
  readonly #host: PersistenceHost;
  readonly #broker: Broker;
  readonly #store: SqliteStore;
  readonly #running: RunningFile;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #outage: Outage;
  readonly #pending = new PendingWrites();
  #entries: Entry[] = [];
  readonly #commands = new CommandGroup();
  /** The pending answers to enqueues with a key, by key. */
  readonly #keys = new Map<
    string,
    { readonly fingerprint: string; readonly answer: Promise<EnqueueAnswer> }
  >();
  /** Readers that wait for the next write. */
  #readers: (() => void)[] = [];
  #mode: Mode = "idle";
  /** Whether a written group is being applied: its steps need no further write. */
  #isApplying = false;

  constructor({ host, store, running, clock, log }: GroupCommitOptions) {
    this.#host = host;
    this.#broker = host.broker;
    this.#store = store;
    this.#running = running;
    this.#clock = clock;
    this.#log = log;
    this.#outage = new Outage(clock, log, () => this.#probe());
  }

  get isAvailable(): boolean {
    return !this.#outage.isOn;
  }

  get isAhead(): boolean {
    return this.isAvailable && (this.#isApplying || !this.#pending.isEmpty);
  }

  enqueue(
    specs: readonly NewTask[],
    now: Instant,
    key: IdempotencyKey | undefined,
  ): MaybePromise<EnqueueAnswer> {
    const first = key && this.#keys.get(key.key);
    if (key !== undefined && first !== undefined) {
      return first.answer.then((answer) => again(answer, first.fingerprint === key.fingerprint));
    }
    const outcome = this.#broker.reserve(specs, now, key);
    if (outcome.kind !== "reserved") return outcome;
    const { reservation } = outcome;
    const answer = new Promise<EnqueueAnswer>((resolve) => {
      this.#entries.push({ reservation, answer: resolve });
    });
    if (key !== undefined) this.#keys.set(key.key, { fingerprint: key.fingerprint, answer });
    this.#soon();
    return answer;
  }

  run<Answer>(command: Command<Answer>, now: Instant): MaybePromise<Answer | StorageUnavailable> {
    if (!this.#isWriting) {
      const plan = command(now);
      if (plan.kind === "answered") return plan.answer;
      plan.drop(now);
      return STORAGE_UNAVAILABLE;
    }
    this.#soon();
    return this.#commands.ask(command);
  }

  noteClaim(task: Task): boolean {
    if (this.#mode === "closed") return false;
    try {
      this.#running.note(task);
      return true;
    } catch (error) {
      // A request that waits for this tick's group would wait for the end of the outage.
      this.#refuse(this.#takeEntries(), [], this.#clock.now());
      this.#begin(runningFileFault(error));
      this.#answerReaders();
      return false;
    }
  }

  noteExtend(task: Task): void {
    // While the file can't be written, the longer lease is only in memory: at worst, a crash ends
    // it earlier.
    if (this.isAvailable) this.noteClaim(task);
  }

  onStep(task: Task, from: TaskStatus | null): void {
    if (from === "running") this.#running.clear(task);
    if (this.#isApplying || !isToBeWritten(task.status, from)) return;
    this.#pending.add(task);
    this.#soon();
  }

  onForget(task: Task): void {
    this.#pending.forget(task);
    this.#soon();
  }

  onKeyChange(key: KeyRecord): void {
    this.#pending.addKey(key);
    this.#soon();
  }

  onKeyForget(key: KeyRecord): void {
    this.#pending.forgetKey(key);
    this.#soon();
  }

  /**
   * A finished state is not shown before it is on disk, except during an outage: then reads use the
   * state in memory.
   */
  untilStored(task: Task): Promise<void> | null {
    const isShown = !isFinished(task.status) || !this.#isWriting || !this.#pending.has(task);
    return isShown ? null : this.#written(() => undefined);
  }

  whenAllStored<T>(read: () => T): MaybePromise<T> {
    return this.#pending.isEmpty || !this.#isWriting ? read() : this.#written(read);
  }

  /** Writes the group, applies it, and answers its requests. */
  flush(): void {
    if (this.#mode === "closed") return;
    this.#mode = "idle";
    const now = this.#clock.now();
    const entries = this.#takeEntries();
    const planned = this.#commands.plan(now);
    const fault = this.#write(entries, planned);
    if (fault === null) {
      this.#apply(entries, planned, now);
      this.#end(now);
    } else {
      this.#refuse(entries, planned, now);
      this.#begin(fault);
    }
    this.#answerReaders();
    if (!this.#commands.isEmpty) this.#soon();
  }

  /**
   * Writes the changes of the recovery, before any request is answered. Returns the fault if that
   * fails.
   */
  writeRecovered(): StoreFault | null {
    this.#mode = "idle";
    return this.#write([], []);
  }

  /** Writes the rest, remote claims included, and closes the file. */
  close(): StoreRemains {
    for (const task of this.#broker.tasks()) if (task.lease !== null) this.#pending.add(task);
    while (!this.#commands.isEmpty && this.isAvailable) this.flush();
    this.flush();
    this.#mode = "closed";
    this.#outage.close();
    const isComplete = this.#pending.isEmpty;
    // Steps since the storage became unavailable are lost, and their attempts run again: that is
    // "at least once".
    if (!isComplete) this.#log.error("journal_incomplete", { path: this.#store.path });
    const { isLogEmpty } = this.#store.close();
    if (!isLogEmpty) this.#log.warn("journal_log_left", { path: `${this.#store.path}-wal` });
    if (isComplete) {
      const fault = this.#running.remove();
      if (fault !== null) this.#log.warn("running_file_left", { error: fault });
    } else this.#running.close();
    return { isWhole: isLogEmpty };
  }

  #write(entries: readonly Entry[], planned: readonly PlannedCommand[]): StoreFault | null {
    if (entries.length === 0 && planned.length === 0 && this.#pending.isEmpty) return null;
    const store = this.#store;
    const fault = store.transact(() => {
      for (const { reservation } of entries) {
        if (reservation.key !== null) store.insertKey(reservation.key);
        for (const task of reservation.tasks) store.insertTask(task);
      }
      this.#pending.writeTo(store);
      for (const { plan } of planned) {
        for (const { task, to } of plan.steps) {
          store.putState(task.seq, {
            ...stateRowOf(task),
            attempt: task.attempt,
            claim: null,
            ...to,
          });
        }
        if (plan.pause !== null) store.setPaused(plan.pause.queue, plan.pause.isPaused);
      }
    });
    if (fault === null) {
      this.#pending.clear();
      this.#running.written();
    }
    return fault;
  }

  #apply(entries: readonly Entry[], planned: readonly PlannedCommand[], now: Instant): void {
    this.#isApplying = true;
    // First the answers, then the workers: answers are sent on their sockets before new tasks
    // start.
    for (const { reservation, answer } of entries) {
      answer({ kind: "accepted", receipts: reservation.receipts });
    }
    for (const { reservation } of entries) this.#broker.publish(reservation, now);
    for (const { take } of planned) take(now);
    this.#broker.forgetWhatIsOver(now);
    this.#isApplying = false;
    this.#host.onStored(now);
  }

  #refuse(entries: readonly Entry[], planned: readonly PlannedCommand[], now: Instant): void {
    for (const { reservation, answer } of entries) {
      this.#broker.withdraw(reservation, now);
      answer(STORAGE_UNAVAILABLE);
    }
    for (const { refuse } of planned) refuse(now);
    this.#commands.refuseAll(now);
  }

  /** Whether pending changes will be written: not after the close, whatever workers still do. */
  get #isWriting(): boolean {
    return this.isAvailable && this.#mode !== "closed";
  }

  /** Removes and returns the waiting enqueues. */
  #takeEntries(): readonly Entry[] {
    this.#keys.clear();
    return this.#entries.splice(0);
  }

  #answerReaders(): void {
    for (const answer of this.#readers.splice(0)) answer();
  }

  /**
   * Reads as soon as the group is written, in the same step: by the time a promise continues,
   * memory may have a finished state that is not stored.
   */
  #written<T>(read: () => T): Promise<T> {
    return new Promise((resolve) => {
      this.#readers.push(() => resolve(read()));
      this.#soon();
    });
  }

  /** Schedules the write of the group for the end of this tick. */
  #soon(): void {
    if (this.#mode !== "idle" || !this.isAvailable) return;
    this.#mode = "due";
    setImmediate(() => {
      if (this.#mode === "due") this.flush();
    });
  }

  #begin(fault: StoreFault): void {
    const wasAvailable = this.isAvailable;
    this.#mode = "idle";
    // Overwrites the failed group in the log. If this write works, the next probe shows whether
    // writing stays possible.
    this.#store.touch();
    this.#outage.begin(fault);
    if (wasAvailable) this.#host.onAvailability(this.#clock.now());
  }

  #end(now: Instant): void {
    if (this.isAvailable) return;
    this.#outage.end();
    this.#host.onAvailability(now);
  }

  /** Tests whether the storage can be written again. */
  #probe(): void {
    const fault = this.#touch();
    if (fault === null) this.flush();
    else this.#begin(fault);
  }

  #touch(): StoreFault | null {
    try {
      this.#running.touch();
    } catch (error) {
      return runningFileFault(error);
    }
    return this.#store.touch();
  }
}

/** The answer to an enqueue whose key is already in the group. */
function again(first: EnqueueAnswer, isSame: boolean): EnqueueAnswer {
  if (first.kind !== "accepted") return first;
  return isSame ? { kind: "repeated", receipts: first.receipts } : { kind: "key_reused" };
}

function runningFileFault(error: unknown): StoreFault {
  return { code: "running_file", message: String(error) };
}
