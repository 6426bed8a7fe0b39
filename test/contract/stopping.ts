/** How every engine comes to its end. */

import { describe, expect, test } from "bun:test";
import { aRequest, type MakeEngine, openScene } from "../support/engine-harness.ts";
import { isPending } from "../support/manual-clock.ts";

const GRACE_MS = 8000;

export function describeStopping(makeEngine: MakeEngine): void {
  describe("once intake has stopped", () => {
    test("every enqueue is refused", async () => {
      await using scene = await openScene(makeEngine);
      expect(scene.engine.readiness).toBe("ready");

      scene.engine.stopIntake();

      expect(scene.engine.readiness).toBe("stopping");
      expect(await scene.engine.enqueue([aRequest()])).toEqual({ kind: "stopping" });
      expect(await scene.listAll()).toEqual([]);
    });

    test("an enqueue that comes again under its key is refused as well", async () => {
      await using scene = await openScene(makeEngine);
      await scene.engine.enqueue([aRequest()], "key");

      scene.engine.stopIntake();

      expect(await scene.engine.enqueue([aRequest()], "key")).toEqual({ kind: "stopping" });
    });

    test("what was accepted is worked on, retried and read as before", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      scene.engine.stopIntake();

      await scene.settleFailed(await scene.claim());
      await scene.clock.advance(200);
      await scene.settleDone(await scene.claim());

      expect(await scene.statusOf(id)).toBe("done");
      expect((await scene.queue()).counts.done).toBe(1);
    });
  });

  describe("drain ends at once", () => {
    test("when there is nothing", async () => {
      await using scene = await openScene(makeEngine);

      await scene.engine.drain(GRACE_MS);
    });

    test.each(["done", "failed", "cancelled"] as const)("when all is %s", async (status) => {
      await using scene = await openScene(makeEngine);
      await scene.enqueueIn(status);

      await scene.engine.drain(GRACE_MS);
    });

    test("when what is scheduled is due after the grace", async () => {
      await using scene = await openScene(makeEngine);
      const ids = [
        await scene.enqueue({ delayMs: GRACE_MS + 1 }),
        await scene.enqueue({ runAtMs: scene.clock.wallMs + GRACE_MS + 1 }),
      ];

      await scene.engine.drain(GRACE_MS);

      expect(await scene.listAll({ status: "scheduled" })).toEqual(ids.toReversed());
    });

    test("when a retry is due after the grace", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueueIn("retrying");

      await scene.engine.drain(199);
    });

    test("when what waits is behind a pause", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue();
      await scene.engine.setPaused("default", true);

      await scene.engine.drain(GRACE_MS);
    });
  });

  describe("drain waits", () => {
    test("for what runs", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue({ timeoutMs: 10 * GRACE_MS });
      const claim = await scene.claim();
      const drained = scene.engine.drain(GRACE_MS);
      await scene.clock.advance(GRACE_MS - 1);
      expect(await isPending(drained)).toBe(true);

      await scene.settleDone(claim);

      await drained;
    });

    test("for the last of those that run", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueueAll([{}, {}]);
      const claims = [await scene.claim(), await scene.claim()];
      const drained = scene.engine.drain(GRACE_MS);

      for (const claim of claims) {
        expect(await isPending(drained)).toBe(true);
        await scene.settleDone(claim);
      }

      await drained;
    });

    test("no longer than the grace", async () => {
      await using scene = await openScene(makeEngine);
      const running = await scene.enqueueIn("running", { timeoutMs: 10 * GRACE_MS });
      const queued = await scene.enqueue();
      const drained = scene.engine.drain(GRACE_MS);

      await scene.clock.advance(GRACE_MS - 1);
      expect(await isPending(drained)).toBe(true);
      await scene.clock.advance(1);

      await drained;
      expect(await scene.statusOf(running)).toBe("running");
      expect(await scene.statusOf(queued)).toBe("queued");
    });

    test("not at all without a grace", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue();
      const drained = scene.engine.drain(0);

      await scene.clock.advance(0);

      await drained;
    });
  });

  describe("close says", () => {
    test("that nothing is left of an engine that had nothing", async () => {
      await using scene = await openScene(makeEngine);

      expect(await scene.close()).toMatchObject({ finishedWhileStopping: 0, unfinished: 0 });
    });

    test("how many tasks are not finished, in whatever status and queue", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueueIn("done");
      await scene.enqueueIn("cancelled");
      await scene.enqueueIn("running");
      await scene.enqueueIn("retrying");
      await scene.enqueueIn("scheduled");
      await scene.enqueue({ queue: "other" });

      expect((await scene.close()).unfinished).toBe(4);
    });

    test("how many tasks have finished since intake stopped, in whatever way", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueueIn("done");
      const [first = "", second = "", third = ""] = await scene.enqueueAll([{}, {}, {}]);
      const claims = [await scene.claim(), await scene.claim()] as const;
      expect(claims.map(({ task }) => task.id)).toEqual([first, second]);
      scene.engine.stopIntake();

      await scene.settleDone(claims[0]);
      await scene.settleFailed(claims[1], { kind: "never" });
      await scene.engine.cancel(third);

      expect(await scene.close()).toMatchObject({ finishedWhileStopping: 3, unfinished: 0 });
    });
  });

  test("once closed it takes no task", async () => {
    await using scene = await openScene(makeEngine);

    await scene.close();

    expect(scene.engine.readiness).toBe("stopping");
  });
}

/** How an engine whose tasks die with it finishes what waits before it ends. */
export function describeDrainOfAll(makeEngine: MakeEngine): void {
  describe("drain waits also", () => {
    test("for what is queued", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue();
      const drained = scene.engine.drain(GRACE_MS);
      expect(await isPending(drained)).toBe(true);

      await scene.settleDone(await scene.claim());

      await drained;
    });

    test.each(["a delay", "the time of day"])("for what %s makes due within it", async (by) => {
      await using scene = await openScene(makeEngine);
      const delayMs = GRACE_MS - 1;
      const runAtMs = scene.clock.wallMs + delayMs;
      await scene.enqueue(by === "a delay" ? { delayMs } : { runAtMs });
      const drained = scene.engine.drain(GRACE_MS);

      await scene.clock.advance(GRACE_MS - 1);
      expect(await isPending(drained)).toBe(true);
      await scene.settleDone(await scene.claim());

      await drained;
    });

    test("for a retry that comes within the grace", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue();
      const claim = await scene.claim();
      const drained = scene.engine.drain(GRACE_MS);

      await scene.settleFailed(claim);
      await scene.clock.advance(200);
      expect(await isPending(drained)).toBe(true);
      await scene.settleDone(await scene.claim());

      await drained;
    });

    test("not for a retry that would come after the grace", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const claim = await scene.claim();
      const drained = scene.engine.drain(GRACE_MS);
      await scene.clock.advance(GRACE_MS - 199);
      expect(await isPending(drained)).toBe(true);

      await scene.settleFailed(claim);

      await drained;
      expect(await scene.statusOf(id)).toBe("retrying");
    });

    test("no longer once a task that is due in a paused queue is queued there", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue({ delayMs: 1000 });
      await scene.engine.setPaused("default", true);
      const drained = scene.engine.drain(GRACE_MS);

      await scene.clock.advance(1000);

      await drained;
    });

    test.each(["queued", "running"] as const)(
      "no longer when the last %s task is cancelled",
      async (status) => {
        await using scene = await openScene(makeEngine);
        const id = await scene.enqueueIn(status);
        const drained = scene.engine.drain(GRACE_MS);
        expect(await isPending(drained)).toBe(true);

        await scene.engine.cancel(id);

        await drained;
      },
    );

    test("no longer when what waits is purged", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueueAll([{}, {}]);
      const drained = scene.engine.drain(GRACE_MS);
      expect(await isPending(drained)).toBe(true);

      await scene.engine.purge("default");

      await drained;
    });

    test("no longer when what waits is paused", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue();
      const drained = scene.engine.drain(GRACE_MS);
      expect(await isPending(drained)).toBe(true);

      await scene.engine.setPaused("default", true);

      await drained;
    });
  });
}

/** How an engine whose tasks stay for the next start leaves what waits to that. */
export function describeDrainOfRunning(makeEngine: MakeEngine): void {
  describe("drain does not wait", () => {
    test("for what is queued, and hands it out no more", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();

      await scene.engine.drain(GRACE_MS);

      expect(await scene.claimAll()).toEqual([]);
      expect(await scene.statusOf(id)).toBe("queued");
    });

    test("for what is due within the grace", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue({ delayMs: 1000 });
      await scene.enqueue({ runAtMs: scene.clock.wallMs + 1000 });

      await scene.engine.drain(GRACE_MS);
    });

    test("for a retry that comes within the grace", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const claim = await scene.claim();
      const drained = scene.engine.drain(GRACE_MS);
      expect(await isPending(drained)).toBe(true);

      await scene.settleFailed(claim);

      await drained;
      expect(await scene.statusOf(id)).toBe("retrying");
    });

    test("any longer when the last running task is cancelled", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueueIn("running");
      const drained = scene.engine.drain(GRACE_MS);
      expect(await isPending(drained)).toBe(true);

      await scene.engine.cancel(id);

      await drained;
    });
  });
}
