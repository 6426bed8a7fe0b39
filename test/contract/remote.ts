/** How every engine keeps the claims of workers elsewhere: by leases that end, are extended, and are lost. */

import { describe, expect, test } from "bun:test";
import {
  type EngineHarness,
  type EngineOptions,
  REMOTE,
  REMOTE_TYPES,
} from "../support/engine-harness.ts";
import type { Contract } from "./contract.ts";

const LEASE_MS: number = REMOTE.leaseMs;

export function describeRemote(contract: Contract): void {
  const open = (options: EngineOptions = {}): Promise<EngineHarness> =>
    contract.open({ types: REMOTE_TYPES, ...options });

  describe("claim", () => {
    contract.clockTest("a remote claim shows its worker and the end of its lease", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();

      const claim = await harness.claimRemote({ worker: "mail 1" });

      const leaseEndsAtMs = harness.wallMs + LEASE_MS;
      expect(claim).toMatchObject({ taskId: id, leaseEndsAtMs });
      expect((await harness.task(id)).claim).toEqual({ worker: "mail 1", leaseEndsAtMs });
    });

    test("a task that no remote worker holds shows no claim", async () => {
      await using harness = await open();
      const local = await harness.enqueueIn("running");
      const waiting = await harness.enqueueRemote();

      expect((await harness.task(local)).claim).toBeNull();
      expect((await harness.task(waiting)).claim).toBeNull();
    });

    test("a settled task shows no claim", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();

      await harness.settleDone(await harness.claimRemote());

      expect((await harness.task(id)).claim).toBeNull();
    });

    contract.clockTest("a lease never reaches beyond the timeout", async () => {
      await using harness = await open();
      await harness.enqueueRemote({ timeoutMs: 4000 });

      const { leaseEndsAtMs } = await harness.claimRemote({ leaseMs: LEASE_MS });

      expect(leaseEndsAtMs).toBe(harness.wallMs + 4000);
    });
  });

  describe("lease", () => {
    test("a lease that ends gives the task back, and nobody is charged", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote({ maxRetries: 0 });
      await harness.claimRemote();

      await harness.advance(LEASE_MS);

      expect(await harness.task(id)).toMatchObject({
        status: "queued",
        attempt: 1,
        failures: 0,
        errors: [],
        claim: null,
      });
    });

    contract.clockTest("a lease lasts to its last millisecond", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();
      const claim = await harness.claimRemote();

      await harness.advance(LEASE_MS - 1);

      expect(await harness.statusOf(id)).toBe("running");
      expect((await harness.settleDone(claim)).kind).toBe("settled");
    });

    test("the worker of the lane hears that the lease is lost", async () => {
      await using harness = await open();
      const remote = harness.attach("remote");
      await harness.enqueueRemote();
      const { taskId, fence } = await harness.claimRemote();

      await harness.advance(LEASE_MS);

      expect(await remote.revocation()).toEqual({ taskId, fence, reason: "lease_lost" });
    });

    test("the worker of the lane hears that the task is ready again", async () => {
      await using harness = await open();
      const remote = harness.attach("remote");
      await harness.enqueueRemote();
      await harness.claimRemote();

      await harness.advance(LEASE_MS);

      await remote.hearsOf(2);
    });

    test("a lost lease counts as a released attempt", async () => {
      await using harness = await open();
      await harness.enqueueRemote();
      await harness.claimRemote();

      await harness.advance(LEASE_MS);

      expect((await harness.queue()).totals).toMatchObject({ interrupted: 1, retried: 0 });
    });

    contract.orderTest("a task whose lease was lost comes before what was behind it", async () => {
      await using harness = await open();
      const ids = [await harness.enqueueRemote(), await harness.enqueueRemote()];
      await harness.claimRemote();
      await harness.advance(LEASE_MS);

      expect(await harness.claimAll(REMOTE)).toEqual(ids);
    });

    contract.clockTest("a lease does not care for the wall clock", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();
      await harness.claimRemote();

      harness.clock.jumpWall(24 * 3_600_000);
      await harness.advance(LEASE_MS - 1);
      expect(await harness.statusOf(id)).toBe("running");
      harness.clock.jumpWall(-48 * 3_600_000);
      await harness.advance(1);

      expect(await harness.statusOf(id)).toBe("queued");
    });

    test("an attempt on the event loop has no lease that could end before its timeout", async () => {
      await using harness = await open();
      const id = await harness.enqueue({ timeoutMs: 60_000 });
      await harness.claim({ leaseMs: 1000 });

      await harness.advance(30_000);

      expect(await harness.statusOf(id)).toBe("running");
    });
  });

  describe("lost attempts", () => {
    test("the third lost lease fails the task with lease_lost", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote({ maxRetries: 100 });

      await loseLeases(harness, 3);

      expect(await harness.task(id)).toMatchObject({
        status: "failed",
        attempt: 3,
        failures: 0,
        errors: [{ code: "lease_lost", attempt: 3 }],
      });
    });

    test("the third lost lease is told to the worker of the lane like the others", async () => {
      await using harness = await open();
      const remote = harness.attach("remote");
      await harness.enqueueRemote();

      await loseLeases(harness, 3);

      for (let lost = 0; lost < 3; lost += 1) {
        expect((await remote.revocation()).reason).toBe("lease_lost");
      }
    });

    test("two lost leases fail no task", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();

      await loseLeases(harness, 2);

      expect(await harness.statusOf(id)).toBe("queued");
    });

    test("a failed attempt makes the count of lost ones begin anew", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();
      await loseLeases(harness, 2);
      await harness.settleFailed(await harness.claimRemote());
      await harness.advance(200);

      await loseLeases(harness, 2);

      expect(await harness.statusOf(id)).toBe("queued");
    });

    test("a timeout makes the count of lost attempts begin anew", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote({ timeoutMs: 2 * LEASE_MS });
      await loseLeases(harness, 2);
      await harness.claimRemote({ leaseMs: 2 * LEASE_MS });
      await harness.advance(2 * LEASE_MS + 200);

      await loseLeases(harness, 2);

      expect(await harness.statusOf(id)).toBe("queued");
    });

    test("a retry by hand makes the count of lost attempts begin anew", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();
      await loseLeases(harness, 3);
      await harness.engine.retry(id);

      await loseLeases(harness, 2);

      expect(await harness.statusOf(id)).toBe("queued");
    });

    test("a released attempt leaves the count of lost ones as it is", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();
      await loseLeases(harness, 2);
      await harness.release(await harness.claimRemote());

      await loseLeases(harness, 1);

      expect((await harness.task(id)).errors).toMatchObject([{ code: "lease_lost" }]);
    });
  });

  describe("noteProgress", () => {
    test("progress of a remote attempt shows on its task", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();
      const { fence } = await harness.claimRemote();

      expect(harness.engine.noteProgress(id, fence, "50")).toBeNull();

      expect((await harness.task(id)).progress).toBe("50");
    });

    test("progress of a claim whose lease has ended is answered claim_lost", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();
      const { fence } = await harness.claimRemote();
      await harness.advance(LEASE_MS);
      await harness.claimRemote();

      const answer = harness.engine.noteProgress(id, fence, "50");

      expect(answer).toEqual({ kind: "claim_lost", ended: "expired" });
      expect((await harness.task(id)).progress).toBeNull();
    });
  });
}

/** Claims the only remote task and lets its lease end, again and again. */
async function loseLeases(harness: EngineHarness, times: number): Promise<void> {
  for (let lost = 0; lost < times; lost += 1) {
    await harness.claimRemote();
    await harness.advance(LEASE_MS);
  }
}
