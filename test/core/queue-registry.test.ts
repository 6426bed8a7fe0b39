import { describe, expect, test } from "bun:test";
import { LANES, type Lane } from "../../src/core/lane.ts";
import type { Queue, QueueLimits } from "../../src/core/queue.ts";
import { QueueRegistry } from "../../src/core/queue-registry.ts";
import type { Task } from "../../src/core/task.ts";
import { aTask, someLimits } from "../support/builders.ts";

interface RegistryOptions extends Partial<QueueLimits> {
  readonly queues?: ReadonlyMap<string, QueueLimits>;
  readonly queuesMax?: number;
  readonly idleMs?: number;
}

function aRegistry({
  queues = new Map(),
  queuesMax = 10,
  idleMs = 1000,
  ...limits
}: RegistryOptions = {}): QueueRegistry {
  return new QueueRegistry({ queue: someLimits(limits), queues, queuesMax, idleMs });
}

let added = 0;

/** Adds a ready task to the queue of this name, as the broker would. */
function add(registry: QueueRegistry, name: string, lane: Lane = "loop", payloadBytes = 4): Task {
  const queue = registry.findOrMake(name);
  added += 1;
  const task = aTask({ queue, lane, payloadBytes, seq: added });
  queue.countIn(task, "queued");
  queue.ready[lane].pushBack(task);
  registry.changed(queue, 0);
  return task;
}

/** Takes a ready task out again. */
function leave(registry: QueueRegistry, task: Task, nowMs = 0): void {
  task.queue.ready[task.lane].remove(task);
  task.queue.countOut(task, "queued");
  registry.changed(task.queue, nowMs);
}

/** A queue that knew a task once. */
function anIdleQueue(registry: QueueRegistry, name: string, sinceMs: number): Queue {
  const task = add(registry, name);
  leave(registry, task, sinceMs);
  return task.queue;
}

function entrants(queue: string, count: number, payloadBytes = 4) {
  return Array.from({ length: count }, () => ({ queue, payloadBytes }));
}

function turnsOf(
  registry: QueueRegistry,
  count: number,
  lane: Lane = "loop",
): (string | undefined)[] {
  return Array.from({ length: count }, () => registry.nextReady(lane)?.queue.name);
}

describe("QueueRegistry.findOrMake", () => {
  test("a queue does not exist before it is asked to be made", () => {
    expect(aRegistry().find("a")).toBeUndefined();
  });

  test("a queue is made once", () => {
    const registry = aRegistry();

    expect(registry.findOrMake("a")).toBe(registry.findOrMake("a"));
    expect(registry.size).toBe(1);
  });

  test("a queue has the common limits, or its own if there are some", () => {
    const own = someLimits({ size: 1 });
    const registry = aRegistry({ size: 7, queues: new Map([["b", own]]) });

    expect(registry.findOrMake("a").limits.size).toBe(7);
    expect(registry.findOrMake("b").limits).toBe(own);
  });
});

describe("QueueRegistry.refusalOf", () => {
  test("the bounds let in what just fits by count, and not one more", () => {
    const registry = aRegistry({ size: 3 });
    add(registry, "a");

    expect(registry.refusalOf(entrants("a", 2))).toBeNull();
    expect(registry.refusalOf(entrants("a", 3))).toEqual({
      kind: "refused",
      bound: "queue_size",
      limit: 3,
      queue: "a",
    });
  });

  test("the bounds let in what just fits by bytes, and not one more", () => {
    const registry = aRegistry({ bytes: 100 });
    add(registry, "a", "loop", 60);

    expect(registry.refusalOf(entrants("a", 1, 40))).toBeNull();
    expect(registry.refusalOf(entrants("a", 1, 41))).toMatchObject({
      bound: "queue_bytes",
      limit: 100,
    });
    expect(registry.refusalOf(entrants("a", 2, 20))).toBeNull();
    expect(registry.refusalOf(entrants("a", 2, 21))).toMatchObject({
      bound: "queue_bytes",
      limit: 100,
    });
  });

  test("the bounds hold for a queue that does not exist yet", () => {
    const registry = aRegistry({ size: 2 });

    expect(registry.refusalOf(entrants("a", 3))).toMatchObject({ bound: "queue_size", queue: "a" });
  });

  test("the bounds hold for each queue of a batch, and name the one that is full", () => {
    const registry = aRegistry({ size: 2 });
    add(registry, "b");

    expect(registry.refusalOf([...entrants("a", 2), ...entrants("b", 1)])).toBeNull();
    expect(registry.refusalOf([...entrants("a", 2), ...entrants("b", 2)])).toMatchObject({
      bound: "queue_size",
      queue: "b",
    });
  });

  test("the bounds of a queue's own limits replace the common ones before it exists", () => {
    const registry = aRegistry({ size: 9, queues: new Map([["a", someLimits({ size: 1 })]]) });

    expect(registry.refusalOf(entrants("a", 2))).toMatchObject({ bound: "queue_size" });
  });

  test("the bounds let no more queues come into use than may", () => {
    const registry = aRegistry({ queuesMax: 2 });
    add(registry, "a");

    expect(registry.refusalOf(entrants("b", 1))).toBeNull();
    expect(registry.refusalOf([...entrants("b", 1), ...entrants("c", 1)])).toEqual({
      kind: "refused",
      bound: "queues_max",
      limit: 2,
      queue: "c",
    });
  });

  test("the bounds let a queue in use take more although no other may come into use", () => {
    const registry = aRegistry({ queuesMax: 1 });
    add(registry, "a");

    expect(registry.refusalOf(entrants("a", 1))).toBeNull();
    expect(registry.refusalOf(entrants("b", 1))).toMatchObject({ bound: "queues_max" });
  });

  test("the bounds let another queue come into use once one has nothing left to do", () => {
    const registry = aRegistry({ queuesMax: 1 });
    anIdleQueue(registry, "a", 0);

    expect(registry.refusalOf(entrants("b", 1))).toBeNull();
  });

  test("the bounds let in a batch of nothing", () => {
    expect(aRegistry().refusalOf([])).toBeNull();
  });
});

describe("QueueRegistry.nextReady", () => {
  test("nothing has a turn when nothing is ready", () => {
    const registry = aRegistry();

    expect(registry.nextReady("loop")).toBeUndefined();
    expect(registry.hasReady("loop")).toBe(false);
  });

  test("turns go round all queues that have something to claim", () => {
    const registry = aRegistry();
    for (const queue of ["a", "b", "a", "c"]) add(registry, queue);

    expect(turnsOf(registry, 7)).toEqual(["a", "b", "c", "a", "b", "c", "a"]);
    registry.verify();
  });

  test("turns are of one lane", () => {
    const registry = aRegistry();
    add(registry, "a", "loop");
    add(registry, "b", "thread");

    expect(turnsOf(registry, 2, "loop")).toEqual(["a", "a"]);
    expect(turnsOf(registry, 2, "thread")).toEqual(["b", "b"]);
  });

  test("turns are lost with the last task that is ready", () => {
    const registry = aRegistry();
    const task = add(registry, "a");

    leave(registry, task);

    expect(registry.hasReady("loop")).toBe(false);
    registry.verify();
  });

  test("turns are lost by a pause and come back, at the end, when it is over", () => {
    const registry = aRegistry();
    for (const queue of ["a", "b"]) add(registry, queue);
    const paused = registry.findOrMake("a");

    paused.isPaused = true;
    registry.changed(paused, 0);
    const during = turnsOf(registry, 2);
    paused.isPaused = false;
    registry.changed(paused, 0);

    expect(during).toEqual(["b", "b"]);
    expect(turnsOf(registry, 2)).toEqual(["b", "a"]);
  });

  test("turns are lost in all lanes while as many tasks run as may", () => {
    const registry = aRegistry({ concurrency: 1 });
    add(registry, "a", "loop");
    add(registry, "a", "thread");
    add(registry, "a", "remote");
    const queue = registry.findOrMake("a");

    queue.countIn(aTask({ queue: queue }), "running");
    registry.changed(queue, 0);

    expect(LANES.map((lane) => registry.hasReady(lane))).toEqual([false, false, false]);
    registry.verify();
  });

  test("a list that took its turn goes to the end, and only in its lane", () => {
    const registry = aRegistry();
    for (const name of ["a", "b"]) {
      add(registry, name, "loop");
      add(registry, name, "remote");
    }

    registry.moveToBack(registry.findOrMake("a").ready.remote);

    const names = (lane: Lane) => Array.from(registry.readyLists(lane), ({ queue }) => queue.name);
    expect(names("loop")).toEqual(["a", "b"]);
    expect(names("remote")).toEqual(["b", "a"]);
  });
});

describe("QueueRegistry.expire", () => {
  test("an idle queue is kept until its time is up", () => {
    const registry = aRegistry({ idleMs: 1000 });
    anIdleQueue(registry, "a", 500);

    registry.expire(1499);
    const before = registry.find("a");
    registry.expire(1500);

    expect(before?.name).toBe("a");
    expect(registry.find("a")).toBeUndefined();
    registry.verify();
  });

  test("an idle queue says when its time is up", () => {
    const registry = aRegistry({ idleMs: 1000 });

    expect(registry.nextExpiryMs()).toBe(Number.POSITIVE_INFINITY);
    anIdleQueue(registry, "a", 500);
    expect(registry.nextExpiryMs()).toBe(1500);
  });

  test("an idle queue is kept for good once it has a task again", () => {
    const registry = aRegistry({ idleMs: 1000 });
    anIdleQueue(registry, "a", 0);
    add(registry, "a");

    registry.expire(99_999);

    expect(registry.find("a")?.name).toBe("a");
  });

  test("an idle queue is kept while it is paused", () => {
    const registry = aRegistry({ idleMs: 1000 });
    const queue = anIdleQueue(registry, "a", 0);
    queue.isPaused = true;
    registry.changed(queue, 0);

    registry.expire(99_999);

    expect(registry.find("a")).toBe(queue);
    registry.verify();
  });

  test("an idle queue is forgotten before its time once there are too many, the longest idle one first", () => {
    const registry = aRegistry({ queuesMax: 2 });
    for (const [index, name] of ["a", "b", "c", "d"].entries()) anIdleQueue(registry, name, index);

    expect(Array.from(registry.all(), ({ name }) => name)).toEqual(["c", "d"]);
    registry.verify();
  });
});

describe("QueueRegistry.changed", () => {
  test("a pin keeps a queue in use although nothing waits there", () => {
    const registry = aRegistry({ queuesMax: 1 });
    const queue = anIdleQueue(registry, "a", 0);

    queue.pins += 1;
    registry.changed(queue, 0);
    registry.expire(99_999);

    expect(registry.find("a")).toBe(queue);
    expect(registry.refusalOf(entrants("b", 1))).toMatchObject({ bound: "queues_max" });
    registry.verify();
  });

  test("a queue is idle from the moment at which its last pin goes", () => {
    const registry = aRegistry({ idleMs: 1000 });
    const queue = anIdleQueue(registry, "a", 0);
    queue.pins += 1;
    registry.changed(queue, 0);

    queue.pins -= 1;
    registry.changed(queue, 500);

    expect(registry.nextExpiryMs()).toBe(1500);
    registry.verify();
  });
});

describe("QueueRegistry.withdrawn", () => {
  /** A queue in which a place was held, and is no more. */
  function withdraw(registry: QueueRegistry, name: string): void {
    const queue = registry.findOrMake(name);
    const task = aTask({ queue });
    queue.reserve(task);
    registry.changed(queue, 0);
    queue.release(task);
    registry.withdrawn(queue, 0);
  }

  test("a queue whose only place was given back is gone at once when it never had a task", () => {
    const registry = aRegistry();

    withdraw(registry, "a");

    expect(registry.find("a")).toBeUndefined();
    expect(registry.nextExpiryMs()).toBe(Number.POSITIVE_INFINITY);
    registry.verify();
  });

  test("a queue whose only place was given back pushes out no idle queue on its way", () => {
    const registry = aRegistry({ queuesMax: 1 });
    const idle = anIdleQueue(registry, "a", 0);

    withdraw(registry, "b");

    expect([...registry.all()]).toEqual([idle]);
    registry.verify();
  });

  test("a queue whose only place was given back leaves its share of the queues in use to another one", () => {
    const registry = aRegistry({ queuesMax: 1 });

    withdraw(registry, "a");

    expect(registry.refusalOf(entrants("b", 1))).toBeNull();
  });

  test("a queue whose only place was given back is idle from then on when it had a task before", () => {
    const registry = aRegistry({ idleMs: 1000 });
    const idle = anIdleQueue(registry, "a", 0);
    idle.totals.enqueued = 1;

    withdraw(registry, "a");

    expect(registry.find("a")).toBe(idle);
    expect(registry.nextExpiryMs()).toBe(1000);
    registry.verify();
  });
});

describe("QueueRegistry.verify", () => {
  test("verify finds a queue that is not known to have come into use", () => {
    const registry = aRegistry();
    const queue = registry.findOrMake("a");
    queue.countIn(aTask({ queue: queue }), "running");

    expect(() => registry.verify()).toThrow("a queue is in use while it has work or is paused");
  });

  test("verify finds a list that does not take turns although it could", () => {
    const registry = aRegistry();
    add(registry, "a");
    const queue = registry.findOrMake("a");

    queue.isPaused = true;

    expect(() => registry.verify()).toThrow("exactly the claimable lists take turns");
  });

  test("verify finds a queue without tasks that is not known to be idle", () => {
    const registry = aRegistry();

    registry.findOrMake("a");

    expect(() => registry.verify()).toThrow("exactly the queues without tasks are idle");
  });
});
