import { describe, expect, test } from "bun:test";
import { Schedule } from "../../src/core/schedule.ts";
import type { Task } from "../../src/core/task.ts";
import { aTask, at } from "../support/builders.ts";

/** A task that is due so long after the beginning, by the monotonic clock. */
function dueAfter(ms: number, seq: number): Task {
  const task = aTask({ seq });
  task.dueAtMs = at(ms).monoMs;
  return task;
}

/** A task that is due so long after the beginning, by the wall clock. */
function dueAt(ms: number, seq: number): Task {
  const task = aTask({ seq });
  task.dueAtMs = at(ms).wallMs;
  task.isDueByWall = true;
  return task;
}

function aSchedule(tasks: readonly Task[]): Schedule {
  const schedule = new Schedule();
  for (const task of tasks) schedule.add(task);
  schedule.verify();
  return schedule;
}

describe("a schedule", () => {
  test("without tasks has none due, ever", () => {
    const schedule = aSchedule([]);

    expect(schedule.due(at(1e12))).toBeUndefined();
    expect(schedule.msToNext(at(0))).toBe(Number.POSITIVE_INFINITY);
    expect(schedule.followsWallClock).toBe(false);
  });

  test("has a task due from the very millisecond of its time", () => {
    const schedule = aSchedule([dueAfter(100, 1)]);

    expect(schedule.due(at(99))).toBeUndefined();
    expect(schedule.due(at(100))?.seq).toBe(1);
  });

  test("gives the earliest task first", () => {
    const schedule = aSchedule([dueAfter(100, 1), dueAfter(50, 2)]);

    expect(schedule.due(at(200))?.seq).toBe(2);
  });

  test("does not care for a jump of the wall clock where a delay is meant", () => {
    const schedule = aSchedule([dueAfter(100, 1)]);

    expect(schedule.due(at(50, 3_600_000))).toBeUndefined();
    expect(schedule.due(at(100, -3_600_000))?.seq).toBe(1);
  });

  test("follows the wall clock, forward and back, where a time of day is meant", () => {
    const schedule = aSchedule([dueAt(100, 1)]);

    expect(schedule.due(at(200, -3_600_000))).toBeUndefined();
    expect(schedule.due(at(0, 100))?.seq).toBe(1);
    expect(schedule.followsWallClock).toBe(true);
  });

  test("no longer follows the wall clock once nobody waits for it", () => {
    const task = dueAt(100, 1);
    const schedule = aSchedule([task, dueAfter(100, 2)]);

    schedule.remove(task);

    expect(schedule.followsWallClock).toBe(false);
    expect(schedule.size).toBe(1);
  });

  test("says how long it is to the next of either clock, and how late it is", () => {
    const schedule = aSchedule([dueAfter(300, 1), dueAt(200, 2)]);

    expect(schedule.msToNext(at(0))).toBe(200);
    expect(schedule.msToNext(at(0, -150))).toBe(300);
    expect(schedule.msToNext(at(310))).toBe(-110);
  });

  test("counts the tasks of both clocks", () => {
    expect(aSchedule([dueAfter(300, 1), dueAt(200, 2)]).size).toBe(2);
  });

  test("finds in its check a task whose time was changed", () => {
    const task = dueAfter(1, 1);
    const schedule = aSchedule([task, dueAfter(2, 2)]);

    task.dueAtMs = at(3).monoMs;

    expect(() => schedule.verify()).toThrow("no member is due before its parent");
  });
});
