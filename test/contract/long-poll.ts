/** How every engine lets someone wait for a task to finish. */

import { heapStats } from "bun:jsc";
import { describe, expect, test } from "bun:test";
import { getEventListeners } from "node:events";
import { type MakeEngine, openScene } from "../support/engine-harness.ts";
import { isPending } from "../support/manual-clock.ts";

export function describeLongPoll(makeEngine: MakeEngine): void {
  describe("answers at once", () => {
    test("for an unknown task", async () => {
      await using scene = await openScene(makeEngine);

      expect(await scene.poll(Bun.randomUUIDv7())).toBeUndefined();
    });

    test.each(["done", "failed", "cancelled"] as const)("for a %s task", async (status) => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueueIn(status);

      expect(await scene.poll(id)).toMatchObject({ id, status });
    });

    test("when there is no time to wait", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();

      expect(await scene.poll(id, 0)).toMatchObject({ id, status: "queued" });
    });

    test("when its signal is aborted already", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();

      const task = await scene.engine.waitFor(id, 60_000, AbortSignal.abort());

      expect(task).toMatchObject({ id, status: "queued" });
    });

    test("once the engine has drained", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ delayMs: 60_000 });
      await scene.engine.drain(0);

      expect(await scene.poll(id)).toMatchObject({ id, status: "scheduled" });
    });
  });

  describe("waits, and answers", () => {
    test("when the task is done", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const poll = scene.poll(id);
      const claim = await scene.claim();
      expect(await isPending(poll)).toBe(true);

      await scene.settleDone(claim, "42");

      expect(await poll).toMatchObject({ id, status: "done", result: "42" });
    });

    test("when the task has failed for good, and not while it retries", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ maxRetries: 1 });
      const poll = scene.poll(id);
      await scene.settleFailed(await scene.claim());
      await scene.clock.advance(200);
      expect(await isPending(poll)).toBe(true);

      await scene.settleFailed(await scene.claim());

      expect(await poll).toMatchObject({ id, status: "failed" });
    });

    test("when the task has lost its last lease", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ maxRetries: 0, timeoutMs: 1000 });
      const poll = scene.poll(id);
      await scene.claim();

      await scene.clock.advance(1000);

      expect(await poll).toMatchObject({ id, status: "failed" });
    });

    test("when the task is cancelled", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const poll = scene.poll(id);

      await scene.engine.cancel(id);

      expect(await poll).toMatchObject({ id, status: "cancelled" });
    });

    test("when its queue is purged", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const poll = scene.poll(id);

      await scene.engine.purge("default");

      expect(await poll).toMatchObject({ id, status: "cancelled" });
    });

    test("with the finished task although none is kept", async () => {
      await using scene = await openScene(makeEngine, { retainTasks: 0 });
      const id = await scene.enqueue();
      const poll = scene.poll(id);

      await scene.settleDone(await scene.claim(), "42");

      expect(await poll).toMatchObject({ id, status: "done", result: "42" });
      expect(await scene.engine.find(id)).toBeUndefined();
    });

    test("with the task as it is when the time is up", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const poll = scene.poll(id, 5000);
      await scene.claim();

      await scene.clock.advance(4999);
      expect(await isPending(poll)).toBe(true);
      await scene.clock.advance(1);

      expect(await poll).toMatchObject({ id, status: "running" });
    });

    test("with the task as it is when its signal aborts", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const client = new AbortController();
      const poll = scene.engine.waitFor(id, 60_000, client.signal);
      expect(await isPending(poll)).toBe(true);

      client.abort();

      expect(await poll).toMatchObject({ id, status: "queued" });
    });

    test("with the task as it is when the engine has drained", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue({ delayMs: 60_000 });
      const poll = scene.poll(id);
      expect(await isPending(poll)).toBe(true);

      await scene.engine.drain(1000);

      expect(await poll).toMatchObject({ id, status: "scheduled" });
    });

    test("with the task as it is when the engine closes", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const poll = scene.poll(id);
      expect(await isPending(poll)).toBe(true);

      await scene.close();

      expect(await poll).toMatchObject({ id, status: "queued" });
    });
  });

  describe("many who wait for one task", () => {
    test("are all answered", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const polls = Array.from({ length: 100 }, () => scene.poll(id));

      await scene.settleDone(await scene.claim());

      const answers = await Promise.all(polls);
      expect(answers.filter((task) => task?.status === "done")).toHaveLength(100);
    });

    test("go on waiting when one of them leaves", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const client = new AbortController();
      const first = scene.poll(id);
      const leaving = scene.engine.waitFor(id, 60_000, client.signal);
      const last = scene.poll(id);

      client.abort();
      await leaving;
      expect(await isPending(Promise.race([first, last]))).toBe(true);
      await scene.settleDone(await scene.claim());

      expect(await first).toMatchObject({ status: "done" });
      expect(await last).toMatchObject({ status: "done" });
    });

    test("may come after all before them have left", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const early = scene.poll(id, 10);
      await scene.clock.advance(10);
      await early;
      const poll = scene.poll(id);

      await scene.settleDone(await scene.claim());

      expect(await poll).toMatchObject({ status: "done" });
    });

    test("may ask with the same signal", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const client = new AbortController();
      const polls = [
        scene.engine.waitFor(id, 60_000, client.signal),
        scene.engine.waitFor(id, 60_000, client.signal),
      ];
      expect(await isPending(Promise.race(polls))).toBe(true);

      client.abort();

      expect(await Promise.all(polls)).toHaveLength(2);
    });
  });

  describe("leaves nothing behind", () => {
    test("on its signal, nor a timer, when the task finishes", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const { signal } = new AbortController();
      const claim = await scene.claim();
      const armedBefore = scene.clock.armed;
      const poll = scene.engine.waitFor(id, 600_000, signal);
      expect(await isPending(poll)).toBe(true);
      expect(getEventListeners(signal, "abort")).toHaveLength(1);

      await scene.settleDone(claim);
      await poll;

      expect(getEventListeners(signal, "abort")).toHaveLength(0);
      expect(scene.clock.armed).toBe(armedBefore);
    });

    test("on its signal when the time is up", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const { signal } = new AbortController();
      const poll = scene.engine.waitFor(id, 10, signal);
      expect(await isPending(poll)).toBe(true);

      await scene.clock.advance(10);
      await poll;

      expect(getEventListeners(signal, "abort")).toHaveLength(0);
    });

    test("no timer when its signal aborts", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const client = new AbortController();
      const armedBefore = scene.clock.armed;
      const poll = scene.engine.waitFor(id, 60_000, client.signal);
      expect(await isPending(poll)).toBe(true);

      client.abort();
      await poll;

      expect(scene.clock.armed).toBe(armedBefore);
    });

    test("in the engine's memory, however many left a task that goes on", async () => {
      await using scene = await openScene(makeEngine);
      const id = await scene.enqueue();
      const signalsBefore = liveSignals();

      for (let left = 0; left < 1000; left += 1) {
        const client = new AbortController();
        const poll = scene.engine.waitFor(id, 60_000, client.signal);
        client.abort();
        await poll;
      }

      // A few may still lie on the stack. One that is held back for each who left would be a thousand.
      expect(liveSignals() - signalsBefore).toBeLessThan(100);
    });
  });
}

function liveSignals(): number {
  Bun.gc(true);
  return heapStats().objectTypeCounts["AbortSignal"] ?? 0;
}
