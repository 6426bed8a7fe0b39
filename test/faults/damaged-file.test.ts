/** Files that are not what they should be: refused by name and left as they are, or recovered as SQLite promises it. */

import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Engine } from "../../src/engine/engine.ts";
import { DataFileError } from "../../src/engine/sqlite/data-file.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { Dice } from "./dice.ts";
import { openDurable } from "./open-durable.ts";
import { findIn } from "./power-load.ts";
import { makeScratch, type Scratch } from "./scratch.ts";

const TASKS = 60;

describe("a file that is not ours is refused by name, and left as it is:", () => {
  test.each<readonly [name: string, make: (path: string) => void, says: string]>([
    ["a text", (path) => writeFileSync(path, "dear diary\n".repeat(100)), "not a ringq data file"],
    ["a few bytes", (path) => writeFileSync(path, "x"), "not a ringq data file"],
    ["only zeros", (path) => writeFileSync(path, new Uint8Array(8192)), "not a ringq data file"],
    ["a database of another program", makeForeign, "SQLite file of another program"],
    ["a folder", (path) => mkdirSync(path), "is not a file"],
    ["a file of a newer ringq", makeNewer, "has version 1000"],
    ["a link to nowhere", (path) => symlinkSync("/nowhere/at/all", path), "can't be found"],
    ["a file in a folder that is missing", () => undefined, "can't be found"],
  ])("%s", async (name, make, says) => {
    using scratch = makeScratch();
    const path = join(scratch.folder, name.includes("missing") ? "no/ringq.db" : "ringq.db");
    make(path);
    const before = contentsOf(scratch);

    expect(refusalOf(path)).toContain(says);

    expect(refusalOf(path)).toContain(path);
    expect(contentsOf(scratch)).toEqual(before);
  });

  test.skipIf(process.getuid?.() === 0)("a file that may not be read", async () => {
    using scratch = makeScratch();
    const path = await makeClosed(scratch);
    chmodSync(path, 0);
    expect(refusalOf(path)).toContain(path);
  });

  test("a log without its file", async () => {
    using scratch = makeScratch();
    const path = await makeKilled(scratch);
    writeFileSync(path, "");
    const before = contentsOf(scratch);

    expect(refusalOf(path)).toContain("Restore both together");

    expect(contentsOf(scratch)).toEqual(before);
  });
});

test("an empty file becomes a data file", async () => {
  using scratch = makeScratch();
  const path = join(scratch.folder, "ringq.db");
  writeFileSync(path, "");
  const engine = openDurable(path, "full", new ManualClock());
  await enqueue(engine, 1);
  await engine.close();
  expect(await numbersIn(path)).toEqual([1]);
});

describe("a damaged data file", () => {
  test("cut anywhere is refused and left as it is", async () => {
    using scratch = makeScratch();
    const path = await makeClosed(scratch);
    const whole = readFileSync(path);
    const dice = new Dice(1);
    for (let times = 0; times < 40; times += 1) {
      const cut = whole.subarray(0, 1 + dice.below(whole.length - 1));
      writeFileSync(path, cut);
      const before = contentsOf(scratch);
      expect(refusalOf(path)).toContain(path);
      expect(contentsOf(scratch)).toEqual(before);
    }
  });

  test("with a page of zeros is refused and left as it is", async () => {
    using scratch = makeScratch();
    const path = await makeClosed(scratch);
    const whole = readFileSync(path);
    for (let page = 0; page < whole.length; page += 4096) {
      writeFileSync(path, Buffer.from(whole).fill(0, page, page + 4096));
      const before = contentsOf(scratch);
      expect(refusalOf(path)).toContain(path);
      expect(contentsOf(scratch)).toEqual(before);
    }
  });

  test("with any byte of its header changed is refused and left as it is, or is all there", async () => {
    using scratch = makeScratch();
    const path = await makeClosed(scratch);
    const whole = readFileSync(path);
    for (let offset = 0; offset < 100; offset += 1) {
      await expectRefusedOrWhole(scratch, path, flipped(whole, offset, 0xff));
    }
  });

  test("with a byte changed anywhere is refused and left as it is, or has as many tasks", async () => {
    using scratch = makeScratch();
    const path = await makeClosed(scratch);
    const whole = readFileSync(path);
    const dice = new Dice(1);
    for (let times = 0; times < 300; times += 1) {
      const offset = dice.below(whole.length);
      await expectRefusedOrWhole(scratch, path, flipped(whole, offset, 1 + dice.below(255)));
    }
  });
});

describe("the log of a process that was killed", () => {
  test("is played back whole", async () => {
    using scratch = makeScratch();
    expect(await numbersIn(await makeKilled(scratch))).toEqual(upTo(TASKS));
  });

  test("cut anywhere loses its end at most", async () => {
    using scratch = makeScratch();
    const path = await makeKilled(scratch);
    const whole = readFileSync(`${path}-wal`);
    const found: number[] = [];
    for (let length = 0; length <= whole.length; length += 997) {
      const numbers = await numbersWithLog(scratch, path, whole.subarray(0, length));
      expect(numbers).toEqual(upTo(numbers.length));
      found.push(numbers.length);
    }
    // The more is left of it, the more comes back.
    expect(found).toEqual(found.toSorted((a, b) => a - b));
    expect(found.at(0)).toBe(0);
    expect(found.at(-1)).toBeGreaterThan(TASKS - 3);
  });

  test("with a byte changed anywhere loses what follows at most", async () => {
    using scratch = makeScratch();
    const path = await makeKilled(scratch);
    const whole = readFileSync(`${path}-wal`);
    const dice = new Dice(1);
    for (let times = 0; times < 100; times += 1) {
      const log = flipped(whole, dice.below(whole.length), 1 + dice.below(255));
      const numbers = await numbersWithLog(scratch, path, log);
      expect(numbers).toEqual(upTo(numbers.length));
    }
  });

  test("of another file is not played back", async () => {
    using scratch = makeScratch();
    using other = makeScratch();
    const path = await makeClosed(scratch);
    cpSync(`${await makeKilled(other)}-wal`, `${path}-wal`);
    writeFileSync(`${path}-wal`, flipped(readFileSync(`${path}-wal`), 16, 0xff));
    expect(await numbersIn(path)).toEqual(upTo(TASKS));
  });
});

/** A data file with tasks that was closed as it should be. */
async function makeClosed(scratch: Scratch): Promise<string> {
  const path = join(scratch.folder, "ringq.db");
  const engine = openDurable(path, "full", new ManualClock());
  for (const number of upTo(TASKS)) await enqueue(engine, number);
  await engine.close();
  return path;
}

/** The files of a process that was killed: a data file, and a log with every task, each in a group of its own. */
async function makeKilled(scratch: Scratch): Promise<string> {
  const live = join(scratch.folder, "ringq.db");
  using beside = makeScratch();
  const engine = openDurable(join(beside.folder, "ringq.db"), "full", new ManualClock());
  for (const number of upTo(TASKS)) await enqueue(engine, number);
  for (const suffix of ["", "-wal"])
    cpSync(join(beside.folder, `ringq.db${suffix}`), live + suffix);
  await engine.close();
  return live;
}

function makeForeign(path: string): void {
  using db = new Database(path);
  db.run("CREATE TABLE bookmarks (url TEXT)");
}

function makeNewer(path: string): void {
  void openDurable(path, "full", new ManualClock()).close();
  using db = new Database(path);
  db.run("PRAGMA user_version = 1000");
  db.run("PRAGMA wal_checkpoint(TRUNCATE)");
}

async function enqueue(engine: Engine, number: number): Promise<void> {
  const answer = await engine.enqueue([{ payload: { number, text: "x".repeat(300) } }]);
  if (answer.kind !== "accepted") throw new Error(`not accepted, but ${answer.kind}`);
}

/** What it says when this file is opened, which must not work. */
function refusalOf(path: string): string {
  try {
    void openDurable(path, "full", new ManualClock()).close();
  } catch (error) {
    if (error instanceof DataFileError) return error.message;
    throw error;
  }
  throw new Error(`${path} was opened`);
}

/** The tasks in a data file, oldest first. */
async function numbersIn(path: string): Promise<readonly number[]> {
  const engine = openDurable(path, "full", new ManualClock());
  const { tasks } = await findIn(engine);
  await engine.close();
  return tasks.map(({ number }) => number).reverse();
}

/** The tasks in a data file when this is its log. The data file is as it was afterwards. */
async function numbersWithLog(
  scratch: Scratch,
  path: string,
  log: Uint8Array,
): Promise<readonly number[]> {
  const copy = join(scratch.folder, "copy.db");
  cpSync(path, copy);
  writeFileSync(`${copy}-wal`, log);
  return numbersIn(copy);
}

async function expectRefusedOrWhole(
  scratch: Scratch,
  path: string,
  content: Uint8Array,
): Promise<void> {
  writeFileSync(path, content);
  const before = contentsOf(scratch);
  let engine: Engine;
  try {
    engine = openDurable(path, "full", new ManualClock());
  } catch (error) {
    expect(error).toBeInstanceOf(DataFileError);
    expect(contentsOf(scratch)).toEqual(before);
    return;
  }
  const answer = await engine.list({ limit: 500 });
  expect(answer.kind === "page" && answer.tasks.length).toBe(TASKS);
  await engine.close();
}

function flipped(bytes: Uint8Array, offset: number, mask: number): Uint8Array {
  const changed = Uint8Array.from(bytes);
  changed[offset] = (changed[offset] ?? 0) ^ mask;
  return changed;
}

/** Every file in the folder and what it holds, in short. */
function contentsOf({ folder }: Scratch): Readonly<Record<string, string>> {
  const contents: Record<string, string> = {};
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    if (!existsSync(path)) contents[name] = "a link to nowhere";
    else if (statSync(path).isDirectory()) contents[name] = "a folder";
    else contents[name] = Bun.hash(readFileSync(path)).toString(16);
  }
  return contents;
}

function upTo(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}
