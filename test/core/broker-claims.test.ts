import { describe, expect, test } from "bun:test";
import { type Broker, LEASE_GRACE_MS } from "../../src/core/broker.ts";
import type { ClaimRequest, ExtendOutcome } from "../../src/core/outcomes.ts";
import type { NewTask, Task } from "../../src/core/task.ts";
import {
  aBroker,
  aNewTask,
  at,
  BROKEN,
  type BrokerOptions,
  claim,
  claimAll,
  DONE,
  enqueue,
  FIRST_FENCE,
  NO_CHANCE,
  RELEASED,
  settle,
} from "../support/builders.ts";

const TIMEOUT_MS = 100_000;
const LEASE_MS = 20_000;

/** A broker whose task "a" a remote worker has claimed at the beginning, together with what its observer hears. */
function aRemoteClaim(
  task: Partial<NewTask> = {},
  request: Partial<ClaimRequest> = {},
  options: BrokerOptions = {},
): { readonly broker: Broker; readonly heard: string[]; readonly task: Task } {
  const heard: string[] = [];
  const broker = aBroker(options, {
    onStep: ({ id, status }, from) => heard.push(`${id}: ${from ?? "new"} → ${status}`),
    onRevoke: ({ id }, fence, reason) => heard.push(`${id}: revoked ${fence}, ${reason}`),
  });
  enqueue(broker, "a", { lane: "remote", timeoutMs: TIMEOUT_MS, ...task });
  const claimed = claimRemote(broker, at(0), request);
  heard.length = 0;
  return { broker, heard, task: claimed };
}

function claimRemote(broker: Broker, now = at(0), request: Partial<ClaimRequest> = {}): Task {
  return claim(broker, now, { lane: "remote", leaseMs: LEASE_MS, worker: "w1", ...request });
}

/** Types that count how often a task is compared with them. */
class CountedTypes extends Array<string> {
  asked = 0;

  override includes(type: string): boolean {
    this.asked += 1;
    return super.includes(type);
  }
}

function leaseEndOf(outcome: ExtendOutcome): number | undefined {
  return outcome.kind === "extended" ? outcome.leaseEndsAtMs : undefined;
}

describe("Broker.claim", () => {
  test("a claim takes as many tasks as there are, up to its maximum", () => {
    const broker = aBroker();
    for (const id of ["a", "b", "c"]) enqueue(broker, id);

    expect(broker.claim({ lane: "loop", max: 0 }, at(0))).toEqual([]);
    expect(broker.claim({ lane: "loop", max: 2 }, at(0)).map(({ id }) => id)).toEqual(["a", "b"]);
    expect(broker.claim({ lane: "loop", max: 2 }, at(0)).map(({ id }) => id)).toEqual(["c"]);
    expect(broker.claim({ lane: "loop", max: 2 }, at(0))).toEqual([]);
    broker.verify();
  });

  test("every claim has the next fence, whatever the attempt", () => {
    const broker = aBroker();
    for (const id of ["a", "b"]) enqueue(broker, id);
    const claimed = broker.claim({ lane: "loop", max: 2 }, at(0));
    const fences = claimed.map(({ fence }) => fence);
    for (const task of claimed) settle(broker, task, RELEASED);

    const again = broker.claim({ lane: "loop", max: 2 }, at(0));

    expect(fences).toEqual([FIRST_FENCE, FIRST_FENCE + 1]);
    expect(again.map(({ id, fence, attempt }) => [id, fence, attempt])).toEqual([
      ["a", FIRST_FENCE + 2, 2],
      ["b", FIRST_FENCE + 3, 2],
    ]);
  });

  test("a claim of several takes from all queues in turn", () => {
    const broker = aBroker();
    for (const id of ["a1", "a2", "b1", "c1", "b2"])
      enqueue(broker, id, { queue: id[0] as string });

    expect(claimAll(broker)).toEqual(["a1", "b1", "c1", "a2", "b2"]);
  });

  test("named queues are claimed strictly in their order, and a batch fills up from the next", () => {
    const broker = aBroker();
    for (const id of ["a1", "b1", "b2", "c1"]) enqueue(broker, id, { queue: id[0] as string });

    expect(claimAll(broker, { queues: ["b", "nowhere", "a"] })).toEqual(["b1", "b2", "a1"]);
    expect(claimAll(broker, { queues: ["b", "a"] })).toEqual([]);
    broker.verify();
  });

  test("a named queue that is paused, or runs all that it may, is passed over", () => {
    const broker = aBroker({ queues: { a: { concurrency: 1 } } });
    for (const id of ["a1", "a2", "b1", "c1"]) enqueue(broker, id, { queue: id[0] as string });
    broker.pause("b", at(0));

    expect(claimAll(broker, { queues: ["b", "a", "c"] })).toEqual(["a1", "c1"]);
    broker.verify();
  });

  test("a claim by types passes over tasks of other types, and leaves them in their order", () => {
    const broker = aBroker();
    for (const [id, type] of [
      ["a", "x"],
      ["b", "y"],
      ["c", "x"],
      ["d", "z"],
      ["e", "y"],
    ] as const) {
      enqueue(broker, id, { type });
    }

    expect(claimAll(broker, { types: ["y", "z"] })).toEqual(["b", "d", "e"]);
    expect(claimAll(broker)).toEqual(["a", "c"]);
    broker.verify();
  });

  test("a claim by types takes from all queues in turn, and only those that have one lose theirs", () => {
    const broker = aBroker();
    enqueue(broker, "other", { queue: "a", type: "x" });
    for (const id of ["b1", "b2"]) enqueue(broker, id, { queue: "b", type: "y" });
    for (const id of ["c1", "c2"]) enqueue(broker, id, { queue: "c", type: "y" });

    expect(claimAll(broker, { types: ["y"] })).toEqual(["b1", "c1", "b2", "c2"]);
    expect(claimAll(broker)).toEqual(["other"]);
  });

  test("a claim by queues and types takes only what fits both", () => {
    const broker = aBroker();
    enqueue(broker, "a", { queue: "q", type: "x" });
    enqueue(broker, "b", { queue: "q", type: "y" });
    enqueue(broker, "c", { queue: "r", type: "y" });
    enqueue(broker, "d", { queue: "s", type: "y" });

    expect(claimAll(broker, { queues: ["s", "q"], types: ["y"] })).toEqual(["d", "b"]);
  });

  test("a claim by types looks at no more than a thousand tasks of a queue", () => {
    const broker = aBroker({ queue: { size: 2000, bytes: 1e9 } });
    const others = Array.from({ length: 1000 }, (_, n) => aNewTask({ id: `t${n}`, type: "x" }));
    broker.enqueue(others, at(0));
    enqueue(broker, "wanted", { type: "y" });

    expect(claimAll(broker, { types: ["y"] })).toEqual([]);
    claim(broker);
    expect(claimAll(broker, { types: ["y"] })).toEqual(["wanted"]);
  });

  test("a claim of many by types looks at each task once, and so at no more than a thousand", () => {
    const broker = aBroker({ queue: { size: 2000, bytes: 1e9 } });
    for (const type of ["x", "y"]) {
      const count = type === "x" ? 900 : 100;
      const tasks = Array.from({ length: count }, (_, n) => aNewTask({ id: `${type}${n}`, type }));
      broker.enqueue(tasks, at(0));
    }
    const types = new CountedTypes("y");

    expect(claimAll(broker, { types, max: 100 })).toHaveLength(100);
    expect(types.asked).toBeLessThanOrEqual(1000);
  });

  test("a queue is closed to every lane while tasks of any lane fill its concurrency", () => {
    const broker = aBroker({ queue: { concurrency: 1 } });
    enqueue(broker, "a", { lane: "remote" });
    enqueue(broker, "b");
    const remote = claimRemote(broker);

    const during = claimAll(broker);
    settle(broker, remote);

    expect([during, claimAll(broker)]).toEqual([[], ["b"]]);
  });

  test("an attempt on the event loop has no lease, and ends by its timeout alone", () => {
    const broker = aBroker();
    enqueue(broker, "a", { timeoutMs: TIMEOUT_MS });

    const task = claim(broker, at(0), { leaseMs: LEASE_MS, worker: "w1" });

    expect(task.lease).toBeNull();
    expect(broker.hasLeases).toBe(false);
    expect(broker.msToNextDue(at(0))).toBe(TIMEOUT_MS);
  });

  test("a remote claim holds its task for as long as its lease", () => {
    const { broker, task } = aRemoteClaim();

    expect(task.lease).toEqual({
      lengthMs: LEASE_MS,
      endsAtMs: at(LEASE_MS).monoMs,
      endsAtWallMs: at(LEASE_MS).wallMs,
      timeoutAtMs: at(TIMEOUT_MS).monoMs,
      worker: "w1",
    });
    expect([broker.hasLeases, broker.runningHere, broker.unfinished]).toEqual([true, 0, 1]);
    expect(broker.msToNextDue(at(0))).toBe(LEASE_MS);
    broker.verify();
  });

  test("a lease never reaches beyond the timeout", () => {
    const { task } = aRemoteClaim({ timeoutMs: 1000 });

    expect(task.lease).toMatchObject({ endsAtMs: at(1000).monoMs, endsAtWallMs: at(1000).wallMs });
  });

  test("a remote claim without a length holds its task until the timeout, and needs no name", () => {
    const { task } = aRemoteClaim({}, { leaseMs: undefined, worker: undefined });

    expect(task.lease).toMatchObject({ endsAtMs: at(TIMEOUT_MS).monoMs, worker: null });
  });

  test("a settled task has no lease any more", () => {
    const { broker, task } = aRemoteClaim();

    settle(broker, task);

    expect([task.lease, broker.hasLeases]).toEqual([null, false]);
    expect(broker.msToNextDue(at(0))).toBe(60_000);
  });
});

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

describe("Broker.settle, sent again", () => {
  test.each([
    ["done", DONE, "done", null],
    ["failed", BROKEN, "retrying", at(200).wallMs],
    ["released", RELEASED, "queued", null],
    ["released", { kind: "released", delayMs: 70 }, "retrying", at(70).wallMs],
  ] as const)(
    "a settle %s gets its receipt again and changes nothing",
    (outcome, body, status, runAtMs) => {
      const { broker, heard, task } = aRemoteClaim();
      const receipt = { outcome, status, runAtMs };

      const first = settle(broker, task, body);
      heard.length = 0;
      const again = settle(broker, task, body, at(5000));

      expect(first).toEqual({ kind: "settled", receipt });
      expect(again).toEqual({ kind: "repeated", receipt });
      expect(heard).toEqual([]);
      broker.verify();
    },
  );

  test("only the word of the outcome is compared, not the body", () => {
    const { broker, task } = aRemoteClaim();
    settle(broker, task, { kind: "done", result: "1" });

    const again = settle(broker, task, { kind: "done", result: "2" });

    expect(again.kind).toBe("repeated");
    expect(task.result).toBe("1");
  });

  test("another word about a settled claim is told that it is settled", () => {
    const { broker, task } = aRemoteClaim();
    settle(broker, task, DONE);

    expect([BROKEN, RELEASED].map((outcome) => settle(broker, task, outcome))).toEqual([
      { kind: "claim_lost", ended: "settled" },
      { kind: "claim_lost", ended: "settled" },
    ]);
  });

  test("a settle is repeated while the next attempt runs, and forgotten once that is settled", () => {
    const { broker, task } = aRemoteClaim();
    const first = task.fence;
    const settleFirst = () => broker.settle("a", first, RELEASED, at(0), NO_CHANCE);
    settleFirst();
    claimRemote(broker);

    const during = settleFirst();
    settle(broker, task, RELEASED);

    expect(during.kind).toBe("repeated");
    expect(settleFirst()).toEqual({ kind: "claim_lost", ended: "unknown" });
  });

  test("a settle is repeated after a later claim was lost", () => {
    const { broker, task } = aRemoteClaim();
    const first = task.fence;
    settle(broker, task, RELEASED);
    claimRemote(broker);
    broker.tick(at(LEASE_MS), NO_CHANCE);

    expect(broker.settle("a", first, RELEASED, at(LEASE_MS), NO_CHANCE).kind).toBe("repeated");
  });

  test("a settle is repeated after its task was retried by hand", () => {
    const { broker, task } = aRemoteClaim({ maxRetries: 0 });
    settle(broker, task, BROKEN);
    broker.retry("a", at(0));

    expect(settle(broker, task, BROKEN)).toMatchObject({
      kind: "repeated",
      receipt: { outcome: "failed", status: "failed" },
    });
  });

  test("a settle of a task that is forgotten is of an unknown claim", () => {
    const { broker, task } = aRemoteClaim({}, {}, { retainTasks: 0 });
    settle(broker, task);

    expect(settle(broker, task)).toEqual({ kind: "claim_lost", ended: "unknown" });
  });
});

describe("Broker.settle, of a lost claim", () => {
  const losses: Readonly<Record<string, (broker: Broker) => void>> = {
    expired: (broker) => broker.tick(at(LEASE_MS), NO_CHANCE),
    timeout: (broker) => broker.tick(at(TIMEOUT_MS), NO_CHANCE),
    cancelled: (broker) => void broker.cancel("a", at(0)),
  };

  test.each(Object.entries(losses))(
    "a claim that was %s says so, and nothing changes",
    (ended, lose) => {
      const { broker, heard, task } = aRemoteClaim();
      const { fence } = task;
      lose(broker);
      heard.length = 0;
      const lost: unknown = { kind: "claim_lost", ended };

      expect<unknown>(broker.settle("a", fence, DONE, at(TIMEOUT_MS), NO_CHANCE)).toEqual(lost);
      expect<unknown>(broker.extend("a", fence, LEASE_MS, at(TIMEOUT_MS))).toEqual(lost);
      expect<unknown>(broker.noteProgress("a", fence, "1")).toEqual(lost);
      expect(heard).toEqual([]);
      expect([task.result, task.progress]).toEqual([null, null]);
    },
  );

  test("a lost claim does not settle the next attempt", () => {
    const { broker, task } = aRemoteClaim();
    const { fence } = task;
    broker.tick(at(LEASE_MS), NO_CHANCE);
    claimRemote(broker, at(LEASE_MS));

    expect(broker.settle("a", fence, DONE, at(LEASE_MS), NO_CHANCE)).toEqual({
      kind: "claim_lost",
      ended: "expired",
    });
    expect(task.status).toBe("running");
  });

  test("a claim that was never made is unknown, even when its fence is nothing", () => {
    const broker = aBroker();
    enqueue(broker, "a");

    for (const fence of [0, 1, -1, FIRST_FENCE]) {
      expect(broker.settle("a", fence, DONE, at(0), NO_CHANCE)).toEqual({
        kind: "claim_lost",
        ended: "unknown",
      });
    }
  });
});

describe("Broker.settle, released with a delay", () => {
  test("the task waits for that long, costs no retry and goes to the back", () => {
    const { broker, task } = aRemoteClaim({ maxRetries: 0 });
    settle(broker, task, { kind: "released", delayMs: 1000 });
    enqueue(broker, "b", { lane: "remote" });
    const during = [task.status, task.runAtMs, broker.msToNextDue(at(0))];

    broker.tick(at(1000), NO_CHANCE);

    expect(during).toEqual(["retrying", at(1000).wallMs, 1000]);
    expect(task.failures).toBe(0);
    expect(broker.findQueue("default")?.totals).toMatchObject({ interrupted: 1, retried: 0 });
    expect(claimAll(broker, { lane: "remote" })).toEqual(["b", "a"]);
    broker.verify();
  });
});

describe("Broker.settle, released", () => {
  test("released tasks come before the rest, in their original order", () => {
    const broker = aBroker();
    for (const id of ["a", "b", "c", "d"]) enqueue(broker, id);
    const [a, b, c] = broker.claim({ lane: "loop", max: 3 }, at(0)) as [Task, Task, Task];

    for (const task of [b, c, a]) settle(broker, task, RELEASED);

    expect(claimAll(broker)).toEqual(["a", "b", "c", "d"]);
    broker.verify();
  });

  test("a released task counts as waiting, beyond the size of its queue", () => {
    const broker = aBroker({ queue: { size: 1 } });
    enqueue(broker, "a");
    const task = claim(broker);
    enqueue(broker, "b");

    settle(broker, task, RELEASED);

    expect(broker.findQueue("default")).toMatchObject({ waiting: 2, counts: { queued: 2 } });
    expect(broker.enqueue([aNewTask({ id: "c" })], at(0))).toMatchObject({ bound: "queue_size" });
    broker.verify();
  });
});

describe("Broker.planSettle", () => {
  test("a plan changes nothing until it is taken", () => {
    const { broker, heard, task } = aRemoteClaim();

    const plan = broker.planSettle("a", task.fence, DONE, at(0), NO_CHANCE);
    const before = [task.status, task.settledFence, [...heard]];
    if (plan.kind !== "step") throw new Error(`not a step, but ${plan.kind}`);
    broker.take(plan, at(0));

    expect(before).toEqual(["running", 0, []]);
    expect(heard).toEqual(["a: running → done"]);
    broker.verify();
  });
});

describe("Broker.pin", () => {
  test("a pinned queue stays, and in use, until its last pin goes", () => {
    const broker = aBroker({ retainMs: 1000, queuesMax: 1 });
    enqueue(broker, "a");
    broker.cancel("a", at(0));
    const queue = broker.findQueue("default");
    if (queue === undefined) throw new Error("the queue is gone");
    broker.pin(queue, at(0));
    broker.pin(queue, at(0));

    broker.tick(at(99_999), NO_CHANCE);
    broker.unpin(queue, at(99_999));
    broker.verify();
    const other = broker.enqueue([aNewTask({ id: "b", queue: "other" })], at(99_999));
    broker.unpin(queue, at(99_999));
    broker.tick(at(100_998), NO_CHANCE);
    const before = broker.findQueue("default");
    broker.tick(at(100_999), NO_CHANCE);

    expect(other).toMatchObject({ kind: "refused", bound: "queues_max", limit: 1 });
    expect(before).toBe(queue);
    expect(broker.findQueue("default")).toBeUndefined();
    broker.verify();
  });
});

describe("Broker.pause", () => {
  test("a paused queue hands out nothing, and everything again once it is resumed", () => {
    const broker = aBroker();
    enqueue(broker, "a");

    broker.pause("default", at(0));
    const during = claimAll(broker);
    broker.resume("default", at(0));

    expect([during, claimAll(broker)]).toEqual([[], ["a"]]);
  });

  test("a queue that is unknown can be neither paused nor resumed", () => {
    expect(aBroker().pause("x", at(0))).toEqual({ kind: "unknown" });
    expect(aBroker().resume("x", at(0))).toEqual({ kind: "unknown" });
  });

  test("the observer hears of a resume, since no task takes a step", () => {
    const heard: string[] = [];
    const broker = aBroker(
      {},
      {
        onStep: () => undefined,
        onRevoke: () => undefined,
        onResume: ({ name }) => heard.push(name),
      },
    );
    enqueue(broker, "a");

    broker.pause("default", at(0));
    const before = [...heard];
    broker.resume("default", at(0));

    expect([before, heard]).toEqual([[], ["default"]]);
  });
});

describe("Broker.onStep", () => {
  test("the observer hears each step with the moment of it", () => {
    const heard: unknown[] = [];
    const broker = aBroker(
      {},
      {
        onStep: ({ status }, from, now) => heard.push([from, status, now]),
        onRevoke: () => undefined,
      },
    );

    enqueue(broker, "a", {}, at(1));
    settle(broker, claim(broker, at(2)), DONE, at(3));

    expect(heard).toEqual([
      [null, "queued", at(1)],
      ["queued", "running", at(2)],
      ["running", "done", at(3)],
    ]);
  });
});
