/** What an operator may do to a task of any engine: cancel it, and queue it again. */

import { describe, expect, test } from "bun:test";
import { aRequest, type MakeEngine, openScene } from "../support/engine-harness.ts";

export function describeOperator(makeEngine: MakeEngine): void {
  describe("cancel", () => {
    test.each(["scheduled", "queued", "retrying", "running"] as const)(
      "a %s task is cancelled and does not run again",
      async (status) => {
        await using scene = await openScene(makeEngine);
        const id = await scene.enqueueIn(status);

        const answer = await scene.engine.cancel(id);

        expect(answer).toMatchObject({ kind: "cancelled", task: { id, status: "cancelled" } });
        expect((await scene.task(id)).finishedAtMs).toBe(scene.clock.wallMs);
        await scene.clock.advance(600_000);
        expect(await scene.claimAll()).toEqual([]);
        expect(await scene.statusOf(id)).toBe("cancelled");
      },
    );

    test("the worker of a running task is told to stop this attempt", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueueIn("retrying");
      await scene.clock.advance(200);
      await scene.claim();

      await scene.engine.cancel(id);

      expect(await scene.worker.revocation()).toEqual({
        taskId: id,
        fence: 2,
        reason: "cancelled",
      });
    });

    test("a waiting task is cancelled without a word to the worker", async () => {
      await using scene = await openScene(makeEngine);
      const waiting = await scene.enqueueIn("queued");
      await scene.engine.cancel(waiting);
      const running = await scene.enqueueIn("running");

      await scene.engine.cancel(running);

      expect(await scene.worker.revocation()).toMatchObject({ taskId: running });
      expect(scene.worker.hasRevocations).toBe(false);
    });

    test.each(["done", "failed", "cancelled"] as const)(
      "a task that is %s stays so",
      async (status) => {
        await using scene = await openScene(makeEngine);
        const id = await scene.enqueueIn(status);
        const finishedAtMs = scene.clock.wallMs;
        await scene.clock.advance(10);

        const answer = await scene.engine.cancel(id);

        expect(answer).toMatchObject({ kind: "finished", task: { id, status, finishedAtMs } });
      },
    );

    test("an unknown task can't be cancelled", async () => {
      await using scene = await openScene(makeEngine);

      expect(await scene.engine.cancel(Bun.randomUUIDv7())).toEqual({ kind: "unknown" });
    });

    test("a cancelled task frees its place and its bytes at once", async () => {
      await using scene = await openScene(makeEngine, { queueSize: 1, queueBytes: 10 });
      const id = await scene.enqueue({ payload: "12345678" });

      await scene.engine.cancel(id);

      const answer = await scene.engine.enqueue([aRequest({ payload: "abcdefgh" })]);
      expect(answer.kind).toBe("accepted");
    });
  });

  describe("retry", () => {
    test.each(["failed", "cancelled"] as const)("a %s task is queued again", async (status) => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueueIn(status);

      const answer = await scene.engine.retry(id);

      expect(answer).toMatchObject({ kind: "queued", task: { id, status: "queued" } });
      expect((await scene.task(id)).finishedAtMs).toBeNull();
      expect((await scene.claim()).task.id).toBe(id);
    });

    test("the worker hears of it", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueueIn("failed");
      const readyBefore = scene.worker.ready;

      await scene.engine.retry(id);

      await scene.worker.hearsOf(readyBefore + 1);
    });

    test("it gets all its retries anew, and a fence of its own", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ maxRetries: 1 });
      await scene.settleFailed(await scene.claim());
      await scene.clock.advance(200);
      await scene.settleFailed(await scene.claim());
      await scene.engine.retry(id);

      const claim = await scene.claim();
      await scene.settleFailed(claim);

      expect(claim.fence).toBe(3);
      expect(await scene.statusOf(id)).toBe("retrying");
    });

    test("the outcome of an attempt from before it changes nothing", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const before = await scene.claim();
      await scene.engine.cancel(id);
      await scene.engine.retry(id);
      await scene.claim();

      await scene.settleDone(before);

      expect(await scene.statusOf(id)).toBe("running");
    });

    test.each(["scheduled", "queued", "retrying", "running", "done"] as const)(
      "a %s task can't be retried",
      async (status) => {
        await using scene = await openScene(makeEngine);
        const id = await scene.enqueueIn(status);

        const answer = await scene.engine.retry(id);

        expect(answer).toMatchObject({ kind: "not_retryable", task: { id, status } });
        expect(await scene.statusOf(id)).toBe(status);
      },
    );

    test("an unknown task can't be retried", async () => {
      await using scene = await openScene(makeEngine);

      expect(await scene.engine.retry(Bun.randomUUIDv7())).toEqual({ kind: "unknown" });
    });

    test("a full queue refuses it, and the task stays as it is", async () => {
      await using scene = await openScene(makeEngine, { queueSize: 1 });
      const id = await scene.enqueueIn("cancelled");
      await scene.enqueue();

      const answer = await scene.engine.retry(id);

      expect(answer).toEqual({ kind: "refused", bound: "queue_size", queue: "default", limit: 1 });
      expect(await scene.statusOf(id)).toBe("cancelled");
    });

    test("once intake has stopped it is refused", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueueIn("failed");
      scene.engine.stopIntake();

      expect(await scene.engine.retry(id)).toEqual({ kind: "stopping" });
      expect(await scene.statusOf(id)).toBe("failed");
    });
  });
}
