/**
 * A chain of crashes: one data file, and a server over it that is killed again and again, by SIGKILL and at moments that
 * matter. After each restart the ledger judges what is there; at the end everything must finish.
 */

import { existsSync, readFileSync, watch } from "node:fs";
import { join } from "node:path";
import { ServerProcess } from "../support/server-process.ts";
import { bundle } from "./bundle.ts";
import { CRASH_ENDINGS, CrashLoad, findAll, isFinished } from "./crash-load.ts";
import type { Dice } from "./dice.ts";
import { type Found, Ledger } from "./ledger.ts";
import { makeScratch } from "./scratch.ts";

const { main, handlers } = await bundle();

const DATA_NAME = "ringq.db";

/** When a process is killed. */
const KILLS = [
  /** After so many answers, while others are on their way. */
  "under load",
  "under load",
  "under load",
  "under load",
  "under load",
  /** When the data file itself changes, as it does in a checkpoint only. */
  "in a checkpoint",
  /** After so many changes in its folder since it was started: while it opens, recovers, migrates. */
  "at start-up",
  "at start-up",
  /** While a SIGTERM is being answered. */
  "while stopping",
] as const;

export type Kill = (typeof KILLS)[number];

const ANSWERS_MAX = 60;
const CHANGES_AT_START_MAX = 12;
const CLIENTS = 6;
const PAYLOAD_BYTES_SMALL = 200;
/** Enough for a few cycles to fill the log up to a checkpoint. */
const PAYLOAD_BYTES_LARGE = 60_000;

export interface ChainReport {
  readonly cycles: number;
  readonly kills: ReadonlyMap<Kill, number>;
  readonly accepted: number;
  readonly finished: number;
  readonly answers: number;
  /** Everything that was wrong, one sentence each. */
  readonly faults: readonly string[];
}

export interface ChainOptions {
  readonly cycles: number;
  readonly dice: Dice;
  /** Added to the environment of the server. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly onCycle?: () => void;
}

export async function runChain(options: ChainOptions): Promise<ChainReport> {
  using scratch = makeScratch();
  const chain = new Chain(scratch.folder, options);
  for (let cycle = 0; cycle < options.cycles && chain.faults.length === 0; cycle += 1) {
    await chain.runCycle(options.dice.pick(KILLS));
    options.onCycle?.();
  }
  if (chain.faults.length === 0) await chain.finish();
  return chain.report();
}

class Chain {
  readonly faults: string[] = [];
  readonly #folder: string;
  readonly #dice: Dice;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #ledger = new Ledger(CRASH_ENDINGS);
  readonly #load: CrashLoad;
  readonly #kills = new Map<Kill, number>();
  #startsRead = 0;
  #cycles = 0;
  #answers = 0;
  #finished = 0;

  constructor(folder: string, { dice, settings = {} }: ChainOptions) {
    this.#folder = folder;
    this.#dice = dice;
    this.#settings = settings;
    this.#load = new CrashLoad(this.#ledger, dice);
  }

  async runCycle(kill: Kill): Promise<void> {
    this.#cycles += 1;
    this.#kills.set(kill, (this.#kills.get(kill) ?? 0) + 1);
    await using server = this.#start();
    if (kill === "at start-up") {
      await this.#killAfterChanges(server, 1 + this.#dice.below(CHANGES_AT_START_MAX));
      return;
    }
    await server.event("server_listening");
    await this.#judge(server, `cycle ${this.#cycles}`);
    if (this.faults.length === 0) await this.#killUnderLoad(server, kill);
    this.faults.push(...this.#load.surprises);
  }

  /** Starts a last time, lets everything finish, and stops as an operator does. */
  async finish(): Promise<void> {
    await using server = this.#start();
    await server.event("server_listening");
    const found = await this.#judge(server, "the last start");
    for (const queue of found.paused) {
      this.#ledger.pauseAsked(queue, false);
      await server.post(`/queues/${queue}/resume`);
      this.#ledger.pauseAnswered(queue, false);
    }
    for (const { asked, id } of this.#ledger.accepteds()) {
      if (asked.type !== "held") continue;
      this.#ledger.cancelAsked(asked.number);
      await (await server.request(`/tasks/${id}`, { method: "DELETE" })).arrayBuffer();
    }
    for (const { id, number } of this.#ledger
      .accepteds()
      .map(({ asked, id }) => ({ ...asked, id }))) {
      const { status } = await server.finished(id);
      this.#ledger.finished(number, status);
    }
    const end = await findAll(server);
    this.faults.push(...this.#ledger.faultsOf(end));
    this.#finished = end.tasks.filter(({ status }) => isFinished(status)).length;
    const { exitCode } = await server.stop();
    if (exitCode !== 0) this.faults.push(`the last stop ended with ${exitCode}`);
    if (existsSync(join(this.#folder, `${DATA_NAME}-wal`)))
      this.faults.push("the last stop left a log behind");
  }

  report(): ChainReport {
    return {
      cycles: this.#cycles,
      kills: this.#kills,
      accepted: this.#ledger.accepteds().length,
      finished: this.#finished,
      answers: this.#answers,
      faults: this.faults,
    };
  }

  #start(): ServerProcess {
    const settings = {
      DATA_FILE: join(this.#folder, DATA_NAME),
      STARTS_FILE: join(this.#folder, "starts"),
      QUEUE_SIZE: "1000000",
      QUEUE_BYTES: String(2 ** 30),
      RETAIN_TASKS: "1000000",
      RETAIN_BYTES: String(2 ** 30),
      WORKERS: "8",
      RETRY_BASE_MS: "3",
      RETRY_JITTER_MS: "3",
      SHUTDOWN_GRACE_MS: "50",
      ...this.#settings,
    };
    return new ServerProcess(handlers, settings, main);
  }

  /** Compares what is there with what was promised, and takes it for what is from now on. */
  async #judge(server: ServerProcess, when: string): Promise<Found> {
    const found = await findAll(server);
    this.faults.push(...this.#ledger.faultsOf(found).map((fault) => `${when}: ${fault}`));
    this.#ledger.absorb(found);
    if (this.faults.length === 0) await this.#load.sendAgain(server, 2);
    return found;
  }

  async #killUnderLoad(server: ServerProcess, kill: Kill): Promise<void> {
    const isLarge = kill === "in a checkpoint" || this.#dice.oneIn(6);
    const answersMax =
      kill === "in a checkpoint" ? 10 * ANSWERS_MAX : this.#dice.below(ANSWERS_MAX);
    let answers = 0;
    const onAnswer = () => {
      answers += 1;
      if (answers !== answersMax) return;
      if (kill === "while stopping") server.signal("SIGTERM");
      else server.kill();
    };
    if (answersMax === 0) server.kill();
    using _ = kill === "in a checkpoint" ? this.#onChange(DATA_NAME, () => server.kill()) : null;
    const stopped =
      kill === "while stopping"
        ? server.event("stopping").then(
            () => server.kill(),
            () => undefined,
          )
        : null;
    await this.#load.run(
      server,
      CLIENTS,
      isLarge ? PAYLOAD_BYTES_LARGE : PAYLOAD_BYTES_SMALL,
      onAnswer,
    );
    server.kill();
    await stopped;
    await server.ended();
    this.#answers += answers;
    this.#readStarts();
  }

  async #killAfterChanges(server: ServerProcess, changes: number): Promise<void> {
    let seen = 0;
    using _ = this.#onChange(null, () => {
      seen += 1;
      if (seen === changes) server.kill();
    });
    // A start with fewer changes than that gets as far as listening.
    await Promise.race([
      server.ended(),
      server.event("server_listening").catch((error: unknown) => {
        if (seen < changes) throw error;
      }),
    ]);
    server.kill();
    await server.ended();
    this.#readStarts();
  }

  /** Calls back whenever the file of this name, or any when null, changes in the folder. */
  #onChange(name: string | null, call: () => void): Disposable {
    const watcher = watch(this.#folder, (_, changed) => {
      if (name === null || changed === name) call();
    });
    return { [Symbol.dispose]: () => watcher.close() };
  }

  /** Tells the ledger which attempts the handlers of the process that was killed had started. */
  #readStarts(): void {
    const path = join(this.#folder, "starts");
    if (!existsSync(path)) return;
    const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
    for (const line of lines.slice(this.#startsRead)) {
      const [number, attempt] = line.split(" ");
      this.#ledger.started(Number(number), Number(attempt));
    }
    this.#startsRead = lines.length;
  }
}
