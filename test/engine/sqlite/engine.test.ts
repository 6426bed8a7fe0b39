import { afterAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { DataFileError } from "../../../src/engine/sqlite/data-file.ts";
import { SqliteEngine } from "../../../src/engine/sqlite/engine.ts";
import { createLog } from "../../../src/log-output.ts";
import { describeEngine } from "../../contract/contract.ts";
import { makeDataFolder } from "../../support/data-folder.ts";
import { aRequest } from "../../support/engine-harness.ts";
import { isPending, turn } from "../../support/manual-clock.ts";
import { type Life, type LifeOptions, openLife } from "../../support/sqlite-harness.ts";

const folder = makeDataFolder();
afterAll(() => folder.remove());

describeEngine(
  "on disk",
  { tasks: "stay" },
  (settings) => new SqliteEngine({ ...settings, path: folder.newFile(), durability: "full" }),
);

function aLife(options: LifeOptions = {}): Life {
  return openLife(folder, options);
}

describe("an enqueue", () => {
  test("is answered only when it is on disk, and can't be seen or claimed before", async () => {
    await using life = aLife();

    const answering = life.engine.enqueue([aRequest()]);

    expect(answering).toBeInstanceOf(Promise);
    expect(await life.engine.list({ limit: 1 })).toMatchObject({ tasks: [] });
    expect(await life.engine.claim("loop")).toBeUndefined();
    await answering;
    expect(await life.claimAll()).toHaveLength(1);
  });

  test("holds its place before it is on disk", async () => {
    await using life = aLife({ queueSize: 1 });

    const answers = await Promise.all([
      life.engine.enqueue([aRequest()]),
      life.engine.enqueue([aRequest()]),
    ]);

    expect(answers.map(({ kind }) => kind)).toEqual(["accepted", "refused"]);
  });

  test("with a key that is under way gets the answer that is under way", async () => {
    await using life = aLife();

    const [first, again, other] = await Promise.all([
      life.engine.enqueue([aRequest({ payload: 1 })], "key"),
      life.engine.enqueue([aRequest({ payload: 1 })], "key"),
      life.engine.enqueue([aRequest({ payload: 2 })], "key"),
    ]);

    if (first.kind !== "accepted") throw new Error(first.kind);
    expect(again).toEqual({ kind: "repeated", receipts: first.receipts });
    expect(other).toEqual({ kind: "key_reused" });
    expect(await life.listAll()).toHaveLength(1);
  });
});

describe("the end of a task", () => {
  test("is told to nobody before it is on disk", async () => {
    await using life = aLife();
    const id = await life.enqueue();
    const poll = life.poll(id);
    const claim = await life.claim();

    void life.engine.settle(claim, { kind: "done", result: null });
    const found = life.engine.find(id);

    expect(found).toBeInstanceOf(Promise);
    expect((await found)?.status).toBe("done");
    expect((await poll)?.status).toBe("done");
  });
});

describe("commands of one turn", () => {
  test("are done in the order in which they came", async () => {
    await using life = aLife();
    const id = await life.enqueue();

    const answers = await Promise.all([
      life.engine.cancel(id),
      life.engine.cancel(id),
      life.engine.retry(id),
      life.engine.cancel(id),
    ]);

    expect(answers.map(({ kind }) => kind)).toEqual([
      "cancelled",
      "finished",
      "queued",
      "cancelled",
    ]);
    await using next = await life.crash();
    expect(await next.statusOf(id)).toBe("cancelled");
  });

  test("respect the bounds together", async () => {
    await using life = aLife({ queueSize: 1 });
    const ids = [await life.enqueueIn("failed"), await life.enqueueIn("failed")];

    const answers = await Promise.all(ids.map((id) => life.engine.retry(id)));

    expect(answers.map(({ kind }) => kind)).toEqual(["queued", "refused"]);
  });
});

describe("while the storage can't be written", () => {
  test("everybody in the group is refused, and nothing is left of them", async () => {
    await using life = aLife();
    life.breakStorage();

    const answers = await Promise.all([
      life.engine.enqueue([aRequest({ queue: "a" })]),
      life.engine.enqueue([aRequest({ queue: "b" }), aRequest()], "key"),
      life.engine.enqueue([aRequest({ queue: "b" }), aRequest()], "key"),
    ]);

    expect(new Set(answers.map(({ kind }) => kind))).toEqual(new Set(["storage_unavailable"]));
    expect(await life.listAll()).toEqual([]);
    expect(await life.engine.queues()).toEqual([]);
  });

  test("it says that it is not ready, refuses at once, and goes on reading", async () => {
    await using life = aLife();
    const id = await life.enqueue();
    life.breakStorage();
    await life.engine.enqueue([aRequest()]);

    expect(life.engine.readiness).toBe("storage_unavailable");
    expect(life.engine.enqueue([aRequest()])).toEqual({ kind: "storage_unavailable" });
    expect(await life.statusOf(id)).toBe("queued");
    expect(await life.listAll()).toEqual([id]);
  });

  test("nothing is claimed", async () => {
    await using life = aLife();
    await life.enqueue();
    life.breakStorage();
    await life.engine.enqueue([aRequest()]);

    expect(await life.claimAll()).toEqual([]);
  });

  test("commands are refused and change nothing", async () => {
    await using life = aLife();
    const failed = await life.enqueueIn("failed");
    const id = await life.enqueue();
    life.breakStorage();

    const answers = [
      await life.engine.cancel(id),
      await life.engine.retry(failed),
      await life.engine.setPaused("default", true),
      await life.engine.purge("default"),
    ];

    expect(new Set(answers.map(({ kind }) => kind))).toEqual(new Set(["storage_unavailable"]));
    expect(await life.statusOf(id)).toBe("queued");
    expect(await life.statusOf(failed)).toBe("failed");
    expect((await life.queue()).isPaused).toBe(false);
  });

  test("a command in a group that fails is refused with it, and is not done later", async () => {
    await using life = aLife();
    const id = await life.enqueue();
    const mend = life.breakStorage();

    const [, cancelled] = await Promise.all([
      life.engine.enqueue([aRequest()]),
      life.engine.cancel(id),
    ]);

    expect(cancelled.kind).toBe("storage_unavailable");
    mend();
    await life.clock.advance(1000);
    expect(await life.statusOf(id)).toBe("queued");
  });

  test("commands that would change nothing are answered", async () => {
    await using life = aLife();
    const done = await life.enqueueIn("done");
    life.breakStorage();
    await life.engine.enqueue([aRequest()]);

    expect((await life.engine.cancel(done)).kind).toBe("finished");
    expect((await life.engine.retry(done)).kind).toBe("not_retryable");
    expect((await life.engine.purge("nowhere")).kind).toBe("unknown");
  });

  test("what a worker did is kept, and on disk when writing works again", async () => {
    const life = aLife();
    const id = await life.enqueue();
    const claim = await life.claim();
    const mend = life.breakStorage();
    await life.settleDone(claim, '"kept"');
    await turn();
    const poll = life.poll(id);
    expect(await life.statusOf(id)).toBe("done");
    mend();

    await life.clock.advance(1000);

    expect((await poll)?.status).toBe("done");
    await using next = await life.crash();
    expect(await next.task(id)).toMatchObject({ status: "done", result: '"kept"' });
  });

  test("the way back is found without traffic, and the workers hear of it", async () => {
    await using life = aLife();
    const id = await life.enqueue();
    const mend = life.breakStorage();
    await life.engine.enqueue([aRequest()]);
    const readyBefore = life.worker.ready;
    await life.clock.advance(5000);
    expect(life.engine.readiness).toBe("storage_unavailable");
    mend();

    await life.clock.advance(1000);

    expect(life.engine.readiness).toBe("ready");
    await life.worker.hearsOf(readyBefore + 1);
    expect(await life.claimAll()).toEqual([id]);
  });

  test("the bounds and the key of what was refused are free again", async () => {
    await using life = aLife({ queueSize: 1, queuesMax: 1 });
    const mend = life.breakStorage();
    await life.engine.enqueue([aRequest({ queue: "a" })], "key");
    mend();
    await life.clock.advance(1000);

    const answer = await life.engine.enqueue([aRequest({ queue: "b" })], "key");

    expect(answer.kind).toBe("accepted");
  });

  test("the log says once that it began, and once that it is over", async () => {
    const events: string[] = [];
    const log = createLog({
      level: "info",
      isForPeople: false,
      write: (line) => events.push(JSON.parse(line).event),
    });
    await using life = aLife({ log });
    const mend = life.breakStorage();
    for (let tries = 0; tries < 3; tries += 1) await life.engine.enqueue([aRequest()]);
    await life.clock.advance(3000);
    mend();
    await life.clock.advance(1000);

    expect(events).toEqual(["journal_loaded", "storage_unavailable", "storage_available"]);
  });

  test("a stop still ends, and says what could not be written", async () => {
    const events: string[] = [];
    const log = createLog({
      level: "error",
      isForPeople: false,
      write: (line) => events.push(JSON.parse(line).event),
    });
    const life = aLife({ log });
    const id = await life.enqueue();
    const claim = await life.claim();
    const mend = life.breakStorage();
    await life.settleDone(claim);

    expect((await life.close()).areLost).toBe(false);

    expect(events).toEqual(["storage_unavailable", "journal_incomplete"]);
    mend();
    await using next = openLife(folder, {}, life.path, life.clock);
    expect(await next.statusOf(id)).toBe("queued");
  });
});

describe("close", () => {
  test("leaves one file, with everything in it", async () => {
    const life = aLife();
    await life.enqueue();

    await life.close();

    expect(
      ["", "-wal", "-shm", "-running"].map((suffix) => existsSync(life.path + suffix)),
    ).toEqual([true, false, false, false]);
  });

  test("writes what has just been settled", async () => {
    const life = aLife();
    const id = await life.enqueue();
    void life.engine.settle(await life.claim(), { kind: "done", result: null });

    await using next = await life.restart();

    expect(await next.statusOf(id)).toBe("done");
  });

  test("answers an enqueue that is under way, and writes it", async () => {
    const life = aLife();
    const answering = life.engine.enqueue([aRequest()]);

    await using next = await life.restart();

    expect((await answering).kind).toBe("accepted");
    expect(await next.listAll()).toHaveLength(1);
  });

  test("lets go of every timer", async () => {
    const life = aLife();
    await life.enqueueIn("scheduled");
    life.breakStorage();
    await life.engine.enqueue([aRequest()]);

    await life.close();

    expect(life.clock.armed).toBe(0);
  });

  test("says that what is unfinished is not lost", async () => {
    const life = aLife();
    await life.enqueue();

    expect(await life.close()).toMatchObject({ unfinished: 1, areLost: false });
  });
});

test("a data file that is in use is refused by its name", async () => {
  await using life = aLife();

  expect(() => openLife(folder, {}, life.path)).toThrow(
    new DataFileError(`${life.path} is in use by another process`),
  );
});

test("a poll ends with its time although the storage is away", async () => {
  await using life = aLife();
  const id = await life.enqueue();
  const poll = life.poll(id, 500);
  const claim = await life.claim();
  life.breakStorage();
  await life.settleDone(claim);
  await turn();
  expect(await isPending(poll)).toBe(true);

  await life.clock.advance(500);

  expect((await poll)?.status).toBe("done");
});
