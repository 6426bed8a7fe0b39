/** What operators and remote workers ask of an engine on a data file in one tick of the event loop. */

import { afterAll, expect, test } from "bun:test";
import { makeDataFolder } from "../../support/data-folder.ts";
import { aRequest, REMOTE, REMOTE_TYPES } from "../../support/engine-harness.ts";
import { turn } from "../../support/manual-clock.ts";
import {
  openSqlite,
  type SqliteHarness,
  type SqliteOptions,
} from "../../support/sqlite-harness.ts";

const folder = makeDataFolder();
afterAll(() => folder.remove());

function open(options: SqliteOptions = {}): SqliteHarness {
  return openSqlite(folder, options);
}

test.each(["cancel", "retry", "settle"] as const)(
  "100 commands of one tick share one transaction: %s",
  async (command) => {
    await using harness = open({
      types: REMOTE_TYPES,
      queueSize: 1000,
      queueBytes: 100_000,
    });
    const type = command === "settle" ? "remote" : "default";
    const ids = await harness.enqueueAll(Array.from({ length: 100 }, () => ({ type })));
    if (command === "retry") await Promise.all(ids.map((id) => harness.engine.cancel(id)));
    const claims = command === "settle" ? await harness.claims(REMOTE) : [];
    await turn();
    const before = harness.commits();

    const answers = await Promise.all(
      ids.map(async (id, index) => {
        const claim = claims[index];
        if (claim !== undefined) return harness.settleDone(claim);
        return command === "cancel" ? harness.engine.cancel(id) : harness.engine.retry(id);
      }),
    );

    expect(new Set(answers.map(({ kind }) => kind)).size).toBe(1);
    expect(harness.commits() - before).toBe(1);
  },
);

test("pauses and resumes of 20 queues in one tick share one transaction", async () => {
  await using harness = open({ queuesMax: 100, queueSize: 100 });
  const names = Array.from({ length: 20 }, (_, index) => `q${index}`);
  await harness.enqueueAll(names.map((queue) => ({ queue })));
  await turn();
  const before = harness.commits();

  await Promise.all([
    ...names.map((name) => harness.engine.pause(name)),
    ...names.map((name) => harness.engine.resume(name)),
    harness.engine.pause("q0"),
  ]);

  expect(harness.commits() - before).toBe(1);
  await using next = await harness.crash();
  const paused = (await next.engine.queues()).filter(({ isPaused }) => isPaused);
  expect(paused.map(({ name }) => name)).toEqual(["q0"]);
});

test("commands of one tick share the transaction of the enqueues that came with them", async () => {
  await using harness = open();
  const id = await harness.enqueue();
  await turn();
  const before = harness.commits();

  await Promise.all([harness.engine.enqueue([aRequest()]), harness.engine.cancel(id)]);

  expect(harness.commits() - before).toBe(1);
});

test("commands of one tick are done in the order in which they came", async () => {
  await using harness = open();
  const id = await harness.enqueue();

  const answers = await Promise.all([
    harness.engine.cancel(id),
    harness.engine.cancel(id),
    harness.engine.retry(id),
    harness.engine.cancel(id),
  ]);

  expect(answers.map(({ kind }) => kind)).toEqual(["cancelled", "finished", "queued", "cancelled"]);
  await using next = await harness.crash();
  expect(await next.statusOf(id)).toBe("cancelled");
});

test("commands of one tick see what the ones before them have done to their task", async () => {
  await using harness = open();
  const cancelled = await harness.enqueueIn("cancelled");
  const failed = await harness.enqueueIn("failed");
  const queued = await harness.enqueue();

  const answers = await Promise.all([
    harness.engine.cancel(queued),
    harness.engine.retry(queued),
    harness.engine.cancel(queued),
    harness.engine.retry(failed),
    harness.engine.retry(failed),
    harness.engine.cancel(failed),
    harness.engine.retry(cancelled),
  ]);

  expect(answers.map(({ kind }) => kind)).toEqual([
    "cancelled",
    "queued",
    "cancelled",
    "queued",
    "not_retryable",
    "cancelled",
    "queued",
  ]);
});

test("a command of one tick may make the engine forget the task of the next one", async () => {
  await using harness = open({ retainTasks: 1 });
  const old = await harness.enqueueIn("cancelled");
  const id = await harness.enqueue();

  const [cancelled, retried] = await Promise.all([
    harness.engine.cancel(id),
    harness.engine.retry(old),
  ]);

  expect(cancelled.kind).toBe("cancelled");
  expect(["queued", "unknown"]).toContain(retried.kind);
  await using next = await harness.crash();
  expect(await next.listAll()).toEqual(retried.kind === "queued" ? [id, old] : [id]);
});

test("a second retry of one tick is told that the task is queued", async () => {
  await using harness = open({ queueSize: 1 });
  const id = await harness.enqueueIn("failed");

  const answers = await Promise.all([harness.engine.retry(id), harness.engine.retry(id)]);

  expect(answers.map(({ kind }) => kind)).toEqual(["queued", "not_retryable"]);
});

test("commands of one tick respect the bounds together", async () => {
  await using harness = open({ queueSize: 1 });
  const ids = [await harness.enqueueIn("failed"), await harness.enqueueIn("failed")];

  const answers = await Promise.all(ids.map((id) => harness.engine.retry(id)));

  expect(answers.map(({ kind }) => kind)).toEqual(["queued", "refused"]);
});
