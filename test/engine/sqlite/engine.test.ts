import { afterAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import type { TaskStatus } from "../../../src/engine/engine.ts";
import { DataFileError } from "../../../src/engine/sqlite/data-file.ts";
import { createSqliteEngine } from "../../../src/engine/sqlite/engine.ts";
import { describeEngine } from "../../contract/contract.ts";
import { makeDataFolder } from "../../support/data-folder.ts";
import { aRequest, onManualClock, REMOTE, REMOTE_TYPES } from "../../support/engine-harness.ts";
import { turn } from "../../support/manual-clock.ts";
import {
  openSqlite,
  type SqliteHarness,
  type SqliteOptions,
} from "../../support/sqlite-harness.ts";

const folder = makeDataFolder();
afterAll(() => folder.remove());

describeEngine("on disk", { durable: true, ownClock: false, exactOrder: true }, (settings) => {
  const path = folder.newFile();
  const engine = createSqliteEngine({ ...settings, path, durability: "full" });
  return onManualClock(engine, settings.clock);
});

function open(options: SqliteOptions = {}): SqliteHarness {
  return openSqlite(folder, options);
}

describe("enqueue", () => {
  test("an enqueue is answered only when it is on disk, and can't be seen or claimed before", async () => {
    await using harness = open();

    const answering = harness.engine.enqueue([aRequest()]);

    expect(answering).toBeInstanceOf(Promise);
    expect(await harness.engine.list({ limit: 1 })).toMatchObject({ tasks: [] });
    expect(await harness.claims()).toEqual([]);
    await answering;
    expect(await harness.claimAll()).toHaveLength(1);
  });

  test("an enqueue holds its place before it is on disk", async () => {
    await using harness = open({ queueSize: 1 });

    const answers = await Promise.all([
      harness.engine.enqueue([aRequest()]),
      harness.engine.enqueue([aRequest()]),
    ]);

    expect(answers.map(({ kind }) => kind)).toEqual(["accepted", "refused"]);
  });

  test("an enqueue with a key that is under way gets the answer that is under way", async () => {
    await using harness = open();

    const [first, again, other] = await Promise.all([
      harness.engine.enqueue([aRequest({ payload: 1 })], "key"),
      harness.engine.enqueue([aRequest({ payload: 1 })], "key"),
      harness.engine.enqueue([aRequest({ payload: 2 })], "key"),
    ]);

    if (first.kind !== "accepted") throw new Error(first.kind);
    expect(again).toEqual({ kind: "repeated", receipts: first.receipts });
    expect(other).toEqual({ kind: "key_reused" });
    expect(await harness.listAll()).toHaveLength(1);
  });
});

describe("end of a task", () => {
  test("the end of a task is told to nobody before it is on disk", async () => {
    await using harness = open();
    const id = await harness.enqueue();
    const poll = harness.poll(id);
    const claim = await harness.claim();

    void harness.settle(claim, { kind: "done", result: null });
    const found = harness.engine.find(id);

    expect(found).toBeInstanceOf(Promise);
    expect((await found)?.status).toBe("done");
    expect((await poll)?.status).toBe("done");
  });

  test("the end of a task is on disk when it is told to a poll that came in its tick", async () => {
    await using harness = open();
    const id = await harness.enqueue();
    const claim = await harness.claim();
    const poll = harness.poll(id);

    void harness.settleDone(claim);
    const shown = await poll;
    await using copy = harness.open(harness.copy());

    expect(shown?.status).toBe("done");
    expect(await copy.statusOf(id)).toBe("done");
  });

  test.each(["queue", "queues", "list", "find", "waitFor"] as const)(
    "the end of a task is on disk by the time that %s shows it",
    async (read) => {
      await using harness = open();
      const id = await harness.enqueue();
      void harness.settleDone(await harness.claim());

      const shown = await endsShown(harness, read, id);
      await using copy = harness.open(harness.copy());

      expect(shown).toBe(1);
      expect(await copy.statusOf(id)).toBe("done");
    },
  );
});

describe("events", () => {
  test("an event of a new task is told only when the task is on disk", async () => {
    await using harness = open();
    const copies = copyAtEvents(harness, "queued");

    const id = await harness.enqueue();
    await turn();

    expect(copies).toHaveLength(1);
    await using copy = harness.open(copies[0] ?? "");
    expect(await copy.statusOf(id)).toBe("queued");
  });

  test.each(["done", "retrying", "failed", "cancelled"] as const)(
    "an event of a task that is %s is told only when that is on disk",
    async (status) => {
      await using harness = open();
      const copies = copyAtEvents(harness, status);

      const id = await harness.enqueueIn(status);
      await turn();

      expect(copies).toHaveLength(1);
      await using copy = harness.open(copies[0] ?? "");
      expect(await copy.statusOf(id)).toBe(status);
    },
  );

  test("an event of a task that was refused for the storage is never told", async () => {
    await using harness = open();
    const copies = copyAtEvents(harness, "queued");
    const mend = harness.breakStorage();
    await harness.engine.enqueue([aRequest()]);
    mend();

    await harness.advance(2000);

    expect(copies).toEqual([]);
  });
});

describe("settle", () => {
  test.each(["loop", "remote"] as const)(
    "a settle in the lane %s is on disk when it is answered",
    async (lane) => {
      await using harness = open({ types: REMOTE_TYPES });
      const id = await harness.enqueue(lane === "remote" ? { type: "remote" } : {});
      const claim = await harness.claim({ ...REMOTE, lane });

      await harness.settleDone(claim, "1");

      // A local settle is answered at once; everything else waits until it is written.
      if (lane === "loop") await harness.task(id);
      await using copy = harness.open(harness.copy());
      expect(await copy.task(id)).toMatchObject({ status: "done", result: "1" });
    },
  );

  test("a settle that comes twice in one tick is done once", async () => {
    await using harness = open({ types: REMOTE_TYPES });
    const id = await harness.enqueue({ type: "remote" });
    const claim = await harness.claimRemote();

    const answers = await Promise.all([harness.settleFailed(claim), harness.settleFailed(claim)]);

    expect(answers.map(({ kind }) => kind)).toEqual(["settled", "repeated"]);
    expect(await harness.task(id)).toMatchObject({ status: "retrying", failures: 1 });
  });

  test("a settle that comes with a cancel in one tick is done if it came first", async () => {
    await using harness = open({ types: REMOTE_TYPES });
    const id = await harness.enqueue({ type: "remote" });
    const claim = await harness.claimRemote();

    const [settled, cancelled] = await Promise.all([
      harness.settleDone(claim),
      harness.engine.cancel(id),
    ]);

    expect([settled.kind, cancelled.kind]).toEqual(["settled", "finished"]);
  });

  test("a settle that comes after a cancel in one tick is told so", async () => {
    await using harness = open({ types: REMOTE_TYPES });
    const id = await harness.enqueue({ type: "remote" });
    const claim = await harness.claimRemote();

    const [cancelled, settled] = await Promise.all([
      harness.engine.cancel(id),
      harness.settleDone(claim),
    ]);

    expect(cancelled.kind).toBe("cancelled");
    expect(settled).toEqual({ kind: "claim_lost", ended: "cancelled" });
  });
});

describe("close", () => {
  test("close leaves one file, with everything in it", async () => {
    const harness = open();
    await harness.enqueue();

    await harness.close();

    expect(
      ["", "-wal", "-shm", "-running"].map((suffix) => existsSync(harness.path + suffix)),
    ).toEqual([true, false, false, false]);
  });

  test("close writes what has just been settled", async () => {
    const harness = open();
    const id = await harness.enqueue();
    void harness.settle(await harness.claim(), { kind: "done", result: null });

    await using next = await harness.restart();

    expect(await next.statusOf(id)).toBe("done");
  });

  test("close answers an enqueue that is under way, and writes it", async () => {
    const harness = open();
    const answering = harness.engine.enqueue([aRequest()]);

    await using next = await harness.restart();

    expect((await answering).kind).toBe("accepted");
    expect(await next.listAll()).toHaveLength(1);
  });

  test("close lets go of every timer", async () => {
    const harness = open();
    await harness.enqueueIn("scheduled");
    harness.breakStorage();
    await harness.engine.enqueue([aRequest()]);

    await harness.close();

    expect(harness.clock.armed).toBe(0);
  });

  test("close is not undone by workers that go on", async () => {
    const harness = open({ types: REMOTE_TYPES });
    await harness.enqueueAll([{ type: "remote" }, {}]);
    const remote = await harness.claimRemote();
    const local = await harness.claim();
    await harness.close();

    expect(await harness.settleDone(remote)).toEqual({ kind: "storage_unavailable" });
    await harness.engine.extend(remote.taskId, remote.fence, 5000);
    harness.engine.noteProgress(local.taskId, local.fence, "1");
    await harness.settleDone(local);
    await turn();

    expect(harness.clock.armed).toBe(0);
    expect(await harness.engine.claim({ lane: "loop", max: 1 })).toEqual({ kind: "stopping" });
    await using next = harness.open(harness.path);
    expect((await next.settleDone(remote)).kind).toBe("settled");
  });

  test("close says that what is unfinished is not lost", async () => {
    const harness = open();
    await harness.enqueue();

    expect(await harness.close()).toMatchObject({ unfinished: 1, areLost: false });
  });
});

test("a data file that is in use is refused by its name", async () => {
  await using harness = open();

  expect(() => openSqlite(folder, {}, harness.path)).toThrow(
    new DataFileError(`${harness.path} is in use by another process`),
  );
});

/** How many ends a read of this kind shows. */
async function endsShown(
  { engine }: SqliteHarness,
  read: "queue" | "queues" | "list" | "find" | "waitFor",
  id: string,
): Promise<number> {
  switch (read) {
    case "queue":
      return (await engine.queue("default"))?.totals.done ?? 0;
    case "queues":
      return (await engine.queues())[0]?.totals.done ?? 0;
    case "list": {
      const page = await engine.list({ limit: 10, status: "done" });
      return page.kind === "page" ? page.tasks.length : 0;
    }
    case "find":
      return (await engine.find(id))?.status === "done" ? 1 : 0;
    case "waitFor": {
      const task = await engine.waitFor(id, 60_000, new AbortController().signal);
      return task?.status === "done" ? 1 : 0;
    }
    default:
      return read satisfies never;
  }
}

/** Copies the data file whenever a step to this status is told. */
function copyAtEvents(harness: SqliteHarness, status: TaskStatus): readonly string[] {
  const copies: string[] = [];
  harness.engine.subscribe({
    wants: (to) => to === status,
    onTask: () => copies.push(harness.copy()),
  });
  return copies;
}
