import { describe, expect, test } from "bun:test";
import type { Queue } from "../../src/core/queue.ts";
import type { Task } from "../../src/core/task.ts";
import { aQueue, aTask } from "../support/builders.ts";

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
  };

  test.each(Object.entries(faults))("verify finds when it is not so that %s", (sentence, spoil) => {
    const queue = aQueue({ concurrency: 2 });
    add(aTask({ queue: queue }));
    queue.verify();

    spoil(queue);

    expect(() => queue.verify()).toThrow(sentence);
  });
});
