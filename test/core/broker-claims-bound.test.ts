import { describe, expect, test } from "bun:test";
import type { ClaimRequest } from "../../src/core/outcomes.ts";
import {
  aBroker,
  aRemoteClaim,
  at,
  BROKEN,
  claimAll,
  claimRemote,
  DONE,
  enqueue,
  FIRST_FENCE,
  LEASE_MS,
  NO_CHANCE,
  RELEASED,
  settle,
  TIMEOUT_MS,
} from "../support/builders.ts";

const MIB = 1024 * 1024;

/** The ways to claim from two queues. */
const WAYS: readonly (readonly [way: string, request: Partial<ClaimRequest>])[] = [
  ["in turn", {}],
  ["by queues", { queues: ["a", "b"] }],
  ["by types", { types: ["default"] }],
  ["by queues and types", { queues: ["a", "b"], types: ["default"] }],
];

/** Tasks for remote workers, each in the queue of its first letter. */
function remoteTasks(broker: ReturnType<typeof aBroker>, ...ids: string[]): void {
  for (const id of ids) enqueue(broker, id, { queue: id[0] as string, lane: "remote" });
}

describe("Broker.claim, at the bound of remote claims", () => {
  test.each(WAYS)("a claim %s gets nothing more from a queue at its bound", (_, request) => {
    const broker = aBroker({ queues: { a: { claims: 2 } } });
    remoteTasks(broker, "a1", "a2", "a3", "b1");

    const claimed = claimAll(broker, { lane: "remote", leaseMs: LEASE_MS, ...request });

    expect(claimed.toSorted()).toEqual(["a1", "a2", "b1"]);
    expect(claimAll(broker, { lane: "remote", ...request })).toEqual([]);
    broker.verify();
  });

  test("local lanes go on, and are not counted", () => {
    const broker = aBroker({ queue: { claims: 1 } });
    for (const id of ["l1", "l2", "l3"]) enqueue(broker, id);
    for (const id of ["r1", "r2"]) enqueue(broker, id, { lane: "remote" });

    const before = claimAll(broker, { max: 2 });

    expect(claimAll(broker, { lane: "remote" })).toEqual(["r1"]);
    expect([...before, ...claimAll(broker)]).toEqual(["l1", "l2", "l3"]);
  });

  test.each([
    ["done", DONE],
    ["failed", BROKEN],
    ["released", RELEASED],
  ] as const)("a claim that is settled %s gives its place back", (_, outcome) => {
    const { broker, task } = aRemoteClaim({}, {}, { queue: { claims: 1 } });

    settle(broker, task, outcome);

    expect(broker.findQueue("default")?.claims).toBe(0);
  });

  test.each([
    ["lease ends", LEASE_MS],
    ["timeout is over", TIMEOUT_MS],
  ])("a claim whose %s gives its place back", (_, ms) => {
    const { broker } = aRemoteClaim({}, { leaseMs: ms }, { queue: { claims: 1 } });

    broker.tick(at(ms), NO_CHANCE);

    expect(broker.findQueue("default")?.claims).toBe(0);
  });

  test("a claim whose task is cancelled gives its place back", () => {
    const { broker } = aRemoteClaim({}, {}, { queue: { claims: 1 } });

    broker.cancel("a", at(0));

    expect(broker.findQueue("default")?.claims).toBe(0);
  });
});

describe("Broker.claim, of large payloads", () => {
  test.each(WAYS)("a claim %s takes no more once its payloads have 4 MiB", (_, request) => {
    const broker = aBroker({ queue: { bytes: 100 * MIB } });
    for (const id of ["a1", "a2", "a3"]) enqueue(broker, id, { queue: "a", payloadBytes: 2 * MIB });

    expect(claimAll(broker, request)).toEqual(["a1", "a2"]);
  });

  test.each(WAYS)("a claim %s takes another one below that, however large", (_, request) => {
    const broker = aBroker({ queue: { bytes: 100 * MIB } });
    enqueue(broker, "a1", { queue: "a", payloadBytes: 4 * MIB - 1 });
    enqueue(broker, "a2", { queue: "a", payloadBytes: 9 * MIB });
    enqueue(broker, "a3", { queue: "a" });

    expect(claimAll(broker, request)).toEqual(["a1", "a2"]);
  });
});

describe("Broker.extend, without a length", () => {
  test("the lease keeps its length, counted from now", () => {
    const { broker, task } = aRemoteClaim();

    const outcome = broker.extend("a", task.fence, undefined, at(5000));

    const leaseEndsAtMs = at(5000 + LEASE_MS).wallMs;
    expect(outcome).toEqual({ kind: "extended", leaseMs: LEASE_MS, leaseEndsAtMs });
  });

  test("the length is that of the last extend", () => {
    const { broker, task } = aRemoteClaim();

    broker.extend("a", task.fence, 1000, at(0));
    broker.extend("a", task.fence, undefined, at(500));

    expect(task.lease).toMatchObject({ lengthMs: 1000, endsAtMs: at(1500).monoMs });
  });
});

describe("Broker.settle, a failure sent again", () => {
  test("spends one retry", () => {
    const { broker, task } = aRemoteClaim({ maxRetries: 1 });
    settle(broker, task, BROKEN);

    broker.settle("a", FIRST_FENCE, BROKEN, at(0), NO_CHANCE);

    expect(task).toMatchObject({ status: "retrying", failures: 1 });
    broker.tick(at(60_000), NO_CHANCE);
    expect(settle(broker, claimRemote(broker, at(60_000)), DONE).kind).toBe("settled");
  });
});
