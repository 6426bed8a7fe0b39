import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { Dice } from "./dice.ts";
import { SimulatedDisk } from "./disk.ts";
import { DiskRecorder, ERRNO, findRecorderObstacle } from "./disk-recorder.ts";
import { makeScratch } from "./scratch.ts";

const obstacle = findRecorderObstacle();
if (obstacle !== null) process.stderr.write(`The disk recorder is not tested: ${obstacle}.\n`);
const testHere = test.skipIf(obstacle !== null);

testHere("what was noted, played back, gives the very files that are on the disk", () => {
  using scratch = makeScratch();
  using recorder = DiskRecorder.open(scratch.folder);
  using kept = openTable(`${scratch.folder}/kept.db`, "FULL");
  kept.run("INSERT INTO t VALUES (randomblob(50000))");
  kept.run("PRAGMA wal_checkpoint(TRUNCATE)");
  kept.run("DELETE FROM t");
  kept.run("VACUUM");
  kept.run("PRAGMA wal_checkpoint(PASSIVE)");
  kept.run("INSERT INTO t VALUES (randomblob(20000))");
  openTable(`${scratch.folder}/closed.db`, "FULL").close();

  const records = recorder.take();
  const disk = new SimulatedDisk(scratch.folder);
  for (const record of records) disk.apply(record);
  const played = disk.cut("everything", new Dice(1));

  const kinds = new Set(records.map(({ kind }) => kind));
  expect(kinds).toEqual(new Set(["create", "write", "sync", "truncate", "unlink"] as const));
  const paths = readdirSync(scratch.folder).map((name) => `${scratch.folder}/${name}`);
  const onDisk = paths.filter((path) => !path.endsWith("-shm")).sort();
  expect([...played.keys()].sort()).toEqual(onDisk);
  expect(onDisk).toContain(`${scratch.folder}/kept.db-wal`);
  for (const [path, bytes] of played) expect(readFileSync(path).equals(bytes)).toBe(true);
});

testHere("a commit in a fresh file syncs the journal, its folder, the file, in this order", () => {
  using scratch = makeScratch();
  using recorder = DiskRecorder.open(scratch.folder);
  using db = new Database(`${scratch.folder}/fresh`);

  db.run("CREATE TABLE t (x)");

  const folder = scratch.folder;
  expect(recorder.take().flatMap((each) => (each.kind === "sync" ? [each.path] : []))).toEqual([
    `${folder}/fresh-journal`,
    folder,
    `${folder}/fresh-journal`,
    `${folder}/fresh`,
  ]);
});

testHere("a commit of SQLite is seen as its log's writes and the sync after them", () => {
  using scratch = makeScratch();
  using recorder = DiskRecorder.open(scratch.folder);
  using db = openTable(`${scratch.folder}/table.db`, "FULL");
  recorder.take();

  db.run("INSERT INTO t VALUES ('a value to be found in the log')");

  const records = recorder.take();
  expect(records.map(({ kind }) => kind)).toEqual(["write", "write", "sync"]);
  const page = records[1];
  expect(page?.kind === "write" && Buffer.from(page.bytes).includes("a value to be found")).toBe(
    true,
  );
});

testHere("what happens outside of the folder, or after it is closed, is not noted", () => {
  using scratch = makeScratch();
  using elsewhere = makeScratch();
  const recorder = DiskRecorder.open(scratch.folder);
  openTable(`${elsewhere.folder}/table.db`, "FULL").close();
  recorder[Symbol.dispose]();
  openTable(`${scratch.folder}/table.db`, "FULL").close();

  expect(recorder.count).toBe(0);
});

testHere("a write that must fail fails as the system would say it, until it is healed", () => {
  using scratch = makeScratch();
  using recorder = DiskRecorder.open(scratch.folder);
  using db = openTable(`${scratch.folder}/table.db`, "FULL");

  recorder.fail({ kinds: ["write"], errno: ERRNO.ENOSPC });
  expect(() => db.run("INSERT INTO t VALUES ('lost')")).toThrow("database or disk is full");
  recorder.heal();
  db.run("INSERT INTO t VALUES ('kept')");

  expect(db.query("SELECT x FROM t").values()).toEqual([["kept"]]);
});

testHere("a fault strikes after as many calls, and as often, as it was told", () => {
  using scratch = makeScratch();
  using recorder = DiskRecorder.open(scratch.folder);
  using db = openTable(`${scratch.folder}/table.db`, "FULL");

  recorder.fail({ kinds: ["sync"], errno: ERRNO.EIO, after: 1, times: 1 });
  db.run("INSERT INTO t VALUES (1)");
  expect(() => db.run("INSERT INTO t VALUES (2)")).toThrow("disk I/O error");
  db.run("INSERT INTO t VALUES (3)");

  expect(db.query("SELECT x FROM t").values()).toEqual([[1], [3]]);
});

/** A table in a log-keeping database, ready for rows. */
function openTable(path: string, synchronous: "FULL" | "NORMAL"): Database {
  const db = new Database(path);
  db.run("PRAGMA journal_mode = WAL");
  db.run(`PRAGMA synchronous = ${synchronous}`);
  db.run("CREATE TABLE t (x)");
  return db;
}
