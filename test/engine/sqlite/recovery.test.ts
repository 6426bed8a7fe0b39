import { afterAll, describe, expect, test } from "bun:test";
import type { TaskView } from "../../../src/engine/engine.ts";
import { makeDataFolder } from "../../support/data-folder.ts";
import { aRequest } from "../../support/engine-harness.ts";
import { type Life, type LifeOptions, openLife } from "../../support/sqlite-harness.ts";

const MINUTE_MS = 60_000;

const folder = makeDataFolder();
afterAll(() => folder.remove());

function aLife(options: LifeOptions = {}): Life {
  return openLife(folder, options);
}

/** What is shown of a task. */
function shown(task: TaskView): Partial<TaskView> {
  const { id, type, queue, status, payload, priority, attempt, maxRetries, timeoutMs } = task;
  const { enqueuedAtMs, runAtMs, startedAtMs, finishedAtMs, result, progress, errors } = task;
  return {
    ...{ id, type, queue, status, payload, priority, attempt, maxRetries, timeoutMs },
    ...{ enqueuedAtMs, runAtMs, startedAtMs, finishedAtMs, result, progress, errors },
  };
}

describe.each(["restart", "crash"] as const)("after a %s", (end) => {
  test("what waited waits, by priority and then by arrival", async () => {
    const life = aLife();
    const low = await life.enqueue({ priority: -1 });
    const [first = "", second = ""] = await life.enqueueAll([{}, {}]);
    const high = await life.enqueue({ priority: 1 });

    await using next = await life[end]();

    expect(await next.claimAll()).toEqual([high, first, second, low]);
  });

  test("a task is what it was", async () => {
    const life = aLife();
    const id = await life.enqueue({
      payload: { text: "ö \u0000 𝄞", list: [1.5, null] },
      type: "email",
      queue: "mail",
      priority: 7,
      maxRetries: 9,
      timeoutMs: 777,
    });
    const before = shown(await life.task(id));

    await using next = await life[end]();

    expect(shown(await next.task(id))).toEqual(before);
  });

  test("the counts of the queues are those of their tasks", async () => {
    const life = aLife();
    await life.enqueueIn("done");
    await life.enqueueIn("failed");
    await life.enqueueIn("cancelled");
    await life.enqueueIn("retrying");
    await life.enqueueIn("scheduled");
    await life.enqueue({ payload: "12345678" });

    await using next = await life[end]();

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

  test.each(["a delay", "a time of day"])("a task goes on waiting for %s", async (what) => {
    const life = aLife();
    const runAtMs = life.clock.wallMs + MINUTE_MS;
    const id = await life.enqueue(what === "a delay" ? { delayMs: MINUTE_MS } : { runAtMs });
    await life.clock.advance(1000);

    await using next = await life[end]();

    expect(await next.task(id)).toMatchObject({ status: "scheduled", runAtMs });
    await next.clock.advance(MINUTE_MS - 1001);
    expect(await next.statusOf(id)).toBe("scheduled");
    await next.clock.advance(1);
    expect(await next.statusOf(id)).toBe("queued");
  });

  test("a task that waits for a time of day still follows the wall clock", async () => {
    const life = aLife();
    await life.enqueue({ runAtMs: life.clock.wallMs + MINUTE_MS });
    await life.enqueue({ delayMs: MINUTE_MS });

    await using next = await life[end]();

    next.clock.jumpWall(MINUTE_MS);
    await next.clock.advance(1000);
    expect((await next.queue()).counts).toMatchObject({ queued: 1, scheduled: 1 });
  });

  test("a retry comes at its time, with the errors that led to it", async () => {
    const life = aLife();
    const id = await life.enqueueIn("retrying");
    const { runAtMs, errors } = await life.task(id);

    await using next = await life[end]();

    expect(await next.task(id)).toMatchObject({ status: "retrying", attempt: 1, runAtMs, errors });
    await next.clock.advance(200);
    expect(await next.claim()).toMatchObject({ task: { id }, fence: 2 });
  });

  test("what became due meanwhile is in line by its number", async () => {
    const life = aLife();
    const retried = await life.enqueueIn("retrying");
    const scheduled = await life.enqueue({ delayMs: 100 });
    const queued = await life.enqueue();
    life.clock.jumpWall(MINUTE_MS);

    await using next = await life[end]();

    expect(await next.claimAll()).toEqual([retried, scheduled, queued]);
  });

  test("a task whose time of day has come meanwhile has its whole lease once it is claimed", async () => {
    const life = aLife();
    const id = await life.enqueue({ runAtMs: life.clock.wallMs + 1000, timeoutMs: 5000 });
    life.clock.jumpWall(MINUTE_MS);
    await using next = await life[end]();

    await next.claim();
    await next.clock.advance(4999);

    expect(await next.statusOf(id)).toBe("running");
  });

  test("a finished task can still be read", async () => {
    const life = aLife();
    const id = await life.enqueue();
    await life.settleDone(await life.claim(), '{"n":1}');
    const { startedAtMs, finishedAtMs } = await life.task(id);

    await using next = await life[end]();

    expect(await next.task(id)).toMatchObject({
      status: "done",
      result: '{"n":1}',
      attempt: 1,
      startedAtMs,
      finishedAtMs,
    });
  });

  test("a finished task is forgotten when its time is up, the time between two lives included", async () => {
    const life = aLife({ retainMs: MINUTE_MS });
    const id = await life.enqueueIn("done");
    life.clock.jumpWall(MINUTE_MS / 2);

    await using next = await life[end]();

    await next.clock.advance(MINUTE_MS / 2 - 1);
    expect(await next.statusOf(id)).toBe("done");
    await next.clock.advance(1);
    expect(await next.engine.find(id)).toBeUndefined();
  });

  test("what was forgotten is not there again", async () => {
    const life = aLife({ retainTasks: 1 });
    const first = await life.enqueueIn("done");
    const second = await life.enqueueIn("failed");

    await using next = await life[end]({ retainTasks: 10 });

    expect(await next.engine.find(first)).toBeUndefined();
    expect(await next.listAll()).toEqual([second]);
  });

  test("the smaller of two retentions counts", async () => {
    const life = aLife();
    const first = await life.enqueueIn("done");
    await life.clock.advance(1);
    const second = await life.enqueueIn("done");

    await using next = await life[end]({ retainTasks: 1 });

    expect(await next.engine.find(first)).toBeUndefined();
    expect(await next.statusOf(second)).toBe("done");
  });

  test("a paused queue is paused, and a resumed one is not", async () => {
    const life = aLife();
    await life.enqueue({ queue: "a" });
    await life.enqueue({ queue: "b" });
    for (const name of ["a", "b"]) await life.engine.setPaused(name, true);
    await life.engine.setPaused("b", false);

    await using next = await life[end]();

    expect([(await next.queue("a")).isPaused, (await next.queue("b")).isPaused]).toEqual([
      true,
      false,
    ]);
    expect(await next.claimAll()).toHaveLength(1);
  });

  test("what was cancelled, purged and retried by hand is so", async () => {
    const life = aLife();
    const cancelled = await life.enqueue();
    const purged = await life.enqueue({ queue: "other" });
    await life.engine.cancel(cancelled);
    await life.engine.purge("other");
    const retried = await life.enqueueIn("failed");
    await life.engine.retry(retried);

    await using next = await life[end]();

    expect(await next.statusOf(cancelled)).toBe("cancelled");
    expect(await next.statusOf(purged)).toBe("cancelled");
    expect(await next.task(retried)).toMatchObject({ status: "queued", finishedAtMs: null });
  });

  test("a key gives the first answer again, and refuses another body", async () => {
    const life = aLife();
    const answer = await life.engine.enqueue([aRequest({ payload: 1 }), aRequest()], "key");
    if (answer.kind !== "accepted") throw new Error(answer.kind);

    await using next = await life[end]();

    expect(await next.engine.enqueue([aRequest({ payload: 1 }), aRequest()], "key")).toEqual({
      kind: "repeated",
      receipts: answer.receipts,
    });
    expect(await next.engine.enqueue([aRequest({ payload: 2 })], "key")).toEqual({
      kind: "key_reused",
    });
  });

  test("a key is forgotten when its time after the finish is up, and not before", async () => {
    const life = aLife({ retainMs: MINUTE_MS });
    await life.engine.enqueue([aRequest()], "key");
    await life.settleDone(await life.claim());
    life.clock.jumpWall(MINUTE_MS / 2);

    await using next = await life[end]();

    await next.clock.advance(MINUTE_MS / 2 - 1);
    expect((await next.engine.enqueue([aRequest()], "key")).kind).toBe("repeated");
    await next.clock.advance(1);
    expect((await next.engine.enqueue([aRequest({ payload: 2 })], "key")).kind).toBe("accepted");
  });

  test("a key is kept while one of its tasks is unfinished", async () => {
    const life = aLife({ retainMs: MINUTE_MS });
    await life.engine.enqueue([aRequest(), aRequest({ delayMs: 100 * MINUTE_MS })], "key");
    await life.settleDone(await life.claim());

    await using next = await life[end]();

    await next.clock.advance(10 * MINUTE_MS);
    expect((await next.engine.enqueue([aRequest(), aRequest()], "key")).kind).toBe("key_reused");
  });

  test("more than a queue may hold now is all there, and nothing is taken until it fits", async () => {
    const life = aLife();
    await life.enqueueAll([{}, {}, {}]);

    await using next = await life[end]({ queueSize: 2, queuesMax: 1 });

    expect((await next.queue()).waiting).toBe(3);
    expect((await next.engine.enqueue([aRequest()])).kind).toBe("refused");
    expect(await next.claimAll()).toHaveLength(3);
  });

  test("tasks run where their type runs by now", async () => {
    const life = aLife({ types: { heavy: { lane: "thread" } } });
    const id = await life.enqueue({ type: "heavy" });

    await using next = await life[end]({ types: {} });

    expect(await next.claimAll("loop")).toEqual([id]);
  });

  test("new tasks come after those that were", async () => {
    const life = aLife();
    const before = await life.enqueue();

    await using next = await life[end]();

    const after = await next.enqueue();
    expect(await next.listAll()).toEqual([after, before]);
  });
});

describe("after a crash", () => {
  test("how far an attempt was is not known", async () => {
    const life = aLife();
    const id = await life.enqueue();
    const first = await life.claim();
    life.engine.noteProgress(first, "1");
    await life.settleFailed(first, { kind: "after", ms: 0 });
    await life.clock.advance(0);
    life.engine.noteProgress(await life.claim(), "2");

    await using next = await life.crash();

    expect((await next.task(id)).progress).toBeNull();
  });

  test("what ran waits again, has spent no retry, and gets another fence", async () => {
    const life = aLife();
    const id = await life.enqueue({ maxRetries: 0 });
    await life.claim();

    await using next = await life.crash();

    expect(await next.task(id)).toMatchObject({ status: "queued", attempt: 1, errors: [] });
    expect((await next.claim()).fence).toBe(2);
  });

  test("an attempt that was settled does not run again", async () => {
    const life = aLife();
    const [done = ""] = await life.enqueueAll([{}, {}]);
    await life.settleDone(await life.claim());
    const running = await life.claim();

    await using next = await life.crash();

    expect(await next.statusOf(done)).toBe("done");
    expect(await next.claimAll()).toEqual([running.task.id]);
  });

  test("a task that ran at three of them fails with crash_loop", async () => {
    let life = aLife();
    const id = await life.enqueue({ maxRetries: 100 });
    for (let crashes = 0; crashes < 3; crashes += 1) {
      await life.claim();
      life = await life.crash();
    }
    await using last = life;

    expect(await last.task(id)).toMatchObject({
      status: "failed",
      attempt: 3,
      errors: [{ code: "crash_loop", attempt: 3 }],
    });
  });

  test("a task that failed with crash_loop stays so, and runs three times more after a retry by hand", async () => {
    let life = aLife();
    const id = await life.enqueue();
    for (let crashes = 0; crashes < 3; crashes += 1) {
      await life.claim();
      life = await life.crash();
    }
    life = await life.crash();
    expect(await life.statusOf(id)).toBe("failed");
    await life.engine.retry(id);
    for (let crashes = 0; crashes < 2; crashes += 1) {
      await life.claim();
      life = await life.crash();
    }
    await using last = life;

    expect(await last.task(id)).toMatchObject({ status: "queued", attempt: 5 });
  });

  test("a task that was interrupted by a stop is not held to have crashed", async () => {
    let life = aLife();
    const id = await life.enqueue();
    for (let stops = 0; stops < 5; stops += 1) {
      await life.engine.settle(await life.claim(), { kind: "interrupted" });
      life = await life.restart();
    }
    await using last = life;

    expect(await last.task(id)).toMatchObject({ status: "queued", attempt: 5 });
  });

  test("the crash of a task that only waited is not held against it", async () => {
    let life = aLife();
    const id = await life.enqueueIn("retrying");
    for (let crashes = 0; crashes < 5; crashes += 1) life = await life.crash();
    await using last = life;

    expect(await last.statusOf(id)).toBe("retrying");
  });

  test("during the recovery, the same crash does not count twice", async () => {
    const life = aLife();
    const id = await life.enqueue();
    await life.claim();
    let next = await life.crash();
    for (let crashes = 0; crashes < 3; crashes += 1) next = await next.crash();
    await using last = next;

    expect(await last.statusOf(id)).toBe("queued");
  });

  test("a task whose last end was that crash lets its key be forgotten in time", async () => {
    let life = aLife({ retainMs: MINUTE_MS });
    await life.engine.enqueue([aRequest()], "key");
    for (let crashes = 0; crashes < 3; crashes += 1) {
      await life.claim();
      life = await life.crash();
    }
    life.clock.jumpWall(MINUTE_MS - 1);
    await using last = await life.crash();

    expect((await last.engine.enqueue([aRequest()], "key")).kind).toBe("repeated");
    await last.clock.advance(1);
    expect((await last.engine.enqueue([aRequest({ payload: 2 })], "key")).kind).toBe("accepted");
  });
});
