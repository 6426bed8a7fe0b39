/** How every engine gives out plain data: claims that can leave the process and come back, and views of one moment. */

import { describe, expect, test } from "bun:test";
import { REMOTE_TYPES } from "../support/engine-harness.ts";
import type { Contract } from "./contract.ts";

export function describeValues(contract: Contract): void {
  describe("claims as data", () => {
    test("a claim that has been JSON settles like the one it was", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const claim = await harness.claim();

      const answer = await harness.settleDone(JSON.parse(JSON.stringify(claim)), "1");

      expect(answer.kind).toBe("settled");
      expect(await harness.task(id)).toMatchObject({ status: "done", result: "1" });
    });

    test("a claim that has been JSON is extended like the one it was", async () => {
      await using harness = await contract.open({ types: REMOTE_TYPES });
      await harness.enqueue({ type: "remote" });
      const { taskId, fence } = JSON.parse(JSON.stringify(await harness.claimRemote()));

      expect((await harness.engine.extend(taskId, fence, 5000)).kind).toBe("extended");
    });

    test("a claim is all data, and loses nothing as JSON", async () => {
      await using harness = await contract.open({ types: REMOTE_TYPES });
      await harness.enqueue({ type: "remote", payload: { n: 1 } });

      const claim = await harness.claimRemote();

      expect(JSON.parse(JSON.stringify(claim))).toEqual(claim);
      expect(Number.isSafeInteger(claim.fence)).toBe(true);
    });

    test("a change to a claim changes nothing in the engine", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ payload: 1 });
      const claim = await harness.claim();
      const before = await harness.task(id);

      scribbleOn(claim.task);
      scribbleOn(claim);

      expect(await harness.task(id)).toEqual(before);
    });

    test("a change to what find answers changes nothing in the engine", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueueIn("retrying");
      const before = structuredClone(await harness.task(id));

      scribbleOn(await harness.task(id));

      expect(await harness.task(id)).toEqual(before);
    });

    test("a change to what list answers changes nothing in the engine", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const before = await harness.task(id);

      const page = await harness.engine.list({ limit: 1 });
      if (page.kind === "page") for (const task of page.tasks) scribbleOn(task);

      expect(await harness.task(id)).toEqual(before);
    });

    test("a change to what queue answers changes nothing in the engine", async () => {
      await using harness = await contract.open();
      await harness.enqueue();
      const before = structuredClone(await harness.queue());
      const report = await harness.queue();

      scribbleOn(report.counts);
      scribbleOn(report.totals);
      scribbleOn(report);

      expect(await harness.queue()).toEqual(before);
    });

    test("a task that was found stays as it was at that moment", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue();
      const found = await harness.task(id);

      await harness.settleDone(await harness.claim());

      expect(found.status).toBe("queued");
    });

    test("a queue that was reported stays as it was at that moment", async () => {
      await using harness = await contract.open();
      await harness.enqueue();
      const report = await harness.queue();

      await harness.settleDone(await harness.claim());

      expect(report).toMatchObject({ counts: { queued: 1, done: 0 }, totals: { done: 0 } });
    });
  });

  describe("fences", () => {
    test("no fence comes twice in 1,000 claims", async () => {
      await using harness = await contract.open({ queueSize: 1000, queueBytes: 100_000 });
      await harness.enqueueAll(Array.from({ length: 500 }, () => ({})));
      const fences = new Set<number>();

      for (let round = 0; round < 2; round += 1) {
        const claims = [];
        for (let batch = 0; batch < 5; batch += 1) claims.push(...(await harness.claims()));
        for (const claim of claims) {
          fences.add(claim.fence);
          await harness.release(claim);
        }
      }

      expect(fences.size).toBe(1000);
    });

    test("every attempt at a task has another fence", async () => {
      await using harness = await contract.open();
      await harness.enqueue();
      const first = await harness.claim();
      await harness.release(first);

      const second = await harness.claim();

      expect(second.fence).not.toBe(first.fence);
      expect([first.task.attempt, second.task.attempt]).toEqual([1, 2]);
    });

    test("a fence is no attempt number when the engine draws its start at random", async () => {
      await using harness = await contract.open({ random: Math.random });
      await harness.enqueue();

      const { fence } = await harness.claim();

      expect(fence).toBeGreaterThan(1_000_000);
    });
  });
}

/** Changes whatever a holder of this value could change. A frozen value may refuse. */
function scribbleOn(value: object): void {
  for (const name of Object.keys(value)) Reflect.set(value, name, 77);
}
