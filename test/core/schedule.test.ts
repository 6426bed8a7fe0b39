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

/** A task that a remote claim holds for so long after the beginning. */
function leasedUntil(ms: number, seq: number): Task {
  const task = dueAfter(ms, seq);
  const endsAtMs = task.dueAtMs;
  task.lease = {
    lengthMs: ms,
    endsAtMs,
    endsAtWallMs: at(ms).wallMs,
    timeoutAtMs: endsAtMs,
    worker: null,
  };
  return task;
}

function aSchedule(tasks: readonly Task[]): Schedule {
  const schedule = new Schedule();
  for (const task of tasks) schedule.add(task);
  schedule.verify();
  return schedule;
}

describe("Schedule", () => {
  test("a schedule without tasks has none due, ever", () => {
    const schedule = aSchedule([]);

    expect(schedule.due(at(1e12))).toBeUndefined();
    expect(schedule.msToNext(at(0))).toBe(Number.POSITIVE_INFINITY);
    expect(schedule.followsWallClock).toBe(false);
  });

  test("a schedule has a task due from the very millisecond of its time", () => {
    const schedule = aSchedule([dueAfter(100, 1)]);

    expect(schedule.due(at(99))).toBeUndefined();
    expect(schedule.due(at(100))?.seq).toBe(1);
  });

  test("a schedule gives the earliest task first", () => {
    const schedule = aSchedule([dueAfter(100, 1), dueAfter(50, 2)]);

    expect(schedule.due(at(200))?.seq).toBe(2);
  });

  test("a schedule does not care for a jump of the wall clock where a delay is meant", () => {
    const schedule = aSchedule([dueAfter(100, 1)]);

    expect(schedule.due(at(50, 3_600_000))).toBeUndefined();
    expect(schedule.due(at(100, -3_600_000))?.seq).toBe(1);
  });

  test("a schedule follows the wall clock, forward and back, where a time of day is meant", () => {
    const schedule = aSchedule([dueAt(100, 1)]);

    expect(schedule.due(at(200, -3_600_000))).toBeUndefined();
    expect(schedule.due(at(0, 100))?.seq).toBe(1);
    expect(schedule.followsWallClock).toBe(true);
  });

  test("a schedule no longer follows the wall clock once nobody waits for it", () => {
    const task = dueAt(100, 1);
    const schedule = aSchedule([task, dueAfter(100, 2)]);

    schedule.remove(task);

    expect(schedule.followsWallClock).toBe(false);
    expect(schedule.size).toBe(1);
  });

  test("a schedule says how long it is to the next of either clock, and how late it is", () => {
    const schedule = aSchedule([dueAfter(300, 1), dueAt(200, 2)]);

    expect(schedule.msToNext(at(0))).toBe(200);
    expect(schedule.msToNext(at(0, -150))).toBe(300);
    expect(schedule.msToNext(at(310))).toBe(-110);
  });

  test("a schedule counts the tasks of both clocks and those with a lease", () => {
    const schedule = aSchedule([dueAfter(300, 1), dueAt(200, 2), leasedUntil(100, 3)]);

    expect(schedule.size).toBe(3);
    expect(schedule.leases).toBe(1);
  });

  test("a schedule's verify finds a task whose time was changed", () => {
    const task = dueAfter(1, 1);
    const schedule = aSchedule([task, dueAfter(2, 2)]);

    task.dueAtMs = at(3).monoMs;

    expect(() => schedule.verify()).toThrow("no member is due before its parent");
  });
});

describe("a remote claim in a schedule", () => {
  test("a lease is due from the very millisecond of its end, whatever the wall clock says", () => {
    const schedule = aSchedule([leasedUntil(100, 1)]);

    expect(schedule.due(at(99, 3_600_000))).toBeUndefined();
    expect(schedule.due(at(100, -3_600_000))?.seq).toBe(1);
    expect(schedule.msToNext(at(40))).toBe(60);
  });

  test("a suspended lease is never due, and hides nothing else that is", () => {
    const schedule = aSchedule([leasedUntil(100, 1), dueAfter(200, 2), dueAt(300, 3)]);

    schedule.isRemoteSuspended = true;

    expect(schedule.due(at(150))).toBeUndefined();
    expect(schedule.msToNext(at(150))).toBe(50);
    expect(schedule.due(at(200))?.seq).toBe(2);
    expect([schedule.size, schedule.leases]).toEqual([3, 1]);
  });

  test("a schedule with nothing but suspended leases has nothing due, ever", () => {
    const schedule = aSchedule([leasedUntil(100, 1)]);

    schedule.isRemoteSuspended = true;

    expect(schedule.due(at(1e12))).toBeUndefined();
    expect(schedule.msToNext(at(1e12))).toBe(Number.POSITIVE_INFINITY);
  });

  test("a lease that ended while it was suspended is due as soon as it no longer is", () => {
    const schedule = aSchedule([leasedUntil(100, 1)]);
    schedule.isRemoteSuspended = true;

    schedule.isRemoteSuspended = false;

    expect(schedule.due(at(500))?.seq).toBe(1);
    expect(schedule.msToNext(at(500))).toBe(-400);
  });

  test("a suspended lease can be taken out and put in again", () => {
    const task = leasedUntil(100, 1);
    const schedule = aSchedule([task]);
    schedule.isRemoteSuspended = true;

    schedule.remove(task);
    const without = schedule.leases;
    schedule.add(task);

    expect([without, schedule.leases]).toEqual([0, 1]);
    schedule.verify();
  });
});
