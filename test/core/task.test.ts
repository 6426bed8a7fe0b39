import { describe, expect, test } from "bun:test";
import { INITIAL_STATE, settingsOf, viewOf } from "../../src/core/task.ts";
import { aNewTask, aQueue, aTask, at, stateOf } from "../support/builders.ts";

describe("Task", () => {
  test("a task is queued, never started and without errors at first", () => {
    const task = aTask();

    expect(task).toMatchObject({ status: "queued", attempt: 0, failures: 0, errors: [] });
    expect([task.runAtMs, task.startedAtMs, task.finishedAtMs]).toEqual([null, null, null]);
    expect([task.result, task.progress]).toEqual([null, null]);
  });

  test("a task keeps its payload, tags, result, progress and errors in memory", () => {
    const task = aTask({ payloadBytes: 10, tags: ["red", "blue"] });
    task.result = "12345";
    task.progress = "67";
    task.errors = [{ code: "odd", message: "broken", attempt: 1, atMs: 0 }];

    expect(task.retainedBytes).toBe(33);
  });

  test("a task has no claim and is in no structure at first", () => {
    const task = aTask();

    expect([task.fence, task.lease, task.lostClaim]).toEqual([0, null, null]);
    expect([task.position, task.indexPosition]).toEqual([-1, -1]);
  });
});

describe("stateOf", () => {
  test("the state of a new task is the initial state, by value", () => {
    const task = aTask();
    const state = stateOf(task);

    task.status = "running";

    expect(state).toEqual(INITIAL_STATE);
  });
});

describe("settingsOf", () => {
  test("tasks that are treated alike share their settings", () => {
    const first = settingsOf(aNewTask({ id: "a" }), null);

    expect(settingsOf(aNewTask({ id: "b", backoff: first.backoff }), first)).toBe(first);
  });

  test.each([
    { type: "other" },
    { tags: ["red"] },
    { priority: 1 },
    { maxRetries: 9 },
    { timeoutMs: 9 },
    { lane: "remote" },
    { backoff: { baseMs: 1, jitterMs: 1, maxMs: 1 } },
  ] as const)("a task that differs in %j has settings of its own", (other) => {
    const first = settingsOf(aNewTask(), null);

    expect(settingsOf({ ...first, ...other }, first)).toEqual({ ...first, ...other });
  });
});

describe("viewOf", () => {
  test("a view shows the name of the queue and the settings of the task", () => {
    const task = aTask({ queue: aQueue({}, "mail"), type: "send", priority: 3 });

    expect(viewOf(task)).toMatchObject({ queue: "mail", type: "send", priority: 3, claim: null });
  });

  test("a view shows the lease of a remote claim by the wall clock", () => {
    const task = aTask({ lane: "remote" });
    const { monoMs, wallMs } = at(10);
    task.lease = {
      lengthMs: 10,
      endsAtMs: monoMs,
      endsAtWallMs: wallMs,
      timeoutAtMs: monoMs,
      worker: "w",
    };

    expect(viewOf(task).claim).toEqual({ worker: "w", leaseEndsAtMs: wallMs });
  });

  test("a view says nothing of what only the core needs", () => {
    const hidden = ["losses", "isDueByWall", "settledFence", "receipt", "fence", "order", "lane"];

    expect(hidden.filter((name) => name in viewOf(aTask()))).toEqual([]);
  });
});
