import { describe, expect, test } from "bun:test";
import { InvariantError } from "../../src/core/assert.ts";
import type { Task } from "../../src/core/task.ts";
import { TaskIndex } from "../../src/core/task-index.ts";
import { aTask, someTasks } from "../support/builders.ts";

/** A timeline of tasks numbered from 1. */
function aTimeline(count: number): { readonly timeline: TaskIndex; readonly tasks: Task[] } {
  const timeline = new TaskIndex();
  const tasks = someTasks(count);
  for (const task of tasks) timeline.append(task);
  return { timeline, tasks };
}

function seqsIn(timeline: TaskIndex, beforeSeq = Number.POSITIVE_INFINITY): number[] {
  timeline.verify();
  return Array.from(timeline.newestFirst(beforeSeq), ({ seq }) => seq);
}

/** Lets a change have memory for one of the two arrays of numbers that it needs. */
function withMemoryForOne(change: () => void): void {
  const real = globalThis.Int32Array;
  let made = 0;
  globalThis.Int32Array = new Proxy(real, {
    construct(target, args) {
      made += 1;
      if (made > 1) throw new RangeError("out of memory");
      return Reflect.construct(target, args);
    },
  });
  try {
    expect(change).toThrow("out of memory");
  } finally {
    globalThis.Int32Array = real;
  }
}

describe("a timeline", () => {
  test("is empty at first", () => {
    const { timeline } = aTimeline(0);

    expect(timeline.size).toBe(0);
    expect(seqsIn(timeline)).toEqual([]);
  });

  test("gives the newest task first", () => {
    expect(seqsIn(aTimeline(4).timeline)).toEqual([4, 3, 2, 1]);
  });

  test("gives only tasks from before a number", () => {
    const { timeline } = aTimeline(4);

    expect(seqsIn(timeline, 3)).toEqual([2, 1]);
    expect(seqsIn(timeline, 1)).toEqual([]);
  });

  test("goes on before the number of a task that has left", () => {
    const { timeline, tasks } = aTimeline(5);
    timeline.remove(tasks[2] as Task);

    expect(seqsIn(timeline, 3)).toEqual([2, 1]);
    expect(seqsIn(timeline)).toEqual([5, 4, 2, 1]);
    expect(timeline.size).toBe(4);
  });

  test("keeps its order and its answers while nearly everything leaves, in any order", () => {
    const { timeline, tasks } = aTimeline(500);
    const left = new Set(tasks.map(({ seq }) => seq));

    for (let step = 0; step < 490; step += 1) {
      const task = tasks[(step * 193) % 500] as Task;
      timeline.remove(task);
      left.delete(task.seq);
      if (step % 10 !== 0) continue;
      const expected = [...left].reverse();
      expect(seqsIn(timeline)).toEqual(expected);
      expect(seqsIn(timeline, 250)).toEqual(expected.filter((seq) => seq < 250));
    }
    expect(timeline.size).toBe(10);
  });

  test("takes new tasks after its gaps were squeezed out", () => {
    const { timeline, tasks } = aTimeline(200);
    for (const task of tasks.slice(0, 199)) timeline.remove(task);

    timeline.append(aTask({ seq: 201 }));

    expect(seqsIn(timeline)).toEqual([201, 200]);
  });

  test("finds every task by its id, and nothing by another", () => {
    const ids = ["", "a", "b", "a longer id than is hashed"];
    const timeline = new TaskIndex();
    const tasks = ids.map((id, index) => aTask({ id, seq: index + 1 }));
    for (const task of tasks) timeline.append(task);

    for (const task of tasks) expect(timeline.find(task.id)).toBe(task);
    expect(timeline.find("c")).toBeUndefined();
    expect(timeline.find("another longer id than is hashed")).toBeUndefined();
  });

  test("no longer finds a task that has left, and takes its id again", () => {
    const { timeline, tasks } = aTimeline(2);
    timeline.remove(tasks[0] as Task);
    expect(timeline.find("t1")).toBeUndefined();

    const again = aTask({ id: "t1", seq: 3 });
    timeline.append(again);

    expect(timeline.find("t1")).toBe(again);
  });

  test("tells ids apart that have the same hash, whichever of them leaves", () => {
    // The same end means the same hash.
    const ids = ["first", "second", "third"].map((start) => `${start}-12345678`);
    for (const leaving of ids) {
      const timeline = new TaskIndex();
      const tasks = ids.map((id, index) => aTask({ id, seq: index + 1 }));
      for (const task of tasks) timeline.append(task);
      timeline.remove(tasks[ids.indexOf(leaving)] as Task);

      for (const task of tasks) {
        expect(timeline.find(task.id)).toBe(task.id === leaving ? undefined : task);
      }
      timeline.verify();
    }
  });

  test("finds what is left while nearly everything leaves", () => {
    const { timeline, tasks } = aTimeline(500);
    for (let step = 0; step < 490; step += 1) {
      const task = tasks[(step * 193) % 500] as Task;
      timeline.remove(task);
      expect(timeline.find(task.id)).toBeUndefined();
      timeline.verify();
    }
  });

  test("takes in no id twice", () => {
    const { timeline } = aTimeline(1);

    expect(() => timeline.append(aTask({ id: "t1", seq: 2 }))).toThrow("in the timeline once");
    timeline.verify();
  });

  test("grows and shrinks with what it holds", () => {
    const { timeline, tasks } = aTimeline(10_000);
    expect(timeline.capacity).toBe(16_384);

    for (const task of tasks.splice(100)) timeline.remove(task);

    expect(timeline.capacity).toBeLessThan(1000);
    for (const task of tasks) expect(timeline.find(task.id)).toBe(task);
  });

  test("that finds no memory to grow stays as it was, and grows when there is some", () => {
    const { timeline, tasks } = aTimeline(64);
    const next = aTask({ seq: 65 });

    withMemoryForOne(() => timeline.append(next));

    timeline.verify();
    for (const task of tasks) expect(timeline.find(task.id)).toBe(task);
    expect(timeline.find(next.id)).toBeUndefined();
    timeline.append(next);
    expect(timeline.find(next.id)).toBe(next);
    timeline.verify();
  });

  test("that finds no memory to squeeze out its gaps keeps them until there is some", () => {
    const { timeline, tasks } = aTimeline(200);
    const [last, ...others] = tasks.slice(100, 102);
    for (const task of tasks.slice(0, 100)) timeline.remove(task);

    withMemoryForOne(() => timeline.remove(last as Task));

    for (const task of tasks.slice(101)) expect(timeline.find(task.id)).toBe(task);
    for (const task of others) timeline.remove(task);
    for (const task of tasks.slice(102)) expect(timeline.find(task.id)).toBe(task);
    timeline.verify();
  });

  test("spreads ids of one millisecond, and plain numbers, over its table", () => {
    const numbers = Array.from({ length: 4096 }, (_, number) => `task-${number}`);
    const uuids = Array.from({ length: 4096 }, () => Bun.randomUUIDv7());
    for (const ids of [numbers, uuids]) {
      const timeline = new TaskIndex();
      for (const [index, id] of ids.entries()) timeline.append(aTask({ id, seq: index + 1 }));
      expect(timeline.longestSearch()).toBeLessThan(64);
    }
  });

  test("refuses to let go of a task that has left", () => {
    const { timeline, tasks } = aTimeline(2);
    timeline.remove(tasks[0] as Task);

    expect(() => timeline.remove(tasks[0] as Task)).toThrow(InvariantError);
  });
});

describe("a timeline's verify finds", () => {
  test("a task out of its order", () => {
    const { timeline } = aTimeline(3);

    timeline.append(aTask({ id: "late", seq: 2 }));

    expect(() => timeline.verify()).toThrow("the timeline is in order of arrival");
  });

  test("a task with a wrong index", () => {
    const { timeline, tasks } = aTimeline(3);

    (tasks[1] as Task).line = 2;

    expect(() => timeline.verify()).toThrow("a task knows its index in the timeline");
  });
});
