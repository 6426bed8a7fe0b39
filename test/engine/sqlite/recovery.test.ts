import { afterAll, describe, expect, test } from "bun:test";
import { makeDataFolder } from "../../support/data-folder.ts";
import { aRequest } from "../../support/engine-harness.ts";
import {
  openSqlite,
  type SqliteHarness,
  type SqliteOptions,
} from "../../support/sqlite-harness.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

const folder = makeDataFolder();
afterAll(() => folder.remove());

function open(options: SqliteOptions = {}): SqliteHarness {
  return openSqlite(folder, options);
}

describe.each(["restart", "crash"] as const)("after a %s", (end) => {
  test("what waited waits, by priority and then by arrival", async () => {
    const harness = open();
    const low = await harness.enqueue({ priority: -1 });
    const [first = "", second = ""] = await harness.enqueueAll([{}, {}]);
    const high = await harness.enqueue({ priority: 1 });

    await using next = await harness[end]();

    expect(await next.claimAll()).toEqual([high, first, second, low]);
  });

  test("a task is what it was", async () => {
    const harness = open();
    const id = await harness.enqueue({
      payload: { text: "ö \u0000 𝄞", list: [1.5, null] },
      type: "email",
      queue: "mail",
      priority: 7,
      maxRetries: 9,
      timeoutMs: 777,
    });
    const before = await harness.task(id);

    await using next = await harness[end]();

    expect(await next.task(id)).toEqual(before);
  });

  test("the counts of the queues are those of their tasks", async () => {
    const harness = open();
    await harness.enqueueIn("done");
    await harness.enqueueIn("failed");
    await harness.enqueueIn("cancelled");
    await harness.enqueueIn("retrying");
    await harness.enqueueIn("scheduled");
    await harness.enqueue({ payload: "12345678" });

    await using next = await harness[end]();

    const { counts, waiting, waitingBytes } = await next.queue();
    expect(counts).toEqual({
      scheduled: 1,
      queued: 1,
      running: 0,
      retrying: 1,
      done: 1,
      failed: 1,
      cancelled: 1,
    });
    expect([waiting, waitingBytes]).toEqual([3, 4 + 4 + 10]);
  });

  test("a task keeps its tags", async () => {
    const harness = open();
    const done = await harness.enqueueIn("done", { tags: ["done"] });
    const waiting = await harness.enqueue({ tags: ["customer:7", "a/b"] });

    await using next = await harness[end]();

    expect((await next.task(waiting)).tags).toEqual(["customer:7", "a/b"]);
    expect((await next.task(done)).tags).toEqual(["done"]);
    expect(await next.listAll({ tag: "done" })).toEqual([done]);
  });

  test.each(["a delay", "a time of day"])("a task goes on waiting for %s", async (what) => {
    const harness = open();
    const runAtMs = harness.wallMs + MINUTE_MS;
    const id = await harness.enqueue(what === "a delay" ? { delayMs: MINUTE_MS } : { runAtMs });
    await harness.advance(1000);

    await using next = await harness[end]();

    expect(await next.task(id)).toMatchObject({ status: "scheduled", runAtMs });
    await next.advance(MINUTE_MS - 1001);
    expect(await next.statusOf(id)).toBe("scheduled");
    await next.advance(1);
    expect(await next.statusOf(id)).toBe("queued");
  });

  test("a task that waits for a time of day still follows the wall clock", async () => {
    const harness = open();
    await harness.enqueue({ runAtMs: harness.wallMs + MINUTE_MS });
    await harness.enqueue({ delayMs: MINUTE_MS });

    await using next = await harness[end]();

    next.clock.jumpWall(MINUTE_MS);
    await next.advance(1000);
    expect((await next.queue()).counts).toMatchObject({ queued: 1, scheduled: 1 });
  });

  test("a retry comes at its time, with the errors that led to it", async () => {
    const harness = open();
    const id = await harness.enqueueIn("retrying");
    const { runAtMs, errors } = await harness.task(id);

    await using next = await harness[end]();

    expect(await next.task(id)).toMatchObject({ status: "retrying", attempt: 1, runAtMs, errors });
    await next.advance(200);
    expect((await next.claim()).task).toMatchObject({ id, attempt: 2 });
  });

  test("what became due meanwhile is in line by its number", async () => {
    const harness = open();
    const retried = await harness.enqueueIn("retrying");
    const scheduled = await harness.enqueue({ delayMs: 100 });
    const queued = await harness.enqueue();
    harness.clock.jumpWall(MINUTE_MS);

    await using next = await harness[end]();

    expect(await next.claimAll()).toEqual([retried, scheduled, queued]);
  });

  test("a task whose time of day has come meanwhile has its whole lease once it is claimed", async () => {
    const harness = open();
    const id = await harness.enqueue({ runAtMs: harness.wallMs + 1000, timeoutMs: 5000 });
    harness.clock.jumpWall(MINUTE_MS);
    await using next = await harness[end]();

    await next.claim();
    await next.advance(4999);

    expect(await next.statusOf(id)).toBe("running");
  });

  test("a delay that was asked for by a clock ahead is no longer than it was", async () => {
    const harness = open();
    harness.clock.jumpWall(DAY_MS);
    const id = await harness.enqueue({ delayMs: 3000 });
    harness.clock.jumpWall(-DAY_MS);

    await using next = await harness[end]();

    await next.advance(3000);
    expect(await next.statusOf(id)).toBe("queued");
  });

  test("a retry that was counted by a clock ahead comes within the longest wait", async () => {
    const harness = open({ retryMaxMs: 2000 });
    harness.clock.jumpWall(DAY_MS);
    const id = await harness.enqueueIn("retrying");
    harness.clock.jumpWall(-DAY_MS);

    await using next = await harness[end]();

    await next.advance(2000);
    expect(await next.statusOf(id)).toBe("queued");
  });

  test("a release with a delay by a clock ahead waits no longer than it was to", async () => {
    const harness = open();
    harness.clock.jumpWall(DAY_MS);
    const id = await harness.enqueue();
    await harness.release(await harness.claim(), 3000);
    harness.clock.jumpWall(-DAY_MS);

    await using next = await harness[end]();

    await next.advance(3000);
    expect(await next.statusOf(id)).toBe("queued");
  });

  test("a wait that was counted by a clock behind comes at its time", async () => {
    const harness = open();
    const id = await harness.enqueue({ delayMs: 3000 });
    harness.clock.jumpWall(DAY_MS);

    await using next = await harness[end]();

    expect(await next.statusOf(id)).toBe("queued");
  });

  test("a time of day that was asked for by a clock ahead is still that time", async () => {
    const harness = open();
    harness.clock.jumpWall(10 * MINUTE_MS);
    const id = await harness.enqueue({ runAtMs: harness.wallMs + 1000 });
    harness.clock.jumpWall(-10 * MINUTE_MS);

    await using next = await harness[end]();

    await next.advance(10 * MINUTE_MS);
    expect(await next.statusOf(id)).toBe("scheduled");
    await next.advance(1000);
    expect(await next.statusOf(id)).toBe("queued");
  });

  test("a finished task can still be read", async () => {
    const harness = open();
    const id = await harness.enqueue();
    await harness.settleDone(await harness.claim(), '{"n":1}');
    const { startedAtMs, finishedAtMs } = await harness.task(id);

    await using next = await harness[end]();

    expect(await next.task(id)).toMatchObject({
      status: "done",
      result: '{"n":1}',
      attempt: 1,
      startedAtMs,
      finishedAtMs,
    });
  });

  test("a finished task is forgotten when its time is up, the time between two lives included", async () => {
    const harness = open({ retainMs: MINUTE_MS });
    const id = await harness.enqueueIn("done");
    harness.clock.jumpWall(MINUTE_MS / 2);

    await using next = await harness[end]();

    await next.advance(MINUTE_MS / 2 - 1);
    expect(await next.statusOf(id)).toBe("done");
    await next.advance(1);
    expect(await next.engine.find(id)).toBeUndefined();
  });

  test("what was forgotten is not there again", async () => {
    const harness = open({ retainTasks: 1 });
    const first = await harness.enqueueIn("done");
    const second = await harness.enqueueIn("failed");

    await using next = await harness[end]({ retainTasks: 10 });

    expect(await next.engine.find(first)).toBeUndefined();
    expect(await next.listAll()).toEqual([second]);
  });

  test("the smaller of two retentions counts", async () => {
    const harness = open();
    const first = await harness.enqueueIn("done");
    await harness.advance(1);
    const second = await harness.enqueueIn("done");

    await using next = await harness[end]({ retainTasks: 1 });

    expect(await next.engine.find(first)).toBeUndefined();
    expect(await next.statusOf(second)).toBe("done");
  });

  test("a paused queue is paused, and a resumed one is not", async () => {
    const harness = open();
    await harness.enqueue({ queue: "a" });
    await harness.enqueue({ queue: "b" });
    for (const name of ["a", "b"]) await harness.engine.pause(name);
    await harness.engine.resume("b");

    await using next = await harness[end]();

    expect([(await next.queue("a")).isPaused, (await next.queue("b")).isPaused]).toEqual([
      true,
      false,
    ]);
    expect(await next.claimAll()).toHaveLength(1);
  });

  test("what was cancelled, purged and retried by hand is so", async () => {
    const harness = open();
    const cancelled = await harness.enqueue();
    const purged = await harness.enqueue({ queue: "other" });
    await harness.engine.cancel(cancelled);
    await harness.engine.purge("other");
    const retried = await harness.enqueueIn("failed");
    await harness.engine.retry(retried);

    await using next = await harness[end]();

    expect(await next.statusOf(cancelled)).toBe("cancelled");
    expect(await next.statusOf(purged)).toBe("cancelled");
    expect(await next.task(retried)).toMatchObject({ status: "queued", finishedAtMs: null });
  });

  test("a key gives the first answer again, and refuses another body", async () => {
    const harness = open();
    const answer = await harness.engine.enqueue([aRequest({ payload: 1 }), aRequest()], "key");
    if (answer.kind !== "accepted") throw new Error(answer.kind);

    await using next = await harness[end]();

    expect(await next.engine.enqueue([aRequest({ payload: 1 }), aRequest()], "key")).toEqual({
      kind: "repeated",
      receipts: answer.receipts,
    });
    expect(await next.engine.enqueue([aRequest({ payload: 2 })], "key")).toEqual({
      kind: "key_reused",
    });
  });

  test("a key is forgotten when its time after the finish is up, and not before", async () => {
    const harness = open({ retainMs: MINUTE_MS });
    await harness.engine.enqueue([aRequest()], "key");
    await harness.settleDone(await harness.claim());
    harness.clock.jumpWall(MINUTE_MS / 2);

    await using next = await harness[end]();

    await next.advance(MINUTE_MS / 2 - 1);
    expect((await next.engine.enqueue([aRequest()], "key")).kind).toBe("repeated");
    await next.advance(1);
    expect((await next.engine.enqueue([aRequest({ payload: 2 })], "key")).kind).toBe("accepted");
  });

  test("a key is kept while one of its tasks is unfinished", async () => {
    const harness = open({ retainMs: MINUTE_MS });
    await harness.engine.enqueue([aRequest(), aRequest({ delayMs: 100 * MINUTE_MS })], "key");
    await harness.settleDone(await harness.claim());

    await using next = await harness[end]();

    await next.advance(10 * MINUTE_MS);
    expect((await next.engine.enqueue([aRequest(), aRequest()], "key")).kind).toBe("key_reused");
  });

  test("more than a queue may hold now is all there, and nothing is taken until it fits", async () => {
    const harness = open();
    await harness.enqueueAll([{}, {}, {}]);

    await using next = await harness[end]({ queueSize: 2, queuesMax: 1 });

    expect((await next.queue()).waiting).toBe(3);
    expect((await next.engine.enqueue([aRequest()])).kind).toBe("refused");
    expect(await next.claimAll()).toHaveLength(3);
  });

  test("tasks run where their type runs by now", async () => {
    const harness = open({ types: { heavy: { lane: "thread" } } });
    const id = await harness.enqueue({ type: "heavy" });

    await using next = await harness[end]({ types: {} });

    expect(await next.claimAll({ lane: "loop" })).toEqual([id]);
  });

  test("new tasks come after those that were", async () => {
    const harness = open();
    const before = await harness.enqueue();

    await using next = await harness[end]();

    const after = await next.enqueue();
    expect(await next.listAll()).toEqual([after, before]);
  });
});

describe("after a crash", () => {
  test("how far an attempt was is not known", async () => {
    const harness = open();
    const id = await harness.enqueue();
    const first = await harness.claim();
    harness.engine.noteProgress(id, first.fence, "1");
    await harness.settleFailed(first, { kind: "after", ms: 0 });
    await harness.advance(0);
    harness.engine.noteProgress(id, (await harness.claim()).fence, "2");

    await using next = await harness.crash();

    expect((await next.task(id)).progress).toBeNull();
  });

  test("what ran locally waits again and has spent no retry", async () => {
    const harness = open();
    const id = await harness.enqueue({ maxRetries: 0 });
    await harness.claim();

    await using next = await harness.crash();

    expect(await next.task(id)).toMatchObject({ status: "queued", attempt: 1, errors: [] });
    expect((await next.claim()).task.attempt).toBe(2);
  });

  test("an attempt that was settled does not run again", async () => {
    const harness = open();
    const [done = ""] = await harness.enqueueAll([{}, {}]);
    await harness.settleDone(await harness.claim());
    const running = await harness.claim();

    await using next = await harness.crash();

    expect(await next.statusOf(done)).toBe("done");
    expect(await next.claimAll()).toEqual([running.taskId]);
  });

  test("a task that ran at three of them fails with crash_loop", async () => {
    let harness = open();
    const id = await harness.enqueue({ maxRetries: 100 });
    for (let crashes = 0; crashes < 3; crashes += 1) {
      await harness.claim();
      harness = await harness.crash();
    }
    await using last = harness;

    expect(await last.task(id)).toMatchObject({
      status: "failed",
      attempt: 3,
      errors: [{ code: "crash_loop", attempt: 3 }],
    });
  });

  test("a task that failed with crash_loop stays so, and runs three times more after a retry by hand", async () => {
    let harness = open();
    const id = await harness.enqueue();
    for (let crashes = 0; crashes < 3; crashes += 1) {
      await harness.claim();
      harness = await harness.crash();
    }
    harness = await harness.crash();
    expect(await harness.statusOf(id)).toBe("failed");
    await harness.engine.retry(id);
    for (let crashes = 0; crashes < 2; crashes += 1) {
      await harness.claim();
      harness = await harness.crash();
    }
    await using last = harness;

    expect(await last.task(id)).toMatchObject({ status: "queued", attempt: 5 });
  });

  test("a task that was released by a stop is not held to have crashed", async () => {
    let harness = open();
    const id = await harness.enqueue();
    for (let stops = 0; stops < 5; stops += 1) {
      await harness.release(await harness.claim());
      harness = await harness.restart();
    }
    await using last = harness;

    expect(await last.task(id)).toMatchObject({ status: "queued", attempt: 5 });
  });

  test("the crash of a task that only waited is not held against it", async () => {
    let harness = open();
    const id = await harness.enqueueIn("retrying");
    for (let crashes = 0; crashes < 5; crashes += 1) harness = await harness.crash();
    await using last = harness;

    expect(await last.statusOf(id)).toBe("retrying");
  });

  test("during the recovery, the same crash does not count twice", async () => {
    const harness = open();
    const id = await harness.enqueue();
    await harness.claim();
    let next = await harness.crash();
    for (let crashes = 0; crashes < 3; crashes += 1) next = await next.crash();
    await using last = next;

    expect(await last.statusOf(id)).toBe("queued");
  });

  test("a task whose last end was that crash lets its key be forgotten in time", async () => {
    let harness = open({ retainMs: MINUTE_MS });
    await harness.engine.enqueue([aRequest()], "key");
    for (let crashes = 0; crashes < 3; crashes += 1) {
      await harness.claim();
      harness = await harness.crash();
    }
    harness.clock.jumpWall(MINUTE_MS - 1);
    await using last = await harness.crash();

    expect((await last.engine.enqueue([aRequest()], "key")).kind).toBe("repeated");
    await last.advance(1);
    expect((await last.engine.enqueue([aRequest({ payload: 2 })], "key")).kind).toBe("accepted");
  });
});
