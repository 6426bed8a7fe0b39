/**
 * What one turn of the event loop brings, written as one group, in one transaction, at the end of the turn. The write is
 * synchronous, so nothing comes in between.
 *
 * A group that can't be written is as if it had never been asked for. What workers did stays in memory and is written
 * when that works again.
 */

import type { Clock } from "../../clock.ts";
import type { Broker } from "../../core/broker.ts";
import type { Instant } from "../../core/instant.ts";
import type { Reservation } from "../../core/outcomes.ts";
import type { Queue } from "../../core/queue.ts";
import type { Log } from "../../log.ts";
import type { EnqueueAnswer, StorageUnavailable } from "../engine.ts";
import { OperatorCommands } from "./operator-commands.ts";
import { Outage } from "./outage.ts";
import { PendingWrites } from "./pending-writes.ts";
import type { RunningFile } from "./running-file.ts";
import type { SqliteStore, StoreFault } from "./store.ts";

/** Hears how the writing goes. */
export interface GroupObserver {
  /** What workers did until now is on disk, and so is what was asked for. */
  onWritten(now: Instant): void;
  /** The storage can be written again. */
  onAvailable(): void;
  /** A queue was resumed. */
  onResume(queue: Queue): void;
}

export interface GroupCommitOptions {
  readonly broker: Broker;
  readonly journal: SqliteStore;
  readonly board: RunningFile;
  readonly clock: Clock;
  readonly log: Log;
  readonly observer: GroupObserver;
}

/** An enqueue that waits for its group to be written. */
interface Entry {
  readonly reservation: Reservation;
  readonly answer: (answer: EnqueueAnswer) => void;
}

export const STORAGE_UNAVAILABLE: StorageUnavailable = { kind: "storage_unavailable" };

export class GroupCommit {
  readonly pending = new PendingWrites();
  readonly #broker: Broker;
  readonly #store: SqliteStore;
  readonly #running: RunningFile;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #observer: GroupObserver;
  readonly #outage: Outage;
  readonly #commands: OperatorCommands;
  #entries: Entry[] = [];
  /** The answers that are under way to enqueues with a key, by key. */
  readonly #keys = new Map<
    string,
    { readonly fingerprint: string; readonly answer: Promise<EnqueueAnswer> }
  >();
  /** Those who want to read what is not written yet. */
  #readers: (() => void)[] = [];
  #isDue = false;
  #isClosed = false;

  constructor({ broker, journal, board, clock, log, observer }: GroupCommitOptions) {
    this.#broker = broker;
    this.#store = journal;
    this.#running = board;
    this.#clock = clock;
    this.#log = log;
    this.#observer = observer;
    this.#outage = new Outage(clock, log, () => this.#probe());
    this.#commands = new OperatorCommands({
      broker,
      journal,
      pending: this.pending,
      onResume: (queue) => observer.onResume(queue),
    });
  }

  /** Whether what is in memory is on its way to the disk: not while the storage can't be written. */
  get isWriting(): boolean {
    return !this.#outage.isOn && !this.#isClosed;
  }

  /** The answer to an enqueue, once its group is written. */
  add(reservation: Reservation): Promise<EnqueueAnswer> {
    const { key } = reservation;
    const answer = new Promise<EnqueueAnswer>((resolve) => {
      this.#entries.push({ reservation, answer: resolve });
    });
    if (key !== null) this.#keys.set(key.key, { fingerprint: key.fingerprint, answer });
    this.soon();
    return answer;
  }

  /** The answer to an enqueue whose key is in the group already; undefined when it is not. */
  answerAgain(key: string, fingerprint: string): Promise<EnqueueAnswer> | undefined {
    const first = this.#keys.get(key);
    return first?.answer.then((answer) => {
      if (answer.kind !== "accepted") return answer;
      if (first.fingerprint !== fingerprint) return { kind: "key_reused" };
      return { kind: "repeated", receipts: answer.receipts };
    });
  }

  /** Asks for a command, and has it done with the group. */
  command<Answer>(ask: (commands: OperatorCommands) => Promise<Answer>): Promise<Answer> {
    const answer = ask(this.#commands);
    if (this.isWriting) this.soon();
    else this.#commands.refuse(this.#clock.now());
    return answer;
  }

  /** Resolves when what is in memory now is written, or when that has failed. */
  written(): Promise<void> {
    return new Promise((resolve) => {
      this.#readers.push(resolve);
      this.soon();
    });
  }

  /** Writes at the end of this turn of the event loop what it has brought by then. */
  soon(): void {
    if (this.#isDue || !this.isWriting) return;
    this.#isDue = true;
    setImmediate(() => {
      if (this.#isDue) this.flush();
    });
  }

  /** Writes what is to be written, does what was asked for, and answers. */
  flush(): void {
    if (this.#isClosed) return;
    this.#isDue = false;
    const entries = this.#entries;
    this.#entries = [];
    this.#keys.clear();
    const now = this.#clock.now();
    let fault = this.#write(entries);
    if (fault === null) {
      this.#publish(entries, now);
      fault = this.#commands.run(now);
      this.#observer.onWritten(now);
    } else {
      this.#withdraw(entries, now);
      this.#commands.refuse(now);
    }
    if (fault === null) this.#endOutage();
    else this.#beginOutage(fault);
    for (const resolve of this.#readers.splice(0)) resolve();
  }

  /** Writes what workers did, before there is anybody to tell, and says why if that fails. */
  flushAlone(): StoreFault | null {
    this.#isDue = false;
    return this.#write([]);
  }

  /** Something beside the journal could not be written. */
  suspend(error: unknown): void {
    this.#outage.begin(runningFileFault(error));
  }

  /** Writes what is left, and stops. Says whether all of it is on disk. */
  close(): boolean {
    this.flush();
    this.#isClosed = true;
    this.#outage.close();
    if (!this.pending.isEmpty) {
      // What workers did since the storage went away is done again: that is what at least once means.
      this.#log.error("journal_incomplete", { path: this.#store.path });
    }
    return this.pending.isEmpty;
  }

  #write(entries: readonly Entry[]): StoreFault | null {
    if (entries.length === 0 && this.pending.isEmpty) return null;
    const journal = this.#store;
    const fault = journal.transact(() => {
      for (const { reservation } of entries) {
        if (reservation.key !== null) journal.insertKey(reservation.key);
        for (const task of reservation.tasks) journal.insertTask(task);
      }
      this.pending.writeTo(journal);
    });
    if (fault === null) {
      this.pending.clear();
      this.#running.written();
    }
    return fault;
  }

  #publish(entries: readonly Entry[], now: Instant): void {
    // First the answers, then the workers: what waits on a socket is sent before what has just come is worked on.
    for (const { reservation, answer } of entries) {
      answer({ kind: "accepted", receipts: reservation.receipts });
    }
    for (const { reservation } of entries) this.#broker.publish(reservation, now);
  }

  #withdraw(entries: readonly Entry[], now: Instant): void {
    for (const { reservation, answer } of entries) {
      this.#broker.withdraw(reservation, now);
      answer(STORAGE_UNAVAILABLE);
    }
  }

  #beginOutage(fault: StoreFault): void {
    // Takes the failed group's place in the log. Should that work, all the better: the next probe shows whether it lasts.
    this.#store.touch();
    this.#outage.begin(fault);
  }

  #endOutage(): void {
    if (!this.#outage.isOn) return;
    this.#outage.end();
    this.#observer.onAvailable();
  }

  /** Finds out whether the storage can be written again. */
  #probe(): void {
    const fault = this.#touch();
    if (fault === null) this.flush();
    else this.#outage.begin(fault);
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

function runningFileFault(error: unknown): StoreFault {
  return { code: "claim_board", message: String(error) };
}
