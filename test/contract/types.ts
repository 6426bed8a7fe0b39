/** How every engine applies the rules of a type, and keeps the lanes apart that its tasks run in. */

import { describe, expect, test } from "bun:test";
import type { PayloadFault } from "../../src/engine/engine.ts";
import {
  aRequest,
  type MakeEngine,
  openScene,
  RecordingWorker,
} from "../support/engine-harness.ts";

/** Accepts payloads that are even numbers. */
function checkEven(payload: unknown): readonly PayloadFault[] {
  if (typeof payload !== "number") return [{ path: "", message: "must be a number" }];
  return payload % 2 === 0 ? [] : [{ path: "/n", message: "must be even" }];
}

export function describeTypes(makeEngine: MakeEngine): void {
  describe("rules", () => {
    const rules = {
      queue: "mail",
      maxRetries: 9,
      timeoutMs: 777,
      backoff: { baseMs: 10, jitterMs: 0, maxMs: 15 },
    };

    test("apply to the tasks of their type", async () => {
      await using scene = await openScene(makeEngine, { types: { email: rules } });

      const id = await scene.enqueue({ type: "email" });

      expect(await scene.task(id)).toMatchObject({ queue: "mail", maxRetries: 9, timeoutMs: 777 });
    });

    test("do not apply to the tasks of another type", async () => {
      await using scene = await openScene(makeEngine, { types: { email: rules } });

      const id = await scene.enqueue({ type: "other" });

      expect(await scene.task(id)).toMatchObject({
        queue: "default",
        maxRetries: 3,
        timeoutMs: 30_000,
      });
    });

    test("of the default type apply to tasks that name none", async () => {
      await using scene = await openScene(makeEngine, { types: { default: rules } });

      expect((await scene.task(await scene.enqueue())).queue).toBe("mail");
    });

    test("give way to what the task says itself", async () => {
      await using scene = await openScene(makeEngine, { types: { email: rules } });
      const own = { queue: "own", maxRetries: 0, timeoutMs: 1 };

      const id = await scene.enqueue({ type: "email", ...own });

      expect(await scene.task(id)).toMatchObject(own);
    });

    test("say how long a retry waits", async () => {
      await using scene = await openScene(makeEngine, { types: { email: rules } });
      const id = await scene.enqueue({ type: "email" });

      await scene.settleFailed(await scene.claim());
      expect((await scene.task(id)).runAtMs).toBe(scene.clock.wallMs + 10);
      await scene.clock.advance(10);
      await scene.settleFailed(await scene.claim());

      expect((await scene.task(id)).runAtMs).toBe(scene.clock.wallMs + 15);
    });

    test("refuse a payload that is not what it has to be, and take none of its batch", async () => {
      await using scene = await openScene(makeEngine, { types: { even: { check: checkEven } } });

      const answer = await scene.engine.enqueue([
        aRequest({ type: "even", payload: 2 }),
        aRequest({ type: "even", payload: 3 }),
        aRequest({ type: "even", payload: "x" }),
        aRequest({ type: "other", payload: 3 }),
      ]);

      expect(answer).toEqual({
        kind: "invalid",
        faults: [
          { index: 1, path: "/n", message: "must be even" },
          { index: 2, path: "", message: "must be a number" },
        ],
      });
      expect(await scene.listAll()).toEqual([]);
    });

    test("take a payload that is what it has to be", async () => {
      await using scene = await openScene(makeEngine, { types: { even: { check: checkEven } } });

      const id = await scene.enqueue({ type: "even", payload: 2 });

      expect(await scene.statusOf(id)).toBe("queued");
    });

    test("see no payload that is not JSON", async () => {
      const seen: unknown[] = [];
      const check = (payload: unknown): readonly PayloadFault[] => {
        seen.push(payload);
        return [];
      };
      await using scene = await openScene(makeEngine, { types: { default: { check } } });

      const answer = await scene.engine.enqueue([aRequest({ payload: JSON.parse("1e400") })]);

      expect(answer.kind).toBe("invalid");
      expect(seen).toEqual([]);
    });
  });

  describe("lanes", () => {
    const types = { heavy: { lane: "thread" } } as const;

    test("hand out only tasks of their own", async () => {
      await using scene = await openScene(makeEngine, { types });
      const heavy = await scene.enqueue({ type: "heavy" });
      const light = await scene.enqueue();

      expect(await scene.claimAll("loop")).toEqual([light]);
      expect(await scene.claimAll("thread")).toEqual([heavy]);
    });

    test("have workers of their own, which hear only of their own tasks", async () => {
      await using scene = await openScene(makeEngine, { types });
      const threads = new RecordingWorker();
      scene.engine.attach("thread", threads);
      const heavy = await scene.enqueue({ type: "heavy" });
      await threads.hearsOf(1);
      const light = await scene.enqueue();
      await scene.worker.hearsOf(1);
      await scene.claim("thread");
      await scene.claim("loop");

      await scene.engine.cancel(heavy);
      await scene.engine.cancel(light);

      expect(await threads.revocation()).toMatchObject({ taskId: heavy });
      expect(await scene.worker.revocation()).toMatchObject({ taskId: light });
      expect([threads.ready, scene.worker.ready]).toEqual([1, 1]);
      expect(threads.hasRevocations || scene.worker.hasRevocations).toBe(false);
    });

    test("wake each its own worker when their queue is resumed", async () => {
      await using scene = await openScene(makeEngine, { types });
      const threads = new RecordingWorker();
      scene.engine.attach("thread", threads);
      await scene.enqueueAll([{}, { type: "heavy" }, { type: "heavy" }]);
      await scene.engine.setPaused("default", true);

      await scene.engine.setPaused("default", false);

      await threads.hearsOf(4);
      await scene.worker.hearsOf(2);
      expect([threads.ready, scene.worker.ready]).toEqual([4, 2]);
    });

    test("share the limits of their queue", async () => {
      await using scene = await openScene(makeEngine, {
        types,
        queues: { narrow: { concurrency: 1 } },
      });
      await scene.enqueueAll([{ queue: "narrow" }, { queue: "narrow", type: "heavy" }]);
      const threads = new RecordingWorker();
      scene.engine.attach("thread", threads);

      const claim = await scene.claim("loop");
      expect(await scene.claimAll("thread")).toEqual([]);
      await scene.settleDone(claim);

      await threads.hearsOf(1);
      expect(await scene.claimAll("thread")).toHaveLength(1);
    });

    test("give a task back to its own after a retry", async () => {
      await using scene = await openScene(makeEngine, { types });
      const id = await scene.enqueue({ type: "heavy" });
      await scene.settleFailed(await scene.claim("thread"));

      await scene.clock.advance(200);

      expect(await scene.claimAll("loop")).toEqual([]);
      expect(await scene.claimAll("thread")).toEqual([id]);
    });
  });

  describe("progress", () => {
    test("shows on the running task, and stays when it is done", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const claim = await scene.claim();

      scene.engine.noteProgress(claim, '{"percent":50}');
      expect((await scene.task(id)).progress).toBe('{"percent":50}');
      await scene.settleDone(claim);

      expect((await scene.task(id)).progress).toBe('{"percent":50}');
    });

    test("starts anew with each attempt", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const claim = await scene.claim();
      scene.engine.noteProgress(claim, "1");
      await scene.settleFailed(claim);
      await scene.clock.advance(200);

      await scene.claim();

      expect((await scene.task(id)).progress).toBeNull();
    });

    test("of an attempt that no longer holds the task is ignored", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ timeoutMs: 100 });
      const late = await scene.claim();
      await scene.clock.advance(100 + 200);
      await scene.claim();

      scene.engine.noteProgress(late, "1");

      expect((await scene.task(id)).progress).toBeNull();
    });

    test("of a task that was forgotten is ignored", async () => {
      await using scene = await openScene(makeEngine, { retainTasks: 0 });
      const id = await scene.enqueue();
      const claim = await scene.claim();
      await scene.settleDone(claim);

      scene.engine.noteProgress(claim, "1");

      expect(await scene.engine.find(id)).toBeUndefined();
    });
  });
}
