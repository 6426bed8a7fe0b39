/** What happens in every engine by itself, because its time has come. */

import { describe, expect, test } from "bun:test";
import type { Contract } from "./contract.ts";

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const DAY_MS = 24 * 60 * MINUTE_MS;

export function describeTimers(contract: Contract): void {
  describe("delay", () => {
    contract.clockTest("a delay holds a task back until it is over", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ delayMs: 5000 });

      await harness.advance(4999);
      expect(await harness.claimAll()).toEqual([]);
      await harness.advance(1);

      expect((await harness.claim()).taskId).toBe(id);
    });

    contract.clockTest("a delay of 30 days ends after 30 days", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ delayMs: 30 * DAY_MS });

      await harness.advance(30 * DAY_MS - 1);
      expect(await harness.statusOf(id)).toBe("scheduled");
      await harness.advance(1);

      expect(await harness.statusOf(id)).toBe("queued");
    });

    test("a shorter delay is over first, whichever came first", async () => {
      await using harness = await contract.open();
      const long = await harness.enqueue({ delayMs: 5000 });
      const short = await harness.enqueue({ delayMs: 1000 });

      await harness.advance(1000);
      expect(await harness.claimAll()).toEqual([short]);
      await harness.advance(4000);

      expect(await harness.claimAll()).toEqual([long]);
    });

    contract.clockTest("a delay does not care for the wall clock", async () => {
      await using harness = await contract.open();
      await harness.enqueue({ delayMs: 5000 });

      harness.clock.jumpWall(DAY_MS);
      await harness.advance(4999);
      expect(await harness.claimAll()).toEqual([]);
      harness.clock.jumpWall(-2 * DAY_MS);
      await harness.advance(1);

      expect(await harness.claimAll()).toHaveLength(1);
    });

    test("a delay ends for thousands of tasks at once, in their order", async () => {
      await using harness = await contract.open({ queueSize: 10_000, queueBytes: 1e6 });
      const ids = await harness.enqueueAll(Array.from({ length: 10_000 }, () => ({ delayMs: 10 })));

      await harness.advance(10);

      expect(await harness.claimAll()).toEqual(ids);
    });
  });

  describe("retry wait", () => {
    contract.clockTest.each([
      ["without jitter", 0, [200, 400, 800, 1600]],
      ["with all jitter", 1 - Number.EPSILON, [300, 500, 900, 1700]],
    ])("a retry comes after twice the time of the one before, %s", async (_, draw, delaysMs) => {
      await using harness = await contract.open({ random: () => draw });
      const id = await harness.enqueue({ maxRetries: delaysMs.length });

      for (const delayMs of delaysMs) {
        await harness.settleFailed(await harness.claim());
        expect((await harness.task(id)).runAtMs).toBe(harness.wallMs + delayMs);
        await harness.advance(delayMs - 1);
        expect(await harness.claimAll()).toEqual([]);
        await harness.advance(1);
      }

      expect((await harness.claim()).task.attempt).toBe(delaysMs.length + 1);
    });

    contract.clockTest("a retry comes no later than the longest time between two", async () => {
      await using harness = await contract.open({ retryMaxMs: 250 });
      const id = await harness.enqueue();
      await harness.settleFailed(await harness.claim());
      await harness.advance(200);

      await harness.settleFailed(await harness.claim());

      expect((await harness.task(id)).runAtMs).toBe(harness.wallMs + 250);
    });

    contract.clockTest("a retry does not care for the wall clock", async () => {
      await using harness = await contract.open();
      await harness.enqueueIn("retrying");

      harness.clock.jumpWall(DAY_MS);
      await harness.advance(199);
      expect(await harness.claimAll()).toEqual([]);
      await harness.advance(1);

      expect(await harness.claimAll()).toHaveLength(1);
    });
  });

  describe("timeout", () => {
    contract.clockTest("a timeout revokes its attempt and costs a retry", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ timeoutMs: 5000 });
      const { fence } = await harness.claim();

      await harness.advance(5000);

      expect(await harness.worker.revocation()).toEqual({ taskId: id, fence, reason: "timeout" });
      expect(await harness.task(id)).toMatchObject({
        status: "retrying",
        errors: [{ code: "timeout", attempt: 1, atMs: harness.wallMs }],
      });
    });

    test("a timeout of the last attempt fails the task", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ timeoutMs: 5000, maxRetries: 0 });
      await harness.claim();

      await harness.advance(5000);

      expect(await harness.task(id)).toMatchObject({
        status: "failed",
        errors: [{ code: "timeout", message: expect.stringContaining("5000") }],
      });
    });

    contract.clockTest("a timeout is the default when the task does not say", async () => {
      await using harness = await contract.open({ timeoutMs: 7000 });
      const id = await harness.enqueue();
      await harness.claim();

      await harness.advance(6999);
      expect(await harness.statusOf(id)).toBe("running");
      await harness.advance(1);

      expect(await harness.statusOf(id)).toBe("retrying");
    });

    contract.clockTest("a timeout counts from the claim, not from the enqueue", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ timeoutMs: 1000 });
      await harness.advance(5000);
      await harness.claim();

      await harness.advance(999);

      expect(await harness.statusOf(id)).toBe("running");
    });

    contract.clockTest(
      "an outcome in the last millisecond before the timeout counts, and no timeout follows",
      async () => {
        await using harness = await contract.open();
        const id = await harness.enqueue({ timeoutMs: 1000 });
        const claim = await harness.claim();
        await harness.advance(999);

        await harness.settleDone(claim);
        await harness.advance(MINUTE_MS);

        expect(await harness.statusOf(id)).toBe("done");
        expect(harness.worker.hasRevocations).toBe(false);
      },
    );

    contract.clockTest("a timeout does not care for the wall clock", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ timeoutMs: 1000 });
      await harness.claim();

      harness.clock.jumpWall(DAY_MS);
      await harness.advance(999);
      expect(await harness.statusOf(id)).toBe("running");
      harness.clock.jumpWall(-2 * DAY_MS);
      await harness.advance(1);

      expect(await harness.statusOf(id)).toBe("retrying");
    });
  });

  describe("run_at", () => {
    contract.clockTest("a time of day holds a task back until then", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ runAtMs: harness.wallMs + MINUTE_MS });

      await harness.advance(MINUTE_MS - 1);
      expect(await harness.claimAll()).toEqual([]);
      await harness.advance(1);

      expect((await harness.claim()).taskId).toBe(id);
    });

    contract.clockTest(
      "a time of day that a jump of the wall clock brings about is noticed within a second",
      async () => {
        await using harness = await contract.open();
        const id = await harness.enqueue({ runAtMs: harness.wallMs + DAY_MS });

        harness.clock.jumpWall(DAY_MS);
        await harness.advance(SECOND_MS);

        expect((await harness.claim()).taskId).toBe(id);
      },
    );

    contract.clockTest("a time of day comes later when the wall clock is set back", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ runAtMs: harness.wallMs + MINUTE_MS });

      harness.clock.jumpWall(-MINUTE_MS);
      await harness.advance(2 * MINUTE_MS - 1);
      expect(await harness.statusOf(id)).toBe("scheduled");
      await harness.advance(1);

      expect(await harness.statusOf(id)).toBe("queued");
    });

    contract.clockTest(
      "a time of day is noticed although a task that was due before it is gone",
      async () => {
        await using harness = await contract.open();
        const first = await harness.enqueue({ runAtMs: harness.wallMs + 10 });
        const second = await harness.enqueue({ runAtMs: harness.wallMs + 20 });
        await harness.engine.cancel(first);

        await harness.advance(20);

        expect(await harness.claimAll()).toEqual([second]);
      },
    );
  });

  describe("retention", () => {
    contract.clockTest.each(["done", "failed", "cancelled"] as const)(
      "retention forgets a %s task when its time is up, and not before",
      async (status) => {
        await using harness = await contract.open({ retainMs: MINUTE_MS });
        const id = await harness.enqueueIn(status);

        await harness.advance(MINUTE_MS - 1);
        expect(await harness.statusOf(id)).toBe(status);
        await harness.advance(1);

        expect(await harness.engine.find(id)).toBeUndefined();
        expect(await harness.listAll()).toEqual([]);
      },
    );

    contract.clockTest("retention does not care for the wall clock", async () => {
      await using harness = await contract.open({ retainMs: MINUTE_MS });
      const id = await harness.enqueueIn("done");

      harness.clock.jumpWall(DAY_MS);
      await harness.advance(MINUTE_MS - 1);

      expect(await harness.statusOf(id)).toBe("done");
    });

    test("retention forgets the longest finished when there are too many", async () => {
      await using harness = await contract.open({ retainTasks: 2 });
      const first = await harness.enqueueIn("done");
      const second = await harness.enqueueIn("failed");

      const third = await harness.enqueueIn("cancelled");

      expect(await harness.engine.find(first)).toBeUndefined();
      expect(await harness.listAll()).toEqual([third, second]);
    });

    contract.clockTest("retention never forgets a task that is not finished", async () => {
      await using harness = await contract.open({ retainTasks: 0, retainMs: 0 });
      const id = await harness.enqueue({ delayMs: DAY_MS });

      await harness.advance(DAY_MS - 1);

      expect(await harness.statusOf(id)).toBe("scheduled");
    });

    test("retention keeps a task that was queued again from being forgotten", async () => {
      await using harness = await contract.open({ retainMs: MINUTE_MS });
      const id = await harness.enqueueIn("failed");
      await harness.engine.retry(id);

      await harness.advance(10 * MINUTE_MS);

      expect(await harness.statusOf(id)).toBe("queued");
    });
  });
}
