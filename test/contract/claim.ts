/** How every engine hands out attempts, and what it does with their outcomes. */

import { describe, expect, test } from "bun:test";
import { type MakeEngine, openScene } from "../support/engine-harness.ts";

export function describeClaim(makeEngine: MakeEngine): void {
  describe("claim", () => {
    test("an empty engine has nothing to claim", async () => {
      await using scene = await openScene(makeEngine);

      expect(await scene.claimAll()).toEqual([]);
    });

    test("a claimed task is running, and its attempt's number is the fence", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ payload: [1] });
      await scene.clock.advance(70);

      const { task, fence } = await scene.claim();

      expect({ id: task.id, payload: task.payload, fence }).toEqual({
        id,
        payload: "[1]",
        fence: 1,
      });
      expect(await scene.task(id)).toMatchObject({
        status: "running",
        attempt: 1,
        startedAtMs: scene.clock.wallMs,
      });
    });

    test("no task is handed out twice", async () => {
      await using scene = await openScene(makeEngine);
      const ids = await scene.enqueueAll([{}, {}, {}]);

      expect(await scene.claimAll()).toEqual(ids);
    });

    test("a higher priority goes first, and within one the first in", async () => {
      await using scene = await openScene(makeEngine);
      const low = await scene.enqueue({ priority: -1 });
      const [first, second] = await scene.enqueueAll([{}, {}]);
      const high = await scene.enqueue({ priority: 1 });

      expect(await scene.claimAll()).toEqual([high, first ?? "", second ?? "", low]);
    });

    test("queues are served in turn, however long one of them is", async () => {
      await using scene = await openScene(makeEngine);
      const [a1 = "", a2 = "", a3 = ""] = await scene.enqueueAll([
        { queue: "a" },
        { queue: "a" },
        { queue: "a" },
      ]);
      const b1 = await scene.enqueue({ queue: "b" });

      expect(await scene.claimAll()).toEqual([a1, b1, a2, a3]);
    });
  });

  describe("the worker hears", () => {
    test("of every task that can be claimed", async () => {
      await using scene = await openScene(makeEngine);

      await scene.enqueueAll([{}, {}, {}]);

      await scene.worker.hearsOf(3);
      expect(scene.worker.ready).toBe(3);
    });

    test("of a scheduled task only when it is due", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue({ delayMs: 100 });
      await scene.clock.advance(99);
      expect(scene.worker.ready).toBe(0);

      await scene.clock.advance(1);

      await scene.worker.hearsOf(1);
    });

    test("of a retry when it is due", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueueIn("retrying");
      await scene.clock.advance(199);
      expect(scene.worker.ready).toBe(1);

      await scene.clock.advance(1);

      await scene.worker.hearsOf(2);
    });

    test("of an interrupted task at once", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue();

      await scene.engine.settle(await scene.claim(), { kind: "interrupted" });

      await scene.worker.hearsOf(2);
    });
  });

  describe("settle", () => {
    test("a task that is done keeps its result", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const claim = await scene.claim();
      await scene.clock.advance(70);

      await scene.settleDone(claim, '{"n":1}');

      expect(await scene.task(id)).toMatchObject({
        status: "done",
        result: '{"n":1}',
        attempt: 1,
        finishedAtMs: scene.clock.wallMs,
        errors: [],
      });
    });

    test("a failed attempt is recorded, and the task retries", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const claim = await scene.claim();
      await scene.clock.advance(70);

      await scene.settleFailed(claim);

      expect(await scene.task(id)).toMatchObject({
        status: "retrying",
        attempt: 1,
        runAtMs: scene.clock.wallMs + 200,
        finishedAtMs: null,
        errors: [{ code: "broken", message: "it broke", attempt: 1, atMs: scene.clock.wallMs }],
      });
    });

    test("a task fails once its retries are used up", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ maxRetries: 1 });
      await scene.settleFailed(await scene.claim());
      await scene.clock.advance(200);

      await scene.settleFailed(await scene.claim());

      const task = await scene.task(id);
      expect(task).toMatchObject({
        status: "failed",
        attempt: 2,
        finishedAtMs: scene.clock.wallMs,
      });
      expect(task.errors.map(({ attempt }) => attempt)).toEqual([1, 2]);
    });

    test("a task without retries fails with its first attempt", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ maxRetries: 0 });

      await scene.settleFailed(await scene.claim());

      expect(await scene.statusOf(id)).toBe("failed");
    });

    test("a failure that rules out a retry fails the task at once", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ maxRetries: 5 });

      await scene.settleFailed(await scene.claim(), { kind: "never" });

      expect(await scene.statusOf(id)).toBe("failed");
    });

    test("a failure may say itself when the next attempt is due", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      await scene.settleFailed(await scene.claim(), { kind: "after", ms: 5000 });

      await scene.clock.advance(4999);
      expect(await scene.statusOf(id)).toBe("retrying");
      await scene.clock.advance(1);

      expect(await scene.statusOf(id)).toBe("queued");
    });

    test("only the last five errors are kept", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ maxRetries: 6 });

      for (let attempt = 1; attempt <= 7; attempt += 1) {
        await scene.settleFailed(await scene.claim(), { kind: "after", ms: 1 });
        await scene.clock.advance(1);
      }

      const { status, errors } = await scene.task(id);
      expect(status).toBe("failed");
      expect(errors.map(({ attempt }) => attempt)).toEqual([3, 4, 5, 6, 7]);
    });

    test("an interrupted attempt costs no retry", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ maxRetries: 0 });

      await scene.engine.settle(await scene.claim(), { kind: "interrupted" });

      expect(await scene.task(id)).toMatchObject({ status: "queued", attempt: 1, errors: [] });
      await scene.settleDone(await scene.claim());
      expect(await scene.task(id)).toMatchObject({ status: "done", attempt: 2 });
    });

    test("an interrupted task gets its turn back", async () => {
      await using scene = await openScene(makeEngine);
      const [first = "", second = ""] = await scene.enqueueAll([{}, {}]);

      await scene.engine.settle(await scene.claim(), { kind: "interrupted" });

      expect(await scene.claimAll()).toEqual([first, second]);
    });

    test("a retry finds its place although the queue is full by then", async () => {
      await using scene = await openScene(makeEngine, { queueSize: 1 });
      const id = await scene.enqueue();
      const claim = await scene.claim();
      await scene.enqueue();

      await scene.settleFailed(claim);

      expect(await scene.statusOf(id)).toBe("retrying");
      expect((await scene.queue()).waiting).toBe(2);
    });
  });

  describe("a settle changes nothing", () => {
    test("when its attempt has lost its lease and another one runs", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ timeoutMs: 100 });
      const late = await scene.claim();
      await scene.clock.advance(100 + 200);
      const current = await scene.claim();
      expect(current).toMatchObject({ task: { id }, fence: 2 });

      await scene.settleDone(late, '"late"');

      expect(await scene.task(id)).toMatchObject({ status: "running", result: null });
      await scene.settleDone(current, '"current"');
      expect(await scene.task(id)).toMatchObject({ status: "done", result: '"current"' });
    });

    test("when its attempt has lost its lease and the task waits for its retry", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ timeoutMs: 100 });
      const late = await scene.claim();
      await scene.clock.advance(100);

      await scene.settleDone(late);

      expect(await scene.statusOf(id)).toBe("retrying");
    });

    test("when its attempt was settled before", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const claim = await scene.claim();
      await scene.settleDone(claim, "1");

      await scene.settleFailed(claim);
      await scene.settleDone(claim, "2");

      expect(await scene.task(id)).toMatchObject({ status: "done", result: "1", errors: [] });
    });

    test("when its attempt was given back and the task waits for its turn", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const claim = await scene.claim();
      await scene.engine.settle(claim, { kind: "interrupted" });

      await scene.settleDone(claim);

      expect(await scene.statusOf(id)).toBe("queued");
    });

    test("when its task was cancelled", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const claim = await scene.claim();
      await scene.engine.cancel(id);

      await scene.settleDone(claim, "1");

      expect(await scene.task(id)).toMatchObject({ status: "cancelled", result: null });
    });

    test("when its task was forgotten", async () => {
      await using scene = await openScene(makeEngine, { retainTasks: 0 });
      const id = await scene.enqueue();
      const claim = await scene.claim();
      await scene.engine.cancel(id);

      await scene.settleDone(claim);

      expect(await scene.engine.find(id)).toBeUndefined();
    });
  });
}
