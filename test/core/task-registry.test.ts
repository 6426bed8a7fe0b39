import { describe, expect, test } from "bun:test";
import type { Broker } from "../../src/core/broker.ts";
import { type KeyRecord, newKey } from "../../src/core/idempotency.ts";
import type { SavedTask } from "../../src/core/snapshot.ts";
import { CRASHES_MAX } from "../../src/core/task-registry.ts";
import { aBroker, aNewTask, at, type BrokerOptions, NO_CHANCE } from "../support/builders.ts";

/** A task as an earlier life left it. */
function aSavedTask({ seq, ...saved }: Partial<SavedTask> & { readonly seq: number }): SavedTask {
  const { when: _, ...basis } = aNewTask();
  return {
    ...basis,
    id: `t${seq}`,
    seq,
    key: null,
    enqueuedAtMs: at(-1000).wallMs,
    status: "queued",
    attempt: 0,
    failures: 0,
    crashes: 0,
    runAtMs: null,
    isDueByWall: false,
    startedAtMs: null,
    finishedAtMs: null,
    result: null,
    progress: null,
    errors: [],
    ...saved,
  };
}

interface LegacyOptions extends BrokerOptions {
  readonly tasks?: readonly SavedTask[];
  readonly keys?: readonly KeyRecord[];
  readonly paused?: readonly string[];
}

/** A broker that has taken this back, together with the steps that its observer heard of. */
function aRestoredBroker({ tasks = [], keys = [], paused = [], ...options }: LegacyOptions): {
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

function claimAll(broker: Broker): string[] {
  const ids: string[] = [];
  for (let task = broker.claim("loop", at(0)); task !== undefined; ) {
    ids.push(task.id);
    task = broker.claim("loop", at(0));
  }
  return ids;
}

describe("Broker.restore", () => {
  test("a restored broker hands out what waited by priority, and within one by the numbers of the tasks", () => {
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

  test("a restored broker keeps a paused queue paused, also one without a task", () => {
    const { broker } = aRestoredBroker({
      tasks: [aSavedTask({ seq: 1, queue: "a" })],
      paused: ["a", "b"],
    });

    expect(claimAll(broker)).toEqual([]);
    expect(broker.findQueue("b")?.isPaused).toBe(true);
  });

  test("a restored broker goes on with a delay where it would have been by now", () => {
    const { broker } = aRestoredBroker({
      tasks: [aSavedTask({ seq: 1, status: "retrying", runAtMs: at(300).wallMs })],
    });

    expect(broker.msToNextDue(at(0))).toBe(300);
    expect(broker.followsWallClock).toBe(false);
  });

  test("a restored broker goes on to wait for a time of day by the wall clock", () => {
    const { broker } = aRestoredBroker({
      tasks: [
        aSavedTask({ seq: 1, status: "scheduled", runAtMs: at(300).wallMs, isDueByWall: true }),
      ],
    });

    broker.tick(at(0, 300), NO_CHANCE);

    expect(claimAll(broker)).toEqual(["t1"]);
  });

  test("a restored broker lets what ran wait again, and counts the crash but no failure", () => {
    const { broker, heard } = aRestoredBroker({
      tasks: [aSavedTask({ seq: 1, status: "running", attempt: 2, failures: 1 })],
    });

    expect(heard).toEqual(["t1: running → queued"]);
    expect(broker.find("t1")).toMatchObject({ attempt: 2, failures: 1, crashes: 1 });
  });

  test("a restored broker fails what ran when the process ended once too often", () => {
    const { broker, heard } = aRestoredBroker({
      tasks: [aSavedTask({ seq: 1, status: "running", attempt: 3, crashes: CRASHES_MAX - 1 })],
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
    const crashing = { status: "running", crashes: CRASHES_MAX - 1 } as const;

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
    expect(broker.claim("loop", at(0))).toBeUndefined();
    expect(broker.list({}, 10, Number.POSITIVE_INFINITY).tasks).toEqual([]);
    broker.verify();
  });

  test("a reservation holds its places against everybody else", () => {
    const { broker } = aReservation({ queue: { size: 1 } });

    expect(broker.enqueue([aNewTask({ id: "b" })], at(0))).toMatchObject({ bound: "queue_size" });
  });

  test("a reservation holds its bytes against everybody else", () => {
    const { broker } = aReservation({ queue: { bytes: 7 } });

    expect(broker.enqueue([aNewTask({ id: "b" })], at(0))).toMatchObject({ bound: "queue_bytes" });
  });

  test("a reservation is claimed and found once it is published, under its key", () => {
    const { broker, reservation } = aReservation();

    broker.publish(reservation, at(0));

    expect(broker.claim("loop", at(0))?.id).toBe("a");
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
