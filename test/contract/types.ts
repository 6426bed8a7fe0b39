/** How every engine applies the rules of a type, and keeps the lanes apart that its tasks run in. */

import { describe, expect, test } from "bun:test";
import type { FieldFault } from "../../src/engine/engine.ts";
import { aRequest } from "../support/engine-harness.ts";
import type { Contract } from "./contract.ts";

/** Accepts payloads that are even numbers. */
function checkEven(payload: unknown): readonly FieldFault[] {
  if (typeof payload !== "number") return [{ path: "", message: "must be a number" }];
  return payload % 2 === 0 ? [] : [{ path: "/n", message: "must be even" }];
}

export function describeTypes(contract: Contract): void {
  describe("rules", () => {
    const rules = {
      queue: "mail",
      maxRetries: 9,
      timeoutMs: 777,
      backoff: { baseMs: 10, jitterMs: 0, maxMs: 15 },
    };

    test("rules apply to the tasks of their type", async () => {
      await using harness = await contract.open({ types: { email: rules } });

      const id = await harness.enqueue({ type: "email" });

      expect(await harness.task(id)).toMatchObject({
        queue: "mail",
        maxRetries: 9,
        timeoutMs: 777,
      });
    });

    test("rules do not apply to the tasks of another type", async () => {
      await using harness = await contract.open({ types: { email: rules } });

      const id = await harness.enqueue({ type: "other" });

      expect(await harness.task(id)).toMatchObject({
        queue: "default",
        maxRetries: 3,
        timeoutMs: 30_000,
      });
    });

    test("rules of the default type apply to tasks that name none", async () => {
      await using harness = await contract.open({ types: { default: rules } });

      expect((await harness.task(await harness.enqueue())).queue).toBe("mail");
    });

    test("rules give way to what the task says itself", async () => {
      await using harness = await contract.open({ types: { email: rules } });
      const own = { queue: "own", maxRetries: 0, timeoutMs: 1 };

      const id = await harness.enqueue({ type: "email", ...own });

      expect(await harness.task(id)).toMatchObject(own);
    });

    contract.clockTest("rules say how long a retry waits", async () => {
      await using harness = await contract.open({ types: { email: rules } });
      const id = await harness.enqueue({ type: "email" });

      await harness.settleFailed(await harness.claim());
      expect((await harness.task(id)).runAtMs).toBe(harness.wallMs + 10);
      await harness.advance(10);
      await harness.settleFailed(await harness.claim());

      expect((await harness.task(id)).runAtMs).toBe(harness.wallMs + 15);
    });

    test("rules refuse a payload that is not what it has to be, and take none of its batch", async () => {
      await using harness = await contract.open({ types: { even: { check: checkEven } } });

      const answer = await harness.engine.enqueue([
        aRequest({ type: "even", payload: 2 }),
        aRequest({ type: "even", payload: 3 }),
        aRequest({ type: "even", payload: "x" }),
        aRequest({ type: "other", payload: 3 }),
      ]);

      expect(answer).toEqual({
        kind: "invalid",
        faults: [
          { index: 1, path: "/payload/n", message: "must be even" },
          { index: 2, path: "/payload", message: "must be a number" },
        ],
      });
      expect(await harness.listAll()).toEqual([]);
    });

    test("rules take a payload that is what it has to be", async () => {
      await using harness = await contract.open({ types: { even: { check: checkEven } } });

      const id = await harness.enqueue({ type: "even", payload: 2 });

      expect(await harness.statusOf(id)).toBe("queued");
    });

    test("rules see no payload that is not JSON", async () => {
      const seen: unknown[] = [];
      const check = (payload: unknown): readonly FieldFault[] => {
        seen.push(payload);
        return [];
      };
      await using harness = await contract.open({ types: { default: { check } } });

      const answer = await harness.engine.enqueue([aRequest({ payload: JSON.parse("1e400") })]);

      expect(answer.kind).toBe("invalid");
      expect(seen).toEqual([]);
    });
  });

  describe("lanes", () => {
    const types = { heavy: { lane: "thread" } } as const;

    test("lanes hand out only tasks of their own", async () => {
      await using harness = await contract.open({ types });
      const heavy = await harness.enqueue({ type: "heavy" });
      const light = await harness.enqueue();

      expect(await harness.claimAll({ lane: "loop" })).toEqual([light]);
      expect(await harness.claimAll({ lane: "thread" })).toEqual([heavy]);
    });

    test("lanes have workers of their own, which hear only of their own tasks", async () => {
      await using harness = await contract.open({ types });
      const threads = harness.attach("thread");
      const heavy = await harness.enqueue({ type: "heavy" });
      await threads.hearsOf(1);
      const light = await harness.enqueue();
      await harness.worker.hearsOf(1);
      await harness.claim({ lane: "thread" });
      await harness.claim({ lane: "loop" });

      await harness.engine.cancel(heavy);
      await harness.engine.cancel(light);

      expect(await threads.revocation()).toMatchObject({ taskId: heavy });
      expect(await harness.worker.revocation()).toMatchObject({ taskId: light });
      expect([threads.ready, harness.worker.ready]).toEqual([1, 1]);
      expect(threads.hasRevocations || harness.worker.hasRevocations).toBe(false);
    });

    test("lanes wake each its own worker when their queue is resumed", async () => {
      await using harness = await contract.open({ types });
      const threads = harness.attach("thread");
      await harness.enqueueAll([{}, { type: "heavy" }, { type: "heavy" }]);
      await harness.engine.pause("default");

      await harness.engine.resume("default");

      await threads.hearsOf(4);
      await harness.worker.hearsOf(2);
      expect([threads.ready, harness.worker.ready]).toEqual([4, 2]);
    });

    test("lanes share the limits of their queue", async () => {
      await using harness = await contract.open({
        types,
        queues: { narrow: { concurrency: 1 } },
      });
      await harness.enqueueAll([{ queue: "narrow" }, { queue: "narrow", type: "heavy" }]);
      const threads = harness.attach("thread");

      const claim = await harness.claim({ lane: "loop" });
      expect(await harness.claimAll({ lane: "thread" })).toEqual([]);
      await harness.settleDone(claim);

      await threads.hearsOf(1);
      expect(await harness.claimAll({ lane: "thread" })).toHaveLength(1);
    });

    test("lanes give a task back to its own after a retry", async () => {
      await using harness = await contract.open({ types });
      const id = await harness.enqueue({ type: "heavy" });
      await harness.settleFailed(await harness.claim({ lane: "thread" }));

      await harness.advance(200);

      expect(await harness.claimAll({ lane: "loop" })).toEqual([]);
      expect(await harness.claimAll({ lane: "thread" })).toEqual([id]);
    });
  });

  describe("noteProgress", () => {
    test("progress shows on the running task, and stays when it is done", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const claim = await harness.claim();

      harness.engine.noteProgress(claim.taskId, claim.fence, '{"percent":50}');
      expect((await harness.task(id)).progress).toBe('{"percent":50}');
      await harness.settleDone(claim);

      expect((await harness.task(id)).progress).toBe('{"percent":50}');
    });

    test("progress starts anew with each attempt", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const claim = await harness.claim();
      harness.engine.noteProgress(claim.taskId, claim.fence, "1");
      await harness.settleFailed(claim);
      await harness.advance(200);

      await harness.claim();

      expect((await harness.task(id)).progress).toBeNull();
    });

    test("progress of an attempt that no longer holds the task is ignored", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ timeoutMs: 100 });
      const late = await harness.claim();
      await harness.advance(100 + 200);
      await harness.claim();

      harness.engine.noteProgress(late.taskId, late.fence, "1");

      expect((await harness.task(id)).progress).toBeNull();
    });

    test("progress of a task that was forgotten is ignored", async () => {
      await using harness = await contract.open({ retainTasks: 0 });
      const id = await harness.enqueue();
      const claim = await harness.claim();
      await harness.settleDone(claim);

      harness.engine.noteProgress(claim.taskId, claim.fence, "1");

      expect(await harness.engine.find(id)).toBeUndefined();
    });
  });
}
