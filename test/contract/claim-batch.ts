/** How every engine chooses the tasks of one claim: by lane, queues, types and number. */

import { describe, expect, test } from "bun:test";
import { type EngineHarness, REMOTE, REMOTE_TYPES } from "../support/engine-harness.ts";
import type { Contract } from "./contract.ts";

export function describeClaimBatch(contract: Contract): void {
  describe("max", () => {
    contract.orderTest("a claim gives as many tasks as it asks for, the next first", async () => {
      await using harness = await contract.open();
      const ids = await harness.enqueueAll([{}, {}, {}]);

      expect(await idsOf(harness, { max: 2 })).toEqual(ids.slice(0, 2));
    });

    test("a claim of more than there is gives what there is", async () => {
      await using harness = await contract.open();
      await harness.enqueueAll([{}, {}, {}]);

      expect(await harness.claims({ max: 100 })).toHaveLength(3);
    });

    test("a claim gives each task once, with a fence of its own", async () => {
      await using harness = await contract.open();
      await harness.enqueueAll([{}, {}, {}]);

      const claims = await harness.claims({ max: 3 });

      expect(new Set(claims.map(({ taskId }) => taskId)).size).toBe(3);
      expect(new Set(claims.map(({ fence }) => fence)).size).toBe(3);
    });

    contract.orderTest("a claim of several takes higher priorities first", async () => {
      await using harness = await contract.open();
      const low = await harness.enqueue({ priority: -1 });
      const middle = await harness.enqueue();
      const high = await harness.enqueue({ priority: 1 });

      expect(await idsOf(harness, { max: 3 })).toEqual([high, middle, low]);
    });

    test("a claim starts no more tasks of a queue than may run there at once", async () => {
      await using harness = await contract.open({ queues: { narrow: { concurrency: 2 } } });
      await harness.enqueueAll([{ queue: "narrow" }, { queue: "narrow" }, { queue: "narrow" }]);

      expect(await harness.claims({ max: 3 })).toHaveLength(2);
    });
  });

  describe("queues", () => {
    contract.orderTest("a claim without queues takes from all of them in turn", async () => {
      await using harness = await contract.open();
      const [a1 = "", a2 = "", b1 = "", b2 = ""] = await harness.enqueueAll([
        { queue: "a" },
        { queue: "a" },
        { queue: "b" },
        { queue: "b" },
      ]);

      expect(await idsOf(harness, { max: 4 })).toEqual([a1, b1, a2, b2]);
    });

    test("a claim takes from the queues that it names, and from no other", async () => {
      await using harness = await contract.open();
      await harness.enqueue({ queue: "a" });
      const id = await harness.enqueue({ queue: "b" });

      expect(await harness.claimAll({ queues: ["b"] })).toEqual([id]);
    });

    contract.orderTest("a claim empties its queues in the order that it names them", async () => {
      await using harness = await contract.open();
      const [a1 = "", a2 = "", b1 = "", b2 = ""] = await harness.enqueueAll([
        { queue: "a" },
        { queue: "a" },
        { queue: "b" },
        { queue: "b" },
      ]);

      expect(await harness.claimAll({ queues: ["b", "a"] })).toEqual([b1, b2, a1, a2]);
    });

    contract.orderTest("a batch fills up from the queue that is named next", async () => {
      await using harness = await contract.open();
      const [a1 = "", , b1 = "", b2 = ""] = await harness.enqueueAll([
        { queue: "a" },
        { queue: "a" },
        { queue: "b" },
        { queue: "b" },
      ]);

      expect(await idsOf(harness, { queues: ["b", "a"], max: 3 })).toEqual([b1, b2, a1]);
    });

    contract.orderTest("a later queue starves while an earlier one has tasks", async () => {
      await using harness = await contract.open();
      await harness.enqueue({ queue: "late", priority: 100 });
      const [first = "", second = ""] = await harness.enqueueAll([
        { queue: "early" },
        { queue: "early" },
      ]);

      expect(await idsOf(harness, { queues: ["early", "late"], max: 1 })).toEqual([first]);
      expect(await idsOf(harness, { queues: ["early", "late"], max: 1 })).toEqual([second]);
    });

    test("a claim of an unknown queue waits, and makes no queue", async () => {
      await using harness = await contract.open();

      expect(await harness.claims({ queues: ["nowhere"] })).toEqual([]);

      expect(await harness.engine.queues()).toEqual([]);
    });

    test("a claim passes over an unknown queue", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ queue: "a" });

      expect(await harness.claimAll({ queues: ["nowhere", "a"] })).toEqual([id]);
    });

    test("a claim passes over a paused queue", async () => {
      await using harness = await contract.open();
      await harness.enqueue({ queue: "paused" });
      const id = await harness.enqueue({ queue: "a" });
      await harness.engine.pause("paused");

      expect(await harness.claimAll({ queues: ["paused", "a"] })).toEqual([id]);
    });

    test("a claim passes over a queue that is at its limit of running tasks", async () => {
      await using harness = await contract.open({ queues: { narrow: { concurrency: 1 } } });
      await harness.enqueueAll([{ queue: "narrow" }, { queue: "narrow" }]);
      const id = await harness.enqueue({ queue: "a" });
      await harness.claim({ queues: ["narrow"] });

      expect(await harness.claimAll({ queues: ["narrow", "a"] })).toEqual([id]);
    });

    test("a queue that is named twice gives each of its tasks once", async () => {
      await using harness = await contract.open();
      const ids = await harness.enqueueAll([{ queue: "a" }, { queue: "a" }]);

      expect(await idsOf(harness, { queues: ["a", "a"], max: 4 })).toEqual(ids);
    });

    contract.orderTest("queues still take turns after a claim by name", async () => {
      await using harness = await contract.open();
      await harness.enqueueAll([{ queue: "a" }, { queue: "a" }, { queue: "b" }, { queue: "b" }]);
      await harness.claim({ queues: ["a"] });

      const claims = await harness.claims({ max: 2 });

      expect(claims.map(({ task }) => task.queue).toSorted()).toEqual(["a", "b"]);
    });
  });

  describe("types", () => {
    test("a claim passes over tasks of types that it does not name", async () => {
      await using harness = await contract.open();
      await harness.enqueue({ type: "x" });
      const [y = "", z = ""] = await harness.enqueueAll([{ type: "y" }, { type: "z" }]);

      expect((await harness.claimAll({ types: ["y", "z"] })).toSorted()).toEqual([y, z].toSorted());
    });

    contract.orderTest("a task that was passed over keeps its place", async () => {
      await using harness = await contract.open();
      const [x = "", , x2 = ""] = await harness.enqueueAll([
        { type: "x" },
        { type: "y" },
        { type: "x" },
      ]);
      await harness.claim({ types: ["y"] });

      expect(await harness.claimAll()).toEqual([x, x2]);
    });

    test("a claim for types that no task has gets nothing", async () => {
      await using harness = await contract.open();
      await harness.enqueue({ type: "x" });

      expect(await harness.claims({ types: ["y"] })).toEqual([]);
    });

    test("a claim by type finds tasks in every queue", async () => {
      await using harness = await contract.open();
      await harness.enqueue({ queue: "a", type: "x" });
      const ids = await harness.enqueueAll([
        { queue: "a", type: "y" },
        { queue: "b", type: "y" },
      ]);

      expect((await harness.claimAll({ types: ["y"] })).toSorted()).toEqual(ids.toSorted());
    });

    test("a claim by queue and type respects both", async () => {
      await using harness = await contract.open();
      await harness.enqueueAll([
        { queue: "a", type: "y" },
        { queue: "b", type: "x" },
      ]);
      const id = await harness.enqueue({ queue: "b", type: "y" });

      expect(await harness.claimAll({ queues: ["b"], types: ["y"] })).toEqual([id]);
    });

    test.each([
      ["finds a task behind 999 others", 999, 1],
      ["does not find a task behind 1,000 others", 1000, 0],
    ])("a claim by type %s", async (_, others, found) => {
      await using harness = await contract.open({ queueSize: 2000 });
      await harness.enqueueAll(Array.from({ length: others }, () => ({ type: "x" })));
      await harness.enqueue({ type: "y" });

      expect(await harness.claims({ types: ["y"] })).toHaveLength(found);
    });
  });

  describe("payload bytes", () => {
    const MIB = 1024 * 1024;

    const CLAIMS = [
      ["in turn", {}],
      ["by queue", { queues: ["default"] }],
      ["by type", { types: ["x"] }],
      ["by queue and type", { queues: ["default"], types: ["x"] }],
    ] as const;

    async function openWith(payloads: readonly string[]): Promise<EngineHarness> {
      const harness = await contract.open({ queueBytes: 64 * MIB });
      for (const payload of payloads) await harness.enqueue({ type: "x", payload });
      return harness;
    }

    test.each(CLAIMS)("a claim %s ends when its payloads have 4 MiB", async (_, request) => {
      // With its quotes, each payload has 1 MiB to the byte.
      await using harness = await openWith(Array(6).fill("p".repeat(MIB - 2)));

      expect(await harness.claims({ max: 6, ...request })).toHaveLength(4);
      expect(await harness.claims({ max: 6, ...request })).toHaveLength(2);
    });

    test.each(CLAIMS)("a claim %s goes on while a byte is missing", async (_, request) => {
      await using harness = await openWith(["p".repeat(4 * MIB - 3), "", "", ""]);

      expect(await harness.claims({ max: 6, ...request })).toHaveLength(2);
    });

    test.each(CLAIMS)("a claim %s gives a payload of any size", async (_, request) => {
      await using harness = await openWith(Array(2).fill("p".repeat(5 * MIB)));

      expect(await harness.claims({ max: 6, ...request })).toHaveLength(1);
    });
  });

  describe("lanes", () => {
    const types = { ...REMOTE_TYPES, heavy: { lane: "thread" } } as const;

    test("a claim takes tasks of its own lane only", async () => {
      await using harness = await contract.open({ types });
      const loop = await harness.enqueue();
      const thread = await harness.enqueue({ type: "heavy" });
      const remote = await harness.enqueue({ type: "remote" });

      expect(await harness.claimAll(REMOTE)).toEqual([remote]);
      expect(await harness.claimAll({ lane: "thread" })).toEqual([thread]);
      expect(await harness.claimAll({ lane: "loop" })).toEqual([loop]);
    });

    test("tasks of one lane do not wait behind those of another", async () => {
      await using harness = await contract.open({ types, queueSize: 2000 });
      await harness.enqueueAll(
        Array.from({ length: 1500 }, () => ({ type: "remote", priority: 100 })),
      );
      const id = await harness.enqueue();

      expect(await harness.claimAll()).toEqual([id]);
    });

    test("a claim by type of one lane does not see the tasks of another", async () => {
      await using harness = await contract.open({ types, queueSize: 2000 });
      await harness.enqueueAll(Array.from({ length: 1500 }, () => ({})));
      const id = await harness.enqueue({ type: "remote" });

      expect(await harness.claimAll({ ...REMOTE, types: ["remote"] })).toEqual([id]);
    });

    test("running tasks of all lanes count to the concurrency of their queue", async () => {
      await using harness = await contract.open({ types, queues: { narrow: { concurrency: 1 } } });
      await harness.enqueueAll([{ queue: "narrow" }, { queue: "narrow", type: "remote" }]);
      await harness.claimRemote();

      expect(await harness.claims()).toEqual([]);
    });

    test("the worker of a lane hears that another lane has made room in its queue", async () => {
      await using harness = await contract.open({ types, queues: { narrow: { concurrency: 1 } } });
      await harness.enqueueAll([{ queue: "narrow" }, { queue: "narrow", type: "remote" }]);
      const claim = await harness.claimRemote();
      const readyBefore = harness.worker.ready;

      await harness.settleDone(claim);

      await harness.worker.hearsOf(readyBefore + 1);
      expect(await harness.claims()).toHaveLength(1);
    });
  });
}

async function idsOf(
  harness: EngineHarness,
  request: Parameters<EngineHarness["claims"]>[0],
): Promise<readonly string[]> {
  return (await harness.claims(request)).map(({ taskId }) => taskId);
}
