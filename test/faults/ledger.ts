/**
 * What a client asked for and what it was answered, and the judge of what is found after a crash. Every task carries a
 * number of the ledger's in its payload, so that even a task that was never answered for can be told from one that comes
 * from nowhere.
 *
 * An answer is a promise from the moment that the client has it. Until then both outcomes are right: done or not done,
 * but never half.
 */

import type { RemoteClaim, RemoteSettle } from "./remote-claims.ts";

export interface AskedTask {
  /** Unique in the ledger. */
  readonly number: number;
  readonly type: string;
  readonly queue: string;
  readonly priority: number;
  readonly maxRetries: number;
}

/** A task as it is found after a crash. */
export interface FoundTask extends AskedTask {
  readonly id: string;
  readonly status: string;
  readonly attempt: number;
  readonly lastErrorCode: string | null;
  /** The result as JSON text; "null" when there is none. */
  readonly result: string;
}

export interface Found {
  readonly tasks: readonly FoundTask[];
  /** The queues that are paused. */
  readonly paused: ReadonlySet<string>;
}

/** How the tasks of a type may end by themselves. */
export interface Endings {
  readonly mayBeDone: boolean;
  readonly mayFail: boolean;
}

/** The result that the task with this number has when it is done: handlers of these suites answer it. */
export function resultOf(number: number): string {
  return JSON.stringify({ answer: number });
}

/** After so many crashes while it ran a task fails with this code. */
const CRASHES_MAX = 3;
const CRASH_LOOP = "crash_loop";

export interface EnqueueAsked {
  readonly tasks: readonly AskedTask[];
  readonly key: string | null;
  state: "open" | "accepted" | "refused";
  ids: readonly string[];
}

/** The tasks that a purge may hit and that were accepted before, with how often a retry was asked for them. */
type PurgeAsked = ReadonlyMap<number, number>;

interface Entry {
  readonly asked: AskedTask;
  readonly enqueue: EnqueueAsked;
  readonly index: number;
  /** The finished status that a client was promised. */
  promised: string | null;
  /** A cancel or a purge was answered that could have hit it. */
  mayBeCancelled: boolean;
  /** A cancel was asked for and not answered. */
  isCancelOpen: boolean;
  /** A retry was asked for and not answered. */
  mayBeRetried: boolean;
  /** How many retries were asked for. */
  retries: number;
  /** A purge was answered after it had been accepted, so it no longer waits for its first attempt. */
  isPurged: boolean;
  /** So many attempts are known to have started. */
  attempts: number;
  /** It ran at some time, so that a purge may not have hit it. */
  wasClaimed: boolean;
  /** The remote claim that holds it. */
  claim: RemoteClaim | null;
  /** The last settle of a remote claim: of two, the one that was answered has a receipt. */
  settled: RemoteSettle | null;
  settling: RemoteSettle | null;
}

export class Ledger {
  readonly #endings: Readonly<Record<string, Endings>>;
  readonly #entries = new Map<number, Entry>();
  readonly #enqueues: EnqueueAsked[] = [];
  /** Whether each queue is paused, and what was asked for that is not answered. */
  readonly #paused = new Map<string, { is: boolean; asked: boolean | null }>();
  readonly #openPurges = new Map<string, PurgeAsked>();
  /** Answers that contradict earlier ones. */
  readonly #surprises: string[] = [];

  constructor(endings: Readonly<Record<string, Endings>>) {
    this.#endings = endings;
  }

  // What is asked for, and the answers to it.

  enqueueAsked(tasks: readonly AskedTask[], key: string | null): EnqueueAsked {
    const enqueue: EnqueueAsked = { tasks, key, state: "open", ids: [] };
    this.#enqueues.push(enqueue);
    for (const [index, asked] of tasks.entries()) {
      this.#entries.set(asked.number, {
        asked,
        enqueue,
        index,
        promised: null,
        mayBeCancelled: false,
        isCancelOpen: false,
        mayBeRetried: false,
        retries: 0,
        isPurged: false,
        attempts: 0,
        wasClaimed: false,
        claim: null,
        settled: null,
        settling: null,
      });
    }
    return enqueue;
  }

  accepted(enqueue: EnqueueAsked, ids: readonly string[]): void {
    enqueue.state = "accepted";
    enqueue.ids = ids;
  }

  refused(enqueue: EnqueueAsked): void {
    enqueue.state = "refused";
  }

  cancelAsked(number: number): void {
    this.#entry(number).isCancelOpen = true;
  }

  cancelAnswered(number: number): void {
    const entry = this.#entry(number);
    entry.isCancelOpen = false;
    entry.mayBeCancelled = true;
    entry.promised = "cancelled";
    entry.claim = null;
  }

  /** It was not cancelled: it had finished before, or could not be. */
  cancelRefused(number: number): void {
    this.#entry(number).isCancelOpen = false;
  }

  retryAsked(number: number): void {
    const entry = this.#entry(number);
    entry.mayBeRetried = true;
    entry.retries += 1;
  }

  retryRefused(number: number): void {
    this.#entry(number).mayBeRetried = false;
  }

  /** A retry was answered: the task is queued again. */
  retryAnswered(number: number): void {
    const entry = this.#entry(number);
    entry.mayBeRetried = false;
    entry.promised = null;
    entry.mayBeCancelled = false;
    entry.isPurged = false;
  }

  /** One a queue at a time. */
  pauseAsked(queue: string, isPaused: boolean): void {
    this.#paused.set(queue, { is: this.#paused.get(queue)?.is ?? false, asked: isPaused });
  }

  pauseAnswered(queue: string, isPaused: boolean): void {
    this.#paused.set(queue, { is: isPaused, asked: null });
  }

  pauseRefused(queue: string): void {
    this.#paused.set(queue, { is: this.#paused.get(queue)?.is ?? false, asked: null });
  }

  /** One a queue at a time. */
  purgeAsked(queue: string): void {
    const retries = new Map<number, number>();
    for (const entry of this.#entries.values()) {
      if (entry.asked.queue !== queue || entry.promised !== null) continue;
      if (entry.enqueue.state === "accepted") retries.set(entry.asked.number, entry.retries);
    }
    this.#openPurges.set(queue, retries);
  }

  purgeAnswered(queue: string): void {
    const retries = this.#openPurges.get(queue);
    if (retries === undefined) throw new Error(`nobody asked to purge ${queue}`);
    this.#openPurges.delete(queue);
    for (const entry of this.#entries.values()) {
      if (entry.asked.queue === queue && entry.promised === null) entry.mayBeCancelled = true;
    }
    for (const [number, before] of retries) {
      const entry = this.#entry(number);
      // One that was asked to be retried meanwhile may wait again.
      if (entry.retries === before && !entry.mayBeRetried) entry.isPurged = true;
    }
  }

  purgeRefused(queue: string): void {
    this.#openPurges.delete(queue);
  }

  /** A client was told that it has finished, by an answer that comes after the commit. */
  finished(number: number, status: string): void {
    this.#entry(number).promised = status;
  }

  /** This attempt is known to have started. */
  started(number: number, attempt: number): void {
    const entry = this.#entry(number);
    entry.attempts = Math.max(entry.attempts, attempt);
  }

  /** An attempt started, and a power cut may make that forgotten. */
  claimed(number: number): void {
    this.#entry(number).wasClaimed = true;
  }

  /** A worker elsewhere has it now. */
  claimedRemotely(claim: RemoteClaim): void {
    const entry = this.#entry(claim.number);
    entry.wasClaimed = true;
    entry.claim = claim;
  }

  settleAsked(settle: RemoteSettle): void {
    this.#entry(settle.number).settling = settle;
  }

  /** A settle of its nth attempt was answered with a receipt. */
  settleAnswered(settle: RemoteSettle, attempt: number): void {
    const entry = this.#entry(settle.number);
    if (entry.promised === "done") this.#surprises.push(`task ${settle.number} was done twice`);
    entry.claim = null;
    entry.settling = null;
    entry.settled = settle;
    this.started(settle.number, attempt);
    const status = settle.receipt?.status;
    if (status === "done" || status === "failed") entry.promised = status;
  }

  /** Nothing of a settle is left: it can't be stored. */
  settleRefused({ number }: RemoteSettle): void {
    this.#entry(number).settling = null;
  }

  /** Nothing of a settle is left: its claim was over. */
  settleLost({ number, fence }: RemoteSettle): void {
    const entry = this.#entry(number);
    if (entry.claim?.fence === fence && !entry.isCancelOpen)
      this.#surprises.push(`task ${number} has lost its claim`);
    entry.settling = null;
  }

  // What a client would like to know before it asks for more.

  /** The last settle of each task that was remotely claimed. */
  settles(): readonly RemoteSettle[] {
    return [...this.#entries.values()].flatMap(
      ({ settled, settling }) => settling ?? settled ?? [],
    );
  }

  /** The remote claims that hold their tasks, for all that is known: nothing was asked for that may end them. */
  claims(): readonly RemoteClaim[] {
    return [...this.#entries.values()].flatMap(({ claim, settling, isCancelOpen }) =>
      claim === null || settling !== null || isCancelOpen ? [] : [claim],
    );
  }

  /** The accepted tasks, with what was promised of them. */
  accepteds(): readonly {
    readonly asked: AskedTask;
    readonly id: string;
    promised: string | null;
  }[] {
    return [...this.#entries.values()].flatMap(({ asked, enqueue, index, promised }) => {
      const id = enqueue.state === "accepted" ? enqueue.ids[index] : undefined;
      return id === undefined ? [] : [{ asked, id, promised }];
    });
  }

  /** What was asked for under a key and not refused. */
  keyed(): readonly EnqueueAsked[] {
    return this.#enqueues.filter(({ key, state }) => key !== null && state !== "refused");
  }

  /** Whether this task was asked for. */
  knows(number: number): boolean {
    return this.#entries.has(number);
  }

  /** The enqueue that asked for this task. */
  enqueueOf(number: number): EnqueueAsked {
    return this.#entry(number).enqueue;
  }

  // What is found.

  /** Everything that is wrong with what was found, one sentence each. */
  faultsOf(found: Found): readonly string[] {
    const faults: string[] = [...this.#surprises];
    const byNumber = new Map<number, FoundTask>();
    for (const task of found.tasks) {
      const entry = this.#entries.get(task.number);
      if (entry === undefined) faults.push(`${nameOf(task)} comes from nowhere`);
      else if (byNumber.has(task.number)) faults.push(`${nameOf(task)} is there twice`);
      else faults.push(...this.#faultsOfTask(entry, task));
      byNumber.set(task.number, task);
    }
    for (const { tasks, state, key } of this.#enqueues) {
      const there = tasks.filter(({ number }) => byNumber.has(number)).length;
      const what = `${there} of ${tasks.length} tasks from ${tasks[0]?.number}${key === null ? "" : ` under ${key}`}`;
      if (state === "accepted" && there < tasks.length) faults.push(`lost: only ${what} are there`);
      if (state === "open" && there > 0 && there < tasks.length)
        faults.push(`half a batch: ${what}`);
      if (state === "refused" && there > 0) faults.push(`refused, but ${what} are there`);
    }
    for (const [queue, { is, asked }] of this.#paused) {
      const isPaused = found.paused.has(queue);
      if (isPaused !== is && isPaused !== asked)
        faults.push(`queue ${queue} is ${isPaused ? "paused" : "not paused"}, and should not be`);
    }
    for (const queue of found.paused) {
      if (!this.#paused.has(queue))
        faults.push(`queue ${queue} is paused, and nobody asked for it`);
    }
    return faults;
  }

  /** What was found is how things are now: whatever was open has been decided. */
  absorb(found: Found): void {
    const byNumber = new Map(found.tasks.map((task) => [task.number, task]));
    for (const enqueue of this.#enqueues) {
      if (enqueue.state !== "open") continue;
      const ids = enqueue.tasks.flatMap(({ number }) => byNumber.get(number)?.id ?? []);
      if (ids.length > 0) this.accepted(enqueue, ids);
      // Under a key it may still be asked for again.
      else if (enqueue.key === null) this.refused(enqueue);
    }
    for (const entry of this.#entries.values()) {
      const status = byNumber.get(entry.asked.number)?.status;
      if (entry.mayBeRetried && status !== entry.promised) {
        entry.promised = null;
        entry.isPurged = false;
      }
      entry.mayBeRetried = false;
      entry.mayBeCancelled = status === "cancelled";
      if (status === "cancelled") entry.claim = null;
      entry.isCancelOpen = false;
    }
    this.#openPurges.clear();
    for (const queue of this.#paused.keys()) {
      this.#paused.set(queue, { is: found.paused.has(queue), asked: null });
    }
  }

  #faultsOfTask(entry: Entry, task: FoundTask): readonly string[] {
    const { asked, enqueue, index, promised } = entry;
    const { mayBeDone, mayFail } = this.#endingsOf(asked.type);
    const name = nameOf(task);
    const faults: string[] = [];
    for (const field of ["type", "queue", "priority", "maxRetries"] as const) {
      if (task[field] !== asked[field])
        faults.push(`${name} has ${field} ${task[field]}, not ${asked[field]}`);
    }
    const id = enqueue.state === "accepted" ? enqueue.ids[index] : task.id;
    if (task.id !== id) faults.push(`${name} was accepted as ${id}`);
    if (task.attempt < entry.attempts)
      faults.push(`${name} has ${task.attempt} attempts, and ${entry.attempts} had started`);
    if (promised !== null && task.status !== promised && !entry.mayBeRetried)
      faults.push(`${name} was ${promised} before`);
    if (
      entry.isPurged &&
      !entry.mayBeRetried &&
      !entry.wasClaimed &&
      task.attempt === 0 &&
      isWaiting(task.status)
    )
      faults.push(`${name} waits, and was purged`);
    switch (task.status) {
      case "done":
        if (!mayBeDone) faults.push(`${name} can't be done`);
        if (task.result !== resultOf(task.number))
          faults.push(`${name} is done with the result ${task.result}`);
        break;
      case "failed":
        if (task.lastErrorCode === CRASH_LOOP ? task.attempt < CRASHES_MAX : !mayFail)
          faults.push(`${name} can't have failed with ${task.lastErrorCode}`);
        break;
      case "cancelled":
        if (!entry.mayBeCancelled && !entry.isCancelOpen && !this.#openPurges.has(asked.queue))
          faults.push(`${name}, and nobody cancelled it`);
        break;
      default:
        break;
    }
    return faults;
  }

  #endingsOf(type: string): Endings {
    const endings = this.#endings[type];
    if (endings === undefined) throw new Error(`the ledger knows no type ${type}`);
    return endings;
  }

  #entry(number: number): Entry {
    const entry = this.#entries.get(number);
    if (entry === undefined) throw new Error(`nobody asked for task ${number}`);
    return entry;
  }
}

function isWaiting(status: string): boolean {
  return status === "queued" || status === "scheduled" || status === "retrying";
}

function nameOf({ number, status, attempt, type }: FoundTask): string {
  return `task ${number} (${type}, ${status}, attempt ${attempt})`;
}
