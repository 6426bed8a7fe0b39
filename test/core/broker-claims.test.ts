import { describe, expect, test } from "bun:test";
import {
  aBroker,
  aNewTask,
  aRemoteClaim,
  at,
  claim,
  claimAll,
  claimRemote,
  enqueue,
  FIRST_FENCE,
  LEASE_MS,
  RELEASED,
  settle,
  TIMEOUT_MS,
} from "../support/builders.ts";

/** Types that count how often a task is compared with them. */
class CountedTypes extends Array<string> {
  asked = 0;

  override includes(type: string): boolean {
    this.asked += 1;
    return super.includes(type);
  }
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

  test("a claim by queues and types passes over a queue that is paused, or runs all that it may", () => {
    const broker = aBroker({ queues: { a: { concurrency: 1 } } });
    for (const id of ["a1", "a2", "b1", "c1"]) enqueue(broker, id, { queue: id[0] as string });
    broker.pause("b", at(0));

    expect(claimAll(broker, { queues: ["b", "a", "c"], types: ["default"] })).toEqual(["a1", "c1"]);
    broker.verify();
  });

  test("a claim by types starts no more of a queue than may run at once", () => {
    const broker = aBroker({ queues: { a: { concurrency: 1 } } });
    for (const id of ["a1", "a2", "b1", "b2"]) enqueue(broker, id, { queue: id[0] as string });

    expect(claimAll(broker, { types: ["default"] })).toEqual(["a1", "b1", "b2"]);
    broker.verify();
  });

  test("a claim of several by types takes as many as were asked for, from however many queues", () => {
    const broker = aBroker();
    for (const id of ["a1", "a2", "b1", "b2"]) enqueue(broker, id, { queue: id[0] as string });

    expect(claimAll(broker, { types: ["default"], max: 2 })).toEqual(["a1", "b1"]);
    broker.verify();
  });

  test.each([
    ["by queues takes no turn", { queues: ["a"] }, ["a2", "b1"]],
    ["by queues and types takes no turn", { queues: ["a"], types: ["default"] }, ["a2", "b1"]],
    ["by types takes a turn", { types: ["default"] }, ["b1", "a2"]],
  ] as const)("a claim %s", (_, request, next) => {
    const broker = aBroker();
    for (const id of ["a1", "b1", "a2", "b2"]) enqueue(broker, id, { queue: id[0] as string });

    claim(broker, at(0), request);

    expect(claimAll(broker).slice(0, 2)).toEqual([...next]);
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
