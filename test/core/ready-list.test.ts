import { describe, expect, test } from "bun:test";
import { ReadyList } from "../../src/core/ready-list.ts";
import type { Task } from "../../src/core/task.ts";
import { aQueue, aTask } from "../support/builders.ts";

const QUEUE = aQueue();

/** A line of tasks with these priorities, numbered from 1. */
function aLine(priorities: readonly number[]): {
  readonly line: ReadyList;
  readonly tasks: Task[];
} {
  const line = new ReadyList(QUEUE, "loop");
  const tasks = priorities.map((priority, index) =>
    aTask({ queue: QUEUE, priority, seq: index + 1 }),
  );
  for (const task of tasks) line.pushBack(task);
  line.verify();
  return { line, tasks };
}

/** The numbers of all its tasks in turn. */
function takeAll(line: ReadyList): number[] {
  const taken: number[] = [];
  for (let first = line.first(); first !== undefined; first = line.first()) {
    line.remove(first);
    line.verify();
    taken.push(first.seq);
  }
  return taken;
}

describe("a line", () => {
  test("without tasks has none whose turn it is", () => {
    const { line } = aLine([]);

    expect(line.first()).toBeUndefined();
    expect(line.size).toBe(0);
  });

  test("gives the higher priority first, and within one the first in", () => {
    const { line } = aLine([0, 5, -100, 0, 100, 5, 0]);

    expect(takeAll(line)).toEqual([5, 2, 6, 1, 4, 7, 3]);
  });

  test("gives a task its turn back before all others of its priority, and behind higher ones", () => {
    const { line } = aLine([1, 0, 0]);

    line.pushFront(aTask({ queue: QUEUE, seq: 9 }));

    expect(takeAll(line)).toEqual([1, 9, 2, 3]);
  });

  test("lets a task leave before its turn", () => {
    const { line, tasks } = aLine([0, 0, 0]);

    line.remove(tasks[1] as Task);

    expect(line.size).toBe(2);
    expect(takeAll(line)).toEqual([1, 3]);
  });

  test("takes tasks again at a priority that was emptied before", () => {
    const { line } = aLine([3, 0, -3]);
    takeAll(line);

    for (const priority of [-3, 3, 0])
      line.pushBack(aTask({ queue: QUEUE, priority, seq: 10 + priority }));

    expect(takeAll(line)).toEqual([13, 10, 7]);
  });
});

describe("since when the oldest task of a line is queued", () => {
  test("is never, while none is", () => {
    expect(aLine([]).line.oldestSinceMs()).toBe(Number.POSITIVE_INFINITY);
  });

  test("is the earliest time of all priorities", () => {
    const { line, tasks } = aLine([5, 0, 0]);
    for (const [index, sinceMs] of [300, 100, 200].entries()) {
      (tasks[index] as Task).queuedSinceMs = sinceMs;
    }

    expect(line.oldestSinceMs()).toBe(100);
  });

  test("does not change when a task that ran meanwhile gets its turn back", () => {
    const { line, tasks } = aLine([0]);
    (tasks[0] as Task).queuedSinceMs = 100;
    const returning = aTask({ queue: QUEUE, seq: 9 });
    returning.queuedSinceMs = 500;

    line.pushFront(returning);

    expect(line.oldestSinceMs()).toBe(100);
    line.verify();
  });
});

describe("a line's verify finds", () => {
  test("a task ahead of one that waits longer", () => {
    const { line, tasks } = aLine([0, 0]);

    (tasks[0] as Task).queuedSinceMs = 9;

    expect(() => line.verify()).toThrow("who is ahead waits no shorter");
  });

  test("a task of another queue", () => {
    const { line } = aLine([0]);

    line.pushBack(aTask({ queue: aQueue({}, "other") }));

    expect(() => line.verify()).toThrow("a task is in its own line");
  });

  test("a task of another lane", () => {
    const { line } = aLine([0]);

    line.pushBack(aTask({ queue: QUEUE, lane: "thread" }));

    expect(() => line.verify()).toThrow("a task is in its own line");
  });

  test("a task that is not queued", () => {
    const { line, tasks } = aLine([0]);

    (tasks[0] as Task).status = "running";

    expect(() => line.verify()).toThrow("only queued tasks line up");
  });
});
