import { describe, expect, test } from "bun:test";
import type { Queue, QueueLimits } from "../../src/core/queue.ts";
import { QueueRegistry } from "../../src/core/queue-registry.ts";
import type { Lane } from "../../src/core/ready-list.ts";
import type { Task } from "../../src/core/task.ts";
import { aTask, someLimits } from "../support/builders.ts";

interface RegisterOptions extends Partial<QueueLimits> {
  readonly queues?: ReadonlyMap<string, QueueLimits>;
  readonly queuesMax?: number;
  readonly idleMs?: number;
}

function aRegister({
  queues = new Map(),
  queuesMax = 10,
  idleMs = 1000,
  ...limits
}: RegisterOptions = {}): QueueRegistry {
  return new QueueRegistry({ queue: someLimits(limits), queues, queuesMax, idleMs });
}

/** Lines up a task in the queue of this name, as the broker would. */
function lineUp(
  register: QueueRegistry,
  queue: string,
  lane: Lane = "loop",
  payloadBytes = 4,
): Task {
  const home = register.findOrMake(queue);
  const task = aTask({ home, lane, payloadBytes });
  home.countIn(task, "queued");
  home.lines[lane].pushBack(task);
  register.changed(home, 0);
  return task;
}

/** Takes a task that lines up out again. */
function leave(register: QueueRegistry, task: Task, nowMs = 0): void {
  task.home.lines[task.lane].remove(task);
  task.home.countOut(task, "queued");
  register.changed(task.home, nowMs);
}

/** A queue that knew a task once. */
function anIdleQueue(register: QueueRegistry, name: string, sinceMs: number): Queue {
  const task = lineUp(register, name);
  leave(register, task, sinceMs);
  return task.home;
}

function entrants(queue: string, count: number, payloadBytes = 4) {
  return Array.from({ length: count }, () => ({ queue, payloadBytes }));
}

function turnsOf(
  register: QueueRegistry,
  count: number,
  lane: Lane = "loop",
): (string | undefined)[] {
  return Array.from({ length: count }, () => register.takeTurn(lane)?.queue.name);
}

describe("a queue", () => {
  test("does not exist before it is asked to be made", () => {
    expect(aRegister().find("a")).toBeUndefined();
  });

  test("is made once", () => {
    const register = aRegister();

    expect(register.findOrMake("a")).toBe(register.findOrMake("a"));
    expect(register.size).toBe(1);
  });

  test("has the common limits, or its own if there are some", () => {
    const own = someLimits({ size: 1 });
    const register = aRegister({ size: 7, queues: new Map([["b", own]]) });

    expect(register.findOrMake("a").limits.size).toBe(7);
    expect(register.findOrMake("b").limits).toBe(own);
  });
});

describe("the bounds", () => {
  test("let in what just fits by count, and not one more", () => {
    const register = aRegister({ size: 3 });
    lineUp(register, "a");

    expect(register.refusalOf(entrants("a", 2))).toBeNull();
    expect(register.refusalOf(entrants("a", 3))).toEqual({
      kind: "refused",
      bound: "queue_size",
      queue: "a",
      limit: 3,
    });
  });

  test("let in what just fits by bytes, and not one more", () => {
    const register = aRegister({ bytes: 100 });
    lineUp(register, "a", "loop", 60);

    expect(register.refusalOf(entrants("a", 1, 40))).toBeNull();
    expect(register.refusalOf(entrants("a", 1, 41))).toMatchObject({ bound: "queue_bytes" });
    expect(register.refusalOf(entrants("a", 2, 20))).toBeNull();
    expect(register.refusalOf(entrants("a", 2, 21))).toMatchObject({ bound: "queue_bytes" });
  });

  test("hold for a queue that does not exist yet", () => {
    const register = aRegister({ size: 2 });

    expect(register.refusalOf(entrants("a", 3))).toMatchObject({ bound: "queue_size", queue: "a" });
  });

  test("hold for each queue of a batch, and name the one that is full", () => {
    const register = aRegister({ size: 2 });
    lineUp(register, "b");

    expect(register.refusalOf([...entrants("a", 2), ...entrants("b", 1)])).toBeNull();
    expect(register.refusalOf([...entrants("a", 2), ...entrants("b", 2)])).toMatchObject({
      bound: "queue_size",
      queue: "b",
    });
  });

  test("of a queue's own limits replace the common ones before it exists", () => {
    const register = aRegister({ size: 9, queues: new Map([["a", someLimits({ size: 1 })]]) });

    expect(register.refusalOf(entrants("a", 2))).toMatchObject({ bound: "queue_size" });
  });

  test("let no more queues come into use than may", () => {
    const register = aRegister({ queuesMax: 2 });
    lineUp(register, "a");

    expect(register.refusalOf(entrants("b", 1))).toBeNull();
    expect(register.refusalOf([...entrants("b", 1), ...entrants("c", 1)])).toEqual({
      kind: "refused",
      bound: "queues_max",
      queue: "c",
      limit: 2,
    });
  });

  test("let a queue in use take more although no other may come into use", () => {
    const register = aRegister({ queuesMax: 1 });
    lineUp(register, "a");

    expect(register.refusalOf(entrants("a", 1))).toBeNull();
    expect(register.refusalOf(entrants("b", 1))).toMatchObject({ bound: "queues_max" });
  });

  test("let another queue come into use once one has nothing left to do", () => {
    const register = aRegister({ queuesMax: 1 });
    anIdleQueue(register, "a", 0);

    expect(register.refusalOf(entrants("b", 1))).toBeNull();
  });

  test("let in a batch of nothing", () => {
    expect(aRegister().refusalOf([])).toBeNull();
  });
});

describe("turns", () => {
  test("are taken by nobody when nothing lines up", () => {
    const register = aRegister();

    expect(register.takeTurn("loop")).toBeUndefined();
    expect(register.hasTurn("loop")).toBe(false);
  });

  test("go round all queues that have something to claim", () => {
    const register = aRegister();
    for (const queue of ["a", "b", "a", "c"]) lineUp(register, queue);

    expect(turnsOf(register, 7)).toEqual(["a", "b", "c", "a", "b", "c", "a"]);
    register.check();
  });

  test("are of one lane", () => {
    const register = aRegister();
    lineUp(register, "a", "loop");
    lineUp(register, "b", "thread");

    expect(turnsOf(register, 2, "loop")).toEqual(["a", "a"]);
    expect(turnsOf(register, 2, "thread")).toEqual(["b", "b"]);
  });

  test("are lost with the last task that lines up", () => {
    const register = aRegister();
    const task = lineUp(register, "a");

    leave(register, task);

    expect(register.hasTurn("loop")).toBe(false);
    register.check();
  });

  test("are lost by a pause and come back, at the end, when it is over", () => {
    const register = aRegister();
    for (const queue of ["a", "b"]) lineUp(register, queue);
    const paused = register.findOrMake("a");

    paused.isPaused = true;
    register.changed(paused, 0);
    const during = turnsOf(register, 2);
    paused.isPaused = false;
    register.changed(paused, 0);

    expect(during).toEqual(["b", "b"]);
    expect(turnsOf(register, 2)).toEqual(["b", "a"]);
  });

  test("are lost in both lanes while as many tasks run as may", () => {
    const register = aRegister({ concurrency: 1 });
    lineUp(register, "a", "loop");
    lineUp(register, "a", "thread");
    const queue = register.findOrMake("a");

    queue.countIn(aTask({ home: queue }), "running");
    register.changed(queue, 0);

    expect(register.hasTurn("loop")).toBe(false);
    register.check();
  });
});

describe("an idle queue", () => {
  test("is kept until its time is up", () => {
    const register = aRegister({ idleMs: 1000 });
    anIdleQueue(register, "a", 500);

    register.expire(1499);
    const before = register.find("a");
    register.expire(1500);

    expect(before?.name).toBe("a");
    expect(register.find("a")).toBeUndefined();
    register.check();
  });

  test("says when its time is up", () => {
    const register = aRegister({ idleMs: 1000 });

    expect(register.nextExpiryMs()).toBe(Number.POSITIVE_INFINITY);
    anIdleQueue(register, "a", 500);
    expect(register.nextExpiryMs()).toBe(1500);
  });

  test("is kept for good once it has a task again", () => {
    const register = aRegister({ idleMs: 1000 });
    anIdleQueue(register, "a", 0);
    lineUp(register, "a");

    register.expire(99_999);

    expect(register.find("a")?.name).toBe("a");
  });

  test("is kept while it is paused", () => {
    const register = aRegister({ idleMs: 1000 });
    const queue = anIdleQueue(register, "a", 0);
    queue.isPaused = true;
    register.changed(queue, 0);

    register.expire(99_999);

    expect(register.find("a")).toBe(queue);
    register.check();
  });

  test("is forgotten before its time once there are too many, the longest idle one first", () => {
    const register = aRegister({ queuesMax: 2 });
    for (const [index, name] of ["a", "b", "c", "d"].entries()) anIdleQueue(register, name, index);

    expect(Array.from(register.all(), ({ name }) => name)).toEqual(["c", "d"]);
    register.check();
  });
});

describe("a queue whose only place was given back", () => {
  /** A queue in which a place was held, and is no more. */
  function withdraw(register: QueueRegistry, name: string): void {
    const home = register.findOrMake(name);
    const task = aTask({ home });
    home.reserve(task);
    register.changed(home, 0);
    home.release(task);
    register.withdrawn(home, 0);
  }

  test("is gone at once when it never had a task", () => {
    const register = aRegister();

    withdraw(register, "a");

    expect(register.find("a")).toBeUndefined();
    expect(register.nextExpiryMs()).toBe(Number.POSITIVE_INFINITY);
    register.check();
  });

  test("pushes out no idle queue on its way", () => {
    const register = aRegister({ queuesMax: 1 });
    const idle = anIdleQueue(register, "a", 0);

    withdraw(register, "b");

    expect([...register.all()]).toEqual([idle]);
    register.check();
  });

  test("leaves its share of the queues in use to another one", () => {
    const register = aRegister({ queuesMax: 1 });

    withdraw(register, "a");

    expect(register.refusalOf(entrants("b", 1))).toBeNull();
  });

  test("is idle from then on when it had a task before", () => {
    const register = aRegister({ idleMs: 1000 });
    const idle = anIdleQueue(register, "a", 0);
    idle.totals.enqueued = 1;

    withdraw(register, "a");

    expect(register.find("a")).toBe(idle);
    expect(register.nextExpiryMs()).toBe(1000);
    register.check();
  });
});

describe("a register's check finds", () => {
  test("a queue that is not known to have come into use", () => {
    const register = aRegister();
    const queue = register.findOrMake("a");
    queue.countIn(aTask({ home: queue }), "running");

    expect(() => register.check()).toThrow("a queue is in use while it has work or is paused");
  });

  test("a line that does not take turns although it could", () => {
    const register = aRegister();
    lineUp(register, "a");
    const queue = register.findOrMake("a");

    queue.isPaused = true;

    expect(() => register.check()).toThrow("exactly the lines with something to claim turn");
  });

  test("a queue without tasks that is not known to be idle", () => {
    const register = aRegister();

    register.findOrMake("a");

    expect(() => register.check()).toThrow("exactly the queues without tasks are idle");
  });
});
