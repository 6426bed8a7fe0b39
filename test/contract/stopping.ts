/** How every engine comes to its end. */

import { describe, expect, test } from "bun:test";
import { aRequest, REMOTE_TYPES } from "../support/engine-harness.ts";
import { isPending } from "../support/manual-clock.ts";
import type { Contract } from "./contract.ts";

const GRACE_MS = 8000;

export function describeStopping(contract: Contract): void {
  describe("stopIntake", () => {
    test("once intake has stopped, every enqueue is refused", async () => {
      await using harness = await contract.open();
      expect(harness.engine.readiness).toBe("ready");

      harness.engine.stopIntake();

      expect(harness.engine.readiness).toBe("stopping");
      expect(await harness.engine.enqueue([aRequest()])).toEqual({ kind: "stopping" });
      expect(await harness.listAll()).toEqual([]);
    });

    test("once intake has stopped, an enqueue that comes again under its key is refused as well", async () => {
      await using harness = await contract.open();
      await harness.engine.enqueue([aRequest()], "key");

      harness.engine.stopIntake();

      expect(await harness.engine.enqueue([aRequest()], "key")).toEqual({ kind: "stopping" });
    });

    test("once intake has stopped, running attempts settle and tasks are read", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const claim = await harness.claim();
      harness.engine.stopIntake();

      await harness.settleDone(claim);

      expect(await harness.statusOf(id)).toBe("done");
      expect((await harness.queue()).counts.done).toBe(1);
    });

    test("once intake has stopped, tasks are cancelled and queues paused", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      harness.engine.stopIntake();

      expect((await harness.engine.cancel(id)).kind).toBe("cancelled");
      expect((await harness.engine.pause("default")).kind).toBe("set");
    });
  });

  describe("drain", () => {
    test("drain ends at once when there is nothing", async () => {
      await using harness = await contract.open();

      await harness.engine.drain(GRACE_MS);
    });

    test.each(["done", "failed", "cancelled"] as const)(
      "drain ends at once when all is %s",
      async (status) => {
        await using harness = await contract.open();
        await harness.enqueueIn(status);

        await harness.engine.drain(GRACE_MS);
      },
    );

    contract.clockTest(
      "drain ends at once when what is scheduled is due after the grace",
      async () => {
        await using harness = await contract.open();
        const ids = [
          await harness.enqueue({ delayMs: GRACE_MS + 1 }),
          await harness.enqueue({ runAtMs: harness.wallMs + GRACE_MS + 1 }),
        ];

        await harness.engine.drain(GRACE_MS);

        expect(await harness.listAll({ status: "scheduled" })).toEqual(ids.toReversed());
      },
    );

    contract.clockTest("drain ends at once when a retry is due after the grace", async () => {
      await using harness = await contract.open();
      await harness.enqueueIn("retrying");

      await harness.engine.drain(199);
    });

    test("drain ends at once when what waits is behind a pause", async () => {
      await using harness = await contract.open();
      await harness.enqueue();
      await harness.engine.pause("default");

      await harness.engine.drain(GRACE_MS);
    });
  });

  describe("drain", () => {
    contract.clockTest("drain waits for what runs", async () => {
      await using harness = await contract.open();
      await harness.enqueue({ timeoutMs: 10 * GRACE_MS });
      const claim = await harness.claim();
      const drained = harness.engine.drain(GRACE_MS);
      await harness.advance(GRACE_MS - 1);
      expect(await isPending(drained)).toBe(true);

      await harness.settleDone(claim);

      await drained;
    });

    test("drain waits for the last of those that run", async () => {
      await using harness = await contract.open();
      await harness.enqueueAll([{}, {}]);
      const claims = [await harness.claim(), await harness.claim()];
      const drained = harness.engine.drain(GRACE_MS);

      for (const claim of claims) {
        expect(await isPending(drained)).toBe(true);
        await harness.settleDone(claim);
      }

      await drained;
    });

    contract.clockTest("drain waits no longer than the grace", async () => {
      await using harness = await contract.open();
      const running = await harness.enqueueIn("running", { timeoutMs: 10 * GRACE_MS });
      const queued = await harness.enqueue();
      const drained = harness.engine.drain(GRACE_MS);

      await harness.advance(GRACE_MS - 1);
      expect(await isPending(drained)).toBe(true);
      await harness.advance(1);

      await drained;
      expect(await harness.statusOf(running)).toBe("running");
      expect(await harness.statusOf(queued)).toBe("queued");
    });

    test("drain waits not at all without a grace", async () => {
      await using harness = await contract.open();
      await harness.enqueue();
      const drained = harness.engine.drain(0);

      await harness.advance(0);

      await drained;
    });
  });

  describe("close", () => {
    test("close says that nothing is left of an engine that had nothing", async () => {
      await using harness = await contract.open();

      expect(await harness.close()).toMatchObject({ finishedWhileStopping: 0, unfinished: 0 });
    });

    test("close says how many tasks are not finished, in whatever status and queue", async () => {
      await using harness = await contract.open();
      await harness.enqueueIn("done");
      await harness.enqueueIn("cancelled");
      await harness.enqueueIn("running");
      await harness.enqueueIn("retrying");
      await harness.enqueueIn("scheduled");
      await harness.enqueue({ queue: "other" });

      expect((await harness.close()).unfinished).toBe(4);
    });

    test("close says how many tasks have finished since intake stopped, in whatever way", async () => {
      await using harness = await contract.open();
      await harness.enqueueIn("done");
      const [first = "", second = "", third = ""] = await harness.enqueueAll([{}, {}, {}]);
      const claims = [await harness.claim(), await harness.claim()] as const;
      expect(claims.map(({ task }) => task.id)).toEqual([first, second]);
      harness.engine.stopIntake();

      await harness.settleDone(claims[0]);
      await harness.settleFailed(claims[1], { kind: "never" });
      await harness.engine.cancel(third);

      expect(await harness.close()).toMatchObject({ finishedWhileStopping: 3, unfinished: 0 });
    });
  });

  test("once closed it takes no task", async () => {
    await using harness = await contract.open();

    await harness.close();

    expect(harness.engine.readiness).toBe("stopping");
  });
}

/** How an engine whose tasks die with it finishes what waits before it ends. */
export function describeDrainOfAll(contract: Contract): void {
  describe("stopIntake", () => {
    test("once intake has stopped, what was accepted is worked on, retried and read as before", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      harness.engine.stopIntake();

      await harness.settleFailed(await harness.claim());
      await harness.advance(200);
      await harness.settleDone(await harness.claim());

      expect(await harness.statusOf(id)).toBe("done");
      expect((await harness.queue()).counts.done).toBe(1);
    });
  });

  describe("drain", () => {
    test("drain waits also for remote claims", async () => {
      await using harness = await contract.open({ types: REMOTE_TYPES });
      await harness.enqueue({ type: "remote" });
      const claim = await harness.claimRemote();
      harness.engine.stopIntake();
      const drained = harness.engine.drain(GRACE_MS);
      expect(await isPending(drained)).toBe(true);

      await harness.settleDone(claim);

      await drained;
    });

    test("drain waits also for what remote workers have not claimed yet", async () => {
      await using harness = await contract.open({ types: REMOTE_TYPES });
      await harness.enqueue({ type: "remote" });
      harness.engine.stopIntake();
      const drained = harness.engine.drain(GRACE_MS);
      expect(await isPending(drained)).toBe(true);

      await harness.settleDone(await harness.claimRemote());

      await drained;
    });

    test("drain waits also for what is queued", async () => {
      await using harness = await contract.open();
      await harness.enqueue();
      const drained = harness.engine.drain(GRACE_MS);
      expect(await isPending(drained)).toBe(true);

      await harness.settleDone(await harness.claim());

      await drained;
    });

    contract.clockTest.each(["a delay", "the time of day"])(
      "drain waits also for what %s makes due within it",
      async (by) => {
        await using harness = await contract.open();
        const delayMs = GRACE_MS - 1;
        const runAtMs = harness.wallMs + delayMs;
        await harness.enqueue(by === "a delay" ? { delayMs } : { runAtMs });
        const drained = harness.engine.drain(GRACE_MS);

        await harness.advance(GRACE_MS - 1);
        expect(await isPending(drained)).toBe(true);
        await harness.settleDone(await harness.claim());

        await drained;
      },
    );

    test("drain waits also for a retry that comes within the grace", async () => {
      await using harness = await contract.open();
      await harness.enqueue();
      const claim = await harness.claim();
      const drained = harness.engine.drain(GRACE_MS);

      await harness.settleFailed(claim);
      await harness.advance(200);
      expect(await isPending(drained)).toBe(true);
      await harness.settleDone(await harness.claim());

      await drained;
    });

    contract.clockTest(
      "drain waits also not for a retry that would come after the grace",
      async () => {
        await using harness = await contract.open();
        const id = await harness.enqueue();
        const claim = await harness.claim();
        const drained = harness.engine.drain(GRACE_MS);
        await harness.advance(GRACE_MS - 199);
        expect(await isPending(drained)).toBe(true);

        await harness.settleFailed(claim);

        await drained;
        expect(await harness.statusOf(id)).toBe("retrying");
      },
    );

    test("drain waits also no longer once a task that is due in a paused queue is queued there", async () => {
      await using harness = await contract.open();
      await harness.enqueue({ delayMs: 1000 });
      await harness.engine.pause("default");
      const drained = harness.engine.drain(GRACE_MS);

      await harness.advance(1000);

      await drained;
    });

    test.each(["queued", "running"] as const)(
      "drain waits also no longer when the last %s task is cancelled",
      async (status) => {
        await using harness = await contract.open();
        const id = await harness.enqueueIn(status);
        const drained = harness.engine.drain(GRACE_MS);
        expect(await isPending(drained)).toBe(true);

        await harness.engine.cancel(id);

        await drained;
      },
    );

    test("drain waits also no longer when what waits is purged", async () => {
      await using harness = await contract.open();
      await harness.enqueueAll([{}, {}]);
      const drained = harness.engine.drain(GRACE_MS);
      expect(await isPending(drained)).toBe(true);

      await harness.engine.purge("default");

      await drained;
    });

    test("drain waits also no longer when what waits is paused", async () => {
      await using harness = await contract.open();
      await harness.enqueue();
      const drained = harness.engine.drain(GRACE_MS);
      expect(await isPending(drained)).toBe(true);

      await harness.engine.pause("default");

      await drained;
    });
  });
}

/** How an engine whose tasks stay for the next start leaves what waits to that. */
export function describeDrainOfRunning(contract: Contract): void {
  describe("stopIntake", () => {
    test("once intake has stopped, claims are refused", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();

      harness.engine.stopIntake();

      expect(await harness.engine.claim({ lane: "loop", max: 1 })).toEqual({ kind: "stopping" });
      expect(await harness.statusOf(id)).toBe("queued");
    });
  });

  describe("drain", () => {
    test("drain does not wait for what is queued", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();

      await harness.engine.drain(GRACE_MS);

      expect(await harness.statusOf(id)).toBe("queued");
    });

    contract.clockTest("drain does not wait for what is due within the grace", async () => {
      await using harness = await contract.open();
      await harness.enqueue({ delayMs: 1000 });
      await harness.enqueue({ runAtMs: harness.wallMs + 1000 });

      await harness.engine.drain(GRACE_MS);
    });

    test("drain does not wait for a retry that comes within the grace", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const claim = await harness.claim();
      const drained = harness.engine.drain(GRACE_MS);
      expect(await isPending(drained)).toBe(true);

      await harness.settleFailed(claim);

      await drained;
      expect(await harness.statusOf(id)).toBe("retrying");
    });

    test("drain does not wait any longer when the last running task is cancelled", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueueIn("running");
      const drained = harness.engine.drain(GRACE_MS);
      expect(await isPending(drained)).toBe(true);

      await harness.engine.cancel(id);

      await drained;
    });
  });
}
