/** What an operator may do to a task of any engine: cancel it, and queue it again. */

import { describe, expect, test } from "bun:test";
import { aRequest } from "../support/engine-harness.ts";
import type { Contract } from "./contract.ts";

export function describeOperator(contract: Contract): void {
  describe("cancel", () => {
    contract.clockTest.each(["scheduled", "queued", "retrying", "running"] as const)(
      "a %s task is cancelled and does not run again",
      async (status) => {
        await using harness = await contract.open();
        const id = await harness.enqueueIn(status);

        const answer = await harness.engine.cancel(id);

        expect(answer).toMatchObject({ kind: "cancelled", task: { id, status: "cancelled" } });
        expect((await harness.task(id)).finishedAtMs).toBe(harness.wallMs);
        await harness.advance(600_000);
        expect(await harness.claimAll()).toEqual([]);
        expect(await harness.statusOf(id)).toBe("cancelled");
      },
    );

    test("the worker of a running task is told to stop this attempt", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueueIn("retrying");
      await harness.advance(200);
      const { fence } = await harness.claim();

      await harness.engine.cancel(id);

      expect(await harness.worker.revocation()).toEqual({
        taskId: id,
        fence,
        reason: "cancelled",
      });
    });

    test("a waiting task is cancelled without a word to the worker", async () => {
      await using harness = await contract.open();
      const waiting = await harness.enqueueIn("queued");
      await harness.engine.cancel(waiting);
      const running = await harness.enqueueIn("running");

      await harness.engine.cancel(running);

      expect(await harness.worker.revocation()).toMatchObject({ taskId: running });
      expect(harness.worker.hasRevocations).toBe(false);
    });

    contract.clockTest.each(["done", "failed", "cancelled"] as const)(
      "a task that is %s stays so",
      async (status) => {
        await using harness = await contract.open();
        const id = await harness.enqueueIn(status);
        const finishedAtMs = harness.wallMs;
        await harness.advance(10);

        const answer = await harness.engine.cancel(id);

        expect(answer).toMatchObject({ kind: "finished", task: { id, status, finishedAtMs } });
      },
    );

    test("an unknown task can't be cancelled", async () => {
      await using harness = await contract.open();

      expect(await harness.engine.cancel(Bun.randomUUIDv7())).toEqual({ kind: "unknown" });
    });

    test("a cancelled task frees its place and its bytes at once", async () => {
      await using harness = await contract.open({ queueSize: 1, queueBytes: 10 });
      const id = await harness.enqueue({ payload: "12345678" });

      await harness.engine.cancel(id);

      const answer = await harness.engine.enqueue([aRequest({ payload: "abcdefgh" })]);
      expect(answer.kind).toBe("accepted");
    });
  });

  describe("retry", () => {
    test.each(["failed", "cancelled"] as const)("a %s task is queued again", async (status) => {
      await using harness = await contract.open();
      const id = await harness.enqueueIn(status);

      const answer = await harness.engine.retry(id);

      expect(answer).toMatchObject({ kind: "queued", task: { id, status: "queued" } });
      expect((await harness.task(id)).finishedAtMs).toBeNull();
      expect((await harness.claim()).taskId).toBe(id);
    });

    test("the worker hears of a task that is queued again", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueueIn("failed");
      const readyBefore = harness.worker.ready;

      await harness.engine.retry(id);

      await harness.worker.hearsOf(readyBefore + 1);
    });

    test("a task that is queued again gets all its retries anew", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ maxRetries: 1 });
      await harness.settleFailed(await harness.claim());
      await harness.advance(200);
      await harness.settleFailed(await harness.claim());
      await harness.engine.retry(id);

      const claim = await harness.claim();
      await harness.settleFailed(claim);

      expect(await harness.statusOf(id)).toBe("retrying");
    });

    test("the outcome of an attempt from before a retry changes nothing", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const before = await harness.claim();
      await harness.engine.cancel(id);
      await harness.engine.retry(id);
      await harness.claim();

      await harness.settleDone(before);

      expect(await harness.statusOf(id)).toBe("running");
    });

    test.each(["scheduled", "queued", "retrying", "running", "done"] as const)(
      "a %s task can't be retried",
      async (status) => {
        await using harness = await contract.open();
        const id = await harness.enqueueIn(status);

        const answer = await harness.engine.retry(id);

        expect(answer).toMatchObject({ kind: "not_retryable", task: { id, status } });
        expect(await harness.statusOf(id)).toBe(status);
      },
    );

    test("an unknown task can't be retried", async () => {
      await using harness = await contract.open();

      expect(await harness.engine.retry(Bun.randomUUIDv7())).toEqual({ kind: "unknown" });
    });

    test("a full queue refuses a retry, and the task stays as it is", async () => {
      await using harness = await contract.open({ queueSize: 1 });
      const id = await harness.enqueueIn("cancelled");
      await harness.enqueue();

      const answer = await harness.engine.retry(id);

      expect(answer).toEqual({ kind: "refused", bound: "queue_size", limit: 1, queue: "default" });
      expect(await harness.statusOf(id)).toBe("cancelled");
    });

    test("a retry is refused once intake has stopped", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueueIn("failed");
      harness.engine.stopIntake();

      expect(await harness.engine.retry(id)).toEqual({ kind: "stopping" });
      expect(await harness.statusOf(id)).toBe("failed");
    });
  });
}
