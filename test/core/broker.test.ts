import { describe, expect, test } from "bun:test";
import type { Broker } from "../../src/core/broker.ts";
import type { Task } from "../../src/core/task.ts";
import {
  aBroker,
  aNewTask,
  at,
  BROKEN,
  type BrokerOptions,
  claim,
  DONE,
  enqueue,
  NO_CHANCE,
  RELEASED,
} from "../support/builders.ts";

/** A broker together with what its observer hears, in words. */
function aHeardBroker(options: BrokerOptions = {}): {
  readonly broker: Broker;
  readonly heard: string[];
} {
  const heard: string[] = [];
  const broker = aBroker(options, {
    onStep: ({ id, status }, from) => heard.push(`${id}: ${from ?? "new"} → ${status}`),
    onRevoke: ({ id }, fence, reason) => heard.push(`${id}: revoked ${fence}, ${reason}`),
  });
  return { broker, heard };
}

/** Enqueues, claims and fails a task, so that it retries 200 ms later. */
function enqueueRetrying(broker: Broker, id: string): Task {
  enqueue(broker, id);
  const task = claim(broker);
  broker.settle(task, task.attempt, BROKEN, at(0), NO_CHANCE);
  return task;
}

describe("a broker refuses", () => {
  test("one task more than the queue may hold, and keeps what it has", () => {
    const broker = aBroker({ queue: { size: 1 } });
    enqueue(broker, "a");

    const outcome = broker.enqueue([aNewTask({ id: "b" })], at(0));

    expect(outcome).toEqual({ kind: "refused", bound: "queue_size", queue: "default", limit: 1 });
    expect(broker.find("b")).toBeUndefined();
    expect(claim(broker).id).toBe("a");
    broker.check();
  });

  test("a batch whole, leaving no queue behind that only it would have made", () => {
    const broker = aBroker({ queue: { size: 1 } });
    const batch = [
      aNewTask({ id: "a", queue: "x" }),
      aNewTask({ id: "b", queue: "y" }),
      aNewTask({ id: "c", queue: "y" }),
    ];

    expect(broker.enqueue(batch, at(0))).toMatchObject({ kind: "refused", queue: "y" });
    expect([...broker.queues()]).toEqual([]);
    expect(broker.list({}, 10, Number.POSITIVE_INFINITY).tasks).toEqual([]);
  });

  test("an operator's retry into a full queue, and leaves the task as it is", () => {
    const broker = aBroker({ queue: { size: 1 } });
    enqueue(broker, "a");
    broker.cancel("a", at(0));
    enqueue(broker, "b");

    expect(broker.retry("a", at(0))).toMatchObject({ kind: "refused", bound: "queue_size" });
    expect(broker.find("a")?.status).toBe("cancelled");
    broker.check();
  });

  test("to pause one more queue than may be in use", () => {
    const broker = aBroker({ queuesMax: 1 });
    enqueue(broker, "a", { queue: "x" });
    broker.cancel("a", at(0));
    enqueue(broker, "b", { queue: "y" });

    expect(broker.setPaused("x", true, at(0))).toEqual({
      kind: "refused",
      bound: "queues_max",
      queue: "x",
      limit: 1,
    });
    broker.check();
  });
});

describe("an attempt", () => {
  test("leaves its place in the bounds to another task while it runs", () => {
    const broker = aBroker({ queue: { size: 1 } });
    enqueue(broker, "a");
    claim(broker);

    expect(broker.enqueue([aNewTask({ id: "b" })], at(0)).kind).toBe("accepted");
  });

  test("that fails finds its place for the retry although the queue is full", () => {
    const broker = aBroker({ queue: { size: 1 } });
    enqueue(broker, "a");
    const task = claim(broker);
    enqueue(broker, "b");

    expect(broker.settle(task, 1, BROKEN, at(0), NO_CHANCE)).toBe(true);
    expect(task.status).toBe("retrying");
    expect(broker.findQueue("default")?.waiting).toBe(2);
    broker.check();
  });

  test("that was interrupted gives the task its turn back and costs no retry", () => {
    const broker = aBroker();
    for (const id of ["a", "b"]) enqueue(broker, id, { maxRetries: 0 });
    const task = claim(broker);

    broker.settle(task, 1, RELEASED, at(0), NO_CHANCE);

    expect(claim(broker)).toBe(task);
    expect([task.attempt, task.failures]).toEqual([2, 0]);
  });

  test.each([0, 2])("with the fence %i settles nothing of the first attempt", (fence) => {
    const broker = aBroker();
    enqueue(broker, "a");
    const task = claim(broker);

    expect(broker.settle(task, fence, DONE, at(0), NO_CHANCE)).toBe(false);
    expect(broker.noteProgress(task, fence, "1")).toBe(false);
    expect([task.status, task.progress]).toEqual(["running", null]);
  });

  test("settles once", () => {
    const broker = aBroker();
    enqueue(broker, "a");
    const task = claim(broker);
    broker.settle(task, 1, DONE, at(0), NO_CHANCE);

    expect(broker.settle(task, 1, BROKEN, at(1), NO_CHANCE)).toBe(false);
    expect(task.status).toBe("done");
  });

  test("notes how far it is while it holds the task", () => {
    const broker = aBroker();
    enqueue(broker, "a");
    const task = claim(broker);

    expect(broker.noteProgress(task, 1, "0.5")).toBe(true);
    expect(task.progress).toBe("0.5");
  });

  test("loses its lease in the very millisecond in which its time is up", () => {
    const { broker, heard } = aHeardBroker();
    enqueue(broker, "a", { timeoutMs: 100, maxRetries: 0 });
    claim(broker, at(50));
    heard.length = 0;

    broker.tick(at(149), NO_CHANCE);
    const before = [...heard];
    broker.tick(at(150), NO_CHANCE);

    expect(before).toEqual([]);
    expect(heard).toEqual(["a: running → failed", "a: revoked 1, timeout"]);
    expect(broker.find("a")?.errors).toMatchObject([{ code: "timeout", attempt: 1 }]);
  });
});

describe("a task", () => {
  test("starts as often as its retries allow and once more", () => {
    const broker = aBroker();
    enqueue(broker, "a", { maxRetries: 2 });

    let ms = 0;
    for (; broker.find("a")?.status !== "failed"; ms += 10_000) {
      broker.tick(at(ms), NO_CHANCE);
      const task = claim(broker, at(ms));
      broker.settle(task, task.attempt, BROKEN, at(ms), NO_CHANCE);
    }

    expect(broker.find("a")?.attempt).toBe(3);
    expect(broker.findQueue("default")?.totals).toMatchObject({ retried: 2, failed: 1 });
  });

  test("gets all its retries anew when it is retried by hand", () => {
    const broker = aBroker();
    enqueue(broker, "a", { maxRetries: 1 });
    const task = claim(broker);
    broker.settle(task, 1, { ...BROKEN, retry: { kind: "never" } }, at(0), NO_CHANCE);
    broker.retry("a", at(0));

    broker.settle(claim(broker), 2, BROKEN, at(0), NO_CHANCE);

    expect(task.status).toBe("retrying");
  });

  test("that is retried waits for as long as the backoff says, from the failure on", () => {
    const broker = aBroker();
    enqueue(broker, "a");
    broker.settle(claim(broker, at(0)), 1, BROKEN, at(1000), NO_CHANCE);

    expect(broker.msToNextDue(at(1000))).toBe(200);
    expect(broker.find("a")?.runAtMs).toBe(at(1200).wallMs);
  });

  test("is handed out only by its own lane", () => {
    const broker = aBroker();
    enqueue(broker, "a", { lane: "thread" });

    expect(broker.claim("loop", at(0))).toBeUndefined();
    expect(broker.claim("thread", at(0))?.id).toBe("a");
  });

  test("of a queue that runs as many as it may is not handed out", () => {
    const broker = aBroker({ queues: { narrow: { concurrency: 1 } } });
    for (const id of ["a", "b"]) enqueue(broker, id, { queue: "narrow" });
    const first = claim(broker);

    expect(broker.claim("loop", at(0))).toBeUndefined();
    broker.settle(first, 1, DONE, at(0), NO_CHANCE);
    expect(claim(broker).id).toBe("b");
  });

  test("that is cancelled while it runs is taken from its attempt", () => {
    const { broker, heard } = aHeardBroker();
    enqueue(broker, "a");
    const task = claim(broker);
    heard.length = 0;

    expect(broker.cancel("a", at(0)).kind).toBe("cancelled");
    expect(heard).toEqual(["a: running → cancelled", "a: revoked 1, cancelled"]);
    expect(broker.settle(task, 1, DONE, at(0), NO_CHANCE)).toBe(false);
  });

  test("that is done can neither be cancelled nor retried", () => {
    const broker = aBroker();
    enqueue(broker, "a");
    broker.settle(claim(broker), 1, DONE, at(0), NO_CHANCE);

    expect(broker.cancel("a", at(0)).kind).toBe("finished");
    expect(broker.retry("a", at(0)).kind).toBe("not_retryable");
  });

  test("that is unknown can neither be cancelled nor retried", () => {
    const broker = aBroker();

    expect(broker.cancel("a", at(0))).toEqual({ kind: "unknown" });
    expect(broker.retry("a", at(0))).toEqual({ kind: "unknown" });
  });

  test("is forgotten as soon as more are finished than may be kept", () => {
    const broker = aBroker({ retainTasks: 1 });
    for (const id of ["a", "b"]) {
      enqueue(broker, id);
      broker.cancel(id, at(0));
    }

    expect([broker.find("a"), broker.find("b")?.status]).toEqual([undefined, "cancelled"]);
    broker.check();
  });

  test("leaves its queue idle when it was the last one there, and the queue is forgotten in its turn", () => {
    const broker = aBroker({ retainMs: 1000 });
    for (const id of ["a", "b"]) {
      enqueue(broker, id);
      broker.cancel(id, at(0));
    }

    broker.tick(at(1000), NO_CHANCE);

    broker.check();
    expect(broker.findQueue("default")?.counts.cancelled).toBe(0);
    broker.tick(at(2000), NO_CHANCE);
    expect(broker.findQueue("default")).toBeUndefined();
  });
});

describe("a task shows", () => {
  test("the last five of its errors", () => {
    const broker = aBroker();
    enqueue(broker, "a", { maxRetries: 9 });

    for (let attempt = 1; attempt <= 6; attempt += 1) {
      broker.tick(at(attempt * 1e6), NO_CHANCE);
      broker.settle(claim(broker), attempt, BROKEN, at(attempt * 1e6), NO_CHANCE);
    }

    const attempts = broker.find("a")?.errors.map(({ attempt }) => attempt);
    expect(attempts).toEqual([2, 3, 4, 5, 6]);
  });

  test("no progress of an attempt before", () => {
    const broker = aBroker();
    enqueue(broker, "a");
    const task = claim(broker);
    broker.noteProgress(task, 1, "0.5");
    broker.settle(task, 1, RELEASED, at(0), NO_CHANCE);

    expect(claim(broker).progress).toBeNull();
  });
});

describe("a queue counts as cancelled", () => {
  test.each(["scheduled", "queued", "running", "retrying"])("a task that was %s", (status) => {
    const broker = aBroker();
    if (status === "retrying") enqueueRetrying(broker, "a");
    else {
      const delay = { kind: "after", delayMs: 1000 } as const;
      enqueue(broker, "a", status === "scheduled" ? { when: delay } : {});
    }
    if (status === "running") claim(broker);
    expect<string | undefined>(broker.find("a")?.status).toBe(status);

    broker.cancel("a", at(0));

    const queue = broker.findQueue("default");
    expect(queue?.totals.cancelled).toBe(1);
    expect(queue).toMatchObject({ waiting: 0, waitingBytes: 0, load: 0 });
  });
});

describe("a purge", () => {
  test("cancels whatever waits, oldest first, and nothing else", () => {
    const { broker, heard } = aHeardBroker();
    enqueueRetrying(broker, "retrying");
    enqueue(broker, "running");
    claim(broker);
    enqueue(broker, "scheduled", { when: { kind: "after", delayMs: 1000 } });
    enqueue(broker, "queued");
    enqueue(broker, "elsewhere", { queue: "other" });
    heard.length = 0;

    expect(broker.purge("default", at(0))).toBe(3);
    expect(heard).toEqual([
      "retrying: retrying → cancelled",
      "scheduled: scheduled → cancelled",
      "queued: queued → cancelled",
    ]);
    expect(broker.findQueue("default")).toMatchObject({ waiting: 0, waitingBytes: 0, load: 1 });
    broker.check();
  });
});

describe("an idempotency key", () => {
  const key = { key: "k", fingerprint: "f" };

  test("gives the first answer again, scheduled tasks as scheduled", () => {
    const broker = aBroker();
    const batch = [
      aNewTask({ id: "a" }),
      aNewTask({ id: "b", when: { kind: "after", delayMs: 1 } }),
    ];
    broker.enqueue(batch, at(0), key);
    broker.tick(at(1), NO_CHANCE);

    expect(broker.enqueue([aNewTask({ id: "c" })], at(1), key)).toEqual({
      kind: "repeated",
      receipts: [
        { id: "a", status: "queued" },
        { id: "b", status: "scheduled" },
      ],
    });
  });

  test("refuses another request, and one that was refused may come again", () => {
    const broker = aBroker({ queue: { size: 1 } });
    const two = [aNewTask({ id: "a" }), aNewTask({ id: "b" })];

    expect(broker.enqueue(two, at(0), key).kind).toBe("refused");
    expect(broker.enqueue([aNewTask({ id: "c" })], at(0), key).kind).toBe("accepted");
    expect(broker.enqueue(two, at(0), { key: "k", fingerprint: "g" }).kind).toBe("key_reused");
  });

  test("outlives its tasks by the time for which they are kept at most", () => {
    const broker = aBroker({ retainMs: 1000 });
    broker.enqueue([aNewTask({ id: "a" })], at(0), key);
    broker.cancel("a", at(500));

    broker.tick(at(1499), NO_CHANCE);
    const before = broker.enqueue([aNewTask({ id: "b" })], at(1499), key);
    broker.tick(at(1500), NO_CHANCE);

    expect(before.kind).toBe("repeated");
    expect(broker.enqueue([aNewTask({ id: "c" })], at(1500), key).kind).toBe("accepted");
  });

  test("goes with a task that is retried by hand until that finishes anew", () => {
    const broker = aBroker({ retainMs: 1000 });
    broker.enqueue([aNewTask({ id: "a" })], at(0), key);
    broker.cancel("a", at(0));
    broker.retry("a", at(0));

    broker.tick(at(99_999), NO_CHANCE);

    expect(broker.enqueue([aNewTask({ id: "b" })], at(99_999), key).kind).toBe("repeated");
  });
});

describe("a broker's check finds", () => {
  test("a task whose failures went beyond its retries", () => {
    const broker = aBroker();
    enqueue(broker, "a", { maxRetries: 0 });

    claim(broker).failures = 2;

    expect(() => broker.check()).toThrow("no task fails more often than it may");
  });

  test("an unfinished task with an end", () => {
    const broker = aBroker();
    enqueue(broker, "a");

    claim(broker).finishedAtMs = 1;

    expect(() => broker.check()).toThrow("exactly the finished tasks have an end");
  });
});
