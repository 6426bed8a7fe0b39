import { Database } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { DataFileError } from "../../../src/engine/sqlite/data-file.ts";
import { backUp, verifyDataFile } from "../../../src/engine/sqlite/maintenance.ts";
import { MIGRATIONS } from "../../../src/engine/sqlite/migrations.ts";
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
    await using life = aLife();
    await life.enqueueAll([{}, {}]);

    expect(verifyDataFile(life.path).counts.queued).toBe(2);
  });

  test.each([
    [
      "UPDATE tasks SET id = (SELECT min(id) FROM tasks) WHERE seq < 3",
      /^tasks with the id of another task: \d$/,
    ],
    ["UPDATE tasks SET payload = '{' WHERE seq = 1", /^tasks whose payload is not JSON: 1$/],
    ["DELETE FROM tasks WHERE seq = 1", /^states without a task: 1$/],
    ["UPDATE states SET status = 'lost' WHERE seq = 4", /^states with an unknown status: 1$/],
    [
      "UPDATE states SET finished_at = NULL WHERE seq = 1",
      /^finished tasks without an end, or .*: 1$/,
    ],
    [
      "UPDATE states SET errors = '[' WHERE seq = 1",
      /^tasks whose errors, result or progress is not JSON: 1$/,
    ],
    ["UPDATE keys SET receipts = ''", /^idempotency keys whose receipts are not JSON: 1$/],
    [
      "INSERT INTO keys SELECT seq + 100, key, fingerprint, receipts, NULL FROM keys",
      /^idempotency keys that another one repeats: 1$/,
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

  test("changes nothing", async () => {
    const path = await aFullFile();
    const before = readFileSync(path);

    verifyDataFile(path);

    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test.each(["", "text", "SQLite format 3\0"])("refuses a file with %j in it", (content) => {
    const path = folder.newFile();
    writeFileSync(path, content);

    expect(() => verifyDataFile(path)).toThrow(DataFileError);
  });

  test("refuses a file that does not exist", () => {
    const path = folder.newFile();

    expect(() => verifyDataFile(path)).toThrow(new DataFileError(`${path} does not exist`));
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

    expect(verifyDataFile(copy)).toMatchObject({ counts: { queued: 2 }, faults: [] });
    await using next = openLife(folder, {}, copy, life.clock);
    expect(await next.claimAll()).toEqual([...ids]);
  });

  test("leaves a file alone that is there already", async () => {
    const path = await aFullFile();
    const copy = folder.newFile();
    writeFileSync(copy, "precious");

    expect(() => backUp(path, copy)).toThrow(new DataFileError(`${copy} already exists`));

    expect(readFileSync(copy, "utf8")).toBe("precious");
  });

  test("that fails leaves nothing", async () => {
    const path = await aFullFile();
    const copy = `${folder.newFile()}/none/copy.db`;

    expect(() => backUp(path, copy)).toThrow(DataFileError);

    expect(existsSync(copy)).toBe(false);
  });
});
