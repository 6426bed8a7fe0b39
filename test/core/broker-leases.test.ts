import { describe, expect, test } from "bun:test";
import { LEASE_GRACE_MS } from "../../src/core/attempts.ts";
import type { ExtendOutcome } from "../../src/core/outcomes.ts";
import {
  aBroker,
  aRemoteClaim,
  at,
  BROKEN,
  claim,
  claimAll,
  claimRemote,
  enqueue,
  FIRST_FENCE,
  LEASE_MS,
  NO_CHANCE,
  RELEASED,
  settle,
  TIMEOUT_MS,
} from "../support/builders.ts";

function leaseEndOf(outcome: ExtendOutcome): number | undefined {
  return outcome.kind === "extended" ? outcome.leaseEndsAtMs : undefined;
}

describe("Broker.tick, for remote claims", () => {
  test("a lease ends in the very millisecond of its end: the task is released, and a loss is counted", () => {
    const { broker, heard, task } = aRemoteClaim();

    broker.tick(at(LEASE_MS - 1), NO_CHANCE);
    const before = [...heard];
    broker.tick(at(LEASE_MS), NO_CHANCE);

    expect(before).toEqual([]);
    expect(heard).toEqual(["a: running → queued", `a: revoked ${FIRST_FENCE}, lease_lost`]);
    expect(task).toMatchObject({ losses: 1, failures: 0, errors: [], lease: null });
    expect(broker.findQueue("default")?.totals).toMatchObject({ interrupted: 1, retried: 0 });
    broker.verify();
  });

  test("a lost lease puts its task before the rest, in the original order", () => {
    const broker = aBroker();
    for (const id of ["a", "b", "c"]) enqueue(broker, id, { lane: "remote" });
    claimRemote(broker, at(0), { leaseMs: 2000 });
    claimRemote(broker, at(0), { leaseMs: 1000 });

    broker.tick(at(1000), NO_CHANCE);
    broker.tick(at(2000), NO_CHANCE);

    expect(claimAll(broker, { lane: "remote" })).toEqual(["a", "b", "c"]);
  });

  test("the third lost lease in a row fails the task", () => {
    const { broker, heard, task } = aRemoteClaim();
    for (const ms of [LEASE_MS, 2 * LEASE_MS]) {
      broker.tick(at(ms), NO_CHANCE);
      claimRemote(broker, at(ms));
    }
    heard.length = 0;

    broker.tick(at(3 * LEASE_MS), NO_CHANCE);

    expect(heard).toEqual(["a: running → failed", `a: revoked ${FIRST_FENCE + 2}, lease_lost`]);
    expect(task).toMatchObject({ losses: 3, failures: 0 });
    expect(task.errors).toMatchObject([{ code: "lease_lost", attempt: 3 }]);
    broker.verify();
  });

  test.each([
    ["failure", 0],
    ["release", 1],
  ] as const)("after a %s, the losses before count %i", (word, losses) => {
    const { broker, task } = aRemoteClaim();
    broker.tick(at(LEASE_MS), NO_CHANCE);

    settle(broker, claimRemote(broker, at(LEASE_MS)), word === "failure" ? BROKEN : RELEASED);

    expect(task.losses).toBe(losses);
  });

  test("a retry by hand forgets the losses", () => {
    const { broker, task } = aRemoteClaim();
    broker.tick(at(LEASE_MS), NO_CHANCE);
    broker.cancel("a", at(LEASE_MS));

    broker.retry("a", at(LEASE_MS));

    expect(task.losses).toBe(0);
  });

  test("a timeout ends an attempt however often its lease was extended, and forgets the losses", () => {
    const { broker, heard, task } = aRemoteClaim();
    broker.tick(at(LEASE_MS), NO_CHANCE);
    const { fence } = claimRemote(broker, at(LEASE_MS));
    for (let ms = LEASE_MS; ms < LEASE_MS + TIMEOUT_MS; ms += 1000) {
      broker.extend("a", fence, LEASE_MS, at(ms));
      broker.tick(at(ms), NO_CHANCE);
    }
    heard.length = 0;

    broker.tick(at(LEASE_MS + TIMEOUT_MS), NO_CHANCE);

    expect(heard).toEqual(["a: running → retrying", `a: revoked ${fence}, timeout`]);
    expect(task).toMatchObject({ failures: 1, losses: 0, errors: [{ code: "timeout" }] });
  });

  test("a lease and a timeout that end together are a timeout", () => {
    const { broker, task } = aRemoteClaim({}, { leaseMs: TIMEOUT_MS });

    broker.tick(at(TIMEOUT_MS), NO_CHANCE);

    expect(task).toMatchObject({ status: "retrying", losses: 0, errors: [{ code: "timeout" }] });
  });

  test("a tick that comes late takes a lease for lost only if the timeout is not over as well", () => {
    const early = aRemoteClaim();
    const late = aRemoteClaim();

    early.broker.tick(at(TIMEOUT_MS - 1), NO_CHANCE);
    late.broker.tick(at(TIMEOUT_MS), NO_CHANCE);

    expect([early.task.status, late.task.status]).toEqual(["queued", "retrying"]);
  });

  test("leases and timeouts do not care where the wall clock goes", () => {
    const { broker, task } = aRemoteClaim();

    broker.tick(at(LEASE_MS - 1, 3_600_000), NO_CHANCE);
    const before = task.status;
    broker.tick(at(LEASE_MS, -3_600_000), NO_CHANCE);

    expect([before, task.status]).toEqual(["running", "queued"]);
  });
});

describe("Broker.extend", () => {
  test("a lease that is extended ends so long from now, by its new length", () => {
    const { broker, task } = aRemoteClaim();

    const outcome = broker.extend("a", task.fence, 30_000, at(5000));

    expect(outcome).toEqual({
      kind: "extended",
      leaseMs: 30_000,
      leaseEndsAtMs: at(35_000).wallMs,
    });
    expect(task.lease).toMatchObject({ lengthMs: 30_000, endsAtMs: at(35_000).monoMs });
    expect(broker.msToNextDue(at(5000))).toBe(30_000);
    broker.verify();
  });

  test("a lease can be made shorter", () => {
    const { broker, task } = aRemoteClaim();

    broker.extend("a", task.fence, 1000, at(0));

    expect(broker.msToNextDue(at(0))).toBe(1000);
  });

  test("a lease is extended up to the timeout, and says so", () => {
    const { broker, task } = aRemoteClaim();

    expect(broker.extend("a", task.fence, LEASE_MS, at(TIMEOUT_MS - 1))).toEqual({
      kind: "extended",
      leaseMs: 1,
      leaseEndsAtMs: at(TIMEOUT_MS).wallMs,
    });
  });

  test("a lease is extended in memory while remote claims are suspended, and never by less than nothing", () => {
    const { broker, task } = aRemoteClaim();
    broker.suspendRemote();

    const outcome = broker.extend("a", task.fence, LEASE_MS, at(TIMEOUT_MS + 5000));

    expect(outcome).toMatchObject({ kind: "extended", leaseMs: 0 });
  });

  test("a claim that is over cannot be extended", () => {
    const { broker, task } = aRemoteClaim();
    const { fence } = task;
    settle(broker, task);

    expect(broker.extend("a", fence, LEASE_MS, at(0))).toEqual({
      kind: "claim_lost",
      ended: "settled",
    });
    expect(broker.extend("nothing", fence, LEASE_MS, at(0))).toEqual({
      kind: "claim_lost",
      ended: "unknown",
    });
  });
});

describe("Broker.suspendRemote", () => {
  test("no lease and no timeout of a remote claim ends while they are suspended", () => {
    const { broker, heard } = aRemoteClaim();

    broker.suspendRemote();
    broker.tick(at(TIMEOUT_MS * 2), NO_CHANCE);

    expect(heard).toEqual([]);
    broker.verify();
  });

  test("attempts in the process go on to end by their timeout", () => {
    const { broker, heard } = aRemoteClaim();
    enqueue(broker, "local", { timeoutMs: 1000 });
    claim(broker);
    heard.length = 0;

    broker.suspendRemote();
    broker.tick(at(1000), NO_CHANCE);

    expect(heard).toEqual([
      "local: running → retrying",
      `local: revoked ${FIRST_FENCE + 1}, timeout`,
    ]);
  });

  test("a lease that ended meanwhile has its grace from the moment at which they go on", () => {
    const { broker, heard, task } = aRemoteClaim();
    broker.suspendRemote();
    broker.tick(at(50_000), NO_CHANCE);

    broker.resumeRemote(at(50_000));
    broker.tick(at(50_000), NO_CHANCE);
    const leaseEnd = leaseEndOf(broker.extend("a", task.fence, LEASE_MS, at(50_000)));

    expect(heard).toEqual([]);
    expect(leaseEnd).toBe(at(50_000 + LEASE_MS).wallMs);
  });
});

describe("Broker.allowLateLeases", () => {
  test("no lease ends before ten seconds are over", () => {
    const { broker, heard } = aRemoteClaim();

    broker.allowLateLeases(at(LEASE_MS));
    broker.tick(at(LEASE_MS), NO_CHANCE);
    const next = broker.msToNextDue(at(LEASE_MS));
    broker.tick(at(LEASE_MS + 9999), NO_CHANCE);
    const before = [...heard];
    broker.tick(at(LEASE_MS + 10_000), NO_CHANCE);

    expect(LEASE_GRACE_MS).toBe(10_000);
    expect([next, before]).toEqual([10_000, []]);
    expect(heard).toEqual(["a: running → queued", `a: revoked ${FIRST_FENCE}, lease_lost`]);
    broker.verify();
  });

  test("a lease that is shorter than ten seconds gets its own length", () => {
    const { broker, task } = aRemoteClaim({}, { leaseMs: 1000 });

    broker.allowLateLeases(at(5000));
    broker.tick(at(5999), NO_CHANCE);
    const before = task.status;
    broker.tick(at(6000), NO_CHANCE);

    expect([before, task.status]).toEqual(["running", "queued"]);
  });

  test("the grace makes no lease longer that ends later anyway", () => {
    const { broker, task } = aRemoteClaim();

    broker.allowLateLeases(at(0));
    broker.tick(at(0), NO_CHANCE);

    expect(task.lease?.endsAtMs).toBe(at(LEASE_MS).monoMs);
  });

  test("the grace does not reach beyond the timeout", () => {
    const { broker, task } = aRemoteClaim({ timeoutMs: 25_000 });

    broker.allowLateLeases(at(LEASE_MS));
    broker.tick(at(LEASE_MS), NO_CHANCE);
    broker.tick(at(25_000), NO_CHANCE);

    expect(task).toMatchObject({ status: "retrying", errors: [{ code: "timeout" }] });
  });

  test("a grace that is over saves no lease", () => {
    const { broker, task } = aRemoteClaim();

    broker.allowLateLeases(at(0));
    broker.tick(at(LEASE_MS), NO_CHANCE);

    expect(task.status).toBe("queued");
  });
});
