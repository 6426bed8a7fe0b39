/** How every engine lets someone wait for a task to finish. */

import { heapStats } from "bun:jsc";
import { describe, expect, test } from "bun:test";
import { getEventListeners } from "node:events";
import { isPending } from "../support/manual-clock.ts";
import type { Contract } from "./contract.ts";

export function describeLongPoll(contract: Contract): void {
  describe("immediate answer", () => {
    test("a long poll is answered at once for an unknown task", async () => {
      await using harness = await contract.open();

      expect(await harness.poll(Bun.randomUUIDv7())).toBeUndefined();
    });

    test.each(["done", "failed", "cancelled"] as const)(
      "a long poll is answered at once for a %s task",
      async (status) => {
        await using harness = await contract.open();
        const id = await harness.enqueueIn(status);

        expect(await harness.poll(id)).toMatchObject({ id, status });
      },
    );

    test("a long poll is answered at once when there is no time to wait", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();

      expect(await harness.poll(id, 0)).toMatchObject({ id, status: "queued" });
    });

    test("a long poll is answered at once when its signal is aborted already", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();

      const task = await harness.engine.waitFor(id, 60_000, AbortSignal.abort());

      expect(task).toMatchObject({ id, status: "queued" });
    });

    test("a long poll is answered at once once the engine has drained", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ delayMs: 60_000 });
      await harness.engine.drain(0);

      expect(await harness.poll(id)).toMatchObject({ id, status: "scheduled" });
    });
  });

  describe("wait", () => {
    test("a long poll waits, and is answered when the task is done", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const poll = harness.poll(id);
      const claim = await harness.claim();
      expect(await isPending(poll)).toBe(true);

      await harness.settleDone(claim, "42");

      expect(await poll).toMatchObject({ id, status: "done", result: "42" });
    });

    test("a long poll waits, and is answered when the task has failed for good, and not while it retries", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ maxRetries: 1 });
      const poll = harness.poll(id);
      await harness.settleFailed(await harness.claim());
      await harness.advance(200);
      expect(await isPending(poll)).toBe(true);

      await harness.settleFailed(await harness.claim());

      expect(await poll).toMatchObject({ id, status: "failed" });
    });

    test("a long poll waits, and is answered when the task has lost its last lease", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ maxRetries: 0, timeoutMs: 1000 });
      const poll = harness.poll(id);
      await harness.claim();

      await harness.advance(1000);

      expect(await poll).toMatchObject({ id, status: "failed" });
    });

    test("a long poll waits, and is answered when the task is cancelled", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const poll = harness.poll(id);

      await harness.engine.cancel(id);

      expect(await poll).toMatchObject({ id, status: "cancelled" });
    });

    test("a long poll waits, and is answered when its queue is purged", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const poll = harness.poll(id);

      await harness.engine.purge("default");

      expect(await poll).toMatchObject({ id, status: "cancelled" });
    });

    test("a long poll waits, and is answered with the finished task although none is kept", async () => {
      await using harness = await contract.open({ retainTasks: 0 });
      const id = await harness.enqueue();
      const poll = harness.poll(id);

      await harness.settleDone(await harness.claim(), "42");

      expect(await poll).toMatchObject({ id, status: "done", result: "42" });
      expect(await harness.engine.find(id)).toBeUndefined();
    });

    contract.clockTest(
      "a long poll waits, and is answered with the task as it is when the time is up",
      async () => {
        await using harness = await contract.open();
        const id = await harness.enqueue();
        const poll = harness.poll(id, 5000);
        await harness.claim();

        await harness.advance(4999);
        expect(await isPending(poll)).toBe(true);
        await harness.advance(1);

        expect(await poll).toMatchObject({ id, status: "running" });
      },
    );

    test("a long poll waits, and is answered with the task as it is when its signal aborts", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const client = new AbortController();
      const poll = harness.engine.waitFor(id, 60_000, client.signal);
      expect(await isPending(poll)).toBe(true);

      client.abort();

      expect(await poll).toMatchObject({ id, status: "queued" });
    });

    test("a long poll waits, and is answered with the task as it is when the engine has drained", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ delayMs: 60_000 });
      const poll = harness.poll(id);
      expect(await isPending(poll)).toBe(true);

      await harness.engine.drain(1000);

      expect(await poll).toMatchObject({ id, status: "scheduled" });
    });

    test("a long poll waits, and is answered with the task as it is when the engine closes", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const poll = harness.poll(id);
      expect(await isPending(poll)).toBe(true);

      await harness.close();

      expect(await poll).toMatchObject({ id, status: "queued" });
    });
  });

  describe("pollers of one task", () => {
    test("many pollers of one task are all answered", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const polls = Array.from({ length: 100 }, () => harness.poll(id));

      await harness.settleDone(await harness.claim());

      const answers = await Promise.all(polls);
      expect(answers.filter((task) => task?.status === "done")).toHaveLength(100);
    });

    test("many pollers of one task go on waiting when one of them leaves", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const client = new AbortController();
      const first = harness.poll(id);
      const leaving = harness.engine.waitFor(id, 60_000, client.signal);
      const last = harness.poll(id);

      client.abort();
      await leaving;
      expect(await isPending(Promise.race([first, last]))).toBe(true);
      await harness.settleDone(await harness.claim());

      expect(await first).toMatchObject({ status: "done" });
      expect(await last).toMatchObject({ status: "done" });
    });

    test("many pollers of one task may come after all before them have left", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const early = harness.poll(id, 10);
      expect(await isPending(early)).toBe(true);
      await harness.advance(10);
      await early;
      const poll = harness.poll(id);

      await harness.settleDone(await harness.claim());

      expect(await poll).toMatchObject({ status: "done" });
    });

    test("many pollers of one task may ask with the same signal", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const client = new AbortController();
      const polls = [
        harness.engine.waitFor(id, 60_000, client.signal),
        harness.engine.waitFor(id, 60_000, client.signal),
      ];
      expect(await isPending(Promise.race(polls))).toBe(true);

      client.abort();

      expect(await Promise.all(polls)).toHaveLength(2);
    });
  });

  describe("cleanup", () => {
    contract.clockTest(
      "a long poll leaves no listener and no timer when the task finishes",
      async () => {
        await using harness = await contract.open();
        const id = await harness.enqueue();
        const { signal } = new AbortController();
        const claim = await harness.claim();
        const armedBefore = harness.clock.armed;
        const poll = harness.engine.waitFor(id, 600_000, signal);
        expect(await isPending(poll)).toBe(true);
        expect(getEventListeners(signal, "abort")).toHaveLength(1);

        await harness.settleDone(claim);
        await poll;

        expect(getEventListeners(signal, "abort")).toHaveLength(0);
        expect(harness.clock.armed).toBe(armedBefore);
      },
    );

    test("a long poll leaves no listener when the time is up", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const { signal } = new AbortController();
      const poll = harness.engine.waitFor(id, 10, signal);
      expect(await isPending(poll)).toBe(true);

      await harness.advance(10);
      await poll;

      expect(getEventListeners(signal, "abort")).toHaveLength(0);
    });

    contract.clockTest("a long poll leaves no timer when its signal aborts", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const client = new AbortController();
      const armedBefore = harness.clock.armed;
      const poll = harness.engine.waitFor(id, 60_000, client.signal);
      expect(await isPending(poll)).toBe(true);

      client.abort();
      await poll;

      expect(harness.clock.armed).toBe(armedBefore);
    });

    test("aborted long polls leave nothing in memory, however many there were", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const signalsBefore = liveSignals();

      for (let left = 0; left < 1000; left += 1) {
        const client = new AbortController();
        const poll = harness.engine.waitFor(id, 60_000, client.signal);
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
