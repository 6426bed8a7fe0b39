/**
 * Power cuts: records what an engine writes while it lives through a load, and looks at what may be on the disk if the
 * power had gone at any moment of it. Every state is opened by the real engine and judged by the ledger, as it stood at
 * that moment.
 */

import { Database } from "bun:sqlite";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../src/clock.ts";
import type { Engine, MaybePromise } from "../../src/engine/engine.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { Dice } from "./dice.ts";
import { CUT_STYLES, type CutStyle, type DiskImage, SimulatedDisk } from "./disk.ts";
import { type DiskRecord, DiskRecorder } from "./disk-recorder.ts";
import type { Ledger } from "./ledger.ts";
import { findIn, type KeyedRequest, PowerLoad } from "./power-load.ts";
import { faultsOfClaims } from "./remote-claims.ts";
import { makeScratch } from "./scratch.ts";

/** Opens the engine that is tried over the file at this path. */
type OpenEngine = (path: string, clock: Clock) => MaybePromise<Engine>;

export interface PowerCutOptions {
  readonly open: OpenEngine;
  readonly seed: number;
  /** How many recordings are made, and how many states of each are looked at. */
  readonly recordings: number;
  readonly states: number;
  /** Stops at the first state with a fault. Otherwise they are counted. */
  readonly stopsAtFault: boolean;
  readonly onRecording?: (report: PowerCutReport) => void;
}

export interface PowerCutReport {
  readonly states: number;
  /** Of these, how many were cut again while they were being recovered. */
  readonly cutTwice: number;
  /** Of these, how many had something unsynced that could be lost. */
  readonly withUnsynced: number;
  readonly accepted: number;
  readonly statesWithFaults: number;
  /** The faults up to their first colon, each once. */
  readonly kinds: ReadonlySet<string>;
  /** What was wrong with the first of them, with what it takes to see it again. */
  readonly faults: readonly string[];
}

/** How long the recorded lives are: many short ones, and some that fill the log up to a checkpoint. */
const STEPS_PER_SESSION = 25;
const SESSIONS_MAX = 3;
const PAYLOAD_BYTES = 300;
const PAYLOAD_BYTES_LARGE = 60_000;
const LARGE_ONE_IN = 10;

/** After one of so many steps another connection makes a checkpoint, as a tool beside the engine may. */
const CHECKPOINT_ONE_IN = 12;
const CHECKPOINTS = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"] as const;

const DATA_NAME = "ringq.db";

/** One of so many states is cut again while the engine recovers it. */
const CUT_TWICE_ONE_IN = 8;
const KEYS_TRIED = 2;
/** So late at most does somebody find the power back. Less than what makes the engine forget what has finished. */
const LATER_MS_MAX = 3_600_000;

const STALE_INDEX_ONE_IN = 10;

/** What the engine writes without a sync, to be there after a crash of the process and not after a power cut. */
const BOARD_NAME = `${DATA_NAME}-running`;
const BOARD_BYTES = 8192;

export async function cutPower(options: PowerCutOptions): Promise<PowerCutReport> {
  const report = {
    states: 0,
    cutTwice: 0,
    withUnsynced: 0,
    accepted: 0,
    statesWithFaults: 0,
    kinds: new Set<string>(),
    faults: [] as readonly string[],
  };
  for (let index = 0; index < options.recordings; index += 1) {
    const seed = options.seed + index;
    const dice = new Dice(seed);
    const recording = await record(options.open, dice);
    report.accepted += recording.load.accepted;
    for await (const state of statesOf(recording, options, dice)) {
      report.states += 1;
      if (state.isCutTwice) report.cutTwice += 1;
      if (state.unsynced > 0) report.withUnsynced += 1;
      if (state.faults.length === 0) continue;
      report.statesWithFaults += 1;
      for (const fault of state.faults) report.kinds.add(fault.split(":")[0] ?? fault);
      if (report.faults.length === 0) {
        report.faults = [`seed ${seed}, ${state.name}:`, ...state.faults];
      }
      if (options.stopsAtFault) return report;
    }
    options.onRecording?.(report);
  }
  return report;
}

interface Recording {
  readonly root: string;
  readonly records: readonly DiskRecord[];
  readonly load: PowerLoad;
  /** What the board held at some moments. */
  readonly boards: readonly Board[];
}

interface Board {
  /** How many changes of the disk had been recorded. */
  readonly at: number;
  readonly bytes: Uint8Array;
}

async function record(open: OpenEngine, dice: Dice): Promise<Recording> {
  using scratch = makeScratch();
  using recorder = DiskRecorder.open(scratch.folder);
  const clock = new ManualClock();
  const isLarge = dice.oneIn(LARGE_ONE_IN);
  const load = new PowerLoad(
    dice,
    clock,
    () => recorder.count,
    isLarge ? PAYLOAD_BYTES_LARGE : PAYLOAD_BYTES,
  );
  const boards: Board[] = [];
  const sessions = 1 + dice.below(SESSIONS_MAX);
  for (let session = 0; session < sessions; session += 1) {
    const path = join(scratch.folder, DATA_NAME);
    const engine = await open(path, clock);
    for (let step = 0; step < STEPS_PER_SESSION; step += 1) {
      await load.step(engine);
      if (dice.oneIn(CHECKPOINT_ONE_IN)) checkpoint(path, dice.pick(CHECKPOINTS));
      const bytes = readFileSync(join(scratch.folder, BOARD_NAME)).subarray(0, BOARD_BYTES);
      boards.push({ at: recorder.count, bytes });
    }
    await load.stop(engine);
  }
  return { root: scratch.folder, records: recorder.take(), load, boards };
}

function checkpoint(path: string, mode: string): void {
  using db = new Database(path);
  db.query(`PRAGMA wal_checkpoint(${mode})`).all();
}

interface State {
  /** Where and how it was cut. */
  readonly name: string;
  readonly unsynced: number;
  readonly isCutTwice: boolean;
  readonly faults: readonly string[];
}

async function* statesOf(
  { root, records, load, boards }: Recording,
  { open, states }: PowerCutOptions,
  dice: Dice,
): AsyncGenerator<State> {
  using scratch = makeScratch();
  using recorder = DiskRecorder.open(scratch.folder);
  recorder.setRecording(false);
  recorder.setSkippingSyncs(true);
  const judge = new Judge(open, scratch.folder, recorder, dice);
  const disk = new SimulatedDisk(root);
  const playback = load.playback();
  const cuts = Array.from({ length: states }, () => dice.below(records.length + 1));
  let applied = 0;
  for (const cut of cuts.sort((a, b) => a - b)) {
    for (const record of records.slice(applied, cut)) disk.apply(record);
    applied = cut;
    playback.advanceTo(cut);
    const style = dice.pick(CUT_STYLES);
    const image = moved(disk.cut(style, dice), root, scratch.folder);
    const isCutTwice = dice.oneIn(CUT_TWICE_ONE_IN);
    const known: Known = {
      ledger: playback.ledger,
      keyed: load.keyed.filter(({ firstNumber }) => playback.ledger.knows(firstNumber)),
      boards: boards.filter(({ at }) => at <= cut),
    };
    const faults = isCutTwice
      ? await judge.cutAgain(image, known)
      : await judge.faultsOf(image, known);
    yield {
      name: `cut after ${cut} of ${records.length} changes, ${style}${isCutTwice ? ", twice" : ""}`,
      unsynced: ["", "-new", "-wal", "-journal"].reduce(
        (sum, suffix) => sum + disk.unsyncedOf(join(root, DATA_NAME + suffix)),
        0,
      ),
      isCutTwice,
      faults,
    };
  }
}

/** The same files in another folder. */
function moved(image: DiskImage, from: string, to: string): DiskImage {
  return new Map([...image].map(([path, bytes]) => [to + path.slice(from.length), bytes]));
}

/** What there was at a cut. */
interface Known {
  readonly ledger: Ledger;
  readonly keyed: readonly KeyedRequest[];
  readonly boards: readonly Board[];
}

class Judge {
  readonly #open: OpenEngine;
  readonly #folder: string;
  readonly #recorder: DiskRecorder;
  readonly #dice: Dice;

  constructor(open: OpenEngine, folder: string, recorder: DiskRecorder, dice: Dice) {
    this.#open = open;
    this.#folder = folder;
    this.#recorder = recorder;
    this.#dice = dice;
  }

  /** What is wrong when the engine is opened over this image. */
  async faultsOf(image: DiskImage, known: Known): Promise<readonly string[]> {
    const { ledger, keyed } = known;
    this.#lay(image, known.boards);
    let engine: Engine;
    try {
      engine = await this.#open(join(this.#folder, DATA_NAME), this.#laterClock());
    } catch (error) {
      return [`it can't be opened: ${error instanceof Error ? error.message : error}`];
    }
    try {
      const faults = [...ledger.faultsOf(await findIn(engine))];
      for (let tried = 0; tried < KEYS_TRIED && keyed.length > 0; tried += 1) {
        faults.push(...(await faultsOfKey(engine, ledger, this.#dice.pick(keyed))));
      }
      faults.push(...(await faultsOfClaims(engine, ledger, "possible")));
      return faults;
    } finally {
      await engine.close();
    }
  }

  /** The same when the power goes again while the engine is being opened, or closed after that. */
  async cutAgain(image: DiskImage, known: Known): Promise<readonly string[]> {
    this.#lay(image, known.boards);
    this.#recorder.take();
    this.#recorder.setRecording(true);
    try {
      const engine = await this.#open(join(this.#folder, DATA_NAME), this.#laterClock());
      await engine.close();
    } catch (error) {
      return [`it can't be opened: ${error instanceof Error ? error.message : error}`];
    } finally {
      this.#recorder.setRecording(false);
    }
    const records = this.#recorder.take();
    const disk = SimulatedDisk.of(this.#folder, image);
    for (const record of records.slice(0, this.#dice.below(records.length + 1))) disk.apply(record);
    const style: CutStyle = this.#dice.pick(CUT_STYLES);
    return this.faultsOf(disk.cut(style, this.#dice), known);
  }

  #laterClock(): Clock {
    const clock = new ManualClock();
    clock.jumpWall(this.#dice.below(LATER_MS_MAX));
    return clock;
  }

  /** Of what was never synced anything may be left: nothing, what was there at some time, part of it, or rubbish. */
  #layBoard(boards: readonly Board[]): void {
    const dice = this.#dice;
    const bytes = boards.length === 0 ? new Uint8Array(BOARD_BYTES) : dice.pick(boards).bytes;
    const path = join(this.#folder, BOARD_NAME);
    switch (dice.below(5)) {
      case 0:
        writeFileSync(path, bytes);
        break;
      case 1:
        writeFileSync(path, bytes.subarray(0, dice.below(bytes.length)));
        break;
      case 2:
        writeFileSync(
          path,
          bytes.map(() => dice.below(256)),
        );
        break;
      default:
        break;
    }
  }

  #lay(image: DiskImage, boards: readonly Board[]): void {
    for (const name of readdirSync(this.#folder)) rmSync(join(this.#folder, name));
    for (const [path, bytes] of image) writeFileSync(path, bytes);
    this.#layBoard(boards);
    // The index of the log may be left as well, as far as it got: nobody may believe it.
    if (this.#dice.oneIn(STALE_INDEX_ONE_IN)) {
      const stale = new Uint8Array(32_768).map(() => this.#dice.below(256));
      writeFileSync(join(this.#folder, `${DATA_NAME}-shm`), stale);
    }
  }
}

/** What was accepted under a key is given again; what was not may be accepted now. */
async function faultsOfKey(
  engine: Engine,
  ledger: Ledger,
  { key, firstNumber, requests }: KeyedRequest,
): Promise<readonly string[]> {
  const { state, ids } = ledger.enqueueOf(firstNumber);
  const answer = await engine.enqueue(requests, key);
  if (answer.kind === "accepted" && state === "open") return [];
  if (answer.kind !== "repeated") return [`${key}, ${state} before, was answered ${answer.kind}`];
  const again = answer.receipts.map(({ id }) => id);
  if (state === "open" || again.join() === ids.join()) return [];
  return [`${key} was ${ids.join()}, and is ${again.join()}`];
}
