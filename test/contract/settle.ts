/** What every engine does with the outcomes of attempts, and with those that come late or again. */

import { describe, expect, test } from "bun:test";
import type { Contract } from "./contract.ts";

export function describeSettle(contract: Contract): void {
  describe("settle", () => {
    contract.clockTest("a task that is done keeps its result", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const claim = await harness.claim();
      await harness.advance(70);

      await harness.settleDone(claim, '{"n":1}');

      expect(await harness.task(id)).toMatchObject({
        status: "done",
        result: '{"n":1}',
        attempt: 1,
        finishedAtMs: harness.wallMs,
        errors: [],
      });
    });

    contract.clockTest("a failed attempt is recorded, and the task retries", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const claim = await harness.claim();
      await harness.advance(70);

      await harness.settleFailed(claim);

      expect(await harness.task(id)).toMatchObject({
        status: "retrying",
        attempt: 1,
        runAtMs: harness.wallMs + 200,
        finishedAtMs: null,
        errors: [{ code: "broken", message: "it broke", attempt: 1, atMs: harness.wallMs }],
      });
    });

    contract.clockTest("a task fails once its retries are used up", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ maxRetries: 1 });
      await harness.settleFailed(await harness.claim());
      await harness.advance(200);

      await harness.settleFailed(await harness.claim());

      const task = await harness.task(id);
      expect(task).toMatchObject({
        status: "failed",
        attempt: 2,
        finishedAtMs: harness.wallMs,
      });
      expect(task.errors.map(({ attempt }) => attempt)).toEqual([1, 2]);
    });

    test("a task without retries fails with its first attempt", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ maxRetries: 0 });

      await harness.settleFailed(await harness.claim());

      expect(await harness.statusOf(id)).toBe("failed");
    });

    test("a failure that rules out a retry fails the task at once", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ maxRetries: 5 });

      await harness.settleFailed(await harness.claim(), { kind: "never" });

      expect(await harness.statusOf(id)).toBe("failed");
    });

    contract.clockTest("a failure may say itself when the next attempt is due", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      await harness.settleFailed(await harness.claim(), { kind: "after", ms: 5000 });

      await harness.advance(4999);
      expect(await harness.statusOf(id)).toBe("retrying");
      await harness.advance(1);

      expect(await harness.statusOf(id)).toBe("queued");
    });

    test("only the last five errors are kept", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ maxRetries: 6 });

      for (let attempt = 1; attempt <= 7; attempt += 1) {
        await harness.settleFailed(await harness.claim(), { kind: "after", ms: 1 });
        await harness.advance(1);
      }

      const { status, errors } = await harness.task(id);
      expect(status).toBe("failed");
      expect(errors.map(({ attempt }) => attempt)).toEqual([3, 4, 5, 6, 7]);
    });

    test("a retry finds its place although the queue is full by then", async () => {
      await using harness = await contract.open({ queueSize: 1 });
      const id = await harness.enqueue();
      const claim = await harness.claim();
      await harness.enqueue();

      await harness.settleFailed(claim);

      expect(await harness.statusOf(id)).toBe("retrying");
      expect((await harness.queue()).waiting).toBe(2);
    });
  });

  describe("late settle", () => {
    test("a settle changes nothing when its attempt has lost its lease and another one runs", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ timeoutMs: 100 });
      const late = await harness.claim();
      await harness.advance(100 + 200);
      const current = await harness.claim();
      expect(current.task).toMatchObject({ id, attempt: 2 });

      await harness.settleDone(late, '"late"');

      expect(await harness.task(id)).toMatchObject({ status: "running", result: null });
      await harness.settleDone(current, '"current"');
      expect(await harness.task(id)).toMatchObject({ status: "done", result: '"current"' });
    });

    test("a settle changes nothing when its attempt has lost its lease and the task waits for its retry", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ timeoutMs: 100 });
      const late = await harness.claim();
      await harness.advance(100);

      await harness.settleDone(late);

      expect(await harness.statusOf(id)).toBe("retrying");
    });

    test("a settle changes nothing when its attempt was settled before", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const claim = await harness.claim();
      await harness.settleDone(claim, "1");

      await harness.settleFailed(claim);
      await harness.settleDone(claim, "2");

      expect(await harness.task(id)).toMatchObject({ status: "done", result: "1", errors: [] });
    });

    test("a settle changes nothing when its attempt was given back and the task waits for its turn", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const claim = await harness.claim();
      await harness.release(claim);

      await harness.settleDone(claim);

      expect(await harness.statusOf(id)).toBe("queued");
    });

    test("a settle changes nothing when its task was cancelled", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const claim = await harness.claim();
      await harness.engine.cancel(id);

      await harness.settleDone(claim, "1");

      expect(await harness.task(id)).toMatchObject({ status: "cancelled", result: null });
    });

    test("a settle changes nothing when its task was forgotten", async () => {
      await using harness = await contract.open({ retainTasks: 0 });
      const id = await harness.enqueue();
      const claim = await harness.claim();
      await harness.engine.cancel(id);

      await harness.settleDone(claim);

      expect(await harness.engine.find(id)).toBeUndefined();
    });
  });

  describe("receipt", () => {
    test("a settle is answered with what it has made of the task", async () => {
      await using harness = await contract.open();
      await harness.enqueue();

      const answer = await harness.settleDone(await harness.claim());

      expect(answer).toEqual({
        kind: "settled",
        receipt: { outcome: "done", status: "done", runAtMs: null },
      });
    });

    contract.clockTest("a failed settle says when the task runs again", async () => {
      await using harness = await contract.open();
      await harness.enqueue();

      const answer = await harness.settleFailed(await harness.claim());

      expect(answer).toEqual({
        kind: "settled",
        receipt: { outcome: "failed", status: "retrying", runAtMs: harness.wallMs + 200 },
      });
    });

    test("a failed settle says that the task has failed for good", async () => {
      await using harness = await contract.open();
      await harness.enqueue({ maxRetries: 0 });

      const answer = await harness.settleFailed(await harness.claim());

      expect(answer).toEqual({
        kind: "settled",
        receipt: { outcome: "failed", status: "failed", runAtMs: null },
      });
    });

    test("a task that was scheduled once has no time in its receipt", async () => {
      await using harness = await contract.open();
      await harness.enqueue({ delayMs: 1000 });
      await harness.advance(1000);

      const answer = await harness.settleDone(await harness.claim());

      expect(answer).toMatchObject({ receipt: { status: "done", runAtMs: null } });
    });
  });

  describe("repeated settle", () => {
    test("a settle that comes again gets the first receipt, whatever else it says", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const claim = await harness.claim();
      const first = await harness.settleDone(claim, "1");
      if (first.kind !== "settled") throw new Error(first.kind);

      const again = await harness.settleDone(claim, "2");

      expect(again).toEqual({ kind: "repeated", receipt: first.receipt });
      expect((await harness.task(id)).result).toBe("1");
    });

    test("a failed settle that comes again charges nothing", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const claim = await harness.claim();
      await harness.settleFailed(claim);

      await harness.settleFailed(claim, { kind: "never" });

      expect(await harness.task(id)).toMatchObject({ status: "retrying", failures: 1 });
      expect((await harness.queue()).totals.retried).toBe(1);
    });

    test("a failed settle that comes again gets its receipt while the next attempt runs", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const claim = await harness.claim();
      const first = await harness.settleFailed(claim);
      if (first.kind !== "settled") throw new Error(first.kind);
      await harness.advance(200);
      await harness.claim();

      const again = await harness.settleFailed(claim);

      expect(again).toEqual({ kind: "repeated", receipt: first.receipt });
      expect(await harness.task(id)).toMatchObject({ status: "running", failures: 1 });
    });

    test("a release that comes again gets its receipt, and releases nothing", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const claim = await harness.claim();
      await harness.release(claim);
      await harness.claim();

      const again = await harness.release(claim);

      expect(again).toMatchObject({ kind: "repeated", receipt: { status: "queued" } });
      expect(await harness.statusOf(id)).toBe("running");
    });

    test("a settle with another word is told that the claim was settled", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const claim = await harness.claim();
      await harness.settleDone(claim);

      const lost = { kind: "claim_lost", ended: "settled" } as const;
      expect(await harness.settleFailed(claim)).toEqual(lost);
      expect(await harness.release(claim)).toEqual(lost);

      expect(await harness.statusOf(id)).toBe("done");
    });

    test("a receipt is kept until the next claim is settled", async () => {
      await using harness = await contract.open();
      await harness.enqueue();
      const first = await harness.claim();
      await harness.release(first);
      await harness.settleDone(await harness.claim());

      expect(await harness.release(first)).toEqual({ kind: "claim_lost", ended: "unknown" });
    });

    test("a receipt outlives a retry by hand", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ maxRetries: 0 });
      const claim = await harness.claim();
      await harness.settleFailed(claim);
      await harness.engine.retry(id);

      expect(await harness.settleFailed(claim)).toMatchObject({
        kind: "repeated",
        receipt: { outcome: "failed", status: "failed" },
      });
    });

    test("a receipt is gone with its task", async () => {
      await using harness = await contract.open({ retainTasks: 0 });
      await harness.enqueue();
      const claim = await harness.claim();
      await harness.settleDone(claim);

      expect(await harness.settleDone(claim)).toEqual({ kind: "claim_lost", ended: "unknown" });
    });

    test("a claim of a task that was settled by another claim does not get its receipt", async () => {
      await using harness = await contract.open({ types: { remote: { lane: "remote" } } });
      await harness.enqueue({ type: "remote" });
      const late = await harness.claimRemote({ leaseMs: 1000 });
      await harness.advance(1000);
      await harness.settleDone(await harness.claimRemote());

      expect(await harness.settleDone(late)).toEqual({ kind: "claim_lost", ended: "expired" });
    });
  });

  describe("noteProgress", () => {
    test("progress with the fence of an earlier attempt is answered claim_lost", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const claim = await harness.claim();
      await harness.release(claim);
      await harness.claim();

      const answer = harness.engine.noteProgress(id, claim.fence, "1");

      expect(answer).toEqual({ kind: "claim_lost", ended: "settled" });
      expect((await harness.task(id)).progress).toBeNull();
    });

    test("progress of an unknown task is answered claim_lost", async () => {
      await using harness = await contract.open();

      const answer = harness.engine.noteProgress(Bun.randomUUIDv7(), 1, "1");

      expect(answer).toEqual({ kind: "claim_lost", ended: "unknown" });
    });
  });
}
