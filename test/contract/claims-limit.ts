/** How every engine bounds the tasks of a queue that remote workers hold. */

import { describe, expect, test } from "bun:test";
import type { Claim } from "../../src/engine/engine.ts";
import {
  type EngineHarness,
  type EngineOptions,
  REMOTE,
  REMOTE_TYPES,
} from "../support/engine-harness.ts";
import type { Contract } from "./contract.ts";

const LEASE_MS: number = REMOTE.leaseMs;
const CLAIMS = 2;

export function describeClaimsLimit(contract: Contract): void {
  const open = (options: EngineOptions = {}): Promise<EngineHarness> =>
    contract.open({ types: REMOTE_TYPES, queues: { narrow: { claims: CLAIMS } }, ...options });

  describe("limit of claims", () => {
    const WAYS = [
      ["in turn", {}],
      ["by queue", { queues: ["narrow"] }],
      ["by type", { types: ["remote"] }],
      ["by queue and type", { queues: ["narrow"], types: ["remote"] }],
    ] as const;

    test.each(WAYS)("one claim %s starts no more than remote workers may hold", async (_, way) => {
      await using harness = await open();
      await enqueueNarrow(harness, 3);

      expect(await harness.claims({ ...REMOTE, ...way, max: 3 })).toHaveLength(CLAIMS);

      expect((await harness.queue("narrow")).claims).toBe(CLAIMS);
    });

    test.each(WAYS)(
      "single claims %s start no more tasks than remote workers may hold",
      async (_, request) => {
        await using harness = await open();
        await enqueueNarrow(harness, 3);

        expect(await harness.claimAll({ ...REMOTE, ...request })).toHaveLength(CLAIMS);
      },
    );

    test.each([
      ["in turn", {}],
      ["by queue", { queues: ["narrow", "wide"] }],
      ["by type", { types: ["remote"] }],
      ["by queue and type", { queues: ["narrow", "wide"], types: ["remote"] }],
    ])("a claim %s passes over a queue that is at its limit", async (_, request) => {
      await using harness = await open();
      await enqueueNarrow(harness, 3);
      await harness.claims({ ...REMOTE, max: CLAIMS });
      const id = await harness.enqueueRemote({ queue: "wide" });

      expect(await harness.claimAll({ ...REMOTE, ...request })).toEqual([id]);
    });

    test("a queue that is at its limit still hands out local tasks", async () => {
      await using harness = await open();
      await fill(harness);
      const id = await harness.enqueue({ queue: "narrow" });

      expect(await harness.claimAll()).toEqual([id]);
    });

    test("a queue that is at its limit still hands out local tasks by its name", async () => {
      await using harness = await open();
      await fill(harness);
      const id = await harness.enqueue({ queue: "narrow" });

      expect(await harness.claimAll({ queues: ["narrow"] })).toEqual([id]);
    });

    test("local tasks that run take no place of remote workers", async () => {
      await using harness = await open();
      await harness.enqueueAll(Array.from({ length: 5 }, () => ({ queue: "narrow" })));
      await harness.claims({ max: 5 });
      await enqueueNarrow(harness, CLAIMS);

      expect(await harness.claimAll(REMOTE)).toHaveLength(CLAIMS);
    });

    test("the limit of one queue is none of another", async () => {
      await using harness = await open({ queues: { a: { claims: 1 }, b: { claims: 3 } } });
      for (const queue of ["a", "b"]) await enqueueNarrow(harness, 4, queue);

      await harness.claims({ ...REMOTE, max: 8 });

      expect((await harness.queue("a")).claims).toBe(1);
      expect((await harness.queue("b")).claims).toBe(3);
    });

    test("the smaller of the limits of claims and of running tasks holds", async () => {
      await using harness = await open({ queues: { narrow: { claims: 3, concurrency: 2 } } });
      await enqueueNarrow(harness, 4);

      expect(await harness.claimAll(REMOTE)).toHaveLength(2);
    });
  });

  describe("place of a claim", () => {
    const ENDS: readonly (readonly [
      name: string,
      end: (harness: EngineHarness, claim: Claim) => Promise<unknown>,
    ])[] = [
      ["is done", (harness, claim) => harness.settleDone(claim)],
      ["has failed", (harness, claim) => harness.settleFailed(claim)],
      ["has failed for good", (harness, claim) => harness.settleFailed(claim, { kind: "never" })],
      ["is released", (harness, claim) => harness.release(claim)],
      ["is released with a delay", (harness, claim) => harness.release(claim, 60_000)],
      ["is cancelled", async (harness, claim) => harness.engine.cancel(claim.taskId)],
      ["has lost its lease", (harness) => harness.advance(LEASE_MS)],
      ["has timed out", (harness) => harness.advance(5000)],
    ];

    test.each(ENDS)("a task that %s gives its place back", async (_, end) => {
      await using harness = await open({ queues: { narrow: { claims: 1 } } });
      const timeoutMs = _ === "has timed out" ? 5000 : 3_600_000;
      await harness.enqueueRemote({ queue: "narrow", timeoutMs });
      await harness.enqueueRemote({ queue: "narrow" });
      const claim = await harness.claimRemote();
      expect(await harness.claims(REMOTE)).toEqual([]);

      await end(harness, claim);

      expect((await harness.queue("narrow")).claims).toBe(0);
      expect(await harness.claims({ ...REMOTE, max: 2 })).toHaveLength(1);
      expect((await harness.queue("narrow")).claims).toBe(1);
    });

    test("a claim that is extended keeps its one place", async () => {
      await using harness = await open();
      await enqueueNarrow(harness, 3);
      const { taskId, fence } = await harness.claimRemote();

      for (let round = 0; round < 3; round += 1) await harness.engine.extend(taskId, fence);

      expect((await harness.queue("narrow")).claims).toBe(1);
      expect(await harness.claimAll(REMOTE)).toHaveLength(1);
    });

    test("a settle that comes again gives no place back twice", async () => {
      await using harness = await open();
      await enqueueNarrow(harness, 4);
      const [claim] = await harness.claims({ ...REMOTE, max: CLAIMS });
      if (claim === undefined) throw new Error("a task was claimed");

      for (let times = 0; times < 2; times += 1) await harness.settleDone(claim);

      expect(await harness.claimAll(REMOTE)).toHaveLength(1);
    });

    test("the worker of the lane hears of the place that a claim gives back", async () => {
      await using harness = await open();
      await fill(harness);
      await enqueueNarrow(harness, 1);
      const remote = harness.attach("remote");
      const [running] = await harness.listAll({ status: "running" });

      await harness.engine.cancel(running ?? "");

      await remote.hearsOf(1);
    });

    test("a place that a claim gives back is no news for the event loop", async () => {
      await using harness = await open();
      const [claim] = await fill(harness);
      if (claim === undefined) throw new Error("a task was claimed");
      await enqueueNarrow(harness, 1);

      await harness.settleDone(claim);

      expect(harness.worker.ready).toBe(0);
    });
  });
}

async function enqueueNarrow(
  harness: EngineHarness,
  count: number,
  queue = "narrow",
): Promise<readonly string[]> {
  return harness.enqueueAll(Array.from({ length: count }, () => ({ type: "remote", queue })));
}

/** Brings the queue to its limit. */
async function fill(harness: EngineHarness): Promise<readonly Claim[]> {
  await enqueueNarrow(harness, CLAIMS);
  return harness.claims({ ...REMOTE, max: CLAIMS });
}
