import { Database } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { DataFileError } from "../../../src/engine/sqlite/data-file.ts";
import { backUp, inspect } from "../../../src/engine/sqlite/maintenance.ts";
import { makeDataFolder } from "../../support/data-folder.ts";
import { type Life, openLife } from "../../support/sqlite-harness.ts";

const folder = makeDataFolder();
afterAll(() => folder.remove());

function aLife(): Life {
  return openLife(folder);
}

/** A closed data file with a task in each status that lasts. */
async function aFullFile(): Promise<string> {
  await using life = aLife();
  for (const status of ["done", "failed", "cancelled", "retrying", "scheduled"] as const) {
    await life.enqueueIn(status);
  }
  await life.engine.enqueue([{ payload: 1 }], "key");
  await life.engine.setPaused("default", true);
  return life.path;
}

/** Changes a closed data file from outside. */
function change(path: string, sql: string): void {
  const db = new Database(path);
  db.run(sql);
  db.close(true);
}

describe("an inspection", () => {
  test("says what is in a data file", async () => {
    expect(inspect(await aFullFile())).toEqual({
      version: 1,
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
    await using life = aLife();
    await life.enqueueAll([{}, {}]);

    expect(inspect(life.path).counts.queued).toBe(2);
  });

  test.each([
    [
      "UPDATE tasks SET id = (SELECT min(id) FROM tasks) WHERE seq < 3",
      /^\d tasks have an id that another task has too$/,
    ],
    ["UPDATE tasks SET payload = '{' WHERE seq = 1", /^1 tasks have a payload that is not JSON$/],
    ["DELETE FROM tasks WHERE seq = 1", /^1 states belong to no task$/],
    [
      "UPDATE states SET status = 'lost' WHERE seq = 4",
      /^1 states have a status that does not exist$/,
    ],
    [
      "UPDATE states SET finished_at = NULL WHERE seq = 1",
      /^1 tasks are finished without an end, or/,
    ],
    ["UPDATE states SET errors = '[' WHERE seq = 1", /^1 tasks have errors, a result or a/],
    ["UPDATE keys SET receipts = ''", /^1 keys have receipts that are not JSON$/],
    [
      "INSERT INTO keys SELECT seq + 100, key, fingerprint, receipts, NULL FROM keys",
      /^1 keys are there more than once$/,
    ],
  ])("finds what a data file never has: %s", async (sql, fault) => {
    const path = await aFullFile();
    change(path, sql);

    expect(inspect(path).faults).toEqual([expect.stringMatching(fault)]);
  });

  test("finds damage to the file itself", async () => {
    const path = await aFullFile();
    const bytes = readFileSync(path);
    bytes.fill(0xff, bytes.length - 64);
    writeFileSync(path, bytes);

    expect(() => {
      if (inspect(path).faults.length > 0) throw new DataFileError("it has faults");
    }).toThrow(DataFileError);
  });

  test("changes nothing", async () => {
    const path = await aFullFile();
    const before = readFileSync(path);

    inspect(path);

    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test.each(["", "text", "SQLite format 3\0"])("refuses a file with %j in it", (content) => {
    const path = folder.newFile();
    writeFileSync(path, content);

    expect(() => inspect(path)).toThrow(DataFileError);
  });

  test("refuses a file that does not exist", () => {
    const path = folder.newFile();

    expect(() => inspect(path)).toThrow(new DataFileError(`${path} does not exist`));
    expect(existsSync(path)).toBe(false);
  });
});

describe("a backup", () => {
  test("of a file in use is sound, and goes on where the file was", async () => {
    await using life = aLife();
    const ids = await life.enqueueAll([{}, {}]);
    const copy = folder.newFile();

    backUp(life.path, copy);
    await life.enqueue();

    expect(inspect(copy)).toMatchObject({ counts: { queued: 2 }, faults: [] });
    await using next = openLife(folder, {}, copy, life.clock);
    expect(await next.claimAll()).toEqual([...ids]);
  });

  test("leaves a file alone that is there already", async () => {
    const path = await aFullFile();
    const copy = folder.newFile();
    writeFileSync(copy, "precious");

    expect(() => backUp(path, copy)).toThrow(new DataFileError(`${copy} exists already`));

    expect(readFileSync(copy, "utf8")).toBe("precious");
  });

  test("that fails leaves nothing", async () => {
    const path = await aFullFile();
    const copy = `${folder.newFile()}/none/copy.db`;

    expect(() => backUp(path, copy)).toThrow(DataFileError);

    expect(existsSync(copy)).toBe(false);
  });
});
