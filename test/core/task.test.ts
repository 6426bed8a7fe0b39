import { describe, expect, test } from "bun:test";
import {
  isFinished,
  isStep,
  isWaiting,
  TASK_STATUSES,
  type TaskStatus,
} from "../../src/core/task.ts";
import { aQueue, aTask } from "../support/builders.ts";

function stepsFrom(status: TaskStatus): TaskStatus[] {
  return TASK_STATUSES.filter((to) => isStep(status, to));
}

describe("a status", () => {
  test("waits, runs or is finished, and only one of these", () => {
    const waiting = TASK_STATUSES.filter(isWaiting);
    const finished = TASK_STATUSES.filter(isFinished);

    expect(waiting).toEqual(["scheduled", "queued", "retrying"]);
    expect(finished).toEqual(["done", "failed", "cancelled"]);
  });

  test("is left by a finished task only for the queue, and by a done one never", () => {
    const steps = TASK_STATUSES.filter(isFinished).map((status) => [status, ...stepsFrom(status)]);

    expect(steps).toEqual([["done"], ["failed", "queued"], ["cancelled", "queued"]]);
  });

  test("can be reached by a new task, whichever it is", () => {
    const reached = new Set<TaskStatus>(["scheduled", "queued"]);
    for (const from of reached) for (const to of stepsFrom(from)) reached.add(to);

    expect([...reached].sort()).toEqual([...TASK_STATUSES].sort());
  });

  test("of a task that has not finished can always become cancelled", () => {
    const unfinished = TASK_STATUSES.filter((status) => !isFinished(status));

    expect(unfinished.every((status) => isStep(status, "cancelled"))).toBe(true);
  });
});

describe("a task", () => {
  test("is queued, never started and without errors at first", () => {
    const task = aTask();

    expect(task).toMatchObject({ status: "queued", attempt: 0, failures: 0, errors: [] });
    expect([task.runAtMs, task.startedAtMs, task.finishedAtMs]).toEqual([null, null, null]);
    expect([task.result, task.progress]).toEqual([null, null]);
  });

  test("is in the queue that is its home", () => {
    expect(aTask({ queue: aQueue({}, "mail") }).queue).toBe("mail");
  });

  test("keeps its payload, result, progress and errors in memory", () => {
    const task = aTask({ payloadBytes: 10 });
    task.result = "12345";
    task.progress = "67";
    task.errors = [{ code: "odd", message: "broken", attempt: 1, atMs: 0 }];

    expect(task.retainedBytes).toBe(26);
  });
});
