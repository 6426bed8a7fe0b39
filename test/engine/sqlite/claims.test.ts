/** What becomes of claims, receipts and fences when an engine on a data file ends and another one goes on. */

import { afterAll, describe, expect, test } from "bun:test";
import type { EnqueueRequest } from "../../../src/engine/engine.ts";
import { makeDataFolder } from "../../support/data-folder.ts";
import { idsOf, REMOTE, REMOTE_TYPES } from "../../support/engine-harness.ts";
import { isPending } from "../../support/manual-clock.ts";
import {
  openSqlite,
  type SqliteHarness,
  type SqliteOptions,
} from "../../support/sqlite-harness.ts";

const LEASE_MS: number = REMOTE.leaseMs;
const HOUR_MS = 3_600_000;

const folder = makeDataFolder();
afterAll(() => folder.remove());

function open(options: SqliteOptions = {}): SqliteHarness {
  return openSqlite(folder, { types: REMOTE_TYPES, ...options });
}

/** Enqueues a remote task and claims it. */
async function claimNew(
  harness: SqliteHarness,
  request: Partial<EnqueueRequest> = {},
  leaseMs = LEASE_MS,
) {
  const id = await harness.enqueue({ type: "remote", timeoutMs: HOUR_MS, ...request });
  return { id, claim: await harness.claimRemote({ leaseMs }) };
}

describe.each(["restart", "crash"] as const)("remote claims after a %s", (end) => {
  test("a remote claim goes on with its worker and its lease", async () => {
    const harness = open();
    const { id } = await claimNew(harness);
    const before = await harness.task(id);

    await using next = await harness[end]();

    expect(await next.task(id)).toEqual(before);
    expect(before).toMatchObject({ status: "running", claim: { worker: "w1" } });
  });

  test("a running remote task is handed out to nobody else", async () => {
    const harness = open();
    await claimNew(harness);

    await using next = await harness[end]();

    expect(await next.claimAll(REMOTE)).toEqual([]);
  });

  test("the worker settles its claim", async () => {
    const harness = open();
    const { id, claim } = await claimNew(harness);
    await using next = await harness[end]();

    expect((await next.settleDone(claim, "1")).kind).toBe("settled");

    expect(await next.task(id)).toMatchObject({ status: "done", attempt: 1, result: "1" });
  });

  test("the worker extends its claim", async () => {
    const harness = open();
    const { id, claim } = await claimNew(harness);
    await using next = await harness[end]();

    const answer = await next.engine.extend(claim.taskId, claim.fence, 3 * LEASE_MS);

    expect(answer.kind).toBe("extended");
    await next.advance(3 * LEASE_MS - 1);
    expect(await next.statusOf(id)).toBe("running");
    await next.advance(1);
    expect(await next.statusOf(id)).toBe("queued");
  });

  test("an extend is remembered", async () => {
    const harness = open();
    const { id, claim } = await claimNew(harness);
    await harness.engine.extend(claim.taskId, claim.fence, 6 * LEASE_MS);

    await using next = await harness[end]();

    await next.advance(6 * LEASE_MS - 1);
    expect(await next.statusOf(id)).toBe("running");
    await next.advance(1);
    expect(await next.statusOf(id)).toBe("queued");
  });

  test("a lease has what the clock leaves of it", async () => {
    const harness = open();
    const { id } = await claimNew(harness, {}, 6 * LEASE_MS);
    await harness.advance(2 * LEASE_MS);

    await using next = await harness[end]();

    await next.advance(4 * LEASE_MS - 1);
    expect(await next.statusOf(id)).toBe("running");
    await next.advance(1);
    expect(await next.task(id)).toMatchObject({ status: "queued", errors: [] });
  });

  test("a lease that ended meanwhile has ten seconds more", async () => {
    const harness = open();
    const { id, claim } = await claimNew(harness, {}, 60_000);
    harness.clock.jumpWall(HOUR_MS / 2);

    await using next = await harness[end]();

    await next.advance(9999);
    expect(await next.statusOf(id)).toBe("running");
    await next.advance(1);
    expect(await next.statusOf(id)).toBe("queued");
    expect(await next.settleDone(claim)).toEqual({ kind: "claim_lost", ended: "expired" });
  });

  test("a lease shorter than ten seconds that ended meanwhile has its length once more", async () => {
    const harness = open();
    const { id } = await claimNew(harness, {}, 3000);
    harness.clock.jumpWall(HOUR_MS / 2);

    await using next = await harness[end]();

    await next.advance(2999);
    expect(await next.statusOf(id)).toBe("running");
    await next.advance(1);
    expect(await next.statusOf(id)).toBe("queued");
  });

  test("a lease has at most its length when the clock was set back", async () => {
    const harness = open();
    const { id } = await claimNew(harness);
    harness.clock.jumpWall(-HOUR_MS);

    await using next = await harness[end]();

    await next.advance(LEASE_MS);
    expect(await next.statusOf(id)).toBe("queued");
  });

  test("a timeout goes on with what the clock leaves of it", async () => {
    const harness = open();
    const { id, claim } = await claimNew(harness, { timeoutMs: 60_000, maxRetries: 0 }, 60_000);
    await harness.advance(20_000);

    await using next = await harness[end]();

    await next.engine.extend(claim.taskId, claim.fence, 60_000);
    await next.advance(39_999);
    expect(await next.statusOf(id)).toBe("running");
    await next.advance(1);
    expect(await next.task(id)).toMatchObject({ status: "failed", errors: [{ code: "timeout" }] });
  });

  test("the claims of several workers go on, each with its own fence", async () => {
    const harness = open();
    await harness.enqueueAll(Array.from({ length: 5 }, () => ({ type: "remote" })));
    const claims = await harness.claims({ ...REMOTE, max: 4 });

    await using next = await harness[end]();

    for (const claim of claims) expect((await next.settleDone(claim)).kind).toBe("settled");
    expect((await next.queue()).counts).toMatchObject({ done: 4, queued: 1, running: 0 });
  });

  test("a running remote task counts to the concurrency of its queue", async () => {
    const queues = { narrow: { concurrency: 1 } };
    const harness = open({ queues });
    await claimNew(harness, { queue: "narrow" });
    await harness.enqueue({ queue: "narrow" });

    await using next = await harness[end]();

    expect(await next.claims()).toEqual([]);
    expect((await next.queue("narrow")).counts.running).toBe(1);
  });

  test("claims go on beyond a limit that is smaller now, and no new one comes before", async () => {
    const harness = open();
    await harness.enqueueAll(Array.from({ length: 4 }, () => ({ type: "remote", queue: "a" })));
    const claims = await harness.claims({ ...REMOTE, max: 3 });

    await using next = await harness[end]({ queues: { a: { claims: 2 } } });

    expect((await next.queue("a")).claims).toBe(3);
    const waiting = next.waitToClaim();
    for (const [index, claim] of claims.slice(0, 2).entries()) {
      expect(await isPending(waiting)).toBe(true);
      expect((await next.settleDone(claim)).kind).toBe("settled");
      expect((await next.queue("a")).claims).toBe(index === 0 ? 2 : 1);
    }
    expect(idsOf(await waiting)).toHaveLength(1);
    expect((await next.queue("a")).claims).toBe(2);
  });

  test("a claim whose type runs in the process by now gives its place back", async () => {
    const types = { ...REMOTE_TYPES, other: { lane: "remote" } } as const;
    const harness = open({ types, queues: { a: { claims: 1 } } });
    const { claim } = await claimNew(harness, { queue: "a" });
    const id = await harness.enqueue({ type: "other", queue: "a" });

    await using next = await harness[end]({ types: { other: { lane: "remote" } } });

    const waiting = next.waitToClaim();
    expect(await isPending(waiting)).toBe(true);
    await next.settleDone(claim);
    expect(idsOf(await waiting)).toEqual([id]);
  });

  test("a cancel takes the task from its worker", async () => {
    const harness = open();
    const { id, claim } = await claimNew(harness);
    await using next = await harness[end]();

    await next.engine.cancel(id);

    expect(await next.settleDone(claim)).toEqual({ kind: "claim_lost", ended: "cancelled" });
  });

  test("a claim goes on although its type runs in the process by now", async () => {
    const harness = open();
    const { id, claim } = await claimNew(harness);
    const next = await harness[end]({ types: {} });
    expect(await next.claims()).toEqual([]);
    expect((await next.engine.extend(claim.taskId, claim.fence, LEASE_MS)).kind).toBe("extended");

    await using last = await next.crash();

    expect((await last.settleDone(claim)).kind).toBe("settled");
    expect(await last.statusOf(id)).toBe("done");
  });

  test("a lease that ends gives the task to where its type runs by now", async () => {
    const harness = open();
    const { id } = await claimNew(harness);

    await using next = await harness[end]({ types: {} });

    await next.advance(LEASE_MS);
    expect(await next.claimAll()).toEqual([id]);
  });

  test("the longest name of a worker is kept", async () => {
    const harness = open();
    const id = await harness.enqueue({ type: "remote" });
    const worker = `~ ${"w".repeat(126)}`;
    await harness.claimRemote({ worker });

    await using next = await harness[end]();

    expect((await next.task(id)).claim?.worker).toBe(worker);
  });

  test("a worker without a name has none", async () => {
    const harness = open();
    const id = await harness.enqueue({ type: "remote" });
    await harness.claim({ lane: "remote", leaseMs: LEASE_MS });

    await using next = await harness[end]();

    expect(await next.task(id)).toMatchObject({ status: "running", claim: { worker: null } });
  });

  test("the same claim goes on after another end", async () => {
    const harness = open();
    const { claim } = await claimNew(harness);
    const second = await harness[end]();
    const third = await second.crash();

    await using last = await third.restart();

    expect((await last.settleDone(claim)).kind).toBe("settled");
  });

  test("an answered settle is there", async () => {
    const harness = open();
    const { id, claim } = await claimNew(harness);
    await harness.settleDone(claim, "1");

    await using next = await harness[end]();

    expect(await next.task(id)).toMatchObject({ status: "done", result: "1", claim: null });
  });

  test("a settle that comes again gets the first receipt", async () => {
    const harness = open();
    const { claim } = await claimNew(harness);
    const first = await harness.settleFailed(claim);
    if (first.kind !== "settled") throw new Error(first.kind);

    await using next = await harness[end]();

    expect(await next.settleFailed(claim)).toEqual({ kind: "repeated", receipt: first.receipt });
    expect(await next.settleDone(claim)).toEqual({ kind: "claim_lost", ended: "settled" });
  });

  test("a release that comes again gets the first receipt while the next claim runs", async () => {
    const harness = open();
    const { id, claim } = await claimNew(harness);
    const first = await harness.release(claim);
    if (first.kind !== "settled") throw new Error(first.kind);
    await harness.claimRemote({ worker: "w2" });

    await using next = await harness[end]();

    expect(await next.release(claim)).toEqual({ kind: "repeated", receipt: first.receipt });
    expect(await next.task(id)).toMatchObject({ status: "running", claim: { worker: "w2" } });
  });

  test("a fence from before never comes again", async () => {
    const harness = open({ random: Math.random });
    await harness.enqueueAll(Array.from({ length: 10 }, () => ({ type: "remote" })));
    const before = await harness.claims({ ...REMOTE, max: 5 });

    await using next = await harness[end]({ random: Math.random });

    const after = await next.claims({ ...REMOTE, max: 5 });
    const fences = [...before, ...after].map(({ fence }) => fence);
    expect(new Set(fences).size).toBe(10);
  });

  test("the fence of a local attempt that is over settles nothing", async () => {
    const harness = open({ random: Math.random });
    const id = await harness.enqueue();
    const before = await harness.claim();
    await using next = await harness[end]({ random: Math.random });
    await next.claim();

    expect((await next.settleDone(before)).kind).toBe("claim_lost");

    expect(await next.statusOf(id)).toBe("running");
  });

  test("a lost lease still counts as one", async () => {
    const harness = open();
    const { id } = await claimNew(harness);
    await harness.advance(LEASE_MS);
    await harness.claimRemote();
    await harness.advance(LEASE_MS);

    await using next = await harness[end]();

    await next.claimRemote();
    await next.advance(LEASE_MS);
    expect(await next.task(id)).toMatchObject({
      status: "failed",
      errors: [{ code: "lease_lost", attempt: 3 }],
    });
  });

  test("tasks that were released keep their original order", async () => {
    const harness = open();
    const ids = await harness.enqueueAll(Array.from({ length: 4 }, () => ({ type: "remote" })));
    const claims = await harness.claims({ ...REMOTE, max: 3 });
    for (const claim of claims.toReversed()) await harness.release(claim);

    await using next = await harness[end]();

    expect(await next.claimAll(REMOTE)).toEqual(ids);
  });

  test("a task that was released with a delay waits for the rest of it", async () => {
    const harness = open();
    const { id, claim } = await claimNew(harness);
    await harness.release(claim, 5000);
    await harness.advance(1000);

    await using next = await harness[end]();

    await next.advance(3999);
    expect(await next.statusOf(id)).toBe("retrying");
    await next.advance(1);
    expect(await next.statusOf(id)).toBe("queued");
  });
});

describe("losses", () => {
  test("three crashes of the server are no loss for a remote claim", async () => {
    let harness = open();
    const { id, claim } = await claimNew(harness);
    for (let crashes = 0; crashes < 3; crashes += 1) harness = await harness.crash();
    await using last = harness;

    expect(await last.task(id)).toMatchObject({ status: "running", attempt: 1, errors: [] });
    expect((await last.settleDone(claim)).kind).toBe("settled");
  });

  test("a crash after two failed ones does not count the crashes before", async () => {
    let harness = open();
    const id = await harness.enqueue({ maxRetries: 100 });
    for (let crashes = 0; crashes < 2; crashes += 1) {
      await harness.claim();
      harness = await harness.crash();
    }
    await harness.settleFailed(await harness.claim(), { kind: "after", ms: 0 });
    await harness.advance(0);
    for (let crashes = 0; crashes < 2; crashes += 1) {
      await harness.claim();
      harness = await harness.crash();
    }
    await using last = harness;

    expect(await last.task(id)).toMatchObject({ status: "queued", attempt: 5 });
  });

  test("a release between crashes leaves their count as it is", async () => {
    let harness = open();
    const id = await harness.enqueue();
    for (let crashes = 0; crashes < 2; crashes += 1) {
      await harness.claim();
      harness = await harness.crash();
    }
    await harness.release(await harness.claim());
    await harness.claim();
    await using last = await harness.crash();

    expect(await last.task(id)).toMatchObject({
      status: "failed",
      errors: [{ code: "crash_loop", attempt: 4 }],
    });
  });

  test("a local attempt that ran at the crash is charged, a remote one beside it is not", async () => {
    const harness = open();
    const { id: remote } = await claimNew(harness);
    const local = await harness.enqueue();
    await harness.claim();

    await using next = await harness.crash();

    expect(await next.statusOf(remote)).toBe("running");
    expect(await next.statusOf(local)).toBe("queued");
  });
});

describe("stop", () => {
  test("a claim is refused once a drain has begun", async () => {
    await using harness = open();
    await claimNew(harness);
    await harness.enqueue({ type: "remote" });

    harness.engine.stopIntake();
    await harness.engine.drain(0);

    expect(await harness.engine.claim({ ...REMOTE, max: 1 })).toEqual({ kind: "stopping" });
  });

  test("a drain does not wait for remote claims", async () => {
    await using harness = open();
    await claimNew(harness);

    await harness.engine.drain(HOUR_MS);

    expect((await harness.queue()).counts.running).toBe(1);
  });

  test("a settle and an extend are answered while the engine drains", async () => {
    await using harness = open();
    const { id, claim } = await claimNew(harness);
    await harness.enqueue();
    await harness.claim();
    harness.engine.stopIntake();
    const drained = harness.engine.drain(8000);

    expect((await harness.engine.extend(claim.taskId, claim.fence, 5000)).kind).toBe("extended");
    expect((await harness.settleDone(claim)).kind).toBe("settled");

    expect(await harness.statusOf(id)).toBe("done");
    await harness.advance(8000);
    await drained;
  });

  test("a remote claim at the stop is one of the unfinished tasks", async () => {
    const harness = open();
    await claimNew(harness);

    expect(await harness.close()).toMatchObject({ unfinished: 1, areLost: false });
  });
});
