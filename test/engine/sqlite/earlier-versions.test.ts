/** Data files that earlier versions made: opened by this one, with everything that is in them. */

import { afterAll, describe, expect, test } from "bun:test";
import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { backUp, verifyDataFile } from "../../../src/engine/sqlite/maintenance.ts";
import { MIGRATIONS } from "../../../src/engine/sqlite/migrations.ts";
import { makeDataFolder } from "../../support/data-folder.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { openSqlite, type SqliteHarness } from "../../support/sqlite-harness.ts";

const FIXTURES = join(import.meta.dir, "../../fixtures/data-0.1.0");
/** Just after they were made: an hour later a retry would be due. */
const MADE_MS = Date.UTC(2026, 10, 24, 21, 38);
const CENTURY_MS = 100 * 365 * 24 * 3_600_000;

const folder = makeDataFolder();
afterAll(() => folder.remove());

/** What 0.1.0 was asked for and what became of it, in the order of the tasks. */
const TASKS = [
  { type: "ok", payload: '{"to":"ada@example.com","n":1}', status: "done", attempt: 1 },
  { type: "bad", payload: '[1,"zwei",null]', status: "failed", attempt: 1 },
  { type: "flaky", payload: '"x"', status: "retrying", attempt: 1, priority: 5 },
  { type: "ok", payload: "1", status: "scheduled", attempt: 0 },
  { type: "ok", payload: "1", status: "scheduled", runAtMs: Date.UTC(2099, 0, 1) },
  { type: "ok", payload: "1", status: "cancelled", attempt: 0 },
  { queue: "mails", payload: "1", status: "scheduled", attempt: 0 },
  { queue: "mails", payload: '{"n":1}', status: "queued", priority: -3, maxRetries: 3 },
  { queue: "mails", payload: '{"n":2}', status: "queued", maxRetries: 9, timeoutMs: 1234 },
];

/**
 * It was running when its server was killed. The running file of 0.1.0 has another form and is not
 * read: the task waits, and the attempt that was cut off is not counted.
 */
const CUT_OFF = { type: "slow", payload: '"long"', status: "queued", attempt: 0, errors: [] };

/** A copy of a file that 0.1.0 made, with what lies beside it. */
function aCopyOf(name: string): string {
  const path = folder.newFile();
  for (const suffix of ["", "-wal", "-running"]) {
    const file = join(FIXTURES, name + suffix);
    if (existsSync(file)) copyFileSync(file, path + suffix);
  }
  return path;
}

function opened(name: string): SqliteHarness {
  const clock = new ManualClock();
  clock.jumpWall(MADE_MS - clock.wallMs);
  return openSqlite(folder, { retainMs: CENTURY_MS }, aCopyOf(name), clock);
}

/** All tasks, oldest first. */
async function tasksIn(harness: SqliteHarness) {
  const answer = await harness.engine.list({ limit: 500 });
  if (answer.kind !== "page") throw new Error(`no page, but ${answer.kind}`);
  return answer.tasks.toReversed();
}

describe.each([
  ["clean.db", TASKS],
  ["killed.db", [...TASKS, CUT_OFF]],
])("a data file of 0.1.0, %s,", (name, expected) => {
  test("has every task as it was", async () => {
    await using harness = opened(name);

    expect(await tasksIn(harness)).toMatchObject(expected);
  });

  test("has results and errors", async () => {
    await using harness = opened(name);

    const [done, failed, retrying] = await tasksIn(harness);

    expect(done?.result).toBe('{"seen":{"to":"ada@example.com","n":1}}');
    expect(failed?.errors).toMatchObject([{ code: "handler_error", message: "no such customer" }]);
    expect(retrying?.errors).toMatchObject([{ message: "try later", attempt: 1 }]);
  });

  test("answers its idempotency keys again", async () => {
    await using harness = opened(name);
    const tasks = await tasksIn(harness);

    const order = [{ type: "ok", payload: { to: "ada@example.com", n: 1 } }];
    const batch = [
      { type: "ok", queue: "mails", payload: { n: 1 }, priority: -3 },
      { type: "ok", queue: "mails", payload: { n: 2 }, maxRetries: 9, timeoutMs: 1234 },
    ];

    const idsOf = (...indexes: number[]) => indexes.map((index) => ({ id: tasks[index]?.id }));
    expect(await harness.engine.enqueue(order, "order-1")).toMatchObject({
      kind: "repeated",
      receipts: idsOf(0),
    });
    expect(await harness.engine.enqueue(batch, "batch-1")).toMatchObject({
      kind: "repeated",
      receipts: idsOf(7, 8),
    });
  });

  test("keeps its pause, and hands out what else is queued", async () => {
    await using harness = opened(name);
    const free = (await tasksIn(harness))
      .filter(({ status, queue }) => status === "queued" && queue === "default")
      .map(({ id }) => id);

    const claimed = await harness.claimAll();

    expect(claimed).toEqual(free);
    expect(claimed).toHaveLength(expected.length - TASKS.length);
  });

  test("is of the newest version from then on", async () => {
    const harness = opened(name);
    await harness.close();

    expect(verifyDataFile(harness.path)).toMatchObject({ version: MIGRATIONS.length, faults: [] });
  });

  test("is sound as it lies there", () => {
    const { version, faults, counts } = verifyDataFile(aCopyOf(name));

    // What ran counts as what it was before.
    expect({ version, faults, queued: counts.queued }).toEqual({
      version: 1,
      faults: [],
      queued: expected.length - 7,
    });
  });

  test("can be backed up before it is opened", () => {
    const copy = folder.newFile();

    backUp(aCopyOf(name), copy);

    expect(verifyDataFile(copy)).toMatchObject({ version: 1, faults: [] });
  });
});
