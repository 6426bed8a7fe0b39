/**
 * Groups of one tick, drawn by dice: enqueues, keys and commands on the same tasks, on a disk that fails at any call.
 * Whatever was answered holds in memory and in the file, everybody is answered, and nothing is kept of what was refused.
 */

import { describe, expect, test } from "bun:test";
import { cpSync, existsSync } from "node:fs";
import { join } from "node:path";
import type { AttemptOutcome, Engine, TaskView } from "../../src/engine/engine.ts";
import { BrokerHost } from "../../src/engine/host/broker-host.ts";
import { createSqliteEngine } from "../../src/engine/sqlite/engine.ts";
import { someSettings } from "../support/engine-harness.ts";
import { ManualClock, turn } from "../support/manual-clock.ts";
import { Dice, seedOf } from "./dice.ts";
import { DiskRecorder, ERRNO, findRecorderObstacle } from "./disk-recorder.ts";
import { fillDescriptorOf } from "./failing-descriptor.ts";
import { REMOTE_TYPE } from "./open-durable.ts";
import { makeScratch, type Scratch } from "./scratch.ts";

const TIMEOUT_MS = 300_000;

const obstacle = findRecorderObstacle();
if (obstacle !== null) process.stderr.write(`Groups are not tested on it: ${obstacle}.\n`);

const seed = seedOf(process.env["SEED"]);

const LIVES = 60;
const TICKS = 60;
const OPERATIONS_MAX = 10;
const PROBE_MS = 1000;

describe.skipIf(obstacle !== null)("groups on a disk that fails now and then", () => {
  test.each<readonly [name: string, retainTasks: number]>([
    ["that forget nothing", 100_000],
    ["that forget all but a few finished tasks", 3],
  ])(
    "%s agree with their file, and answer everybody",
    async (_, retainTasks) => {
      for (let life = 0; life < LIVES; life += 1) {
        const faults = await liveWith(seed + life, retainTasks);
        expect({ seed: seed + life, faults }).toEqual({ seed: seed + life, faults: [] });
      }
    },
    TIMEOUT_MS,
  );
});

async function liveWith(lifeSeed: number, retainTasks: number): Promise<readonly string[]> {
  using scratch = makeScratch();
  using recorder = DiskRecorder.open(scratch.folder);
  recorder.setRecording(false);
  recorder.setSkippingSyncs(true);
  const life = new GroupLife(scratch, new Dice(lifeSeed), retainTasks);
  for (let tick = 0; tick < TICKS && life.faults.length === 0; tick += 1) {
    if (life.dice.oneIn(5)) {
      recorder.fail({
        kinds: life.dice.oneIn(3) ? ["sync"] : ["write"],
        errno: life.dice.oneIn(2) ? ERRNO.ENOSPC : ERRNO.EIO,
        after: life.dice.below(6),
        ...(life.dice.oneIn(2) ? { times: 1 + life.dice.below(3) } : {}),
      });
    }
    const heal = life.dice.oneIn(8)
      ? fillDescriptorOf(join(scratch.folder, "ringq.db-running"))
      : null;
    await life.tick();
    heal?.();
    life.check(`tick ${tick}`);
    if (life.dice.oneIn(2)) {
      recorder.heal();
      await life.recover();
      life.check(`tick ${tick}, healed`);
      await life.compare(`tick ${tick}`);
      if (life.dice.oneIn(5)) await life.restart();
    }
  }
  recorder.heal();
  await life.close();
  return life.faults;
}

class GroupLife {
  readonly faults: string[] = [];
  readonly dice: Dice;
  readonly #scratch: Scratch;
  readonly #clock = new ManualClock();
  readonly #retainTasks: number;
  #engine: Engine;
  readonly #ids: string[] = [];
  /** Tasks that were refused: nothing may be left of them. */
  #refused = 0;
  readonly #claims: { readonly taskId: string; readonly fence: number }[] = [];
  readonly #doneTimes = new Map<string, number>();
  #keys = 0;

  constructor(scratch: Scratch, dice: Dice, retainTasks: number) {
    this.#scratch = scratch;
    this.dice = dice;
    this.#retainTasks = retainTasks;
    this.#engine = this.#start();
  }

  /** Stops the engine as it should be, and starts the next one. Remote claims go on. */
  async restart(): Promise<void> {
    const before = await pictureOf(this.#engine);
    await this.#engine.close();
    this.#engine = this.#start();
    const after = await pictureOf(this.#engine);
    for (const [key, value] of Object.entries(before)) {
      if (value.includes('"status":"running"') && after[key] !== value)
        this.faults.push(`${key} was ${value}, and after a stop it is ${after[key]}`);
    }
  }

  /** Asks for several things at once, and waits until all are answered. */
  async tick(): Promise<void> {
    let open = 0;
    const count = 1 + this.dice.below(OPERATIONS_MAX);
    for (let index = 0; index < count; index += 1) {
      open += 1;
      void this.#act().then(() => {
        open -= 1;
      });
    }
    // Of commands on one task each may need a turn of its own.
    for (let turns = 0; turns < count + 3 && open > 0; turns += 1) await turn();
    if (open > 0) this.faults.push(`${open} of ${count} were not answered`);
    await turn();
    if (this.dice.oneIn(4)) await this.#clock.advance(this.dice.below(400));
  }

  /** What holds whenever everybody is answered. */
  check(when: string): void {
    const { broker } = hostOf(this.#engine);
    try {
      broker.verify();
    } catch (error) {
      this.faults.push(`${when}: ${error instanceof Error ? error.message : error}`);
    }
    for (const { name, reserved, reservedBytes, pins } of broker.queues()) {
      if (reserved !== 0 || reservedBytes !== 0 || pins !== 0)
        this.faults.push(`${when}: queue ${name} keeps ${reserved} places and ${pins} pins`);
    }
    for (const [id, times] of this.#doneTimes) {
      if (times > 1) this.faults.push(`${when}: task ${id} was done ${times} times`);
    }
  }

  async recover(): Promise<void> {
    for (let tries = 0; tries < 5 && this.#engine.readiness !== "ready"; tries += 1)
      await this.#clock.advance(PROBE_MS);
    if (this.#engine.readiness !== "ready") this.faults.push("it does not recover");
    await turn();
    await turn();
  }

  /** A process that was killed now would find what memory shows. */
  async compare(when: string): Promise<void> {
    const copy = join(this.#scratch.folder, "copy.db");
    for (const suffix of ["", "-wal", "-running"]) {
      const from = join(this.#scratch.folder, `ringq.db${suffix}`);
      if (existsSync(from)) cpSync(from, copy + suffix);
    }
    const other = this.#open(copy);
    const [memory, file] = [await pictureOf(this.#engine), await pictureOf(other)];
    await other.close();
    if (!Bun.deepEquals(memory, file)) {
      for (const key of new Set([...Object.keys(memory), ...Object.keys(file)])) {
        if (memory[key] !== file[key])
          this.faults.push(`${when}: ${key}: memory has ${memory[key]}, the file ${file[key]}`);
      }
    }
  }

  async close(): Promise<void> {
    await this.#engine.close();
  }

  #start(): Engine {
    const engine = this.#open(join(this.#scratch.folder, "ringq.db"));
    engine.subscribe({
      wants: (status) => status === "done",
      onTask: ({ taskId }) => this.#doneTimes.set(taskId, (this.#doneTimes.get(taskId) ?? 0) + 1),
    });
    return engine;
  }

  #open(path: string): Engine {
    const settings = someSettings(this.#clock, {
      queueSize: 5,
      queuesMax: 3,
      retainTasks: this.#retainTasks,
      retainMs: 10 ** 9,
      timeoutMs: 10 ** 8,
      types: { [REMOTE_TYPE]: { lane: "remote" } },
    });
    return createSqliteEngine({ ...settings, path, durability: "full" });
  }

  async #act(): Promise<void> {
    const { dice } = this;
    const engine = this.#engine;
    const queue = dice.pick(["a", "b", "c", "d"]);
    const act = dice.below(100);
    if (act < 30) return this.#enqueue(queue);
    if (act < 44) await engine.cancel(this.#id());
    else if (act < 60) await engine.retry(this.#id());
    else if (act < 67) await engine.pause(queue);
    else if (act < 74) await engine.resume(queue);
    else if (act < 77) await engine.purge(queue);
    else if (act < 88) await this.#claim();
    else if (act < 98) await this.#settle();
    else if (act < 99) await engine.queues();
    else await engine.find(this.#id());
  }

  async #enqueue(queue: string): Promise<void> {
    const { dice } = this;
    const key = dice.oneIn(3) ? `key-${this.#keys - dice.below(3)}` : undefined;
    if (key === undefined) this.#keys += 1;
    const request = { payload: key ?? null, queue, type: dice.pick(["work", REMOTE_TYPE]) };
    const size = 1 + dice.below(3);
    const answer = await this.#engine.enqueue(new Array(size).fill(request), key);
    if (answer.kind === "accepted") this.#ids.push(...answer.receipts.map(({ id }) => id));
    else this.#refused += 1;
  }

  async #claim(): Promise<void> {
    const lane = this.dice.pick(["loop", "remote"] as const);
    const leaseMs = 10 ** 7;
    const answer = await this.#engine.claim({ lane, max: 2, leaseMs, worker: "w" });
    if (answer.kind === "claimed") this.#claims.push(...answer.claims);
  }

  async #settle(): Promise<void> {
    if (this.#claims.length === 0) return;
    // Some are sent twice, in this tick or later.
    const index = this.dice.below(this.#claims.length);
    const claim = this.#claims[index];
    if (claim === undefined) return;
    if (this.dice.oneIn(2)) this.#claims.splice(index, 1);
    await this.#engine.settle(claim.taskId, claim.fence, this.#outcome());
  }

  #outcome(): AttemptOutcome {
    const retry = { kind: this.dice.pick(["never", "backoff"] as const) };
    return this.dice.pick<AttemptOutcome>([
      { kind: "done", result: "1" },
      { kind: "failed", code: "error", message: "it broke", retry },
      { kind: "released" },
      { kind: "released", delayMs: 300 },
    ]);
  }

  #id(): string {
    // Mostly one of the last few, so that commands meet.
    const recent = this.#ids.slice(this.dice.oneIn(4) ? 0 : -4);
    return recent.length === 0 ? "none" : this.dice.pick(recent);
  }
}

/** What a client sees, but for what a crash changes: attempts in the process. */
async function pictureOf(engine: Engine): Promise<Readonly<Record<string, string>>> {
  const picture: Record<string, string> = {};
  const answer = await engine.list({ limit: 10_000 });
  if (answer.kind !== "page") throw new Error(`a list was answered ${answer.kind}`);
  for (const task of answer.tasks) picture[`task ${task.id}`] = JSON.stringify(lasting(task));
  for (const { name, isPaused } of await engine.queues())
    if (isPaused) picture[`queue ${name}`] = "paused";
  return picture;
}

function lasting(task: TaskView): object {
  const { status, claim, attempt, failures, errors, result, runAtMs, finishedAtMs } = task;
  const isHere = status === "running" && claim === null;
  return {
    status: isHere ? "queued" : status,
    claim,
    attempt,
    failures,
    errors,
    result,
    runAtMs: status === "retrying" ? runAtMs : null,
    finishedAtMs,
  };
}

function hostOf(engine: Engine): BrokerHost {
  if (!(engine instanceof BrokerHost)) throw new Error("this engine hosts no broker");
  return engine;
}
