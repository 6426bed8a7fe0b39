import { describe, expect, test } from "bun:test";
import { LANES } from "../../src/core/lane.ts";
import { grantLease } from "../../src/core/lease.ts";
import type { Queue, QueueLimits } from "../../src/core/queue.ts";
import type { Task } from "../../src/core/task.ts";
import { aQueue, aTask, at } from "../support/builders.ts";

/** Adds a queued task to its queue. */
function add(task: Task): void {
  task.queue.countIn(task, "queued");
  task.queue.ready[task.lane].pushBack(task);
}

describe("Queue.countIn", () => {
  test("a queue counts nothing at first", () => {
    const queue = aQueue();

    expect([queue.known, queue.waiting, queue.waitingBytes, queue.unfinished]).toEqual([
      0, 0, 0, 0,
    ]);
    queue.verify();
  });

  test.each(["queued", "scheduled", "retrying"] as const)(
    "a queue counts a %s task as waiting, with its bytes",
    (status) => {
      const queue = aQueue();

      queue.countIn(aTask({ queue: queue, payloadBytes: 7 }), status);

      expect(queue.counts[status]).toBe(1);
      expect([queue.known, queue.waiting, queue.waitingBytes, queue.unfinished]).toEqual([
        1, 1, 7, 1,
      ]);
    },
  );

  test("a queue counts a running task as load that does not wait", () => {
    const queue = aQueue();

    queue.countIn(aTask({ queue: queue, payloadBytes: 7 }), "running");

    expect([queue.known, queue.waiting, queue.waitingBytes, queue.unfinished]).toEqual([
      1, 0, 0, 1,
    ]);
  });

  test.each(["done", "failed", "cancelled"] as const)(
    "a queue counts a %s task as known and as nothing else",
    (status) => {
      const queue = aQueue();

      queue.countIn(aTask({ queue: queue, payloadBytes: 7 }), status);

      expect(queue.counts[status]).toBe(1);
      expect([queue.known, queue.waiting, queue.waitingBytes, queue.unfinished]).toEqual([
        1, 0, 0, 0,
      ]);
    },
  );

  test.each(["queued", "running", "done"] as const)(
    "a queue counts a %s task no more once it has left",
    (status) => {
      const queue = aQueue();
      const task = aTask({ queue: queue, payloadBytes: 7 });
      queue.countIn(task, status);

      queue.countOut(task, status);

      expect(queue.counts[status]).toBe(0);
      expect([queue.known, queue.waiting, queue.waitingBytes, queue.unfinished]).toEqual([
        0, 0, 0, 0,
      ]);
    },
  );
});

describe("Queue.isOpen", () => {
  test("a queue is open while fewer tasks run than may", () => {
    const queue = aQueue({ concurrency: 2 });
    queue.countIn(aTask({ queue: queue }), "running");

    expect(queue.isOpen).toBe(true);
  });

  test("a queue is open no more once as many run as may", () => {
    const queue = aQueue({ concurrency: 2 });
    queue.countIn(aTask({ queue: queue }), "running");
    queue.countIn(aTask({ queue: queue }), "running");

    expect(queue.isOpen).toBe(false);
  });

  test("a queue is open not while it is paused", () => {
    const queue = aQueue();

    queue.isPaused = true;

    expect(queue.isOpen).toBe(false);
  });
});

describe("Queue.isOpenTo", () => {
  /** Brings a queue to its limit of one remote claim. */
  function aQueueWithClaim(limits: Partial<QueueLimits> = {}): Queue {
    const queue = aQueue({ claims: 1, ...limits });
    const task = aTask({ queue, lane: "remote" });
    const lease = { lengthMs: 1000, endsAtMs: 1000, timeoutAtMs: 1000, worker: null };
    grantLease(task, lease, at(0));
    queue.countIn(task, "running");
    return queue;
  }

  test("a queue whose claims are at their limit is closed to remote workers alone", () => {
    const queue = aQueueWithClaim();

    expect(LANES.filter((lane) => queue.isOpenTo(lane))).toEqual(["loop", "thread"]);
    expect(queue.isOpen).toBe(true);
  });

  test("a queue below its limit of claims is open to every lane", () => {
    expect(LANES.every((lane) => aQueueWithClaim({ claims: 2 }).isOpenTo(lane))).toBe(true);
  });

  test("a queue where as many run as may is closed to every lane", () => {
    const queue = aQueueWithClaim({ claims: 2, concurrency: 1 });

    expect(LANES.some((lane) => queue.isOpenTo(lane))).toBe(false);
  });

  test("a running task without a lease takes no claim", () => {
    const queue = aQueue({ claims: 1 });

    queue.countIn(aTask({ queue }), "running");

    expect(queue.claims).toBe(0);
    expect(queue.isOpenTo("remote")).toBe(true);
  });
});

describe("Queue.oldestQueuedSinceMs", () => {
  test("the longest-waiting task of a queue is none when none is queued", () => {
    expect(aQueue().oldestQueuedSinceMs()).toBeNull();
  });

  test("the longest-waiting task of a queue is the one of either lane that is queued since earlier", () => {
    const queue = aQueue();
    const inLoop = aTask({ queue: queue, seq: 1 });
    const inThread = aTask({ queue: queue, seq: 2, lane: "thread" });
    inLoop.queuedSinceMs = 500;
    inThread.queuedSinceMs = 400;

    for (const task of [inLoop, inThread]) add(task);

    expect(queue.oldestQueuedSinceMs()).toBe(400);
    queue.verify();
  });
});

describe("Queue.verify", () => {
  const faults: Readonly<Record<string, (queue: Queue) => void>> = {
    "every queued task is ready": (queue) => queue.countIn(aTask({ queue: queue }), "queued"),
    "the counts by status add up": (queue) => {
      queue.known += 1;
    },
    "the waiting tasks are counted": (queue) => {
      queue.waiting += 1;
    },
    "no more run at once than may": (queue) => {
      for (let running = 0; running < 3; running += 1)
        queue.countIn(aTask({ queue: queue }), "running");
    },
    "remote workers hold no more than they may": (queue) => {
      queue.claims = 2;
    },
  };

  test.each(Object.entries(faults))("verify finds when it is not so that %s", (sentence, spoil) => {
    const queue = aQueue({ concurrency: 2, claims: 1 });
    add(aTask({ queue: queue }));
    queue.verify();

    spoil(queue);

    expect(() => queue.verify()).toThrow(sentence);
  });
});
