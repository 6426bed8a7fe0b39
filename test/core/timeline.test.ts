import { describe, expect, test } from "bun:test";
import { InvariantError } from "../../src/core/assert.ts";
import type { Task } from "../../src/core/task.ts";
import { Timeline } from "../../src/core/timeline.ts";
import { aTask, someTasks } from "./builders.ts";

/** A timeline of tasks numbered from 1. */
function aTimeline(count: number): { readonly timeline: Timeline; readonly tasks: Task[] } {
  const timeline = new Timeline();
  const tasks = someTasks(count);
  for (const task of tasks) timeline.append(task);
  return { timeline, tasks };
}

function seqsIn(timeline: Timeline, beforeSeq = Number.POSITIVE_INFINITY): number[] {
  timeline.check();
  return Array.from(timeline.newestFirst(beforeSeq), ({ seq }) => seq);
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

  test("refuses to let go of a task that has left", () => {
    const { timeline, tasks } = aTimeline(2);
    timeline.remove(tasks[0] as Task);

    expect(() => timeline.remove(tasks[0] as Task)).toThrow(InvariantError);
  });
});

describe("a timeline's check finds", () => {
  test("a task out of its order", () => {
    const { timeline } = aTimeline(3);

    timeline.append(aTask({ seq: 2 }));

    expect(() => timeline.check()).toThrow("the timeline is in order of arrival");
  });

  test("a task with a wrong index", () => {
    const { timeline, tasks } = aTimeline(3);

    (tasks[1] as Task).line = 2;

    expect(() => timeline.check()).toThrow("a task knows its index in the timeline");
  });
});
