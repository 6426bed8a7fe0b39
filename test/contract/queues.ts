/** What every engine says of its queues, and how they are bounded, paused and purged. */

import { describe, expect, test } from "bun:test";
import { aRequest, type MakeEngine, openScene } from "../support/engine-harness.ts";

const MINUTE_MS = 60_000;

export function describeQueues(makeEngine: MakeEngine): void {
  describe("a report", () => {
    test("names every queue from its first task on", async () => {
      await using scene = await openScene(makeEngine);
      expect(await scene.engine.queues()).toEqual([]);

      await scene.enqueueAll([{ queue: "b" }, { queue: "a" }]);

      const names = (await scene.engine.queues()).map(({ name }) => name);
      expect(names.toSorted()).toEqual(["a", "b"]);
      expect(await scene.engine.queue("c")).toBeUndefined();
    });

    test("counts tasks by status, what waits, and what happened so far", async () => {
      await using scene = await openScene(makeEngine, { queueSize: 7, queueBytes: 777 });
      await scene.enqueueIn("done");
      await scene.enqueueIn("failed");
      await scene.enqueueIn("cancelled");
      await scene.enqueueIn("retrying", { payload: 1 });
      await scene.enqueueIn("running", { payload: 22 });
      await scene.enqueueIn("scheduled", { payload: 333 });
      await scene.enqueueIn("queued", { payload: 4444 });
      await scene.enqueueIn("queued", { queue: "other" });

      expect(await scene.queue()).toEqual({
        name: "default",
        isPaused: false,
        limits: { size: 7, bytes: 777, concurrency: Number.POSITIVE_INFINITY },
        counts: {
          scheduled: 1,
          queued: 1,
          running: 1,
          retrying: 1,
          done: 1,
          failed: 1,
          cancelled: 1,
        },
        waiting: 3,
        waitingBytes: 8,
        totals: { enqueued: 7, done: 1, failed: 1, cancelled: 1, retried: 1, interrupted: 0 },
        oldestQueuedMs: 0,
      });
    });

    test("counts interrupted attempts", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue();

      await scene.engine.settle(await scene.claim(), { kind: "interrupted" });

      expect((await scene.queue()).totals.interrupted).toBe(1);
    });

    test("keeps its totals when the tasks are forgotten", async () => {
      await using scene = await openScene(makeEngine, { retainTasks: 0 });

      await scene.enqueueIn("done");

      expect(await scene.queue()).toMatchObject({ counts: { done: 0 }, totals: { done: 1 } });
    });

    test("says how long its oldest task has been queued, by the monotonic clock", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue();
      await scene.clock.advance(700);
      scene.clock.jumpWall(MINUTE_MS);
      await scene.enqueue({ priority: 1 });
      await scene.clock.advance(70);

      expect((await scene.queue()).oldestQueuedMs).toBe(770);
    });

    test("has no oldest task while none is queued", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueueIn("running");
      await scene.enqueueIn("scheduled");

      expect((await scene.queue()).oldestQueuedMs).toBeNull();
    });

    test("is gone some time after the last task is", async () => {
      await using scene = await openScene(makeEngine, { retainMs: MINUTE_MS });
      await scene.enqueueIn("done");

      await scene.clock.advance(2 * MINUTE_MS - 1);
      expect(await scene.engine.queues()).toHaveLength(1);
      await scene.clock.advance(1);

      expect(await scene.engine.queues()).toEqual([]);
    });
  });

  describe("limits of its own", () => {
    test("bound a queue instead of the common ones", async () => {
      await using scene = await openScene(makeEngine, { queues: { small: { size: 1 } } });
      await scene.enqueue({ queue: "small" });

      const answer = await scene.engine.enqueue([aRequest({ queue: "small" })]);

      expect(answer).toEqual({ kind: "refused", bound: "queue_size", queue: "small", limit: 1 });
      await scene.enqueueAll([{ queue: "large" }, { queue: "large" }]);
    });

    test("let only so many of its tasks run at once, and hold up no other queue", async () => {
      await using scene = await openScene(makeEngine, { queues: { narrow: { concurrency: 2 } } });
      const [first = "", second = ""] = await scene.enqueueAll([
        { queue: "narrow" },
        { queue: "narrow" },
        { queue: "narrow" },
      ]);
      const [a = "", b = ""] = await scene.enqueueAll([{ queue: "wide" }, { queue: "wide" }]);

      const claimed = await scene.claimAll();

      expect(claimed.toSorted()).toEqual([first, second, a, b].toSorted());
    });

    test.each(["done", "failed", "interrupted"] as const)(
      "have a place again once a running task is %s, and the worker hears of it",
      async (kind) => {
        await using scene = await openScene(makeEngine, { queues: { narrow: { concurrency: 1 } } });
        await scene.enqueueAll([{ queue: "narrow" }, { queue: "narrow" }]);
        const claim = await scene.claim();
        expect(await scene.claimAll()).toEqual([]);
        const readyBefore = scene.worker.ready;

        if (kind === "done") await scene.settleDone(claim);
        else if (kind === "failed") await scene.settleFailed(claim);
        else await scene.engine.settle(claim, { kind });

        await scene.worker.hearsOf(readyBefore + 1);
        expect(await scene.claimAll()).toHaveLength(1);
      },
    );

    test("have a place again once a running task is cancelled or timed out", async () => {
      await using scene = await openScene(makeEngine, { queues: { narrow: { concurrency: 1 } } });
      const [first = "", second = "", third = ""] = await scene.enqueueAll([
        { queue: "narrow", maxRetries: 0 },
        { queue: "narrow", timeoutMs: 1000, maxRetries: 0 },
        { queue: "narrow" },
      ]);
      expect(await scene.claimAll()).toEqual([first]);

      await scene.engine.cancel(first);
      expect(await scene.claimAll()).toEqual([second]);
      await scene.clock.advance(1000);

      expect(await scene.claimAll()).toEqual([third]);
    });
  });

  describe("pause", () => {
    test("stops claims from the queue and from no other", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue({ queue: "paused" });
      const id = await scene.enqueue({ queue: "other" });

      const answer = await scene.engine.setPaused("paused", true);

      expect(answer).toMatchObject({ kind: "set", queue: { name: "paused", isPaused: true } });
      expect(await scene.claimAll()).toEqual([id]);
    });

    test("stops no enqueue, and the worker does not hear of it", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue();
      await scene.engine.setPaused("default", true);

      await scene.enqueue();
      await scene.enqueue({ delayMs: 10 });
      await scene.clock.advance(10);

      expect((await scene.queue()).counts.queued).toBe(3);
      expect(scene.worker.ready).toBe(1);
    });

    test("lets a running task finish, and a retry wait", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const claim = await scene.claim();
      await scene.engine.setPaused("default", true);

      await scene.settleFailed(claim);
      await scene.clock.advance(200);

      expect(await scene.statusOf(id)).toBe("queued");
      expect(await scene.claimAll()).toEqual([]);
    });

    test("keeps a queue without tasks until it is resumed", async () => {
      await using scene = await openScene(makeEngine, { retainMs: MINUTE_MS });
      await scene.enqueueIn("done");
      await scene.engine.setPaused("default", true);
      await scene.clock.advance(10 * MINUTE_MS);
      expect((await scene.queue()).isPaused).toBe(true);

      await scene.engine.setPaused("default", false);
      await scene.clock.advance(MINUTE_MS);

      expect(await scene.engine.queues()).toEqual([]);
    });

    test("is refused when there is no room for one more queue in use", async () => {
      await using scene = await openScene(makeEngine, { queuesMax: 1 });
      await scene.enqueueIn("done", { queue: "idle" });
      await scene.enqueue({ queue: "busy" });

      const answer = await scene.engine.setPaused("idle", true);

      expect(answer).toEqual({ kind: "refused", bound: "queues_max", queue: "idle", limit: 1 });
      expect((await scene.queue("idle")).isPaused).toBe(false);
    });

    test("knows no queue that does not exist", async () => {
      await using scene = await openScene(makeEngine);

      expect(await scene.engine.setPaused("nowhere", true)).toEqual({ kind: "unknown" });
    });
  });

  describe("resume", () => {
    test("tells the worker of all that waited behind the pause", async () => {
      await using scene = await openScene(makeEngine);
      const first = await scene.enqueue();
      await scene.engine.setPaused("default", true);
      const second = await scene.enqueue();

      const answer = await scene.engine.setPaused("default", false);

      expect(answer).toMatchObject({ kind: "set", queue: { isPaused: false } });
      await scene.worker.hearsOf(3);
      expect(await scene.claimAll()).toEqual([first, second]);
    });

    test("tells the worker nothing when nothing waits", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueueIn("running");
      await scene.engine.setPaused("default", true);

      await scene.engine.setPaused("default", false);

      expect(scene.worker.ready).toBe(1);
    });
  });

  describe("purge", () => {
    test("cancels whatever waits, and says how many tasks that were", async () => {
      await using scene = await openScene(makeEngine);
      const ids = [
        await scene.enqueueIn("retrying"),
        await scene.enqueueIn("scheduled"),
        await scene.enqueue({ runAtMs: scene.clock.wallMs + MINUTE_MS }),
        await scene.enqueueIn("queued"),
      ];

      expect(await scene.engine.purge("default")).toEqual({ kind: "purged", cancelled: 4 });

      expect(await scene.listAll({ status: "cancelled" })).toEqual(ids.toReversed());
      expect(await scene.queue()).toMatchObject({ waiting: 0, waitingBytes: 0 });
      await scene.clock.advance(10 * MINUTE_MS);
      expect(await scene.claimAll()).toEqual([]);
    });

    test("leaves what runs and what has finished as it is", async () => {
      await using scene = await openScene(makeEngine);
      const done = await scene.enqueueIn("done");
      const running = await scene.enqueueIn("running");

      expect(await scene.engine.purge("default")).toEqual({ kind: "purged", cancelled: 0 });

      expect(await scene.statusOf(done)).toBe("done");
      expect(await scene.statusOf(running)).toBe("running");
      expect(scene.worker.hasRevocations).toBe(false);
    });

    test("leaves other queues as they are", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue();
      const id = await scene.enqueue({ queue: "other" });

      await scene.engine.purge("default");

      expect(await scene.claimAll()).toEqual([id]);
    });

    test("leaves room for as many tasks as before", async () => {
      await using scene = await openScene(makeEngine, { queueSize: 2 });
      await scene.enqueueAll([{}, {}]);

      await scene.engine.purge("default");

      await scene.enqueueAll([{}, {}]);
    });

    test("knows no queue that does not exist", async () => {
      await using scene = await openScene(makeEngine);

      expect(await scene.engine.purge("nowhere")).toEqual({ kind: "unknown" });
    });
  });
}
