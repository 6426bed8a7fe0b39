import { describe, expect, test } from "bun:test";
import {
  countersOf,
  FINISHED_STATUSES,
  holderOf,
  isFinished,
  isStep,
  isWaiting,
  TASK_STATUSES,
  type TaskStatus,
} from "../../src/core/status.ts";

/** Every step of the diagram in status.ts. */
const STEPS: readonly (readonly [from: TaskStatus, to: TaskStatus])[] = [
  ["scheduled", "queued"],
  ["queued", "running"],
  ["running", "done"],
  ["running", "failed"],
  ["running", "retrying"],
  ["running", "queued"],
  ["retrying", "queued"],
  ["scheduled", "cancelled"],
  ["queued", "cancelled"],
  ["retrying", "cancelled"],
  ["running", "cancelled"],
  ["failed", "queued"],
  ["cancelled", "queued"],
];

function stepsFrom(status: TaskStatus): TaskStatus[] {
  return TASK_STATUSES.filter((to) => isStep(status, to));
}

describe("TASK_STATUSES", () => {
  test("the statuses come in the order of a task's life", () => {
    expect(TASK_STATUSES).toEqual([
      "scheduled",
      "queued",
      "running",
      "retrying",
      "done",
      "failed",
      "cancelled",
    ]);
  });

  test("a task waits, runs or is finished, and only one of these", () => {
    const running = TASK_STATUSES.filter((status) => !isWaiting(status) && !isFinished(status));

    expect(TASK_STATUSES.filter(isWaiting)).toEqual(["scheduled", "queued", "retrying"]);
    expect(running).toEqual(["running"]);
    expect(TASK_STATUSES.filter(isFinished)).toEqual(["done", "failed", "cancelled"]);
  });

  test("the list of the finished statuses agrees with the predicate", () => {
    expect<readonly TaskStatus[]>(FINISHED_STATUSES).toEqual(TASK_STATUSES.filter(isFinished));
  });
});

describe("isStep", () => {
  test.each(TASK_STATUSES.flatMap((from) => TASK_STATUSES.map((to) => [from, to] as const)))(
    "a task goes from %s to %s only if the diagram says so",
    (from, to) => {
      expect(isStep(from, to)).toBe(STEPS.some(([a, b]) => a === from && b === to));
    },
  );

  test("a word that every object inherits is no step", () => {
    expect(isStep("queued", "constructor" as TaskStatus)).toBe(false);
  });

  test("a new task can reach every status", () => {
    const reached = new Set<TaskStatus>(["scheduled", "queued"]);
    for (const from of reached) for (const to of stepsFrom(from)) reached.add(to);

    expect([...reached].sort()).toEqual([...TASK_STATUSES].sort());
  });

  test("a task that has not finished can always be cancelled", () => {
    const unfinished = TASK_STATUSES.filter((status) => !isFinished(status));

    expect(unfinished.every((status) => isStep(status, "cancelled"))).toBe(true);
  });

  test("a finished task goes on only to the queue, and a done one nowhere", () => {
    const steps = FINISHED_STATUSES.map((status) => [status, ...stepsFrom(status)]);

    expect(steps).toEqual([["done"], ["failed", "queued"], ["cancelled", "queued"]]);
  });
});

describe("holderOf", () => {
  test("ready lists hold queued tasks, retention finished ones and the schedule the rest", () => {
    const holders = TASK_STATUSES.map((status) => [status, holderOf(status)]);

    expect(Object.fromEntries(holders)).toEqual({
      scheduled: "schedule",
      queued: "ready",
      running: "schedule",
      retrying: "schedule",
      done: "retention",
      failed: "retention",
      cancelled: "retention",
    });
  });
});

describe("countersOf", () => {
  test("every status has a counter at zero, and each call makes new ones", () => {
    const counters = countersOf(FINISHED_STATUSES);
    counters.done += 1;

    expect(countersOf(FINISHED_STATUSES)).toEqual({ done: 0, failed: 0, cancelled: 0 });
  });
});
