import { describe, expect, test } from "bun:test";
import type { Broker } from "../../src/core/broker.ts";
import { type KeyRecord, newKey } from "../../src/core/idempotency.ts";
import { LOSSES_MAX } from "../../src/core/rules.ts";
import type { SavedClaim, SavedTask } from "../../src/core/snapshot.ts";
import {
  aBroker,
  aNewTask,
  aSavedTask,
  at,
  type BrokerOptions,
  claim,
  claimAll,
  DONE,
  FIRST_FENCE,
  NO_CHANCE,
  RELEASED,
} from "../support/builders.ts";

interface SnapshotOptions extends BrokerOptions {
  readonly tasks?: readonly SavedTask[];
  readonly keys?: readonly KeyRecord[];
  readonly paused?: readonly string[];
}

/** A broker that has taken this back, together with the steps that its observer heard of. */
function aRestoredBroker({ tasks = [], keys = [], paused = [], ...options }: SnapshotOptions): {
  readonly broker: Broker;
  readonly heard: string[];
} {
  const heard: string[] = [];
  const broker = aBroker(options, {
    onStep: ({ id, status }, from) => heard.push(`${id}: ${from ?? "new"} → ${status}`),
    onRevoke: () => undefined,
    onKeyChange: ({ key, finishedAtMs }) => heard.push(`${key}: finished at ${finishedAtMs}`),
  });
  broker.restore({ tasks, keys, paused }, at(0));
  broker.verify();
  return { broker, heard };
}

describe("Broker.restore", () => {
  test("a restored broker hands out waiting tasks by priority, and within one by the numbers of the tasks", () => {
    const { broker } = aRestoredBroker({
      tasks: [aSavedTask({ seq: 3 }), aSavedTask({ seq: 5, priority: 9 }), aSavedTask({ seq: 8 })],
    });

    expect(claimAll(broker)).toEqual(["t5", "t3", "t8"]);
  });

  test("a restored broker numbers new tasks after those that it took back", () => {
    const { broker } = aRestoredBroker({ tasks: [aSavedTask({ seq: 41 })] });

    broker.enqueue([aNewTask({ id: "new" })], at(0));

    expect(broker.find("new")?.seq).toBe(42);
  });

  test("a restored broker keeps the tags of a task", () => {
    const { broker } = aRestoredBroker({ tasks: [aSavedTask({ seq: 1, tags: ["red", "blue"] })] });

    expect(broker.find("t1")?.settings.tags).toEqual(["red", "blue"]);
  });

  test("a restored broker keeps a paused queue paused, also one without a task", () => {
    const { broker } = aRestoredBroker({
      tasks: [aSavedTask({ seq: 1, queue: "a" })],
      paused: ["a", "b"],
    });

    expect(claimAll(broker)).toEqual([]);
    expect(broker.findQueue("b")?.isPaused).toBe(true);
  });

  test("a delay goes on where it would have been by now", () => {
    const { broker } = aRestoredBroker({
      tasks: [aSavedTask({ seq: 1, status: "retrying", runAtMs: at(300).wallMs })],
    });

    expect(broker.msToNextDue(at(0))).toBe(300);
    expect(broker.followsWallClock).toBe(false);
  });

  test("a time asked for goes on to follow the wall clock", () => {
    const { broker } = aRestoredBroker({
      tasks: [
        aSavedTask({ seq: 1, status: "scheduled", runAtMs: at(300).wallMs, isDueByWall: true }),
      ],
    });

    broker.tick(at(0, 300), NO_CHANCE);

    expect(claimAll(broker)).toEqual(["t1"]);
  });

  test("a restored broker queues again what ran in the process, and counts the loss but no failure", () => {
    const { broker, heard } = aRestoredBroker({
      tasks: [aSavedTask({ seq: 1, status: "running", attempt: 2, failures: 1 })],
    });

    expect(heard).toEqual(["t1: running → queued"]);
    expect(broker.find("t1")).toMatchObject({ attempt: 2, failures: 1, losses: 1 });
  });

  test("a task that is lost for the third time fails", () => {
    const { broker, heard } = aRestoredBroker({
      tasks: [aSavedTask({ seq: 1, status: "running", attempt: 3, losses: LOSSES_MAX - 1 })],
    });

    expect(heard).toEqual(["t1: running → failed"]);
    expect(broker.find("t1")).toMatchObject({
      finishedAtMs: at(0).wallMs,
      errors: [{ code: "crash_loop", attempt: 3 }],
    });
  });

  test("a restored broker forgets finished tasks by their age and in the order of their end", () => {
    const { broker } = aRestoredBroker({
      tasks: [
        aSavedTask({ seq: 1, status: "done", finishedAtMs: at(-100).wallMs }),
        aSavedTask({ seq: 2, status: "failed", finishedAtMs: at(-1000).wallMs }),
        aSavedTask({ seq: 3, status: "done", finishedAtMs: at(-400).wallMs }),
      ],
      retainMs: 1000,
    });

    expect(broker.find("t2")).toBeUndefined();
    expect(broker.msToNextDue(at(0))).toBe(600);
  });

  test("a restored broker keeps a task for its whole time when the wall clock was set back before its end", () => {
    const { broker } = aRestoredBroker({
      tasks: [aSavedTask({ seq: 1, status: "done", finishedAtMs: at(5000).wallMs })],
      retainMs: 1000,
    });

    expect(broker.msToNextDue(at(0))).toBe(1000);
  });

  test("a restored broker keeps more queues in use than may be, and lets no other come into use", () => {
    const { broker } = aRestoredBroker({
      tasks: ["a", "b", "c"].map((queue, index) => aSavedTask({ seq: index + 1, queue })),
      queuesMax: 2,
    });

    expect(broker.enqueue([aNewTask({ id: "x", queue: "d" })], at(0))).toMatchObject({
      bound: "queues_max",
    });
    expect(claimAll(broker)).toEqual(["t1", "t2", "t3"]);
  });
});

describe("Broker.restore of remote claims", () => {
  const LEASE_MS = 20_000;

  /** A task that a remote claim held when the earlier process ended. */
  function aHeldTask(
    seq: number,
    { leaseEndsAtMs = at(5000).wallMs, ...saved }: Partial<SavedTask & SavedClaim> = {},
  ): SavedTask {
    const claim = { fence: seq * 100, worker: "w1", leaseMs: LEASE_MS, leaseEndsAtMs };
    return aSavedTask({
      seq,
      lane: "remote",
      status: "running",
      attempt: 1,
      timeoutMs: 100_000,
      startedAtMs: at(-15_000).wallMs,
      claim,
      ...saved,
    });
  }

  test("a remote claim goes on, and is no loss", () => {
    const { broker, heard } = aRestoredBroker({ tasks: [aHeldTask(1, { losses: 2 })] });

    expect(heard).toEqual([]);
    expect(broker.find("t1")).toMatchObject({
      status: "running",
      fence: 100,
      losses: 2,
      lease: { worker: "w1", lengthMs: LEASE_MS, timeoutAtMs: at(85_000).monoMs },
    });
    expect([broker.hasLeases, broker.runningHere]).toEqual([true, 0]);
  });

  test("a claim from before is settled by its fence, and the next one has another", () => {
    const { broker } = aRestoredBroker({ tasks: [aHeldTask(1)] });

    const settled = broker.settle("t1", 100, RELEASED, at(0), NO_CHANCE);

    expect(settled.kind).toBe("settled");
    expect(claim(broker, at(0), { lane: "remote" }).fence).toBe(FIRST_FENCE);
  });

  test("a lease has what the wall clock leaves of it, at most its length", () => {
    const { broker } = aRestoredBroker({
      tasks: [
        aHeldTask(1, { leaseEndsAtMs: at(15_000).wallMs }),
        aHeldTask(2, { leaseEndsAtMs: at(3_600_000).wallMs }),
        aHeldTask(3, { leaseEndsAtMs: at(-3_600_000).wallMs }),
      ],
    });

    const ends = ["t1", "t2", "t3"].map((id) => broker.find(id)?.lease?.endsAtMs);
    expect(ends).toEqual([at(15_000), at(LEASE_MS), at(0)].map(({ monoMs }) => monoMs));
  });

  test("no lease ends before ten seconds after the start", () => {
    const { broker } = aRestoredBroker({
      tasks: [aHeldTask(1, { leaseEndsAtMs: at(-3_600_000).wallMs })],
    });

    broker.tick(at(0), NO_CHANCE);
    broker.tick(at(9999), NO_CHANCE);
    const before = broker.find("t1")?.status;
    broker.tick(at(10_000), NO_CHANCE);

    expect(before).toBe("running");
    expect(broker.find("t1")).toMatchObject({ status: "queued", losses: 1 });
  });

  test("an attempt has what the wall clock leaves of its timeout, at most all of it", () => {
    const { broker } = aRestoredBroker({
      tasks: [
        aHeldTask(1, { startedAtMs: at(-99_000).wallMs }),
        aHeldTask(2, { startedAtMs: at(3_600_000).wallMs }),
      ],
    });

    expect(broker.find("t1")?.lease).toMatchObject({
      timeoutAtMs: at(1000).monoMs,
      endsAtMs: at(1000).monoMs,
    });
    expect(broker.find("t2")?.lease?.timeoutAtMs).toBe(at(100_000).monoMs);
  });

  test("a claim that comes back keeps the original order of its task", () => {
    const { broker } = aRestoredBroker({
      tasks: [aHeldTask(1), aSavedTask({ seq: 2, lane: "remote" }), aHeldTask(3)],
    });

    for (const [id, fence] of [
      ["t3", 300],
      ["t1", 100],
    ] as const) {
      broker.settle(id, fence, RELEASED, at(0), NO_CHANCE);
    }

    expect(claimAll(broker, { lane: "remote" })).toEqual(["t1", "t3", "t2"]);
    broker.verify();
  });

  test("a settle that was taken before is repeated", () => {
    const receipt = { outcome: "done", status: "done", runAtMs: null } as const;
    const { broker } = aRestoredBroker({
      tasks: [
        aSavedTask({
          seq: 1,
          status: "done",
          finishedAtMs: at(-9).wallMs,
          settledFence: 5,
          receipt,
        }),
      ],
    });

    expect(broker.settle("t1", 5, DONE, at(0), NO_CHANCE)).toEqual({ kind: "repeated", receipt });
  });

  test("a claim that ran in the process is unknown after a crash", () => {
    const { broker } = aRestoredBroker({
      tasks: [aSavedTask({ seq: 1, status: "running", attempt: 1 })],
    });

    expect(broker.settle("t1", 100, DONE, at(0), NO_CHANCE)).toEqual({
      kind: "claim_lost",
      ended: "unknown",
    });
  });

  test("more claims go on than may run at once, and no other starts before they are fewer", () => {
    const { broker } = aRestoredBroker({
      tasks: [aHeldTask(1), aHeldTask(2), aSavedTask({ seq: 3, lane: "remote" })],
      queue: { concurrency: 1 },
    });

    expect(claimAll(broker, { lane: "remote" })).toEqual([]);
    broker.settle("t1", 100, DONE, at(0), NO_CHANCE);
    expect(claimAll(broker, { lane: "remote" })).toEqual([]);
    broker.settle("t2", 200, DONE, at(0), NO_CHANCE);
    expect(claimAll(broker, { lane: "remote" })).toEqual(["t3"]);
    broker.verify();
  });
});

describe("Broker.restore of claims beyond their limit", () => {
  test("more claims go on than remote workers may hold, and no other starts before", () => {
    const held = [1, 2].map((seq) => {
      const claim = { fence: seq, worker: null, leaseMs: 5000, leaseEndsAtMs: at(5000).wallMs };
      return aSavedTask({ seq, lane: "remote", status: "running", attempt: 1, claim });
    });
    const { broker } = aRestoredBroker({
      tasks: [...held, aSavedTask({ seq: 3, lane: "remote" }), aSavedTask({ seq: 4 })],
      queue: { claims: 1 },
    });

    expect(broker.findQueue("default")?.claims).toBe(2);
    expect(claimAll(broker)).toEqual(["t4"]);
    for (const seq of [1, 2]) {
      expect(claimAll(broker, { lane: "remote" })).toEqual([]);
      broker.settle(`t${seq}`, seq, DONE, at(0), NO_CHANCE);
      broker.verify();
    }
    expect(claimAll(broker, { lane: "remote" })).toEqual(["t3"]);
    broker.verify();
  });
});

describe("Broker.restore of waits", () => {
  const enqueuedAtMs = at(-1000).wallMs;

  /** How long a task waits that was restored so, and when it shows to be due. */
  function restoredWait(saved: Partial<SavedTask>): readonly [waitMs: number, runAtMs: unknown] {
    const { broker } = aRestoredBroker({ tasks: [aSavedTask({ seq: 1, enqueuedAtMs, ...saved })] });
    return [broker.msToNextDue(at(0)), broker.find("t1")?.runAtMs];
  }

  test("a delay is never longer than it was meant to be, though the clock was set back since", () => {
    const future = { enqueuedAtMs: at(3_600_000).wallMs, runAtMs: at(3_600_500).wallMs };

    expect(restoredWait({ status: "scheduled", ...future })).toEqual([500, at(500).wallMs]);
  });

  test("a backoff is never longer than it was from the failure on", () => {
    const failedAtMs = at(3_600_000).wallMs;
    const errors = [{ code: "x", message: "", attempt: 2, atMs: failedAtMs }];
    const retrying = { attempt: 2, startedAtMs: enqueuedAtMs, errors, runAtMs: failedAtMs + 400 };

    expect(restoredWait({ status: "retrying", ...retrying })).toEqual([400, at(400).wallMs]);
  });

  test("the delay of a release is never longer than from the start of its attempt on", () => {
    const startedAtMs = at(3_600_000).wallMs;
    const errors = [{ code: "x", message: "", attempt: 1, atMs: enqueuedAtMs }];
    const released = { attempt: 2, startedAtMs, errors, runAtMs: startedAtMs + 700 };

    expect(restoredWait({ status: "retrying", ...released })).toEqual([700, at(700).wallMs]);
  });

  test("a wait that was over meanwhile is due at once", () => {
    expect(restoredWait({ status: "scheduled", runAtMs: at(-500).wallMs })[0]).toBe(0);
  });

  test("a time asked for has no cap", () => {
    const saved = { runAtMs: at(9e9).wallMs, isDueByWall: true };

    expect(restoredWait({ status: "scheduled", ...saved })).toEqual([9e9, at(9e9).wallMs]);
  });
});

describe("Broker.restore of keys", () => {
  const request = { key: "k", fingerprint: "f" };

  test("a restored key keeps the numbers of its tasks to itself, although these are forgotten", () => {
    const receipts = ["t5", "t6"].map((id) => ({ id, status: "queued" }) as const);
    const key = { ...newKey("k", "f", receipts, 5), unfinished: 0, finishedAtMs: at(0).wallMs };
    const { broker } = aRestoredBroker({ keys: [key], tasks: [aSavedTask({ seq: 2 })] });

    broker.enqueue([aNewTask({ id: "new" })], at(0));

    expect(broker.find("new")?.seq).toBe(7);
  });

  function aSavedKey(finishedAtMs: number | null): KeyRecord {
    const record = newKey("k", "f", [{ id: "t1", status: "queued" }], 1);
    return { ...record, unfinished: 0, finishedAtMs };
  }

  test("a restored key gives the first answer again", () => {
    const key = aSavedKey(null);
    const { broker } = aRestoredBroker({ keys: [key], tasks: [aSavedTask({ seq: 1, key })] });

    expect(broker.enqueue([aNewTask({ id: "x" })], at(0), request)).toEqual({
      kind: "repeated",
      receipts: [{ id: "t1", status: "queued" }],
    });
  });

  test("a restored key is kept while its task is unfinished, and forgotten after that", () => {
    const key = aSavedKey(null);
    const { broker } = aRestoredBroker({
      keys: [key],
      tasks: [aSavedTask({ seq: 1, key })],
      retainMs: 1000,
    });
    broker.tick(at(5000), NO_CHANCE);
    const during = broker.enqueue([aNewTask({ id: "x" })], at(5000), request);
    broker.cancel("t1", at(5000));

    broker.tick(at(6000), NO_CHANCE);

    expect(during.kind).toBe("repeated");
    expect(broker.enqueue([aNewTask({ id: "x" })], at(6000), request).kind).toBe("accepted");
  });

  test("a restored key is forgotten by the age of its task's end", () => {
    const { broker } = aRestoredBroker({ keys: [aSavedKey(at(-400).wallMs)], retainMs: 1000 });

    expect(broker.msToNextDue(at(0))).toBe(600);
  });

  test("a restored key ends with its task when that crashed too often, and says so", () => {
    const key = aSavedKey(null);
    const crashing = { status: "running", losses: LOSSES_MAX - 1 } as const;

    const { heard } = aRestoredBroker({
      keys: [key],
      tasks: [aSavedTask({ seq: 1, key, ...crashing })],
    });

    expect(key.finishedAtMs).toBe(at(0).wallMs);
    expect(heard).toContain(`k: finished at ${at(0).wallMs}`);
  });
});

describe("Broker.reserve", () => {
  /** A broker in which a task is reserved, and what undoes or shows it. */
  function aReservation(options: BrokerOptions = {}) {
    const broker = aBroker(options);
    const outcome = broker.reserve([aNewTask({ id: "a" })], at(0), { key: "k", fingerprint: "f" });
    if (outcome.kind !== "reserved") throw new Error(`not reserved, but ${outcome.kind}`);
    return { broker, reservation: outcome.reservation };
  }

  test("a reservation shows nothing of its tasks", () => {
    const { broker } = aReservation();

    expect(broker.find("a")).toBeUndefined();
    expect(claimAll(broker)).toEqual([]);
    expect(broker.list({}, 10, Number.POSITIVE_INFINITY).tasks).toEqual([]);
    broker.verify();
  });

  test("a reservation holds its places against everybody else", () => {
    const { broker } = aReservation({ queue: { size: 1 } });

    expect(broker.enqueue([aNewTask({ id: "b" })], at(0))).toMatchObject({
      bound: "queue_size",
      limit: 1,
    });
  });

  test("a reservation holds its bytes against everybody else", () => {
    const { broker } = aReservation({ queue: { bytes: 7 } });

    expect(broker.enqueue([aNewTask({ id: "b" })], at(0))).toMatchObject({
      bound: "queue_bytes",
      limit: 7,
    });
  });

  test("a reservation is claimed and found once it is published, under its key", () => {
    const { broker, reservation } = aReservation();

    broker.publish(reservation, at(0));

    expect(claim(broker).id).toBe("a");
    expect(
      broker.enqueue([aNewTask({ id: "b" })], at(0), { key: "k", fingerprint: "g" }).kind,
    ).toBe("key_reused");
    broker.verify();
  });

  test("a reservation leaves nothing when it is withdrawn, neither a queue nor its key", () => {
    const { broker, reservation } = aReservation({ queue: { size: 1, bytes: 4 } });

    broker.withdraw(reservation, at(0));

    expect([...broker.queues()]).toEqual([]);
    expect(
      broker.enqueue([aNewTask({ id: "b" })], at(0), { key: "k", fingerprint: "g" }).kind,
    ).toBe("accepted");
    broker.verify();
  });

  test("a reservation gives back its bytes to a queue that goes on when it is withdrawn", () => {
    const { broker, reservation } = aReservation({ queue: { bytes: 8 } });
    broker.reserve([aNewTask({ id: "b" })], at(0));

    broker.withdraw(reservation, at(0));

    expect(broker.reserve([aNewTask({ id: "c" })], at(0)).kind).toBe("reserved");
    expect(broker.findQueue("default")).toMatchObject({ reserved: 2, reservedBytes: 8 });
  });
});
