import { Database } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename } from "node:path";
import { DataFileError, openDataFile } from "../../../src/engine/sqlite/data-file.ts";
import { readDataFile } from "../../../src/engine/sqlite/file-reader.ts";
import { backUp, verifyDataFile } from "../../../src/engine/sqlite/maintenance.ts";
import { MIGRATIONS } from "../../../src/engine/sqlite/migrations.ts";
import { makeDataFolder } from "../../support/data-folder.ts";
import { REMOTE, REMOTE_TYPES } from "../../support/engine-harness.ts";
import { openSqlite, type SqliteHarness } from "../../support/sqlite-harness.ts";

const folder = makeDataFolder();
afterAll(() => folder.remove());

function anEngine(): SqliteHarness {
  return openSqlite(folder, { types: REMOTE_TYPES });
}

/** A closed data file with a task in each status that lasts. */
async function aFullFile(): Promise<string> {
  await using harness = anEngine();
  for (const status of ["done", "failed", "cancelled", "retrying", "scheduled"] as const) {
    await harness.enqueueIn(status);
  }
  await harness.engine.enqueue([{ payload: 1 }], "key");
  await harness.engine.pause("default");
  return harness.path;
}

/** Changes a closed data file from outside. */
function change(path: string, sql: string): void {
  const db = new Database(path);
  db.run(sql);
  db.close(true);
}

/** Copies of the files of an engine that goes on, as a crash at this moment would leave them. */
function crashedCopyOf({ path }: SqliteHarness): string {
  const copy = folder.newFile();
  for (const suffix of ["", "-wal"]) copyFileSync(path + suffix, copy + suffix);
  return copy;
}

/** A copy of one file. */
function aCopyOf(path: string): string {
  const copy = folder.newFile();
  copyFileSync(path, copy);
  return copy;
}

/** What lies beside a data file, but for its lock. */
function besides(path: string): readonly string[] {
  const name = basename(path);
  return readdirSync(folder.path).filter(
    (other) => other.startsWith(`${name}-`) && other !== `${name}-lock`,
  );
}

/** What backups that failed have left. */
function unfinished(): readonly string[] {
  return readdirSync(folder.path).filter((name) => name.includes("unfinished"));
}

function lacksLog(path: string): string {
  const what = `may have been copied or moved without its log (${path}-wal)`;
  return `${what}: tasks may be missing. Copy both files`;
}

describe("a verification", () => {
  test("says what is in a data file", async () => {
    expect(verifyDataFile(await aFullFile())).toEqual({
      version: MIGRATIONS.length,
      counts: {
        scheduled: 1,
        queued: 1,
        running: 0,
        retrying: 1,
        done: 1,
        failed: 1,
        cancelled: 1,
      },
      keys: 1,
      pausedQueues: 1,
      faults: [],
    });
  });

  test("sees what is still in the log of a file in use", async () => {
    await using harness = anEngine();
    await harness.enqueueAll([{}, {}]);

    expect(verifyDataFile(harness.path).counts.queued).toBe(2);
  });

  test.each([
    [
      "UPDATE tasks SET id = (SELECT min(id) FROM tasks) WHERE seq < 3",
      /^tasks with a duplicate id: \d$/,
    ],
    ["UPDATE tasks SET payload = '{' WHERE seq = 1", /^tasks whose payload is not JSON: 1$/],
    ["DELETE FROM tasks WHERE seq = 1", /^states without a task: 1$/],
    ["UPDATE states SET status = 'lost' WHERE seq = 4", /^states with an unknown status: 1$/],
    [
      "UPDATE states SET finished_at = NULL WHERE seq = 1",
      /^finished tasks without an end time, or .*: 1$/,
    ],
    [
      "UPDATE states SET errors = '[' WHERE seq = 1",
      /^tasks whose errors, result or progress is not JSON: 1$/,
    ],
    [
      "UPDATE states SET receipt = '{' WHERE seq = 1",
      /^tasks whose receipt or claim is not JSON: 1$/,
    ],
    [
      "UPDATE states SET claim = '[' WHERE seq = 1",
      /^tasks whose receipt or claim is not JSON: 1$/,
    ],
    ["UPDATE tasks SET tags = '[' WHERE seq = 1", /^tasks whose tags are not JSON: 1$/],
    ["UPDATE keys SET receipts = ''", /^idempotency keys whose receipts are not JSON: 1$/],
    [
      "INSERT INTO keys SELECT seq + 100, key, fingerprint, receipts, NULL FROM keys",
      /^duplicate idempotency keys: 1$/,
    ],
  ])("finds what a data file never has: %s", async (sql, fault) => {
    const path = await aFullFile();
    change(path, sql);

    expect(verifyDataFile(path).faults).toEqual([expect.stringMatching(fault)]);
  });

  test("finds damage to the file itself", async () => {
    const path = await aFullFile();
    const bytes = readFileSync(path);
    bytes.fill(0xff, bytes.length - 64);
    writeFileSync(path, bytes);

    expect(() => {
      if (verifyDataFile(path).faults.length > 0) throw new DataFileError("it has faults");
    }).toThrow(DataFileError);
  });

  test("changes nothing, and leaves nothing beside the file", async () => {
    const path = aCopyOf(await aFullFile());
    const before = readFileSync(path);

    verifyDataFile(path);

    expect(readFileSync(path).equals(before)).toBe(true);
    expect(besides(path)).toEqual([]);
    expect(existsSync(`${path}-lock`)).toBe(false);
  });

  test("finds that a file was copied without its log", async () => {
    await using harness = anEngine();
    await harness.enqueue();
    const path = aCopyOf(harness.path);

    expect(verifyDataFile(path).faults).toEqual([lacksLog(path)]);
    expect(verifyDataFile(path).faults).toEqual([lacksLog(path)]);
  });

  test("finds that a file was copied with an empty log", async () => {
    await using harness = anEngine();
    await harness.enqueue();
    const path = aCopyOf(harness.path);
    writeFileSync(`${path}-wal`, "");

    expect(verifyDataFile(path).faults).toEqual([lacksLog(path)]);
    expect(verifyDataFile(path).faults).toEqual([lacksLog(path)]);
  });

  test("moves a log that was left into its file, which then can be copied alone", async () => {
    await using harness = anEngine();
    await harness.enqueueAll([{}, {}]);
    const path = crashedCopyOf(harness);

    expect(verifyDataFile(path)).toMatchObject({ counts: { queued: 2 }, faults: [] });

    expect(besides(path)).toEqual([]);
    expect(verifyDataFile(aCopyOf(path))).toMatchObject({ counts: { queued: 2 }, faults: [] });
  });

  test("leaves a log alone when the file has a fault", async () => {
    await using harness = anEngine();
    await harness.enqueue();
    const path = crashedCopyOf(harness);
    const db = new Database(path, { readonly: false });
    db.run("UPDATE tasks SET payload = '{'");
    const [main, log] = [readFileSync(path), readFileSync(`${path}-wal`)];
    const copy = folder.newFile();
    writeFileSync(copy, main);
    writeFileSync(`${copy}-wal`, log);
    db.close();

    expect(verifyDataFile(copy).faults).toEqual(["tasks whose payload is not JSON: 1"]);

    expect(readFileSync(copy).equals(main)).toBe(true);
    expect(readFileSync(`${copy}-wal`).equals(log)).toBe(true);
  });

  test("leaves the log of a file in use to its process", async () => {
    await using harness = anEngine();
    await harness.enqueue();
    const before = readFileSync(harness.path);

    verifyDataFile(harness.path);

    expect(statSync(`${harness.path}-wal`).size).toBeGreaterThan(0);
    expect(readFileSync(harness.path).equals(before)).toBe(true);
  });

  test("by way of a symbolic link sees the log, too", async () => {
    await using harness = anEngine();
    await harness.enqueue();
    const link = folder.newFile();
    symlinkSync(harness.path, link);

    expect(verifyDataFile(link)).toMatchObject({ counts: { queued: 1 }, faults: [] });
  });

  test.each(["", "text", "SQLite format 3\0"])("refuses a file with %j in it", (content) => {
    const path = folder.newFile();
    writeFileSync(path, content);

    expect(() => verifyDataFile(path)).toThrow(DataFileError);
  });

  test("refuses a folder", () => {
    const path = folder.newFile();
    mkdirSync(path);

    expect(() => verifyDataFile(path)).toThrow(new DataFileError(`${path} is not a file`));
  });

  test("refuses a file that does not exist", () => {
    const path = folder.newFile();

    expect(() => verifyDataFile(path)).toThrow(new DataFileError(`${path} does not exist`));
    expect(existsSync(path)).toBe(false);
  });
});

describe("a backup", () => {
  test("of a file in use is sound, and goes on where the file was", async () => {
    await using harness = anEngine();
    const ids = await harness.enqueueAll([{}, {}]);
    const copy = folder.newFile();

    backUp(harness.path, copy);
    await harness.enqueue();

    expect(verifyDataFile(copy)).toMatchObject({ counts: { queued: 2 }, faults: [] });
    await using next = harness.open(copy);
    expect(await next.claimAll()).toEqual([...ids]);
  });

  test("releases the remote claims, also those that a stop has stored", async () => {
    const first = anEngine();
    await first.enqueueAll([{ type: "remote" }, { type: "remote" }]);
    const stored = await first.claimRemote();
    await using harness = await first.restart();
    const noted = await harness.claimRemote();
    const copy = folder.newFile();

    backUp(harness.path, copy);

    expect(verifyDataFile(copy)).toMatchObject({ counts: { queued: 2, running: 0 }, faults: [] });
    await using next = harness.open(copy);
    for (const { taskId, fence } of [stored, noted])
      expect(await next.engine.extend(taskId, fence, 5000)).toMatchObject({ kind: "claim_lost" });
    expect(await next.claimAll(REMOTE)).toHaveLength(2);
    expect(await harness.settleDone(stored)).toMatchObject({ kind: "settled" });
    expect(await harness.settleDone(noted)).toMatchObject({ kind: "settled" });
  });

  test("says that nothing is missing from it, though the file is in use", async () => {
    await using harness = anEngine();
    await harness.enqueue();
    const copy = folder.newFile();

    backUp(harness.path, copy);

    expect(verifyDataFile(aCopyOf(copy)).faults).toEqual([]);
    expect(besides(copy)).toEqual([]);
  });

  test("of a file that lacks its log goes on saying so", async () => {
    await using harness = anEngine();
    await harness.enqueue();
    const copy = folder.newFile();

    const path = aCopyOf(harness.path);
    writeFileSync(`${path}-wal`, "");

    backUp(path, copy);

    expect(verifyDataFile(copy).faults).toEqual([lacksLog(copy)]);
    expect(verifyDataFile(path).faults).toEqual([lacksLog(path)]);
  });

  test("moves a log that was left into its file", async () => {
    await using harness = anEngine();
    await harness.enqueueAll([{}, {}]);
    const path = crashedCopyOf(harness);

    backUp(path, folder.newFile());

    expect(verifyDataFile(aCopyOf(path))).toMatchObject({ counts: { queued: 2 }, faults: [] });
  });

  test("can be read by its owner only", async () => {
    const copy = folder.newFile();

    backUp(await aFullFile(), copy);

    expect((statSync(copy).mode & 0o777).toString(8)).toBe("600");
  });

  test.each<readonly [name: string, make: (path: string) => void]>([
    ["a file", (path) => writeFileSync(path, "precious")],
    ["a folder", (path) => mkdirSync(path)],
    ["a link that leads nowhere", (path) => symlinkSync(`${path}.none`, path)],
    ["a link to a file", (path) => symlinkSync(import.meta.path, path)],
  ])("does not take the place of %s", async (_, make) => {
    const path = await aFullFile();
    const copy = folder.newFile();
    make(copy);
    const before = [lstatSync(copy).ino, lstatSync(copy).mtimeMs];

    expect(() => backUp(path, copy)).toThrow(new DataFileError(`${copy} already exists`));

    expect([lstatSync(copy).ino, lstatSync(copy).mtimeMs]).toEqual(before);
  });

  test("leaves nothing beside it, and what has such a name alone", async () => {
    const path = await aFullFile();
    const copy = folder.newFile();
    writeFileSync(`${copy}-unfinished`, "precious");

    backUp(path, copy);

    expect(readFileSync(`${copy}-unfinished`, "utf8")).toBe("precious");
    rmSync(`${copy}-unfinished`);
    expect([...besides(copy), ...unfinished()]).toEqual([]);
  });

  test("takes a long name", async () => {
    const copy = `${folder.path}/${"x".repeat(240)}`;

    backUp(await aFullFile(), copy);

    expect(verifyDataFile(copy).faults).toEqual([]);
  });

  test("into a folder that does not exist is refused", async () => {
    const path = await aFullFile();
    const none = folder.newFile();

    expect(() => backUp(path, `${none}/copy.db`)).toThrow(
      new DataFileError(`${none} is not a folder`),
    );
  });

  test("that fails leaves nothing", async () => {
    const path = await aFullFile();
    const bytes = readFileSync(path);
    // The pages of the header and of the mark are whole.
    bytes.fill(0xff, 2 * 4096);
    writeFileSync(path, bytes);
    const copy = folder.newFile();

    expect(() => backUp(path, copy)).toThrow(`${path} can't be copied to ${copy}: `);

    expect(existsSync(copy)).toBe(false);
    expect(unfinished()).toEqual([]);
  });
});

describe("a data file that is read from beside", () => {
  test("is read again when a process wrote to it meanwhile", async () => {
    const path = await aFullFile();
    const queues: unknown[] = [];

    const last = readDataFile(path, ({ db }) => {
      const [[count] = []] = db.query("SELECT count(*) FROM paused_queues").values();
      queues.push(count);
      if (queues.length === 1) {
        const file = openDataFile(path, "full");
        file.db.run("INSERT INTO paused_queues VALUES ('another')");
        file.close();
      }
      return count;
    });

    expect(queues).toEqual([1, 2]);
    expect(last).toBe(2);
  });

  test("is read again when that made the reading fail", async () => {
    const path = await aFullFile();
    let tries = 0;

    const last = readDataFile(path, () => {
      tries += 1;
      if (tries > 1) return "read";
      openDataFile(path, "full").close();
      throw new Error("the page changed while it was read");
    });

    expect(last).toBe("read");
  });
});
