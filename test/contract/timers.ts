/** What happens in every engine by itself, because its time has come. */

import { describe, expect, test } from "bun:test";
import { type MakeEngine, openScene } from "../support/engine-harness.ts";

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const DAY_MS = 24 * 60 * MINUTE_MS;

export function describeTimers(makeEngine: MakeEngine): void {
  describe("a delay", () => {
    test("holds a task back until it is over", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ delayMs: 5000 });

      await scene.clock.advance(4999);
      expect(await scene.claimAll()).toEqual([]);
      await scene.clock.advance(1);

      expect((await scene.claim()).task.id).toBe(id);
    });

    test("of 30 days ends after 30 days", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ delayMs: 30 * DAY_MS });

      await scene.clock.advance(30 * DAY_MS - 1);
      expect(await scene.statusOf(id)).toBe("scheduled");
      await scene.clock.advance(1);

      expect(await scene.statusOf(id)).toBe("queued");
    });

    test("that is shorter is over first, whichever came first", async () => {
      await using scene = await openScene(makeEngine);
      const long = await scene.enqueue({ delayMs: 5000 });
      const short = await scene.enqueue({ delayMs: 1000 });

      await scene.clock.advance(1000);
      expect(await scene.claimAll()).toEqual([short]);
      await scene.clock.advance(4000);

      expect(await scene.claimAll()).toEqual([long]);
    });

    test("does not care for the wall clock", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue({ delayMs: 5000 });

      scene.clock.jumpWall(DAY_MS);
      await scene.clock.advance(4999);
      expect(await scene.claimAll()).toEqual([]);
      scene.clock.jumpWall(-2 * DAY_MS);
      await scene.clock.advance(1);

      expect(await scene.claimAll()).toHaveLength(1);
    });

    test("ends for thousands of tasks at once, in their order", async () => {
      await using scene = await openScene(makeEngine, { queueSize: 10_000, queueBytes: 1e6 });
      const ids = await scene.enqueueAll(Array.from({ length: 10_000 }, () => ({ delayMs: 10 })));

      await scene.clock.advance(10);

      expect(await scene.claimAll()).toEqual(ids);
    });
  });

  describe("a retry", () => {
    test.each([
      ["without jitter", 0, [200, 400, 800, 1600]],
      ["with all jitter", 1 - Number.EPSILON, [300, 500, 900, 1700]],
    ])("comes after twice the time of the one before, %s", async (_, draw, delaysMs) => {
      await using scene = await openScene(makeEngine, { random: () => draw });
      const id = await scene.enqueue({ maxRetries: delaysMs.length });

      for (const delayMs of delaysMs) {
        await scene.settleFailed(await scene.claim());
        expect((await scene.task(id)).runAtMs).toBe(scene.clock.wallMs + delayMs);
        await scene.clock.advance(delayMs - 1);
        expect(await scene.claimAll()).toEqual([]);
        await scene.clock.advance(1);
      }

      expect((await scene.claim()).fence).toBe(delaysMs.length + 1);
    });

    test("comes no later than the longest time between two", async () => {
      await using scene = await openScene(makeEngine, { retryMaxMs: 250 });
      const id = await scene.enqueue();
      await scene.settleFailed(await scene.claim());
      await scene.clock.advance(200);

      await scene.settleFailed(await scene.claim());

      expect((await scene.task(id)).runAtMs).toBe(scene.clock.wallMs + 250);
    });

    test("does not care for the wall clock", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueueIn("retrying");

      scene.clock.jumpWall(DAY_MS);
      await scene.clock.advance(199);
      expect(await scene.claimAll()).toEqual([]);
      await scene.clock.advance(1);

      expect(await scene.claimAll()).toHaveLength(1);
    });
  });

  describe("a lease", () => {
    test("that ends revokes its attempt and costs a retry", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ timeoutMs: 5000 });
      await scene.claim();

      await scene.clock.advance(5000);

      expect(await scene.worker.revocation()).toEqual({ taskId: id, fence: 1, reason: "timeout" });
      expect(await scene.task(id)).toMatchObject({
        status: "retrying",
        errors: [{ code: "timeout", attempt: 1, atMs: scene.clock.wallMs }],
      });
    });

    test("that ends with the last attempt fails the task", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ timeoutMs: 5000, maxRetries: 0 });
      await scene.claim();

      await scene.clock.advance(5000);

      expect(await scene.task(id)).toMatchObject({
        status: "failed",
        errors: [{ code: "timeout", message: expect.stringContaining("5000") }],
      });
    });

    test("lasts as long as the default when the task does not say", async () => {
      await using scene = await openScene(makeEngine, { timeoutMs: 7000 });
      const id = await scene.enqueue();
      await scene.claim();

      await scene.clock.advance(6999);
      expect(await scene.statusOf(id)).toBe("running");
      await scene.clock.advance(1);

      expect(await scene.statusOf(id)).toBe("retrying");
    });

    test("counts from the claim, not from the enqueue", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ timeoutMs: 1000 });
      await scene.clock.advance(5000);
      await scene.claim();

      await scene.clock.advance(999);

      expect(await scene.statusOf(id)).toBe("running");
    });

    test("accepts the outcome in its last millisecond, and is over then", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ timeoutMs: 1000 });
      const claim = await scene.claim();
      await scene.clock.advance(999);

      await scene.settleDone(claim);
      await scene.clock.advance(MINUTE_MS);

      expect(await scene.statusOf(id)).toBe("done");
      expect(scene.worker.hasRevocations).toBe(false);
    });

    test("does not care for the wall clock", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ timeoutMs: 1000 });
      await scene.claim();

      scene.clock.jumpWall(DAY_MS);
      await scene.clock.advance(999);
      expect(await scene.statusOf(id)).toBe("running");
      scene.clock.jumpWall(-2 * DAY_MS);
      await scene.clock.advance(1);

      expect(await scene.statusOf(id)).toBe("retrying");
    });
  });

  describe("a time of day", () => {
    test("holds a task back until then", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ runAtMs: scene.clock.wallMs + MINUTE_MS });

      await scene.clock.advance(MINUTE_MS - 1);
      expect(await scene.claimAll()).toEqual([]);
      await scene.clock.advance(1);

      expect((await scene.claim()).task.id).toBe(id);
    });

    test("that a jump of the wall clock brings about is noticed within a second", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ runAtMs: scene.clock.wallMs + DAY_MS });

      scene.clock.jumpWall(DAY_MS);
      await scene.clock.advance(SECOND_MS);

      expect((await scene.claim()).task.id).toBe(id);
    });

    test("comes later when the wall clock is set back", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ runAtMs: scene.clock.wallMs + MINUTE_MS });

      scene.clock.jumpWall(-MINUTE_MS);
      await scene.clock.advance(2 * MINUTE_MS - 1);
      expect(await scene.statusOf(id)).toBe("scheduled");
      await scene.clock.advance(1);

      expect(await scene.statusOf(id)).toBe("queued");
    });

    test("is noticed although a task that was due before it is gone", async () => {
      await using scene = await openScene(makeEngine);
      const first = await scene.enqueue({ runAtMs: scene.clock.wallMs + 10 });
      const second = await scene.enqueue({ runAtMs: scene.clock.wallMs + 20 });
      await scene.engine.cancel(first);

      await scene.clock.advance(20);

      expect(await scene.claimAll()).toEqual([second]);
    });
  });

  describe("retention", () => {
    test.each(["done", "failed", "cancelled"] as const)(
      "forgets a %s task when its time is up, and not before",
      async (status) => {
        await using scene = await openScene(makeEngine, { retainMs: MINUTE_MS });
        const id = await scene.enqueueIn(status);

        await scene.clock.advance(MINUTE_MS - 1);
        expect(await scene.statusOf(id)).toBe(status);
        await scene.clock.advance(1);

        expect(await scene.engine.find(id)).toBeUndefined();
        expect(await scene.listAll()).toEqual([]);
      },
    );

    test("does not care for the wall clock", async () => {
      await using scene = await openScene(makeEngine, { retainMs: MINUTE_MS });
      const id = await scene.enqueueIn("done");

      scene.clock.jumpWall(DAY_MS);
      await scene.clock.advance(MINUTE_MS - 1);

      expect(await scene.statusOf(id)).toBe("done");
    });

    test("forgets the longest finished when there are too many", async () => {
      await using scene = await openScene(makeEngine, { retainTasks: 2 });
      const first = await scene.enqueueIn("done");
      const second = await scene.enqueueIn("failed");

      const third = await scene.enqueueIn("cancelled");

      expect(await scene.engine.find(first)).toBeUndefined();
      expect(await scene.listAll()).toEqual([third, second]);
    });

    test("never forgets a task that is not finished", async () => {
      await using scene = await openScene(makeEngine, { retainTasks: 0, retainMs: 0 });
      const id = await scene.enqueue({ delayMs: DAY_MS });

      await scene.clock.advance(DAY_MS - 1);

      expect(await scene.statusOf(id)).toBe("scheduled");
    });

    test("keeps a task that was queued again from being forgotten", async () => {
      await using scene = await openScene(makeEngine, { retainMs: MINUTE_MS });
      const id = await scene.enqueueIn("failed");
      await scene.engine.retry(id);

      await scene.clock.advance(10 * MINUTE_MS);

      expect(await scene.statusOf(id)).toBe("queued");
    });
  });
}
