/**
 * What remote workers and a producer know of their tasks, and what must therefore be true of a server. Lines of several
 * workers come in any order: nothing here depends on it.
 */

import {
  type HeldClaim,
  LONG_LEASE_MS,
  type SentSettle,
  type WorkerLine,
  type WorkerReceipt,
  workerResultOf,
} from "./worker-life.ts";

/** A task as the list shows it. */
export interface SeenTask {
  readonly id: string;
  readonly payload: { readonly number: number };
  readonly status: string;
  readonly attempt: number;
  readonly result: unknown;
  readonly error: { readonly code: string } | null;
  readonly claim: { readonly worker: string | null } | null;
}

/** Everything that is known of one claim. */
interface ClaimFacts {
  readonly claim: HeldClaim;
  /** The settles that were sent, by their words. */
  readonly sent: Map<string, SentSettle>;
  readonly answered: Map<string, WorkerReceipt>;
  /** Nothing came of it, and nothing was sent that could have ended it. */
  isLost: boolean;
  /** A settle of it was sent again after no answer, and was told that it is lost. */
  isUnsettled: boolean;
}

interface TaskFacts {
  readonly number: number;
  id: string | null;
  readonly claims: ClaimFacts[];
}

/** After so many lost leases in a row a task fails with this code. */
const LOSSES_MAX = 3;
const LEASE_LOST = "lease_lost";

export class WorkerLedger {
  readonly #tasks = new Map<number, TaskFacts>();
  readonly #claims = new Map<string, ClaimFacts>();
  /** The names of claims that were asked for and not answered: they may hold tasks that nobody knows of. */
  readonly #unread = new Set<string>();
  readonly #batches: (readonly number[])[] = [];
  readonly #cancelled = new Set<string>();
  readonly #faults: string[] = [];
  settles = 0;
  extends = 0;
  losses = 0;
  repeats = 0;

  get accepted(): number {
    return [...this.#tasks.values()].filter(({ id }) => id !== null).length;
  }

  get claims(): number {
    return this.#claims.size;
  }

  enqueueAsked(numbers: readonly number[]): void {
    this.#batches.push(numbers);
    for (const number of numbers) this.#tasks.set(number, { number, id: null, claims: [] });
  }

  accept(number: number, id: string): void {
    const task = this.#task(number);
    if (task.id !== null && task.id !== id)
      this.#faults.push(`task ${number} was ${task.id}, and is ${id}`);
    task.id = id;
  }

  hear(line: WorkerLine): void {
    switch (line.kind) {
      case "claimAsked":
        this.#unread.add(line.worker);
        break;
      case "claimed":
        this.#unread.delete(line.worker);
        for (const claim of line.claims) this.#claimed(claim);
        break;
      case "settleAsked":
        for (const settle of line.settles)
          this.#factsOf(settle.token).sent.set(settle.outcome, settle);
        break;
      case "settled":
        this.#settled(line.settle, line.receipt);
        break;
      case "extended":
        this.extends += 1;
        break;
      case "lost":
        this.#lost(line);
        break;
      case "surprise":
        this.#faults.push(line.said);
        break;
      case "waiting":
        break;
      default:
        line satisfies never;
    }
  }

  /** The first thing that was wrong with an answer. */
  get fault(): string | undefined {
    return this.#faults[0];
  }

  cancelAsked(id: string): void {
    this.#cancelled.add(id);
  }

  /** The tasks that a worker was told to have done. */
  doneIds(): readonly string[] {
    return [...this.#tasks.values()].flatMap(({ id, claims }) =>
      id !== null && claims.some(({ answered }) => answered.has("done")) ? [id] : [],
    );
  }

  /** The accepted tasks of which no worker was told that they have finished. */
  unfinishedIds(): readonly string[] {
    return [...this.#tasks.values()].flatMap(({ id, claims }) => {
      const isFinished = claims.some(
        ({ answered }) => answered.has("done") || answered.get("failed")?.status === "failed",
      );
      return id === null || isFinished ? [] : [id];
    });
  }

  wrong(said: string): void {
    this.#faults.push(said);
  }

  /** Claims whose task was claimed again, and that were not settled with this word: their settle must not count. */
  staleClaims(): readonly HeldClaim[] {
    return [...this.#tasks.values()].flatMap(({ claims }) => {
      const latest = Math.max(...claims.map(({ claim }) => claim.attempt));
      return claims.flatMap(({ claim, sent }) =>
        claim.attempt < latest && !sent.has("done") ? [claim] : [],
      );
    });
  }

  /** The tasks that are held by a claim whose answer nobody has read. */
  heldUnread(tasks: readonly SeenTask[]): readonly SeenTask[] {
    return tasks.filter(({ claim }) => claim !== null && this.#unread.has(claim.worker ?? ""));
  }

  staleUsed(token: string, said: string): void {
    this.#faults.push(`${this.#name(token)} was used although its task was claimed anew: ${said}`);
  }

  /**
   * Everything that is wrong with what a server has while nothing is under way. `held` are the claims that workers hold.
   */
  faultsOf(tasks: readonly SeenTask[], held: readonly HeldClaim[]): readonly string[] {
    const faults = [...this.#faults];
    const seen = new Map<number, SeenTask>();
    for (const task of tasks) {
      const { number } = task.payload;
      if (seen.has(number)) faults.push(`task ${number} is there twice`);
      seen.set(number, task);
      const facts = this.#tasks.get(number);
      if (facts === undefined) faults.push(`task ${number} comes from nowhere`);
      else faults.push(...this.#faultsOfTask(facts, task));
    }
    for (const { number, id } of this.#tasks.values()) {
      if (id !== null && !seen.has(number)) faults.push(`lost: task ${number}`);
    }
    for (const numbers of this.#batches) {
      const there = numbers.filter((number) => seen.has(number)).length;
      const isWhole = there === 0 || there === numbers.length;
      if (!isWhole) faults.push(`half a batch: ${there} of ${numbers.length} from ${numbers[0]}`);
    }
    for (const { number, token, worker, leaseMs } of held) {
      if (leaseMs !== LONG_LEASE_MS) continue;
      const task = seen.get(number);
      const isSettling = this.#factsOf(token).sent.size > 0;
      if (!isSettling && task?.claim?.worker !== worker) {
        faults.push(`the claim of ${this.#name(token)} did not go on: ${task && inWords(task)}`);
      }
    }
    return faults;
  }

  #faultsOfTask({ number, id, claims }: TaskFacts, task: SeenTask): readonly string[] {
    const faults: string[] = [];
    const fault = (said: string) => faults.push(`task ${number} (${inWords(task)}) ${said}`);
    if (id !== null && task.id !== id) fault(`was accepted as ${id}`);
    const latest = Math.max(0, ...claims.map(({ claim }) => claim.attempt));
    if (task.attempt < latest) fault(`was claimed for attempt ${latest}`);
    const done = claims.filter(({ answered }) => answered.has("done"));
    const failed = claims.filter(({ answered }) => answered.get("failed")?.status === "failed");
    if (done.length + failed.length > 1) fault(`was finished ${done.length + failed.length} times`);
    if (done.length > 0 && task.status !== "done") fault("was done before");
    if (failed.length > 0 && task.status !== "failed") fault("had failed before");
    if (task.status === "done") {
      const mayBe = done.length > 0 ? done : claims.filter(({ sent }) => sent.has("done"));
      const isOfOne = mayBe.some(({ claim }) =>
        Bun.deepEquals(task.result, workerResultOf(number, claim.token)),
      );
      if (!isOfOne) fault(`has the result ${JSON.stringify(task.result)}`);
    }
    if (task.status === "failed" && failed.length === 0) {
      const isLost = task.error?.code === LEASE_LOST && task.attempt >= LOSSES_MAX;
      const mayBe = claims.some(
        ({ sent, answered }) => sent.has("failed") && !answered.has("failed"),
      );
      if (!isLost && !mayBe) fault("failed, and nobody said so");
    }
    for (const { claim, isUnsettled, answered } of claims) {
      if (!isUnsettled || answered.size > 0 || claim.leaseMs !== LONG_LEASE_MS) continue;
      if (claim.attempt === task.attempt) fault("has lost a claim and its settle");
    }
    if (task.status === "cancelled" && !this.#cancelled.has(task.id)) fault("was not cancelled");
    const worker = task.claim?.worker;
    if (worker !== undefined && worker !== null) {
      const isKnown = claims.some(
        ({ claim }) => claim.worker === worker && claim.attempt === task.attempt,
      );
      if (!isKnown && !this.#unread.has(worker))
        fault(`is held by ${worker}, whose claim did not get it`);
    }
    return faults;
  }

  #claimed(claim: HeldClaim): void {
    if (this.#claims.has(claim.token)) this.#faults.push(`${claim.token} was handed out twice`);
    const facts: ClaimFacts = {
      claim,
      sent: new Map(),
      answered: new Map(),
      isLost: false,
      isUnsettled: false,
    };
    const task = this.#task(claim.number);
    const twin = task.claims.find(({ claim: { attempt } }) => attempt === claim.attempt);
    if (twin !== undefined)
      this.#faults.push(`attempt ${claim.attempt} of task ${claim.number} started twice`);
    task.claims.push(facts);
    this.#claims.set(claim.token, facts);
    this.accept(claim.number, claim.taskId);
  }

  #settled(settle: SentSettle, receipt: WorkerReceipt): void {
    const { token, outcome } = settle;
    const { answered, isLost } = this.#factsOf(token);
    const before = answered.get(outcome);
    if (before === undefined) this.settles += 1;
    else this.repeats += 1;
    if (before !== undefined && !Bun.deepEquals(before, receipt)) {
      this.#faults.push(
        `${this.#name(token)} got another receipt for ${outcome}: ${JSON.stringify([before, receipt])}`,
      );
    }
    answered.set(outcome, receipt);
    if (answered.size > 1)
      this.#faults.push(
        `${this.#name(token)} was settled as ${[...answered.keys()].join(" and ")}`,
      );
    if (isLost && before === undefined)
      this.#faults.push(`${this.#name(token)} was settled after it was lost`);
  }

  #lost({ token, settle, ended, isWrong }: WorkerLine & { kind: "lost" }): void {
    const facts = this.#factsOf(token);
    if (isWrong)
      this.#faults.push(`${this.#name(token)} was lost (${ended}) before its lease could end`);
    // Of a settle that was answered, a later one with another word is lost, and so is the same when another came after.
    if (facts.answered.size === 0) {
      if (settle === null && facts.sent.size === 0) facts.isLost = true;
      if (settle !== null) facts.isUnsettled = true;
    }
    this.losses += 1;
  }

  #name(token: string): string {
    const { number, attempt, worker } = this.#factsOf(token).claim;
    return `attempt ${attempt} of task ${number} by ${worker}`;
  }

  #factsOf(token: string): ClaimFacts {
    const facts = this.#claims.get(token);
    if (facts === undefined) throw new Error(`nobody has claimed ${token}`);
    return facts;
  }

  #task(number: number): TaskFacts {
    const task = this.#tasks.get(number);
    if (task === undefined) throw new Error(`nobody asked for task ${number}`);
    return task;
  }
}

function inWords({ status, attempt, claim, error }: SeenTask): string {
  return `${status}, attempt ${attempt}, held by ${claim?.worker ?? "nobody"}, ${error?.code ?? "no error"}`;
}
