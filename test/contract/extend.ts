/** How every engine extends remote claims, and what it tells a worker whose claim is over. */

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

export function describeExtend(contract: Contract): void {
  const open = (options: EngineOptions = {}): Promise<EngineHarness> =>
    contract.open({ types: REMOTE_TYPES, ...options });

  describe("extend", () => {
    contract.clockTest("an extend makes the lease end so much later from now", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();
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
      const id = await harness.enqueueRemote();
      const { taskId, fence } = await harness.claimRemote({ leaseMs: 20_000 });

      await harness.engine.extend(taskId, fence, 1000);

      await harness.advance(1000);
      expect(await harness.statusOf(id)).toBe("queued");
    });

    contract.clockTest("an extend without a length keeps that of the claim", async () => {
      await using harness = await open({ timeoutMs: 3_600_000 });
      const id = await harness.enqueueRemote();
      const { taskId, fence } = await harness.claimRemote({ leaseMs: 7000 });
      await harness.advance(3000);

      const answer = await harness.engine.extend(taskId, fence);

      const leaseEndsAtMs = harness.wallMs + 7000;
      expect(answer).toEqual({ kind: "extended", leaseMs: 7000, leaseEndsAtMs });
      await harness.advance(6999);
      expect(await harness.statusOf(id)).toBe("running");
      await harness.advance(1);
      expect(await harness.statusOf(id)).toBe("queued");
    });

    contract.clockTest("an extend without a length keeps that of the last extend", async () => {
      await using harness = await open({ timeoutMs: 3_600_000 });
      await harness.enqueueRemote();
      const { taskId, fence } = await harness.claimRemote({ leaseMs: 7000 });
      await harness.engine.extend(taskId, fence, 20_000);
      await harness.advance(3000);

      const answer = await harness.engine.extend(taskId, fence);

      expect(answer).toMatchObject({ kind: "extended", leaseMs: 20_000 });
    });

    contract.clockTest("an extend that the timeout cut short keeps its length", async () => {
      await using harness = await open();
      await harness.enqueueRemote({ timeoutMs: 12_000 });
      const { taskId, fence } = await harness.claimRemote();
      await harness.advance(5000);
      await harness.engine.extend(taskId, fence, LEASE_MS);
      await harness.advance(1000);

      const answer = await harness.engine.extend(taskId, fence);

      expect(answer).toMatchObject({ kind: "extended", leaseMs: 6000 });
    });

    contract.clockTest("an extend never reaches beyond the timeout", async () => {
      await using harness = await open();
      await harness.enqueueRemote({ timeoutMs: 12_000 });
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
      const id = await harness.enqueueRemote({ timeoutMs: 25_000 });
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
      await harness.enqueueRemote({ timeoutMs: 5000 });
      const { taskId, fence } = await harness.claimRemote();

      await harness.advance(5000);

      expect(await remote.revocation()).toEqual({ taskId, fence, reason: "timeout" });
    });

    test("when lease and timeout end at one moment, the attempt failed with timeout", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote({ timeoutMs: LEASE_MS, maxRetries: 0 });
      await harness.claimRemote({ leaseMs: LEASE_MS });

      await harness.advance(LEASE_MS);

      expect(await harness.task(id)).toMatchObject({
        status: "failed",
        errors: [{ code: "timeout" }],
      });
    });

    test("an extend of a claim whose lease has ended is answered claim_lost", async () => {
      await using harness = await open();
      await harness.enqueueRemote();
      const { taskId, fence } = await harness.claimRemote();
      await harness.advance(LEASE_MS);

      const answer = await harness.engine.extend(taskId, fence, LEASE_MS);

      expect(answer).toEqual({ kind: "claim_lost", ended: "expired" });
    });

    test("an extend of a claim whose task was cancelled is answered claim_lost", async () => {
      await using harness = await open();
      await harness.enqueueRemote();
      const { taskId, fence } = await harness.claimRemote();
      await harness.engine.cancel(taskId);

      const answer = await harness.engine.extend(taskId, fence, LEASE_MS);

      expect(answer).toEqual({ kind: "claim_lost", ended: "cancelled" });
    });

    test("an extend of a claim that was settled is answered claim_lost", async () => {
      await using harness = await open();
      await harness.enqueueRemote();
      const claim = await harness.claimRemote();
      await harness.settleDone(claim);

      const answer = await harness.engine.extend(claim.taskId, claim.fence, LEASE_MS);

      expect(answer).toEqual({ kind: "claim_lost", ended: "settled" });
    });

    test("a stale extend does not extend the claim that holds the task now", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();
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
      await harness.enqueueRemote();
      const late = await harness.claimRemote();
      await harness.advance(LEASE_MS);

      expect(await harness.settleDone(late)).toEqual({ kind: "claim_lost", ended: "expired" });
    });

    test("a settle after the end of the lease is told so while another attempt runs", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();
      const late = await harness.claimRemote();
      await harness.advance(LEASE_MS);
      await harness.claimRemote();

      expect(await harness.settleDone(late)).toEqual({ kind: "claim_lost", ended: "expired" });

      expect(await harness.task(id)).toMatchObject({ status: "running", attempt: 2 });
    });

    test("a settle after the third lost lease is told that the claim is expired", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();
      for (let lost = 0; lost < 2; lost += 1) {
        await harness.claimRemote();
        await harness.advance(LEASE_MS);
      }
      const late = await harness.claimRemote();
      await harness.advance(LEASE_MS);

      expect(await harness.settleDone(late)).toEqual({ kind: "claim_lost", ended: "expired" });

      expect(await harness.statusOf(id)).toBe("failed");
    });

    test("a settle after the timeout is told so", async () => {
      await using harness = await open();
      await harness.enqueueRemote({ timeoutMs: 5000 });
      const late = await harness.claimRemote();
      await harness.advance(5000);

      expect(await harness.settleDone(late)).toEqual({ kind: "claim_lost", ended: "timeout" });
    });

    test("a settle after a cancel is told so", async () => {
      await using harness = await open();
      await harness.enqueueRemote();
      const late = await harness.claimRemote();
      await harness.engine.cancel(late.taskId);

      expect(await harness.settleDone(late)).toEqual({ kind: "claim_lost", ended: "cancelled" });
    });

    test("a settle of a forgotten task is told that the claim is unknown", async () => {
      await using harness = await open({ retainTasks: 0 });
      await harness.enqueueRemote();
      const late = await harness.claimRemote();
      await harness.engine.cancel(late.taskId);

      expect(await harness.settleDone(late)).toEqual({ kind: "claim_lost", ended: "unknown" });
    });

    test("a settle with a fence that was never given is told that the claim is unknown", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();
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
      const id = await harness.enqueueRemote();
      await harness.claimRemote();

      await harness.settle({ taskId: id, fence: 1 }, { kind: "done", result: null });

      expect(await harness.statusOf(id)).toBe("running");
    });
  });
}
