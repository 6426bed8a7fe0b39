import { describe, expect, test } from "bun:test";
import {
  afterCancel,
  afterFailure,
  afterLoss,
  afterRelease,
  afterRetry,
  afterSettle,
  boundPassed,
  ERRORS_KEPT,
  isRetryable,
  LOSSES_MAX,
  type LossCode,
} from "../../src/core/rules.ts";
import { TASK_STATUSES } from "../../src/core/status.ts";
import type { StateChange, TaskError, TaskState } from "../../src/core/task.ts";
import { aTask, at, BROKEN, DONE, NO_CHANCE, RELEASED } from "../support/builders.ts";

const FENCE = 77;
const SETTINGS = {
  type: "default",
  tags: [],
  priority: 0,
  maxRetries: 2,
  timeoutMs: 30_000,
  lane: "loop",
  backoff: { baseMs: 200, jitterMs: 100, maxMs: 300_000 },
} as const;

const EARLIER: TaskError = { code: "odd", message: "it was odd", attempt: 3, atMs: 1 };
const ERRORS: readonly TaskError[] = Object.freeze([EARLIER]);
const RECEIPT = Object.freeze({ outcome: "failed", status: "retrying", runAtMs: 5 } as const);

/** A running task with a past: every field differs from what a new task has, and nothing of it may be changed. */
function aState(state: Partial<TaskState> = {}): TaskState {
  return Object.freeze({
    status: "running",
    attempt: 4,
    failures: 1,
    losses: 1,
    runAtMs: 5,
    isDueByWall: false,
    startedAtMs: 6,
    finishedAtMs: null,
    result: null,
    progress: "7",
    errors: ERRORS,
    settledFence: 8,
    receipt: RECEIPT,
    ...state,
  });
}

/** What a rule changes of the state above. */
function changesOf(change: StateChange, state: TaskState = aState()): Partial<StateChange> {
  const changed = Object.entries(change).filter(
    ([name, value]) => !Object.is(value, state[name as keyof TaskState]),
  );
  return Object.fromEntries(changed);
}

const CHANGED_FIELDS = [
  "errors",
  "failures",
  "finishedAtMs",
  "losses",
  "receipt",
  "result",
  "runAtMs",
  "settledFence",
  "status",
];

describe("every rule", () => {
  const rules: Readonly<Record<string, (state: TaskState) => StateChange>> = {
    "afterSettle, done": (state) => afterSettle(state, SETTINGS, FENCE, DONE, at(0), NO_CHANCE),
    "afterSettle, failed": (state) => afterSettle(state, SETTINGS, FENCE, BROKEN, at(0), NO_CHANCE),
    "afterSettle, released": (state) =>
      afterSettle(state, SETTINGS, FENCE, RELEASED, at(0), NO_CHANCE),
    afterFailure: (state) => afterFailure(state, SETTINGS, BROKEN, at(0), NO_CHANCE),
    "afterRelease at once": (state) => afterRelease(state, 0, at(0)),
    "afterRelease with a delay": (state) => afterRelease(state, 9, at(0)),
    "afterLoss, the first": (state) => afterLoss({ ...state, losses: 0 }, "crash_loop", at(0)),
    "afterLoss, the last": (state) => afterLoss({ ...state, losses: 2 }, "lease_lost", at(0)),
    afterCancel: (state) => afterCancel(state, at(0)),
    afterRetry,
  };

  test.each(Object.entries(rules))(
    "%s answers the fields of a change and nothing else, also of a task that has more",
    (_, rule) => {
      const task = Object.assign(aTask(), aState());

      expect(Object.keys(rule(aState())).sort()).toEqual(CHANGED_FIELDS);
      expect(rule(task)).toEqual(rule(aState()));
      expect(Object.keys(rule(task)).sort()).toEqual(CHANGED_FIELDS);
    },
  );

  test.each(Object.entries(rules))("%s leaves its input as it is", (_, rule) => {
    const task = Object.assign(aTask(), aState());
    const before = structuredClone({ ...task, queue: null });

    rule(task);

    expect(structuredClone({ ...task, queue: null })).toEqual(before);
  });
});

describe("afterSettle", () => {
  test("a done attempt finishes its task with the result and a receipt", () => {
    const outcome = { kind: "done", result: "42" } as const;

    const change = afterSettle(aState(), SETTINGS, FENCE, outcome, at(9), NO_CHANCE);

    expect(changesOf(change)).toEqual({
      status: "done",
      finishedAtMs: at(9).wallMs,
      result: "42",
      settledFence: FENCE,
      receipt: { outcome: "done", status: "done", runAtMs: null },
    });
  });

  test("a failed attempt gets what afterFailure says, and a receipt with the time of the retry", () => {
    const change = afterSettle(aState(), SETTINGS, FENCE, BROKEN, at(9), NO_CHANCE);

    const runAtMs = at(9 + 400).wallMs;
    expect(change).toEqual({
      ...afterFailure(aState(), SETTINGS, BROKEN, at(9), NO_CHANCE),
      settledFence: FENCE,
      receipt: { outcome: "failed", status: "retrying", runAtMs },
    });
  });

  test("the receipt of a task that has failed for good tells no time of a retry", () => {
    const last = aState({ failures: 2 });

    expect(afterSettle(last, SETTINGS, FENCE, BROKEN, at(9), NO_CHANCE).receipt).toEqual({
      outcome: "failed",
      status: "failed",
      runAtMs: null,
    });
  });

  test("a released attempt puts its task back, costs nothing and leaves the losses", () => {
    const change = afterSettle(aState(), SETTINGS, FENCE, RELEASED, at(9), NO_CHANCE);

    expect(changesOf(change)).toEqual({
      status: "queued",
      settledFence: FENCE,
      receipt: { outcome: "released", status: "queued", runAtMs: null },
    });
  });

  test("an attempt that was released with a delay makes its task wait for that long", () => {
    const outcome = { kind: "released", delayMs: 50 } as const;

    const change = afterSettle(aState(), SETTINGS, FENCE, outcome, at(9), NO_CHANCE);

    expect(changesOf(change)).toEqual({
      status: "retrying",
      runAtMs: at(59).wallMs,
      settledFence: FENCE,
      receipt: { outcome: "released", status: "retrying", runAtMs: at(59).wallMs },
    });
  });

  test("a delay of nothing is a release at once", () => {
    const outcome = { kind: "released", delayMs: 0 } as const;

    expect(afterSettle(aState(), SETTINGS, FENCE, outcome, at(9), NO_CHANCE)).toEqual(
      afterSettle(aState(), SETTINGS, FENCE, RELEASED, at(9), NO_CHANCE),
    );
  });
});

describe("afterFailure", () => {
  const error = { code: BROKEN.code, message: BROKEN.message, attempt: 4, atMs: at(9).wallMs };

  test("a task with retries left waits for the backoff of its failure, and its losses are over", () => {
    expect(changesOf(afterFailure(aState(), SETTINGS, BROKEN, at(9), NO_CHANCE))).toEqual({
      status: "retrying",
      failures: 2,
      losses: 0,
      runAtMs: at(409).wallMs,
      errors: [EARLIER, error],
    });
  });

  test("a task without retries left fails, and its losses are over", () => {
    const last = aState({ failures: 2 });

    expect(changesOf(afterFailure(last, SETTINGS, BROKEN, at(9), NO_CHANCE), last)).toEqual({
      status: "failed",
      failures: 3,
      losses: 0,
      finishedAtMs: at(9).wallMs,
      errors: [EARLIER, error],
    });
  });

  test.each([
    [0, 0, "failed"],
    [1, 0, "retrying"],
    [1, 1, "failed"],
    [100, 99, "retrying"],
    [100, 100, "failed"],
  ] as const)(
    "with %i retries, a task that failed %i times before is %s",
    (max, before, status) => {
      const settings = { ...SETTINGS, maxRetries: max };

      const change = afterFailure(aState({ failures: before }), settings, BROKEN, at(0), NO_CHANCE);

      expect(change.status).toBe(status);
    },
  );

  test("a task that is not to be retried fails with retries left", () => {
    const outcome = { ...BROKEN, retry: { kind: "never" } } as const;

    expect(
      afterFailure(aState({ failures: 0 }), SETTINGS, outcome, at(0), NO_CHANCE),
    ).toMatchObject({
      status: "failed",
      failures: 1,
    });
  });

  test("a wait that the attempt asked for takes the place of the backoff, beyond its cap as well", () => {
    const outcome = { ...BROKEN, retry: { kind: "after", ms: 999_999 } } as const;
    const fullJitter = () => 0.999;

    const change = afterFailure(aState(), SETTINGS, outcome, at(0), fullJitter);

    expect(change.runAtMs).toBe(at(999_999).wallMs);
  });

  test("a wait that the attempt asked for gives no retry that is not left", () => {
    const outcome = { ...BROKEN, retry: { kind: "after", ms: 1 } } as const;

    const change = afterFailure(aState({ failures: 2 }), SETTINGS, outcome, at(0), NO_CHANCE);

    expect(change.status).toBe("failed");
  });

  test("of many errors the last are kept", () => {
    const errors = [1, 2, 3, 4, 5].map((attempt) => ({ ...EARLIER, attempt }));

    const change = afterFailure(aState({ attempt: 6, errors }), SETTINGS, BROKEN, at(0), NO_CHANCE);

    expect(ERRORS_KEPT).toBe(5);
    expect(change.errors.map(({ attempt }) => attempt)).toEqual([2, 3, 4, 5, 6]);
  });
});

describe("afterRelease", () => {
  test("a release changes nothing but the status", () => {
    expect(changesOf(afterRelease(aState(), 0, at(9)))).toEqual({ status: "queued" });
  });

  test("a release with a delay makes the task due that much later", () => {
    expect(changesOf(afterRelease(aState(), 1, at(9)))).toEqual({
      status: "retrying",
      runAtMs: at(10).wallMs,
    });
  });
});

describe("afterLoss", () => {
  const codes: readonly LossCode[] = ["crash_loop", "lease_lost"];

  test("three losses in a row are too many", () => {
    expect(LOSSES_MAX).toBe(3);
  });

  test.each(codes)("the first and the second loss are counted and nothing else (%s)", (code) => {
    for (const losses of [0, 1]) {
      const state = aState({ losses });
      expect(changesOf(afterLoss(state, code, at(9)), state)).toEqual({
        status: "queued",
        losses: losses + 1,
      });
    }
  });

  test.each(codes)("the third loss fails the task with the code of that loss: %s", (code) => {
    const state = aState({ losses: 2 });

    const change = afterLoss(state, code, at(9));

    expect(changesOf(change, state)).toEqual({
      status: "failed",
      losses: 3,
      finishedAtMs: at(9).wallMs,
      errors: [
        EARLIER,
        { code, message: expect.stringContaining("lost 3 times"), attempt: 4, atMs: at(9).wallMs },
      ],
    });
  });

  test("a loss leaves the receipt of the last settle", () => {
    expect(afterLoss(aState(), "lease_lost", at(9))).toMatchObject({
      settledFence: 8,
      receipt: { outcome: "failed", status: "retrying", runAtMs: 5 },
    });
  });
});

describe("afterCancel", () => {
  test("a cancel ends the task and changes nothing else", () => {
    expect(changesOf(afterCancel(aState(), at(9)))).toEqual({
      status: "cancelled",
      finishedAtMs: at(9).wallMs,
    });
  });
});

describe("afterRetry", () => {
  test("a retry by hand gives all retries back, forgets losses and times, and keeps the errors", () => {
    const failed = aState({ status: "failed", failures: 3, losses: 2, finishedAtMs: 9 });

    expect(changesOf(afterRetry(failed), failed)).toEqual({
      status: "queued",
      failures: 0,
      losses: 0,
      runAtMs: null,
      finishedAtMs: null,
    });
  });

  test("only failed and cancelled tasks may be retried by hand", () => {
    expect(TASK_STATUSES.filter(isRetryable)).toEqual(["failed", "cancelled"]);
  });
});

describe("boundPassed", () => {
  const limits = { size: 3, bytes: 100 };
  const held = { tasks: 1, bytes: 60 };

  test.each([
    [2, 40, null],
    [3, 0, "queue_size"],
    [3, 41, "queue_size"],
    [2, 41, "queue_bytes"],
    [0, 0, null],
  ] as const)("%i more tasks of %i bytes in all pass: %p", (tasks, bytes, bound) => {
    expect(boundPassed(limits, held.tasks, held.bytes, tasks, bytes)).toBe(bound);
  });

  test("a full queue has room for nothing but an empty batch", () => {
    const full = { tasks: 3, bytes: 100 };

    expect(boundPassed(limits, full.tasks, full.bytes, 0, 0)).toBeNull();
    expect(boundPassed(limits, full.tasks, full.bytes, 1, 0)).toBe("queue_size");
  });

  test("a queue that was restored with more than it may hold takes nothing", () => {
    expect(boundPassed(limits, 9, 0, 1, 0)).toBe("queue_size");
  });

  test("a size of nothing lets nothing in", () => {
    expect(boundPassed({ size: 0, bytes: 0 }, 0, 0, 1, 0)).toBe("queue_size");
  });
});
