/**
 * A chain of crashes of a server and of its remote workers: one data file, a server over it that runs no code, and
 * processes that claim its tasks over HTTP. Now the server is killed, now a worker, now both, by SIGKILL and at a random
 * moment. After each restart of the server the ledger judges what is there; at the end everything must finish.
 */

import { join } from "node:path";
import { ServerProcess } from "../support/server-process.ts";
import { bundle } from "./bundle.ts";
import { isConnectionLost } from "./connection-lost.ts";
import type { Dice } from "./dice.ts";
import { linesOf } from "./lines.ts";
import { makeScratch } from "./scratch.ts";
import { type SeenTask, WorkerLedger } from "./worker-ledger.ts";
import {
  type HeldClaim,
  type SentSettle,
  SHORT_LEASE_MS,
  type WorkerLine,
  type WorkerOrder,
} from "./worker-life.ts";

const { main } = await bundle();

/** Who is killed. */
const KILLS = ["server", "server", "worker", "worker", "both"] as const;

export type WorkerKill = (typeof KILLS)[number];

const WORKERS = 3;
const PRODUCERS = 2;
const ANSWERS_MAX = 120;
const BATCH_MAX = 6;
/** Producers rest while more tasks wait. */
const BACKLOG_MAX = 60;
const STALE_SENT = 3;

export interface WorkerChainReport {
  readonly cycles: number;
  readonly kills: ReadonlyMap<WorkerKill, number>;
  readonly accepted: number;
  readonly claims: number;
  readonly settles: number;
  readonly extends: number;
  /** Settles that were sent again and got their receipt again. */
  readonly repeats: number;
  /** Answers that a claim is lost. */
  readonly losses: number;
  /** Settles and extends of claims whose task was claimed anew: each was refused. */
  readonly stale: number;
  /** Everything that was wrong, one sentence each. */
  readonly faults: readonly string[];
}

export interface WorkerChainOptions {
  readonly cycles: number;
  readonly dice: Dice;
  /** Added to the environment of the server. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly onCycle?: () => void;
}

export async function runWorkerChain(options: WorkerChainOptions): Promise<WorkerChainReport> {
  using scratch = makeScratch();
  await using chain = new WorkerChain(scratch.folder, options);
  await chain.begin();
  for (let cycle = 0; cycle < options.cycles && chain.faults.length === 0; cycle += 1) {
    await chain.runCycle(options.dice.pick(KILLS));
    options.onCycle?.();
  }
  if (chain.faults.length === 0) await chain.finish();
  return chain.report();
}

class WorkerChain implements AsyncDisposable {
  readonly faults: string[] = [];
  readonly #folder: string;
  readonly #dice: Dice;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #ledger = new WorkerLedger();
  readonly #kills = new Map<WorkerKill, number>();
  #server: ServerProcess;
  #isServerKilled = false;
  #workers: Worker[] = [];
  #spawned = 0;
  #cycles = 0;
  #numbers = 0;
  #stale = 0;
  /** Enqueues that were not answered: they are sent again. */
  readonly #open: { readonly key: string; readonly numbers: readonly number[] }[] = [];
  #onAnswer: () => void = () => undefined;
  #onFault: () => void = () => undefined;

  constructor(folder: string, { dice, settings = {} }: WorkerChainOptions) {
    this.#folder = folder;
    this.#dice = dice;
    this.#settings = settings;
    this.#server = this.#startServer();
  }

  async begin(): Promise<void> {
    await this.#server.event("server_listening");
    for (let index = 0; index < WORKERS; index += 1) this.#workers.push(this.#startWorker());
  }

  async runCycle(kill: WorkerKill): Promise<void> {
    this.#cycles += 1;
    this.#kills.set(kill, (this.#kills.get(kill) ?? 0) + 1);
    const victim = this.#dice.pick(this.#workers);
    await this.#load(() => {
      if (kill !== "worker") this.#killServer();
      if (kill !== "server") victim.kill();
    });
    if (kill !== "server") await victim.ended();
    if (kill !== "worker") await this.#restart(kill === "both" ? victim : null);
    if (kill !== "server") this.#replace(victim);
    this.#noteFault();
    this.faults.splice(
      0,
      this.faults.length,
      ...this.faults.map((fault) => `cycle ${this.#cycles}: ${fault}`),
    );
  }

  /** Starts a last time, lets everything finish, and stops as an operator does. */
  async finish(): Promise<void> {
    this.#killServer();
    const found = await this.#restart(null, true);
    if (this.faults.length > 0) return;
    const faulted = new Promise<void>((resolve) => {
      this.#onFault = resolve;
      if (this.#ledger.fault !== undefined) resolve();
    });
    await Promise.race([faulted, this.#finishAll()]);
    const ended = this.#workers.map((worker) => {
      worker.kill();
      return worker.ended();
    });
    await Promise.all(ended);
    const end = await findAll(this.#server);
    this.faults.push(...this.#ledger.faultsOf(end, []));
    const { length } = end.filter(({ status }) => ["done", "failed", "cancelled"].includes(status));
    if (length < this.#ledger.accepted)
      this.faults.push(`${this.#ledger.accepted - length} did not finish`);
    const { exitCode } = await this.#server.stop();
    if (exitCode !== 0) this.faults.push(`the last stop ended with ${exitCode}`);
    if (found.length === 0) this.faults.push("there was nothing to do");
  }

  report(): WorkerChainReport {
    const { accepted, claims, settles, repeats, losses } = this.#ledger;
    return {
      cycles: this.#cycles,
      kills: this.#kills,
      accepted,
      claims,
      settles,
      extends: this.#ledger.extends,
      repeats,
      losses,
      stale: this.#stale,
      faults: this.faults,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isServerKilled = true;
    for (const worker of this.#workers) worker.kill();
    await this.#server[Symbol.asyncDispose]();
    await Promise.all(this.#workers.map((worker) => worker.ended()));
  }

  #startServer(): ServerProcess {
    const settings = {
      DATA_FILE: join(this.#folder, "ringq.db"),
      DURABILITY: "full",
      QUEUE_SIZE: "1000000",
      QUEUE_BYTES: String(2 ** 30),
      RETAIN_TASKS: "1000000",
      RETAIN_BYTES: String(2 ** 30),
      ...this.#settings,
    };
    return new ServerProcess("none", settings, main);
  }

  #killServer(): void {
    this.#isServerKilled = true;
    this.#server.kill();
  }

  #startWorker(order?: WorkerOrder): Worker {
    this.#spawned += 1;
    const worker = new Worker(this.#dice.below(2 ** 31), `w${this.#spawned}`, (line, of) =>
      this.#hear(line, of),
    );
    if (order !== undefined) worker.order(order);
    if (!this.#isServerKilled) this.#introduce(worker, false);
    return worker;
  }

  #introduce(worker: Worker, isLast: boolean): void {
    worker.order({ kind: "server", url: this.#server.url, isLast });
  }

  #hear(line: WorkerLine, { servers }: Worker): void {
    this.#ledger.hear(line);
    if (line.kind === "waiting" && line.servers === servers && !this.#isServerKilled) {
      this.#ledger.wrong("a worker has lost its connection to a server that lives");
    }
    if (["claimed", "settled", "extended", "lost"].includes(line.kind)) this.#onAnswer();
    if (this.#ledger.fault !== undefined) this.#onFault();
  }

  /** Lets the producers ask and the workers work for so many answers, and then kills. */
  async #load(kill: () => void): Promise<void> {
    const answersMax = this.#dice.below(ANSWERS_MAX);
    let isOver = false;
    let answers = 0;
    this.#onAnswer = () => {
      answers += 1;
      if (answers < answersMax || isOver) return;
      isOver = true;
      kill();
    };
    const produce = async (): Promise<void> => {
      try {
        while (!isOver && this.#ledger.fault === undefined) await this.#act();
      } catch (error) {
        if (!isConnectionLost(error)) throw error;
      }
    };
    await Promise.all(Array.from({ length: PRODUCERS }, produce));
    if (!isOver) kill();
    this.#onAnswer = () => undefined;
  }

  async #act(): Promise<void> {
    const act = this.#dice.below(10);
    if (act < 2) await this.#useStale();
    else if (act < 4) await this.#readDone();
    else if (this.#ledger.unfinishedIds().length < BACKLOG_MAX) await this.#enqueue();
    else await this.#readDone();
    this.#onAnswer();
  }

  async #enqueue(): Promise<void> {
    const open = this.#open.pop();
    if (open !== undefined) return this.#send(open);
    const numbers = Array.from({ length: 1 + this.#dice.below(BATCH_MAX) }, () => {
      this.#numbers += 1;
      return this.#numbers;
    });
    this.#ledger.enqueueAsked(numbers);
    await this.#send({ key: `key-${numbers[0]}`, numbers });
  }

  async #send(enqueue: {
    readonly key: string;
    readonly numbers: readonly number[];
  }): Promise<void> {
    const { key, numbers } = enqueue;
    const tasks = numbers.map((number) => ({
      payload: { number },
      queue: `q${number % 3}`,
      priority: number % 2,
      max_retries: 2,
      timeout_ms: 24 * 3_600_000,
    }));
    let response: Response;
    try {
      response = await this.#server.request("/enqueue/batch", {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": key },
        body: JSON.stringify({ tasks }),
      });
      const answer = (await response.json()) as { tasks: { id: string }[] };
      if (response.status !== 202) this.#ledger.wrong(`an enqueue was answered ${response.status}`);
      else
        for (const [index, { id }] of answer.tasks.entries())
          this.#ledger.accept(numbers[index] ?? 0, id);
    } catch (error) {
      this.#open.push(enqueue);
      throw error;
    }
  }

  /** Settles or extends a claim whose task was claimed anew: neither must count. */
  async #useStale(): Promise<void> {
    const stale = this.#ledger.staleClaims();
    if (stale.length === 0) return;
    const { token } = this.#dice.pick(stale);
    const call = this.#dice.oneIn(3) ? "extend" : "done";
    const body = call === "done" ? { result: "stale" } : {};
    const response = await this.#server.post(`/claims/${token}/${call}`, body);
    const text = await response.text();
    this.#stale += 1;
    const isLost = response.status === 409 && text.includes('"claim_lost"');
    if (!isLost) this.#ledger.staleUsed(token, `${call} was answered ${response.status}`);
  }

  /** A task that a worker was told to have done is done for everybody. */
  async #readDone(): Promise<void> {
    const done = this.#ledger.doneIds();
    if (done.length === 0) return;
    const id = this.#dice.pick(done);
    const { status } = await this.#server.task(id);
    if (status !== "done") this.#ledger.wrong(`task ${id} was done, and is ${status}`);
  }

  /** The next server, once all workers have noticed that there is none. Judges what it has before they go on. */
  async #restart(victim: Worker | null, isLast = false): Promise<readonly SeenTask[]> {
    await this.#server.ended();
    await Promise.all(
      this.#workers.map((worker) => (worker === victim ? null : worker.untilWaiting())),
    );
    this.#server = this.#startServer();
    await this.#server.event("server_listening");
    const found = await findAll(this.#server);
    const held = this.#workers.flatMap((worker) => worker.held);
    this.faults.push(...this.#ledger.faultsOf(found, held));
    for (let sent = 0; sent < STALE_SENT; sent += 1) await this.#useStale();
    if (isLast) {
      for (const { id } of this.#ledger.heldUnread(found)) {
        this.#ledger.cancelAsked(id);
        await (await this.#server.request(`/tasks/${id}`, { method: "DELETE" })).arrayBuffer();
      }
    }
    this.#isServerKilled = false;
    for (const worker of this.#workers) if (worker !== victim) this.#introduce(worker, isLast);
    return found;
  }

  /** Another worker takes over what one had that was killed, but not every claim with a short lease. */
  #replace(victim: Worker): void {
    const claims = victim.held.filter(
      ({ leaseMs }) => leaseMs !== SHORT_LEASE_MS || this.#dice.oneIn(2),
    );
    const next = this.#startWorker({ kind: "takeOver", claims, settles: victim.open });
    this.#workers = this.#workers.map((worker) => (worker === victim ? next : worker));
  }

  async #finishAll(): Promise<void> {
    for (const open of this.#open.splice(0)) await this.#send(open);
    for (const id of this.#ledger.unfinishedIds()) await this.#server.finished(id);
  }

  #noteFault(): void {
    const { fault } = this.#ledger;
    if (fault !== undefined && this.faults.length === 0) this.faults.push(fault);
  }
}

/** A worker process, and what it holds. */
class Worker {
  readonly #process: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #reading: Promise<void>;
  readonly #held = new Map<string, HeldClaim>();
  readonly #open = new Map<string, SentSettle>();
  /** It was told of so many servers. */
  servers = 0;
  #waitsSince = -1;
  #isKilled = false;
  #onWaiting: () => void = () => undefined;

  constructor(seed: number, name: string, hear: (line: WorkerLine, of: Worker) => void) {
    this.#process = Bun.spawn(
      [process.execPath, join(import.meta.dir, "worker-life.ts"), String(seed), name],
      { stdio: ["pipe", "pipe", "inherit"] },
    );
    this.#reading = this.#read(hear);
    void this.#process.exited.then((exitCode) => {
      if (this.#isKilled) return;
      hear({ kind: "surprise", said: `a worker ended by itself, with ${exitCode}` }, this);
      this.#onWaiting();
    });
  }

  /** The claims that it holds and that it has not begun to settle. */
  get held(): readonly HeldClaim[] {
    return [...this.#held.values()];
  }

  /** Its settles that were not answered. */
  get open(): readonly SentSettle[] {
    return [...this.#open.values()];
  }

  order(order: WorkerOrder): void {
    if (order.kind === "server") this.servers += 1;
    else {
      for (const claim of order.claims) this.#held.set(claim.token, claim);
      for (const settle of order.settles) this.#open.set(keyOf(settle), settle);
    }
    this.#process.stdin.write(`${JSON.stringify(order)}\n`);
    void this.#process.stdin.flush();
  }

  kill(): void {
    this.#isKilled = true;
    this.#process.kill("SIGKILL");
  }

  /** All that it has written is read. */
  async ended(): Promise<void> {
    await this.#process.exited;
    await this.#reading;
  }

  /** It has noticed that its server is gone, or has ended by itself. */
  async untilWaiting(): Promise<void> {
    if (this.#waitsSince === this.servers || this.#process.exitCode !== null) return;
    await new Promise<void>((resolve) => {
      this.#onWaiting = resolve;
    });
  }

  async #read(hear: (line: WorkerLine, of: Worker) => void): Promise<void> {
    for await (const text of linesOf(this.#process.stdout)) {
      const line = JSON.parse(text) as WorkerLine;
      this.#note(line);
      hear(line, this);
    }
  }

  #note(line: WorkerLine): void {
    switch (line.kind) {
      case "claimed":
        for (const claim of line.claims) this.#held.set(claim.token, claim);
        break;
      case "settleAsked":
        for (const settle of line.settles) {
          this.#held.delete(settle.token);
          this.#open.set(keyOf(settle), settle);
        }
        break;
      case "settled":
        this.#open.delete(keyOf(line.settle));
        break;
      case "lost":
        this.#held.delete(line.token);
        if (line.settle !== null) this.#open.delete(keyOf(line.settle));
        break;
      case "waiting":
        this.#waitsSince = line.servers;
        if (line.servers === this.servers) this.#onWaiting();
        break;
      default:
        break;
    }
  }
}

function keyOf({ token, outcome }: SentSettle): string {
  return `${token} ${outcome}`;
}

async function findAll(server: ServerProcess): Promise<readonly SeenTask[]> {
  const tasks: SeenTask[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const query: string = cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const response = await server.request(`/tasks?limit=500${query}`);
    const page = (await response.json()) as { tasks: SeenTask[]; next_cursor: string | null };
    tasks.push(...page.tasks);
    cursor = page.next_cursor;
  }
  return tasks;
}

/** One of the counts, over several chains. */
export function sumOf(
  reports: readonly WorkerChainReport[],
  count: "accepted" | "claims" | "settles" | "extends" | "repeats" | "losses" | "stale",
): number {
  return reports.reduce((sum, report) => sum + report[count], 0);
}
