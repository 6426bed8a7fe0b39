import { Database, SQLiteError } from "bun:sqlite";
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { Dice } from "./dice.ts";
import { CUT_STYLES, type CutStyle, type DiskImage, SimulatedDisk } from "./disk.ts";
import { type DiskRecord, DiskRecorder, findRecorderObstacle } from "./disk-recorder.ts";
import { makeScratch } from "./scratch.ts";

const ROOT = "/disk";
const FILE = "/disk/file";

test("what was synced, and whose folder was, is there however the power goes", () => {
  const disk = aDisk([created(), written(0, "kept"), synced(FILE), synced(ROOT)]);
  for (const style of CUT_STYLES) expect(contentOf(disk.cut(style, new Dice(1)))).toBe("kept");
});

test("what was not synced may be gone, there, or torn", () => {
  const disk = aDisk([created(), synced(ROOT), written(0, "a".repeat(512) + "b".repeat(512))]);
  const found = contentsOf(disk, CUT_STYLES);
  expect(found).toContain("");
  expect(found).toContain("a".repeat(512));
  expect(found).toContain("a".repeat(512) + "b".repeat(512));
  expect(found).toContain("\0".repeat(512) + "b".repeat(512));
});

test("a later write may reach the disk without an earlier one", () => {
  const disk = aDisk([created(), synced(ROOT), written(0, "1"), written(1, "2")]);
  expect(contentsOf(disk, ["some writes"])).toEqual(new Set(["", "1", "\u00002", "12"]));
});

test("two writes to one place may arrive in either order", () => {
  const disk = aDisk([created(), synced(ROOT), written(0, "old"), written(0, "new")]);
  expect(contentsOf(disk, ["some writes"])).toEqual(new Set(["", "old", "new"]));
});

test("a file whose folder was not synced may be missing, synced as it is", () => {
  const disk = aDisk([created(), written(0, "kept"), synced(FILE)]);
  expect(disk.cut("nothing", new Dice(1)).size).toBe(0);
  expect(contentOf(disk.cut("everything", new Dice(1)))).toBe("kept");
});

test("a deleted file whose folder was not synced may come back as it was", () => {
  const disk = aDisk([created(), written(0, "kept"), synced(FILE), synced(ROOT)]);
  disk.apply({ kind: "unlink", path: FILE });
  disk.apply(created());
  disk.apply(written(0, "another"));
  expect(contentOf(disk.cut("nothing", new Dice(1)))).toBe("kept");
});

test("a file that was cut and grew again reads as zeros in between", () => {
  const disk = aDisk([
    created(),
    written(0, "abcdef"),
    truncated(2),
    written(4, "x"),
    synced(ROOT),
  ]);
  expect(contentOf(disk.cut("everything", new Dice(1)))).toBe("ab\0\0x");
});

// The method, tried on SQLite alone: what it says of a table is what it will say of ringq.

const obstacle = findRecorderObstacle();
const testWithRecorder = test.skipIf(obstacle !== null);

testWithRecorder("a table with synchronous=FULL loses no committed row in 300 cuts", () => {
  expect(countCuts("FULL")).toEqual({ lost: 0, damaged: 0 });
});

testWithRecorder(
  "with synchronous=NORMAL it is caught losing committed rows, but stays whole",
  () => {
    const { lost, damaged } = countCuts("NORMAL");
    expect(lost).toBeGreaterThan(100);
    expect(damaged).toBe(0);
  },
);

testWithRecorder("with synchronous=OFF it is caught losing rows and damaged", () => {
  const { lost, damaged } = countCuts("OFF");
  expect(lost).toBeGreaterThan(100);
  expect(damaged).toBeGreaterThan(10);
});

/** Commits rows one by one, with a checkpoint between, and cuts the power 300 times anywhere after the table exists. */
function countCuts(synchronous: string): { lost: number; damaged: number } {
  using scratch = makeScratch();
  using recorder = DiskRecorder.open(scratch.folder);
  const path = `${scratch.folder}/rows.db`;
  const db = new Database(path);
  db.run("PRAGMA journal_mode = WAL");
  db.run(`PRAGMA synchronous = ${synchronous}`);
  db.run("CREATE TABLE rows (n INTEGER, padding BLOB)");
  const start = recorder.count;
  const committed: number[] = [];
  for (let row = 0; row < 60; row += 1) {
    db.run("INSERT INTO rows VALUES (?, zeroblob(2500))", [row]);
    committed.push(recorder.count);
    if (row % 20 === 10) db.run("PRAGMA wal_checkpoint(RESTART)");
  }
  db.close();
  const records = recorder.take();
  recorder.setRecording(false);
  recorder.setSkippingSyncs(true);

  const dice = new Dice(7);
  const cuts = Array.from({ length: 300 }, () => start + dice.below(records.length - start));
  const disk = new SimulatedDisk(scratch.folder);
  let [applied, lost, damaged] = [0, 0, 0];
  for (const cut of cuts.sort((a, b) => a - b)) {
    for (; applied < cut; applied += 1) disk.apply(at(records, applied));
    using state = makeScratch();
    const rows = rowsIn(disk.cut(dice.pick(CUT_STYLES), dice), scratch.folder, state.folder);
    if (rows === null) damaged += 1;
    else if (rows < committed.filter((count) => count <= cut).length) lost += 1;
  }
  return { lost, damaged };
}

/** How many rows are found, from the first without a gap; null when the database is damaged. */
function rowsIn(image: DiskImage, root: string, folder: string): number | null {
  for (const [path, bytes] of image) writeFileSync(folder + path.slice(root.length), bytes);
  try {
    using db = new Database(`${folder}/rows.db`);
    const rows = db.query<{ n: number }, []>("SELECT n FROM rows ORDER BY rowid").all();
    const { integrity_check: check } = db
      .query<{ integrity_check: string }, []>("PRAGMA integrity_check")
      .get() ?? { integrity_check: "" };
    return check === "ok" && rows.every(({ n }, index) => n === index) ? rows.length : null;
  } catch (error) {
    // The power went before even the table was on the disk.
    if (error instanceof SQLiteError && error.message.startsWith("no such table")) return 0;
    return null;
  }
}

function aDisk(records: readonly DiskRecord[]): SimulatedDisk {
  const disk = new SimulatedDisk(ROOT);
  for (const record of records) disk.apply(record);
  return disk;
}

function created(): DiskRecord {
  return { kind: "create", path: FILE };
}

function written(offset: number, text: string): DiskRecord {
  return { kind: "write", path: FILE, offset, bytes: new TextEncoder().encode(text) };
}

function truncated(length: number): DiskRecord {
  return { kind: "truncate", path: FILE, length };
}

function synced(path: string): DiskRecord {
  return { kind: "sync", path };
}

function contentOf(image: DiskImage): string | undefined {
  const bytes = image.get(FILE);
  return bytes === undefined ? undefined : Buffer.from(bytes).toString();
}

/** Everything that is found in the file over many cuts. */
function contentsOf(disk: SimulatedDisk, styles: readonly CutStyle[]): Set<string | undefined> {
  const dice = new Dice(1);
  return new Set(Array.from({ length: 500 }, () => contentOf(disk.cut(dice.pick(styles), dice))));
}

function at<T>(list: readonly T[], index: number): T {
  const value = list[index];
  if (value === undefined) throw new Error(`there is no ${index} in a list of ${list.length}`);
  return value;
}
