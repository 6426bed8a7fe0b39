import { describe, expect, test } from "bun:test";
import { InvariantError } from "../../src/core/assert.ts";
import { ReadyList, SEARCHED_MAX } from "../../src/core/ready-list.ts";
import type { Task } from "../../src/core/task.ts";
import { aQueue, aTask } from "../support/builders.ts";

const QUEUE = aQueue();

/** A line of tasks with these priorities, numbered from 1. */
function aList(priorities: readonly number[]): {
  readonly list: ReadyList;
  readonly tasks: Task[];
} {
  const list = new ReadyList(QUEUE, "loop");
  const tasks = priorities.map((priority, index) =>
    aTask({ queue: QUEUE, priority, seq: index + 1 }),
  );
  for (const task of tasks) list.pushBack(task);
  list.verify();
  return { list, tasks };
}

/** The numbers of all its tasks in turn. */
function takeAll(list: ReadyList): number[] {
  const taken: number[] = [];
  for (let first = list.first(); first !== undefined; first = list.first()) {
    list.remove(first);
    list.verify();
    taken.push(first.seq);
  }
  return taken;
}

function permutationsOf(numbers: readonly number[]): number[][] {
  if (numbers.length === 0) return [[]];
  return numbers.flatMap((first) =>
    permutationsOf(numbers.filter((each) => each !== first)).map((rest) => [first, ...rest]),
  );
}

describe("ReadyList", () => {
  test("an empty list has no first task", () => {
    const { list } = aList([]);

    expect(list.first()).toBeUndefined();
    expect(list.size).toBe(0);
  });

  test("a list gives the higher priority first, and within one the first in", () => {
    const { list } = aList([0, 5, -100, 0, 100, 5, 0]);

    expect(takeAll(list)).toEqual([5, 2, 6, 1, 4, 7, 3]);
  });

  test("a list lets a released task leave before its turn", () => {
    const { list } = aList([0]);
    const released = [5, 6, 7].map((seq) => aTask({ queue: QUEUE, seq }));
    for (const task of released) list.putBack(task);

    list.remove(released[1] as Task);

    expect(list.size).toBe(3);
    expect(takeAll(list)).toEqual([5, 7, 1]);
  });

  test("a list refuses to let go of a task that it does not hold", () => {
    const { list } = aList([0, 0]);

    expect(() => list.remove(aTask({ queue: QUEUE, seq: 2 }))).toThrow(InvariantError);
    expect(list.size).toBe(2);
  });

  test("a list lets a task leave before its turn", () => {
    const { list, tasks } = aList([0, 0, 0]);

    list.remove(tasks[1] as Task);

    expect(list.size).toBe(2);
    expect(takeAll(list)).toEqual([1, 3]);
  });

  test("a list takes tasks again at a priority that was emptied before", () => {
    const { list } = aList([3, 0, -3]);
    takeAll(list);

    for (const priority of [-3, 3, 0])
      list.pushBack(aTask({ queue: QUEUE, priority, seq: 10 + priority }));

    expect(takeAll(list)).toEqual([13, 10, 7]);
  });
});

describe("ReadyList.putBack", () => {
  test("a released task comes before the rest of its priority, and behind higher ones", () => {
    const { list } = aList([1, 0, 0]);

    list.putBack(aTask({ queue: QUEUE, seq: 9 }));

    expect(takeAll(list)).toEqual([1, 9, 2, 3]);
  });

  test("released tasks keep the order in which they were queued, whichever comes back first", () => {
    for (const seqs of permutationsOf([1, 2, 3, 4])) {
      const { list } = aList([]);
      list.pushBack(aTask({ queue: QUEUE, seq: 9 }));

      for (const seq of seqs) {
        list.putBack(aTask({ queue: QUEUE, seq }));
        list.verify();
      }

      expect(takeAll(list)).toEqual([1, 2, 3, 4, 9]);
    }
  });

  test("a released task counts as queued for as long as the task that is now behind it", () => {
    const { list, tasks } = aList([0, 0]);
    for (const task of tasks) task.queuedSinceMs = 100;
    const released = aTask({ queue: QUEUE, seq: 9 });
    released.queuedSinceMs = 500;
    const earlier = aTask({ queue: QUEUE, seq: 8 });
    earlier.queuedSinceMs = 600;

    list.putBack(released);
    list.putBack(earlier);

    expect([released.queuedSinceMs, earlier.queuedSinceMs]).toEqual([100, 100]);
    list.verify();
  });

  test("a released task with nothing behind it is queued from now", () => {
    const { list, tasks } = aList([5]);
    (tasks[0] as Task).queuedSinceMs = 100;
    const released = aTask({ queue: QUEUE, seq: 9 });
    released.queuedSinceMs = 500;

    list.putBack(released);

    expect(released.queuedSinceMs).toBe(500);
    list.verify();
  });
});

describe("ReadyList.firstOf", () => {
  /** A list with so many tasks of another type before the one that is wanted. */
  function aListBehind(count: number): ReadyList {
    const list = new ReadyList(QUEUE, "loop");
    for (let seq = 1; seq <= count; seq += 1) {
      list.pushBack(aTask({ queue: QUEUE, seq, type: "other" }));
    }
    list.pushBack(aTask({ queue: QUEUE, seq: count + 1, type: "wanted" }));
    return list;
  }

  test("a search finds the first task of any of its types, and leaves it", () => {
    const list = new ReadyList(QUEUE, "loop");
    for (const [index, type] of ["a", "b", "c", "b"].entries()) {
      list.pushBack(aTask({ queue: QUEUE, seq: index + 1, type }));
    }

    expect(list.firstOf(["c", "b"], 1)[0]?.seq).toBe(2);
    expect(list.firstOf(["c"], 1)[0]?.seq).toBe(3);
    expect(list.firstOf(["d"], 1)).toEqual([]);
    expect(list.firstOf([], 1)).toEqual([]);
    expect(list.size).toBe(4);
  });

  test("a search goes from the highest priority down, and looks at released tasks first", () => {
    const list = new ReadyList(QUEUE, "loop");
    list.pushBack(aTask({ queue: QUEUE, seq: 1, priority: 0, type: "a" }));
    list.pushBack(aTask({ queue: QUEUE, seq: 2, priority: 5, type: "b" }));
    list.pushBack(aTask({ queue: QUEUE, seq: 4, priority: 5, type: "a" }));
    expect(list.firstOf(["a"], 1)[0]?.seq).toBe(4);

    list.putBack(aTask({ queue: QUEUE, seq: 9, priority: 5, type: "a" }));

    expect(list.firstOf(["a"], 1)[0]?.seq).toBe(9);
  });

  test("a search looks at a thousand tasks and at no more", () => {
    expect(SEARCHED_MAX).toBe(1000);
    expect(aListBehind(999).firstOf(["wanted"], 1)[0]?.seq).toBe(1000);
    expect(aListBehind(1000).firstOf(["wanted"], 1)).toEqual([]);
  });

  test("released tasks, and those of other priorities, count among the thousand", () => {
    const list = aListBehind(998);
    list.putBack(aTask({ queue: QUEUE, seq: 2000, type: "other" }));
    const [before] = list.firstOf(["wanted"], 1);
    list.pushBack(aTask({ queue: QUEUE, seq: 2001, type: "other", priority: 1 }));

    expect(before?.seq).toBe(999);
    expect(list.firstOf(["wanted"], 1)).toEqual([]);
  });
});

describe("ReadyList.oldestSinceMs", () => {
  test("an empty list has no oldest task", () => {
    expect(aList([]).list.oldestSinceMs()).toBe(Number.POSITIVE_INFINITY);
  });

  test("the oldest task is the one that waits longest, of any priority", () => {
    const { list, tasks } = aList([5, 0, 0]);
    for (const [index, sinceMs] of [300, 100, 200].entries()) {
      (tasks[index] as Task).queuedSinceMs = sinceMs;
    }

    expect(list.oldestSinceMs()).toBe(100);
  });

  test("a released task does not make the list look younger", () => {
    const { list, tasks } = aList([0]);
    (tasks[0] as Task).queuedSinceMs = 100;
    const returning = aTask({ queue: QUEUE, seq: 9 });
    returning.queuedSinceMs = 500;

    list.putBack(returning);

    expect(list.oldestSinceMs()).toBe(100);
    list.verify();
  });
});

describe("ReadyList.verify", () => {
  test("verify finds a task ahead of one that waits longer", () => {
    const { list, tasks } = aList([0, 0]);

    (tasks[0] as Task).queuedSinceMs = 9;

    expect(() => list.verify()).toThrow("the task ahead waits no shorter");
  });

  test("verify finds a task of another queue", () => {
    const { list } = aList([0]);

    list.pushBack(aTask({ queue: aQueue({}, "other"), seq: 2 }));

    expect(() => list.verify()).toThrow("a task is in the list of its queue and lane");
  });

  test("verify finds a task of another lane", () => {
    const { list } = aList([0]);

    list.pushBack(aTask({ queue: QUEUE, lane: "thread", seq: 2 }));

    expect(() => list.verify()).toThrow("a task is in the list of its queue and lane");
  });

  test("verify finds a task that is not queued", () => {
    const { list, tasks } = aList([0]);

    (tasks[0] as Task).status = "running";

    expect(() => list.verify()).toThrow("only queued tasks are ready");
  });

  test("verify finds waiting tasks that are not in the order of queueing", () => {
    const { list, tasks } = aList([0, 0]);

    (tasks[0] as Task).order = 9;

    expect(() => list.verify()).toThrow("waiting tasks are in the order of queueing");
  });

  test("verify finds released tasks that are not in the order of queueing", () => {
    const { list } = aList([]);
    const released = [1, 2].map((seq) => aTask({ queue: QUEUE, seq }));
    for (const task of released) list.putBack(task);

    (released[0] as Task).order = 9;

    expect(() => list.verify()).toThrow("released tasks are in the order of queueing");
  });
});
