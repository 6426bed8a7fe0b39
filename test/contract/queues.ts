/** What every engine says of its queues, and how they are bounded, paused and purged. */

import { describe, expect, test } from "bun:test";
import { aRequest } from "../support/engine-harness.ts";
import type { Contract } from "./contract.ts";

const MINUTE_MS = 60_000;

export function describeQueues(contract: Contract): void {
  describe("report", () => {
    test("a report names every queue from its first task on", async () => {
      await using harness = await contract.open();
      expect(await harness.engine.queues()).toEqual([]);

      await harness.enqueueAll([{ queue: "b" }, { queue: "a" }]);

      const names = (await harness.engine.queues()).map(({ name }) => name);
      expect(names.toSorted()).toEqual(["a", "b"]);
      expect(await harness.engine.queue("c")).toBeUndefined();
    });

    test("a report counts tasks by status, what waits, and what happened so far", async () => {
      await using harness = await contract.open({ queueSize: 7, queueBytes: 777 });
      await harness.enqueueIn("done");
      await harness.enqueueIn("failed");
      await harness.enqueueIn("cancelled");
      await harness.enqueueIn("retrying", { payload: 1 });
      await harness.enqueueIn("running", { payload: 22 });
      await harness.enqueueIn("scheduled", { payload: 333 });
      await harness.enqueueIn("queued", { payload: 4444 });
      await harness.enqueueIn("queued", { queue: "other" });

      expect(await harness.queue()).toEqual({
        name: "default",
        isPaused: false,
        limits: {
          size: 7,
          bytes: 777,
          concurrency: Number.POSITIVE_INFINITY,
          claims: Number.POSITIVE_INFINITY,
        },
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
        claims: 0,
        claimsWaiting: 0,
        totals: { enqueued: 7, done: 1, failed: 1, cancelled: 1, retried: 1, interrupted: 0 },
        oldestQueuedMs: 0,
      });
    });

    test("a report counts released attempts", async () => {
      await using harness = await contract.open();
      await harness.enqueue();

      await harness.release(await harness.claim());

      expect((await harness.queue()).totals.interrupted).toBe(1);
    });

    test("a report keeps its totals when the tasks are forgotten", async () => {
      await using harness = await contract.open({ retainTasks: 0 });

      await harness.enqueueIn("done");

      expect(await harness.queue()).toMatchObject({ counts: { done: 0 }, totals: { done: 1 } });
    });

    contract.clockTest(
      "a report says how long its oldest task has been queued, by the monotonic clock",
      async () => {
        await using harness = await contract.open();
        await harness.enqueue();
        await harness.advance(700);
        harness.clock.jumpWall(MINUTE_MS);
        await harness.enqueue({ priority: 1 });
        await harness.advance(70);

        expect((await harness.queue()).oldestQueuedMs).toBe(770);
      },
    );

    test("a report has no oldest task while none is queued", async () => {
      await using harness = await contract.open();
      await harness.enqueueIn("running");
      await harness.enqueueIn("scheduled");

      expect((await harness.queue()).oldestQueuedMs).toBeNull();
    });

    contract.clockTest("a queue is gone some time after the last task is", async () => {
      await using harness = await contract.open({ retainMs: MINUTE_MS });
      await harness.enqueueIn("done");

      await harness.advance(2 * MINUTE_MS - 1);
      expect(await harness.engine.queues()).toHaveLength(1);
      await harness.advance(1);

      expect(await harness.engine.queues()).toEqual([]);
    });
  });

  describe("limits of a queue", () => {
    test("a queue's own limits bound it instead of the common ones", async () => {
      await using harness = await contract.open({ queues: { small: { size: 1 } } });
      await harness.enqueue({ queue: "small" });

      const answer = await harness.engine.enqueue([aRequest({ queue: "small" })]);

      expect(answer).toEqual({ kind: "refused", bound: "queue_size", limit: 1, queue: "small" });
      await harness.enqueueAll([{ queue: "large" }, { queue: "large" }]);
    });

    test("a queue's own concurrency lets only so many of its tasks run at once, and hold up no other queue", async () => {
      await using harness = await contract.open({ queues: { narrow: { concurrency: 2 } } });
      const [first = "", second = ""] = await harness.enqueueAll([
        { queue: "narrow" },
        { queue: "narrow" },
        { queue: "narrow" },
      ]);
      const [a = "", b = ""] = await harness.enqueueAll([{ queue: "wide" }, { queue: "wide" }]);

      const claimed = await harness.claimAll();

      expect(claimed.toSorted()).toEqual([first, second, a, b].toSorted());
    });

    test.each(["done", "failed", "released"] as const)(
      "a queue at its limit has a place again once a running task is %s, and the worker hears of it",
      async (kind) => {
        await using harness = await contract.open({ queues: { narrow: { concurrency: 1 } } });
        await harness.enqueueAll([{ queue: "narrow" }, { queue: "narrow" }]);
        const claim = await harness.claim();
        expect(await harness.claimAll()).toEqual([]);
        const readyBefore = harness.worker.ready;

        if (kind === "done") await harness.settleDone(claim);
        else if (kind === "failed") await harness.settleFailed(claim);
        else await harness.release(claim);

        await harness.worker.hearsOf(readyBefore + 1);
        expect(await harness.claimAll()).toHaveLength(1);
      },
    );

    test("a queue at its limit has a place again once a running task is cancelled or timed out", async () => {
      await using harness = await contract.open({ queues: { narrow: { concurrency: 1 } } });
      const [first = "", second = "", third = ""] = await harness.enqueueAll([
        { queue: "narrow", maxRetries: 0 },
        { queue: "narrow", timeoutMs: 1000, maxRetries: 0 },
        { queue: "narrow" },
      ]);
      expect(await harness.claimAll()).toEqual([first]);

      await harness.engine.cancel(first);
      expect(await harness.claimAll()).toEqual([second]);
      await harness.advance(1000);

      expect(await harness.claimAll()).toEqual([third]);
    });
  });

  describe("pause", () => {
    test("a pause stops claims from the queue and from no other", async () => {
      await using harness = await contract.open();
      await harness.enqueue({ queue: "paused" });
      const id = await harness.enqueue({ queue: "other" });

      const answer = await harness.engine.pause("paused");

      expect(answer).toMatchObject({ kind: "set", queue: { name: "paused", isPaused: true } });
      expect(await harness.claimAll()).toEqual([id]);
    });

    test("a pause stops no enqueue, and the worker does not hear of it", async () => {
      await using harness = await contract.open();
      await harness.enqueue();
      await harness.engine.pause("default");

      await harness.enqueue();
      await harness.enqueue({ delayMs: 10 });
      await harness.advance(10);

      expect((await harness.queue()).counts.queued).toBe(3);
      expect(harness.worker.ready).toBe(1);
    });

    test("a pause lets a running task finish, and a retry wait", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const claim = await harness.claim();
      await harness.engine.pause("default");

      await harness.settleFailed(claim);
      await harness.advance(200);

      expect(await harness.statusOf(id)).toBe("queued");
      expect(await harness.claimAll()).toEqual([]);
    });

    test("a pause keeps a queue without tasks until it is resumed", async () => {
      await using harness = await contract.open({ retainMs: MINUTE_MS });
      await harness.enqueueIn("done");
      await harness.engine.pause("default");
      await harness.advance(10 * MINUTE_MS);
      expect((await harness.queue()).isPaused).toBe(true);

      await harness.engine.resume("default");
      await harness.advance(MINUTE_MS);

      expect(await harness.engine.queues()).toEqual([]);
    });

    test("a pause is refused when there is no room for one more queue in use", async () => {
      await using harness = await contract.open({ queuesMax: 1 });
      await harness.enqueueIn("done", { queue: "idle" });
      await harness.enqueue({ queue: "busy" });

      const answer = await harness.engine.pause("idle");

      expect(answer).toEqual({ kind: "refused", bound: "queues_max", limit: 1, queue: "idle" });
      expect((await harness.queue("idle")).isPaused).toBe(false);
    });

    test("a pause of an unknown queue is answered unknown", async () => {
      await using harness = await contract.open();

      expect(await harness.engine.pause("nowhere")).toEqual({ kind: "unknown" });
    });
  });

  describe("resume", () => {
    test("a resume tells the worker of all that waited behind the pause", async () => {
      await using harness = await contract.open();
      const first = await harness.enqueue();
      await harness.engine.pause("default");
      const second = await harness.enqueue();

      const answer = await harness.engine.resume("default");

      expect(answer).toMatchObject({ kind: "set", queue: { isPaused: false } });
      await harness.worker.hearsOf(3);
      expect(await harness.claimAll()).toEqual([first, second]);
    });

    test("a resume tells the worker nothing when nothing waits", async () => {
      await using harness = await contract.open();
      await harness.enqueueIn("running");
      await harness.engine.pause("default");

      await harness.engine.resume("default");

      expect(harness.worker.ready).toBe(1);
    });
  });

  describe("purge", () => {
    contract.clockTest(
      "a purge cancels whatever waits, and says how many tasks that were",
      async () => {
        await using harness = await contract.open();
        const ids = [
          await harness.enqueueIn("retrying"),
          await harness.enqueueIn("scheduled"),
          await harness.enqueue({ runAtMs: harness.wallMs + MINUTE_MS }),
          await harness.enqueueIn("queued"),
        ];

        expect(await harness.engine.purge("default")).toEqual({ kind: "purged", cancelled: 4 });

        expect(await harness.listAll({ status: "cancelled" })).toEqual(ids.toReversed());
        expect(await harness.queue()).toMatchObject({ waiting: 0, waitingBytes: 0 });
        await harness.advance(10 * MINUTE_MS);
        expect(await harness.claimAll()).toEqual([]);
      },
    );

    test("a purge leaves what runs and what has finished as it is", async () => {
      await using harness = await contract.open();
      const done = await harness.enqueueIn("done");
      const running = await harness.enqueueIn("running");

      expect(await harness.engine.purge("default")).toEqual({ kind: "purged", cancelled: 0 });

      expect(await harness.statusOf(done)).toBe("done");
      expect(await harness.statusOf(running)).toBe("running");
      expect(harness.worker.hasRevocations).toBe(false);
    });

    test("a purge leaves other queues as they are", async () => {
      await using harness = await contract.open();
      await harness.enqueue();
      const id = await harness.enqueue({ queue: "other" });

      await harness.engine.purge("default");

      expect(await harness.claimAll()).toEqual([id]);
    });

    test("a purge leaves room for as many tasks as before", async () => {
      await using harness = await contract.open({ queueSize: 2 });
      await harness.enqueueAll([{}, {}]);

      await harness.engine.purge("default");

      await harness.enqueueAll([{}, {}]);
    });

    test("a purge of an unknown queue is answered unknown", async () => {
      await using harness = await contract.open();

      expect(await harness.engine.purge("nowhere")).toEqual({ kind: "unknown" });
    });
  });
}
