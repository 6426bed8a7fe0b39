import { describe, expect, test } from "bun:test";
import type { Broker } from "../../src/core/broker.ts";
import type { Task } from "../../src/core/task.ts";
import {
  aBroker,
  aNewTask,
  aRemoteClaim,
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
  settle(broker, task, BROKEN);
  return task;
}

describe("Broker bounds", () => {
  test("a broker refuses one task more than the queue may hold, and keeps what it has", () => {
    const broker = aBroker({ queue: { size: 1 } });
    enqueue(broker, "a");

    const outcome = broker.enqueue([aNewTask({ id: "b" })], at(0));

    expect(outcome).toEqual({ kind: "refused", bound: "queue_size", limit: 1, queue: "default" });
    expect(broker.find("b")).toBeUndefined();
    expect(claim(broker).id).toBe("a");
    broker.verify();
  });

  test("a broker refuses a batch whole, leaving no queue behind that only it would have made", () => {
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

  test("a broker refuses an operator's retry into a full queue, and leaves the task as it is", () => {
    const broker = aBroker({ queue: { size: 1 } });
    enqueue(broker, "a");
    broker.cancel("a", at(0));
    enqueue(broker, "b");

    expect(broker.retry("a", at(0))).toMatchObject({ kind: "refused", bound: "queue_size" });
    expect(broker.find("a")?.status).toBe("cancelled");
    broker.verify();
  });

  test("a broker refuses to pause one more queue than may be in use", () => {
    const broker = aBroker({ queuesMax: 1 });
    enqueue(broker, "a", { queue: "x" });
    broker.cancel("a", at(0));
    enqueue(broker, "b", { queue: "y" });

    expect(broker.pause("x", at(0))).toEqual({
      kind: "refused",
      bound: "queues_max",
      limit: 1,
      queue: "x",
    });
    broker.verify();
  });
});

describe("Broker.settle", () => {
  test("an attempt leaves its place in the bounds to another task while it runs", () => {
    const broker = aBroker({ queue: { size: 1 } });
    enqueue(broker, "a");
    claim(broker);

    expect(broker.enqueue([aNewTask({ id: "b" })], at(0)).kind).toBe("accepted");
  });

  test("an attempt that fails finds its place for the retry although the queue is full", () => {
    const broker = aBroker({ queue: { size: 1 } });
    enqueue(broker, "a");
    const task = claim(broker);
    enqueue(broker, "b");

    expect(settle(broker, task, BROKEN).kind).toBe("settled");
    expect(task.status).toBe("retrying");
    expect(broker.findQueue("default")?.waiting).toBe(2);
    broker.verify();
  });

  test("a released attempt gives its task back and costs no retry", () => {
    const broker = aBroker();
    for (const id of ["a", "b"]) enqueue(broker, id, { maxRetries: 0 });
    const task = claim(broker);

    settle(broker, task, RELEASED);

    expect(claim(broker)).toBe(task);
    expect([task.attempt, task.failures]).toEqual([2, 0]);
  });

  test.each([
    ["the number of the attempt", 1],
    ["an earlier fence", FIRST_FENCE - 1],
    ["a later fence", FIRST_FENCE + 1],
    ["no number", Number.NaN],
  ])("%s settles, extends and notes nothing", (_, fence) => {
    const broker = aBroker();
    enqueue(broker, "a", { lane: "remote" });
    const task = claim(broker, at(0), { lane: "remote", leaseMs: 1000 });
    const unknown = { kind: "claim_lost", ended: "unknown" } as const;

    expect(broker.settle("a", fence, DONE, at(0), NO_CHANCE)).toEqual(unknown);
    expect(broker.extend("a", fence, 5000, at(0))).toEqual(unknown);
    expect(broker.noteProgress("a", fence, "1")).toEqual(unknown);
    expect([task.status, task.progress]).toEqual(["running", null]);
    expect(task.lease?.endsAtMs).toBe(at(1000).monoMs);
  });

  test("an attempt settles once", () => {
    const broker = aBroker();
    enqueue(broker, "a");
    const task = claim(broker);
    settle(broker, task, DONE);

    const again = settle(broker, task, BROKEN, at(1));

    expect(again).toEqual({ kind: "claim_lost", ended: "settled" });
    expect(task).toMatchObject({ status: "done", errors: [], failures: 0 });
  });

  test("an attempt notes its progress while it holds the task", () => {
    const broker = aBroker();
    enqueue(broker, "a");
    const task = claim(broker);

    expect(broker.noteProgress("a", task.fence, "0.5")).toBeNull();
    expect(task.progress).toBe("0.5");
  });

  test("an attempt loses its task in the very millisecond in which its time is up", () => {
    const { broker, heard } = aHeardBroker();
    enqueue(broker, "a", { timeoutMs: 100, maxRetries: 0 });
    claim(broker, at(50));
    heard.length = 0;

    broker.tick(at(149), NO_CHANCE);
    const before = [...heard];
    broker.tick(at(150), NO_CHANCE);

    expect(before).toEqual([]);
    expect(heard).toEqual(["a: running → failed", `a: revoked ${FIRST_FENCE}, timeout`]);
    expect(broker.find("a")?.errors).toMatchObject([{ code: "timeout", attempt: 1 }]);
  });
});

describe("Broker", () => {
  test("a task starts as often as its retries allow and once more", () => {
    const broker = aBroker();
    enqueue(broker, "a", { maxRetries: 2 });

    let ms = 0;
    for (; broker.find("a")?.status !== "failed"; ms += 10_000) {
      broker.tick(at(ms), NO_CHANCE);
      const task = claim(broker, at(ms));
      settle(broker, task, BROKEN, at(ms));
    }

    expect(broker.find("a")?.attempt).toBe(3);
    expect(broker.findQueue("default")?.totals).toMatchObject({ retried: 2, failed: 1 });
  });

  test("a task gets all its retries anew when it is retried by hand", () => {
    const broker = aBroker();
    enqueue(broker, "a", { maxRetries: 1 });
    const task = claim(broker);
    settle(broker, task, { ...BROKEN, retry: { kind: "never" } });
    broker.retry("a", at(0));

    settle(broker, claim(broker), BROKEN);

    expect(task.status).toBe("retrying");
  });

  test("a task that is retried waits for as long as the backoff says, from the failure on", () => {
    const broker = aBroker();
    enqueue(broker, "a");
    settle(broker, claim(broker), BROKEN, at(1000));

    expect(broker.msToNextDue(at(1000))).toBe(200);
    expect(broker.find("a")?.runAtMs).toBe(at(1200).wallMs);
  });

  test("a task is handed out only by its own lane", () => {
    const broker = aBroker();
    enqueue(broker, "a", { lane: "thread" });

    expect(claimAll(broker)).toEqual([]);
    expect(claimAll(broker, { lane: "remote" })).toEqual([]);
    expect(claimAll(broker, { lane: "thread" })).toEqual(["a"]);
  });

  test("a task of a queue that runs as many tasks as it may is not handed out", () => {
    const broker = aBroker({ queues: { narrow: { concurrency: 1 } } });
    for (const id of ["a", "b"]) enqueue(broker, id, { queue: "narrow" });
    const first = claim(broker);

    expect(claimAll(broker)).toEqual([]);
    settle(broker, first);
    expect(claim(broker).id).toBe("b");
  });

  test("a task that is cancelled while it runs is taken from its attempt", () => {
    const { broker, heard } = aHeardBroker();
    enqueue(broker, "a");
    const task = claim(broker);
    heard.length = 0;

    expect(broker.cancel("a", at(0)).kind).toBe("cancelled");
    expect(heard).toEqual(["a: running → cancelled", `a: revoked ${FIRST_FENCE}, cancelled`]);
    expect(settle(broker, task)).toEqual({ kind: "claim_lost", ended: "cancelled" });
    expect(task.result).toBeNull();
  });

  test("a task that is done can neither be cancelled nor retried", () => {
    const broker = aBroker();
    enqueue(broker, "a");
    settle(broker, claim(broker));

    expect(broker.cancel("a", at(0)).kind).toBe("finished");
    expect(broker.retry("a", at(0)).kind).toBe("not_retryable");
  });

  test("a task that is unknown can neither be cancelled nor retried", () => {
    const broker = aBroker();

    expect(broker.cancel("a", at(0))).toEqual({ kind: "unknown" });
    expect(broker.retry("a", at(0))).toEqual({ kind: "unknown" });
  });

  test("a task is forgotten as soon as more are finished than may be kept", () => {
    const broker = aBroker({ retainTasks: 1 });
    for (const id of ["a", "b"]) {
      enqueue(broker, id);
      broker.cancel(id, at(0));
    }

    expect([broker.find("a"), broker.find("b")?.status]).toEqual([undefined, "cancelled"]);
    broker.verify();
  });

  test("a task leaves its queue idle when it was the last one there, and the queue is forgotten in its turn", () => {
    const broker = aBroker({ retainMs: 1000 });
    for (const id of ["a", "b"]) {
      enqueue(broker, id);
      broker.cancel(id, at(0));
    }

    broker.tick(at(1000), NO_CHANCE);

    broker.verify();
    expect(broker.findQueue("default")?.counts.cancelled).toBe(0);
    broker.tick(at(2000), NO_CHANCE);
    expect(broker.findQueue("default")).toBeUndefined();
  });
});

describe("Task", () => {
  test("a task shows the last five of its errors", () => {
    const broker = aBroker();
    enqueue(broker, "a", { maxRetries: 9 });

    for (let attempt = 1; attempt <= 6; attempt += 1) {
      broker.tick(at(attempt * 1e6), NO_CHANCE);
      settle(broker, claim(broker), BROKEN, at(attempt * 1e6));
    }

    const attempts = broker.find("a")?.errors.map(({ attempt }) => attempt);
    expect(attempts).toEqual([2, 3, 4, 5, 6]);
  });

  test("a task shows no progress of an attempt before", () => {
    const broker = aBroker();
    enqueue(broker, "a");
    const task = claim(broker);
    broker.noteProgress("a", task.fence, "0.5");
    settle(broker, task, RELEASED);

    expect(claim(broker).progress).toBeNull();
  });
});

describe("Broker.cancel", () => {
  test.each(["scheduled", "queued", "running", "retrying"])(
    "a queue counts a task that was %s as cancelled",
    (status) => {
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
      expect(queue).toMatchObject({ waiting: 0, waitingBytes: 0, unfinished: 0 });
    },
  );
});

describe("Broker.purge", () => {
  test("a purge cancels all waiting tasks, oldest first, and nothing else", () => {
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
    expect(broker.findQueue("default")).toMatchObject({
      waiting: 0,
      waitingBytes: 0,
      unfinished: 1,
    });
    broker.verify();
  });
});

describe("Broker.enqueue", () => {
  const key = { key: "k", fingerprint: "f" };

  test("an idempotency key gives the first answer again, scheduled tasks as scheduled", () => {
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

  test("an idempotency key refuses another request, and one that was refused may come again", () => {
    const broker = aBroker({ queue: { size: 1 } });
    const two = [aNewTask({ id: "a" }), aNewTask({ id: "b" })];

    expect(broker.enqueue(two, at(0), key).kind).toBe("refused");
    expect(broker.enqueue([aNewTask({ id: "c" })], at(0), key).kind).toBe("accepted");
    expect(broker.enqueue(two, at(0), { key: "k", fingerprint: "g" }).kind).toBe("key_reused");
  });

  test("an idempotency key outlives its tasks by the time for which they are kept at most", () => {
    const broker = aBroker({ retainMs: 1000 });
    broker.enqueue([aNewTask({ id: "a" })], at(0), key);
    broker.cancel("a", at(500));

    broker.tick(at(1499), NO_CHANCE);
    const before = broker.enqueue([aNewTask({ id: "b" })], at(1499), key);
    broker.tick(at(1500), NO_CHANCE);

    expect(before.kind).toBe("repeated");
    expect(broker.enqueue([aNewTask({ id: "c" })], at(1500), key).kind).toBe("accepted");
  });

  test("an idempotency key goes with a task that is retried by hand until that finishes anew", () => {
    const broker = aBroker({ retainMs: 1000 });
    broker.enqueue([aNewTask({ id: "a" })], at(0), key);
    broker.cancel("a", at(0));
    broker.retry("a", at(0));

    broker.tick(at(99_999), NO_CHANCE);

    expect(broker.enqueue([aNewTask({ id: "b" })], at(99_999), key).kind).toBe("repeated");
  });
});

describe("Broker.verify", () => {
  test("verify finds a task whose failures went beyond its retries", () => {
    const broker = aBroker();
    enqueue(broker, "a", { maxRetries: 0 });

    claim(broker).failures = 2;

    expect(() => broker.verify()).toThrow("no task fails more often than it may");
  });

  test("verify finds an unfinished task with an end", () => {
    const broker = aBroker();
    enqueue(broker, "a");

    claim(broker).finishedAtMs = 1;

    expect(() => broker.verify()).toThrow("exactly the finished tasks have an end");
  });

  test("verify finds a queue that miscounts its remote claims", () => {
    const { broker, task } = aRemoteClaim();
    broker.verify();

    task.queue.claims = 0;

    expect(() => broker.verify()).toThrow("a queue counts its remote claims");
  });
});
