import { describe, expect, test } from "bun:test";
import { InvariantError } from "../../src/core/assert.ts";
import type { Task } from "../../src/core/task.ts";
import { TaskIndex } from "../../src/core/task-index.ts";
import { aTask, someTasks } from "../support/builders.ts";

/** A index of tasks numbered from 1. */
function anIndex(count: number): { readonly index: TaskIndex; readonly tasks: Task[] } {
  const index = new TaskIndex();
  const tasks = someTasks(count);
  for (const task of tasks) index.append(task);
  return { index, tasks };
}

function seqsIn(index: TaskIndex, beforeSeq = Number.POSITIVE_INFINITY): number[] {
  index.verify();
  return Array.from(index.newestFirst(beforeSeq), ({ seq }) => seq);
}

/** Lets a change have memory for one of the two arrays of numbers that it needs. */
function withMemoryForOne(change: () => void): void {
  arraysMadeBy(() => expect(change).toThrow("out of memory"), 1);
}

/** The number of arrays of numbers that a change makes, or asks for beyond `max`. */
function arraysMadeBy(change: () => void, max = Number.POSITIVE_INFINITY): number {
  const real = globalThis.Int32Array;
  let made = 0;
  globalThis.Int32Array = new Proxy(real, {
    construct(target, args) {
      made += 1;
      if (made > max) throw new RangeError("out of memory");
      return Reflect.construct(target, args);
    },
  });
  try {
    change();
  } finally {
    globalThis.Int32Array = real;
  }
  return made;
}

describe("TaskIndex", () => {
  test("an index is empty at first", () => {
    const { index } = anIndex(0);

    expect(index.size).toBe(0);
    expect(seqsIn(index)).toEqual([]);
  });

  test("an index gives the newest task first", () => {
    expect(seqsIn(anIndex(4).index)).toEqual([4, 3, 2, 1]);
  });

  test("an index gives only tasks from before a number", () => {
    const { index } = anIndex(4);

    expect(seqsIn(index, 3)).toEqual([2, 1]);
    expect(seqsIn(index, 1)).toEqual([]);
  });

  test("an index goes on before the number of a task that has left", () => {
    const { index, tasks } = anIndex(5);
    index.remove(tasks[2] as Task);

    expect(seqsIn(index, 3)).toEqual([2, 1]);
    expect(seqsIn(index)).toEqual([5, 4, 2, 1]);
    expect(index.size).toBe(4);
  });

  test("an index keeps its order and its answers while nearly everything leaves, in any order", () => {
    const { index, tasks } = anIndex(500);
    const left = new Set(tasks.map(({ seq }) => seq));

    for (let step = 0; step < 490; step += 1) {
      const task = tasks[(step * 193) % 500] as Task;
      index.remove(task);
      left.delete(task.seq);
      if (step % 10 !== 0) continue;
      const expected = [...left].reverse();
      expect(seqsIn(index)).toEqual(expected);
      expect(seqsIn(index, 250)).toEqual(expected.filter((seq) => seq < 250));
    }
    expect(index.size).toBe(10);
  });

  test("an index takes new tasks after its gaps were squeezed out", () => {
    const { index, tasks } = anIndex(200);
    for (const task of tasks.slice(0, 199)) index.remove(task);

    index.append(aTask({ seq: 201 }));

    expect(seqsIn(index)).toEqual([201, 200]);
  });

  test("an index finds every task by its id, and nothing by another", () => {
    const ids = ["", "a", "b", "a longer id than is hashed"];
    const index = new TaskIndex();
    const tasks = ids.map((id, index) => aTask({ id, seq: index + 1 }));
    for (const task of tasks) index.append(task);

    for (const task of tasks) expect(index.find(task.id)).toBe(task);
    expect(index.find("c")).toBeUndefined();
    expect(index.find("another longer id than is hashed")).toBeUndefined();
  });

  test("an index no longer finds a task that has left, and takes its id again", () => {
    const { index, tasks } = anIndex(2);
    index.remove(tasks[0] as Task);
    expect(index.find("t1")).toBeUndefined();

    const again = aTask({ id: "t1", seq: 3 });
    index.append(again);

    expect(index.find("t1")).toBe(again);
  });

  test("an index tells ids apart that have the same hash, whichever of them leaves", () => {
    // The same end means the same hash.
    const ids = ["first", "second", "third"].map((start) => `${start}-12345678`);
    for (const leaving of ids) {
      const index = new TaskIndex();
      const tasks = ids.map((id, index) => aTask({ id, seq: index + 1 }));
      for (const task of tasks) index.append(task);
      index.remove(tasks[ids.indexOf(leaving)] as Task);

      for (const task of tasks) {
        expect(index.find(task.id)).toBe(task.id === leaving ? undefined : task);
      }
      index.verify();
    }
  });

  test("an index finds what is left while nearly everything leaves", () => {
    const { index, tasks } = anIndex(500);
    for (let step = 0; step < 490; step += 1) {
      const task = tasks[(step * 193) % 500] as Task;
      index.remove(task);
      expect(index.find(task.id)).toBeUndefined();
      index.verify();
    }
  });

  test("an index takes in no id twice", () => {
    const { index } = anIndex(1);

    expect(() => index.append(aTask({ id: "t1", seq: 2 }))).toThrow("an id is indexed once");
    index.verify();
  });

  test("an index grows and shrinks with what it holds", () => {
    const { index, tasks } = anIndex(10_000);
    expect(index.capacity).toBe(16_384);

    for (const task of tasks.splice(100)) index.remove(task);

    expect(index.capacity).toBeLessThan(1000);
    for (const task of tasks) expect(index.find(task.id)).toBe(task);
  });

  test("an index that finds no memory to grow stays as it was, and grows when there is some", () => {
    const { index, tasks } = anIndex(64);
    const next = aTask({ seq: 65 });

    withMemoryForOne(() => index.append(next));

    index.verify();
    for (const task of tasks) expect(index.find(task.id)).toBe(task);
    expect(index.find(next.id)).toBeUndefined();
    index.append(next);
    expect(index.find(next.id)).toBe(next);
    index.verify();
  });

  test("an index that finds no memory to squeeze out its gaps keeps them until there is some", () => {
    const { index, tasks } = anIndex(257);
    const [last, ...others] = tasks.slice(128, 130);
    for (const task of tasks.slice(0, 128)) index.remove(task);

    withMemoryForOne(() => index.remove(last as Task));

    for (const task of tasks.slice(129)) expect(index.find(task.id)).toBe(task);
    for (const task of others) index.remove(task);
    for (const task of tasks.slice(130)) expect(index.find(task.id)).toBe(task);
    index.verify();
  });

  test("an index squeezes out its gaps without new memory when its table has the right size", () => {
    const { index, tasks } = anIndex(200);
    const { capacity } = index;
    for (const task of tasks.slice(0, 100)) index.remove(task);

    expect(arraysMadeBy(() => index.remove(tasks[100] as Task))).toBe(0);

    index.verify();
    expect(index.capacity).toBe(capacity);
    for (const task of tasks.slice(0, 101)) expect(index.find(task.id)).toBeUndefined();
    for (const task of tasks.slice(101)) expect(index.find(task.id)).toBe(task);
  });

  test("an index spreads ids of one millisecond, and plain numbers, over its table", () => {
    const numbers = Array.from({ length: 4096 }, (_, number) => `task-${number}`);
    const uuids = Array.from({ length: 4096 }, () => Bun.randomUUIDv7());
    for (const ids of [numbers, uuids]) {
      const index = new TaskIndex();
      for (const [number, id] of ids.entries()) index.append(aTask({ id, seq: number + 1 }));
      expect(index.longestSearch()).toBeLessThan(64);
    }
  });

  test("an index refuses to let go of a task that has left", () => {
    const { index, tasks } = anIndex(2);
    index.remove(tasks[0] as Task);

    expect(() => index.remove(tasks[0] as Task)).toThrow(InvariantError);
  });
});

describe("TaskIndex.verify", () => {
  test("verify finds a task out of its order", () => {
    const { index } = anIndex(3);

    index.append(aTask({ id: "late", seq: 2 }));

    expect(() => index.verify()).toThrow("the index is in order of arrival");
  });

  test("verify finds a task with a wrong position", () => {
    const { index, tasks } = anIndex(3);

    (tasks[1] as Task).indexPosition = 2;

    expect(() => index.verify()).toThrow("a task knows its position in the index");
  });
});
