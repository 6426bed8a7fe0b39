/** How every engine keeps the claims of workers elsewhere: by leases that end, are extended, and are lost. */

import { describe, expect, test } from "bun:test";
import type { Claim, EnqueueRequest } from "../../src/engine/engine.ts";
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
      const id = await enqueueRemote(harness);

      const claim = await harness.claimRemote({ worker: "mail 1" });

      const leaseEndsAtMs = harness.wallMs + LEASE_MS;
      expect(claim).toMatchObject({ taskId: id, leaseEndsAtMs });
      expect((await harness.task(id)).claim).toEqual({ worker: "mail 1", leaseEndsAtMs });
    });

    test("a task that no remote worker holds shows no claim", async () => {
      await using harness = await open();
      const local = await harness.enqueueIn("running");
      const waiting = await enqueueRemote(harness);

      expect((await harness.task(local)).claim).toBeNull();
      expect((await harness.task(waiting)).claim).toBeNull();
    });

    test("a settled task shows no claim", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness);

      await harness.settleDone(await harness.claimRemote());

      expect((await harness.task(id)).claim).toBeNull();
    });

    contract.clockTest("a lease never reaches beyond the timeout", async () => {
      await using harness = await open();
      await enqueueRemote(harness, { timeoutMs: 4000 });

      const { leaseEndsAtMs } = await harness.claimRemote({ leaseMs: LEASE_MS });

      expect(leaseEndsAtMs).toBe(harness.wallMs + 4000);
    });
  });

  describe("lease", () => {
    test("a lease that ends gives the task back, and nobody is charged", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness, { maxRetries: 0 });
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
      const id = await enqueueRemote(harness);
      const claim = await harness.claimRemote();

      await harness.advance(LEASE_MS - 1);

      expect(await harness.statusOf(id)).toBe("running");
      expect((await harness.settleDone(claim)).kind).toBe("settled");
    });

    test("the worker of the lane hears that the lease is lost", async () => {
      await using harness = await open();
      const remote = harness.attach("remote");
      await enqueueRemote(harness);
      const { taskId, fence } = await harness.claimRemote();

      await harness.advance(LEASE_MS);

      expect(await remote.revocation()).toEqual({ taskId, fence, reason: "lease_lost" });
    });

    test("the worker of the lane hears that the task is ready again", async () => {
      await using harness = await open();
      const remote = harness.attach("remote");
      await enqueueRemote(harness);
      await harness.claimRemote();

      await harness.advance(LEASE_MS);

      await remote.hearsOf(2);
    });

    test("a lost lease counts as a released attempt", async () => {
      await using harness = await open();
      await enqueueRemote(harness);
      await harness.claimRemote();

      await harness.advance(LEASE_MS);

      expect((await harness.queue()).totals).toMatchObject({ interrupted: 1, retried: 0 });
    });

    contract.orderTest("a task whose lease was lost comes before what was behind it", async () => {
      await using harness = await open();
      const ids = [await enqueueRemote(harness), await enqueueRemote(harness)];
      await harness.claimRemote();
      await harness.advance(LEASE_MS);

      expect(await harness.claimAll(REMOTE)).toEqual(ids);
    });

    contract.clockTest("a lease does not care for the wall clock", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness);
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
      const id = await enqueueRemote(harness, { maxRetries: 100 });

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
      await enqueueRemote(harness);

      await loseLeases(harness, 3);

      for (let lost = 0; lost < 3; lost += 1) {
        expect((await remote.revocation()).reason).toBe("lease_lost");
      }
    });

    test("two lost leases fail no task", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness);

      await loseLeases(harness, 2);

      expect(await harness.statusOf(id)).toBe("queued");
    });

    test("a failed attempt makes the count of lost ones begin anew", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness);
      await loseLeases(harness, 2);
      await harness.settleFailed(await harness.claimRemote());
      await harness.advance(200);

      await loseLeases(harness, 2);

      expect(await harness.statusOf(id)).toBe("queued");
    });

    test("a timeout makes the count of lost attempts begin anew", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness, { timeoutMs: 2 * LEASE_MS });
      await loseLeases(harness, 2);
      await harness.claimRemote({ leaseMs: 2 * LEASE_MS });
      await harness.advance(2 * LEASE_MS + 200);

      await loseLeases(harness, 2);

      expect(await harness.statusOf(id)).toBe("queued");
    });

    test("a retry by hand makes the count of lost attempts begin anew", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness);
      await loseLeases(harness, 3);
      await harness.engine.retry(id);

      await loseLeases(harness, 2);

      expect(await harness.statusOf(id)).toBe("queued");
    });

    test("a released attempt leaves the count of lost ones as it is", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness);
      await loseLeases(harness, 2);
      await harness.release(await harness.claimRemote());

      await loseLeases(harness, 1);

      expect((await harness.task(id)).errors).toMatchObject([{ code: "lease_lost" }]);
    });
  });

  describe("extend", () => {
    contract.clockTest("an extend makes the lease end so much later from now", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness);
      const { taskId, fence } = await harness.claimRemote();
      await harness.advance(4000);

      const answer = await harness.engine.extend(taskId, fence, LEASE_MS);

      const leaseEndsAtMs = harness.wallMs + LEASE_MS;
      expect(answer).toEqual({ kind: "extended", leaseMs: LEASE_MS, leaseEndsAtMs });
      expect((await harness.task(id)).claim).toEqual({ worker: "w1", leaseEndsAtMs });
      await harness.advance(LEASE_MS - 1);
      expect(await harness.statusOf(id)).toBe("running");
      await harness.advance(1);
      expect(await harness.statusOf(id)).toBe("queued");
    });

    contract.clockTest("an extend may make the lease end sooner", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness);
      const { taskId, fence } = await harness.claimRemote({ leaseMs: 20_000 });

      await harness.engine.extend(taskId, fence, 1000);

      await harness.advance(1000);
      expect(await harness.statusOf(id)).toBe("queued");
    });

    contract.clockTest("an extend never reaches beyond the timeout", async () => {
      await using harness = await open();
      await enqueueRemote(harness, { timeoutMs: 12_000 });
      const { taskId, fence, task } = await harness.claimRemote();
      await harness.advance(5000);

      const answer = await harness.engine.extend(taskId, fence, LEASE_MS);

      expect(answer).toEqual({
        kind: "extended",
        leaseMs: 7000,
        leaseEndsAtMs: (task.startedAtMs ?? 0) + 12_000,
      });
    });

    test("an attempt that is extended again and again ends by its timeout", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness, { timeoutMs: 25_000 });
      const { taskId, fence } = await harness.claimRemote();
      for (let round = 0; round < 4; round += 1) {
        await harness.advance(5000);
        await harness.engine.extend(taskId, fence, LEASE_MS);
      }

      await harness.advance(5000);

      expect(await harness.task(id)).toMatchObject({
        status: "retrying",
        failures: 1,
        errors: [{ code: "timeout", attempt: 1 }],
      });
    });

    test("a timeout of a remote attempt is told to the worker of its lane as one", async () => {
      await using harness = await open();
      const remote = harness.attach("remote");
      await enqueueRemote(harness, { timeoutMs: 5000 });
      const { taskId, fence } = await harness.claimRemote();

      await harness.advance(5000);

      expect(await remote.revocation()).toEqual({ taskId, fence, reason: "timeout" });
    });

    test("when lease and timeout end at one moment, the attempt failed with timeout", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness, { timeoutMs: LEASE_MS, maxRetries: 0 });
      await harness.claimRemote({ leaseMs: LEASE_MS });

      await harness.advance(LEASE_MS);

      expect(await harness.task(id)).toMatchObject({
        status: "failed",
        errors: [{ code: "timeout" }],
      });
    });

    test("an extend of a claim whose lease has ended is answered claim_lost", async () => {
      await using harness = await open();
      await enqueueRemote(harness);
      const { taskId, fence } = await harness.claimRemote();
      await harness.advance(LEASE_MS);

      const answer = await harness.engine.extend(taskId, fence, LEASE_MS);

      expect(answer).toEqual({ kind: "claim_lost", ended: "expired" });
    });

    test("an extend of a claim whose task was cancelled is answered claim_lost", async () => {
      await using harness = await open();
      await enqueueRemote(harness);
      const { taskId, fence } = await harness.claimRemote();
      await harness.engine.cancel(taskId);

      const answer = await harness.engine.extend(taskId, fence, LEASE_MS);

      expect(answer).toEqual({ kind: "claim_lost", ended: "cancelled" });
    });

    test("an extend of a claim that was settled is answered claim_lost", async () => {
      await using harness = await open();
      await enqueueRemote(harness);
      const claim = await harness.claimRemote();
      await harness.settleDone(claim);

      const answer = await harness.engine.extend(claim.taskId, claim.fence, LEASE_MS);

      expect(answer).toEqual({ kind: "claim_lost", ended: "settled" });
    });

    test("a stale extend does not extend the claim that holds the task now", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness);
      const late = await harness.claimRemote();
      await harness.advance(LEASE_MS);
      await harness.claimRemote();

      await harness.engine.extend(late.taskId, late.fence, 3 * LEASE_MS);

      await harness.advance(LEASE_MS);
      expect(await harness.statusOf(id)).toBe("queued");
    });
  });

  describe("late settle", () => {
    test("a settle after the end of the lease is told that the claim is expired", async () => {
      await using harness = await open();
      await enqueueRemote(harness);
      const late = await harness.claimRemote();
      await harness.advance(LEASE_MS);

      expect(await harness.settleDone(late)).toEqual({ kind: "claim_lost", ended: "expired" });
    });

    test("a settle after the end of the lease is told so while another attempt runs", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness);
      const late = await harness.claimRemote();
      await harness.advance(LEASE_MS);
      await harness.claimRemote();

      expect(await harness.settleDone(late)).toEqual({ kind: "claim_lost", ended: "expired" });

      expect(await harness.task(id)).toMatchObject({ status: "running", attempt: 2 });
    });

    test("a settle after the third lost lease is told that the claim is expired", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness);
      await loseLeases(harness, 2);
      const late = await harness.claimRemote();
      await harness.advance(LEASE_MS);

      expect(await harness.settleDone(late)).toEqual({ kind: "claim_lost", ended: "expired" });

      expect(await harness.statusOf(id)).toBe("failed");
    });

    test("a settle after the timeout is told so", async () => {
      await using harness = await open();
      await enqueueRemote(harness, { timeoutMs: 5000 });
      const late = await harness.claimRemote();
      await harness.advance(5000);

      expect(await harness.settleDone(late)).toEqual({ kind: "claim_lost", ended: "timeout" });
    });

    test("a settle after a cancel is told so", async () => {
      await using harness = await open();
      await enqueueRemote(harness);
      const late = await harness.claimRemote();
      await harness.engine.cancel(late.taskId);

      expect(await harness.settleDone(late)).toEqual({ kind: "claim_lost", ended: "cancelled" });
    });

    test("a settle of a forgotten task is told that the claim is unknown", async () => {
      await using harness = await open({ retainTasks: 0 });
      await enqueueRemote(harness);
      const late = await harness.claimRemote();
      await harness.engine.cancel(late.taskId);

      expect(await harness.settleDone(late)).toEqual({ kind: "claim_lost", ended: "unknown" });
    });

    test("a settle with a fence that was never given is told that the claim is unknown", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness);
      const claim = await harness.claimRemote();
      const stranger: Pick<Claim, "taskId" | "fence"> = { taskId: id, fence: claim.fence - 1 };

      const answer = await harness.settle(stranger, { kind: "done", result: null });

      expect(answer).toEqual({ kind: "claim_lost", ended: "unknown" });
      expect(await harness.statusOf(id)).toBe("running");
    });

    test("a settle of an unknown task is told that the claim is unknown", async () => {
      await using harness = await open();
      const stranger = { taskId: Bun.randomUUIDv7(), fence: 1 };

      const answer = await harness.settle(stranger, { kind: "done", result: null });

      expect(answer).toEqual({ kind: "claim_lost", ended: "unknown" });
    });

    test("the attempt number is not taken for the fence", async () => {
      await using harness = await open({ random: () => 0.5 });
      const id = await enqueueRemote(harness);
      await harness.claimRemote();

      await harness.settle({ taskId: id, fence: 1 }, { kind: "done", result: null });

      expect(await harness.statusOf(id)).toBe("running");
    });
  });

  describe("noteProgress", () => {
    test("progress of a remote attempt shows on its task", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness);
      const { fence } = await harness.claimRemote();

      expect(harness.engine.noteProgress(id, fence, "50")).toBeNull();

      expect((await harness.task(id)).progress).toBe("50");
    });

    test("progress of a claim whose lease has ended is answered claim_lost", async () => {
      await using harness = await open();
      const id = await enqueueRemote(harness);
      const { fence } = await harness.claimRemote();
      await harness.advance(LEASE_MS);
      await harness.claimRemote();

      const answer = harness.engine.noteProgress(id, fence, "50");

      expect(answer).toEqual({ kind: "claim_lost", ended: "expired" });
      expect((await harness.task(id)).progress).toBeNull();
    });
  });
}

function enqueueRemote(
  harness: EngineHarness,
  request: Partial<EnqueueRequest> = {},
): Promise<string> {
  return harness.enqueue({ type: "remote", ...request });
}

/** Claims the only remote task and lets its lease end, again and again. */
async function loseLeases(harness: EngineHarness, times: number): Promise<void> {
  for (let lost = 0; lost < times; lost += 1) {
    await harness.claimRemote();
    await harness.advance(LEASE_MS);
  }
}
