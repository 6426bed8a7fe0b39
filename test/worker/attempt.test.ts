import { describe, expect, test } from "bun:test";
import type { AttemptOutcome, Claim, MaybePromise, TaskView } from "../../src/engine/engine.ts";
import { ABORT_GRACE_MS, Attempt, abortError, type StopReason } from "../../src/worker/attempt.ts";
import { isPending, ManualClock, turn } from "../support/manual-clock.ts";

const BYTES_MAX = 100;
const RELEASED: AttemptOutcome = { kind: "released" };
const STOP_REASONS: readonly StopReason[] = ["timeout", "cancelled", "shutdown"];

const TASK: TaskView = {
  id: "task-1",
  type: "default",
  tags: [],
  queue: "default",
  status: "running",
  payload: "null",
  priority: 0,
  attempt: 1,
  failures: 0,
  maxRetries: 0,
  timeoutMs: 1000,
  enqueuedAtMs: 0,
  runAtMs: null,
  startedAtMs: 0,
  finishedAtMs: null,
  result: null,
  progress: null,
  errors: [],
  claim: null,
};
const CLAIM: Claim = { taskId: TASK.id, fence: 1, leaseMs: 1000, leaseEndsAtMs: 1000, task: TASK };

interface Scene {
  readonly attempt: Attempt;
  readonly clock: ManualClock;
}

function anAttempt(): Scene {
  const clock = new ManualClock();
  return { attempt: new Attempt(CLAIM, clock), clock };
}

/** How an attempt ends whose handler does this. */
function run(work: () => unknown): MaybePromise<AttemptOutcome> {
  return anAttempt().attempt.run(work, BYTES_MAX);
}

function handlerError(message: string): AttemptOutcome {
  return { kind: "failed", code: "handler_error", message, retry: { kind: "backoff" } };
}

/**
 * A name that lint takes for a mistake when it stands in an object; here thenables are what it is
 * about.
 */
const THEN = "then";

type Then = (resolve: (value: unknown) => void, reject: (thrown: unknown) => void) => void;

function withThen(value: object, then: Then): object {
  return Object.defineProperty(value, THEN, { value: then });
}

function fail(): never {
  throw new Error("it broke");
}

describe("the outcome of an attempt", () => {
  test("comes at once from a handler that returns, without a promise", () => {
    expect(run(() => 7)).toEqual({ kind: "done", result: "7" });
  });

  test("comes at once from a handler that throws, without a promise", () => {
    expect(run(fail)).toEqual(handlerError("it broke"));
  });

  test("comes later from a handler that resolves", async () => {
    const running = run(async () => 7);

    expect(running).toBeInstanceOf(Promise);
    expect(await running).toEqual({ kind: "done", result: "7" });
  });

  test("comes later from a handler that rejects", async () => {
    expect(await run(async () => fail())).toEqual(handlerError("it broke"));
  });

  test.each<[string, unknown]>([
    ["a symbol", Symbol("x")],
    ["a function", () => 1],
    ["a BigInt", 1n],
  ])("is a failure when a handler resolves to %s", async (_, value) => {
    expect(await run(async () => value)).toMatchObject({ kind: "failed", code: "invalid_result" });
  });

  test("is the value of a thenable that is no promise", async () => {
    expect(await run(() => withThen({}, (resolve) => resolve(7)))).toEqual({
      kind: "done",
      result: "7",
    });
  });

  test.each<[string, object, string]>([
    ["throws", withThen({}, fail), "it broke"],
    ["is a getter that throws", Object.defineProperty({}, THEN, { get: fail }), "it broke"],
    ["rejects", withThen({}, (_, reject) => reject("no")), "no"],
  ])("is a failure when a thenable's then %s", async (_, thenable, message) => {
    expect(await run(() => thenable)).toEqual(handlerError(message));
  });

  test("is the first that a thenable gives, however often it settles", async () => {
    const thenable = withThen({}, (resolve, reject) => {
      resolve(1);
      resolve(2);
      reject(new Error("late"));
      throw new Error("later");
    });

    expect(await run(() => thenable)).toEqual({ kind: "done", result: "1" });
  });

  test.each<[string, unknown]>([
    ["gives nothing", () => undefined],
    ["throws", fail],
    ["is no function", 7],
  ])("is the value of a promise whose own then %s", async (_, then) => {
    const promise = Object.defineProperty(Promise.resolve(7), THEN, { value: then });

    expect(await run(() => promise)).toEqual({ kind: "done", result: "7" });
  });

  test("is a failure when the constructor of a promise throws", async () => {
    const promise = Object.defineProperty(Promise.resolve(7), "constructor", { get: fail });

    expect(await run(() => promise)).toEqual(handlerError("it broke"));
  });

  test("is the value of a promise, however deep it is wrapped", async () => {
    expect(await run(() => Promise.resolve(Promise.resolve(Promise.resolve(7))))).toEqual({
      kind: "done",
      result: "7",
    });
  });
});

describe("stop", () => {
  test.each(STOP_REASONS)("aborts the signal with the reason: %s", (reason) => {
    const { attempt } = anAttempt();
    const { signal } = attempt;

    attempt.stop(reason);

    expect(signal.aborted).toBe(true);
    expect(signal.reason).toEqual(abortError(reason));
    expect(attempt.stopReason).toBe(reason);
  });

  test("aborts a signal that is read only afterwards", () => {
    const { attempt } = anAttempt();

    attempt.stop("cancelled");

    expect(attempt.signal.aborted).toBe(true);
    expect(attempt.signal.reason.message).toBe("cancelled");
  });

  test("keeps the first reason", () => {
    const { attempt } = anAttempt();
    attempt.stop("timeout");

    attempt.stop("shutdown");

    expect(attempt.stopReason).toBe("timeout");
    expect(attempt.signal.reason.message).toBe("timeout");
  });

  test("releases the attempt as soon as its handler ends, whatever it ends with", async () => {
    const { attempt, clock } = anAttempt();
    const running = attempt.run(() => aborted(attempt.signal), BYTES_MAX);

    attempt.stop("cancelled");

    expect(await running).toEqual(RELEASED);
    expect(clock.armed).toBe(0);
  });

  test("releases the attempt also when its handler returns a value", async () => {
    const { attempt } = anAttempt();
    const handler = Promise.withResolvers<number>();
    const running = attempt.run(() => handler.promise, BYTES_MAX);

    attempt.stop("timeout");
    handler.resolve(7);

    expect(await running).toEqual(RELEASED);
  });

  test("waits for a handler that does not stop until the grace is over, and no longer", async () => {
    const { attempt, clock } = anAttempt();
    const running = Promise.resolve(attempt.run(() => new Promise(() => undefined), BYTES_MAX));
    attempt.stop("timeout");

    await clock.advance(ABORT_GRACE_MS - 1);
    expect(await isPending(running)).toBe(true);
    await clock.advance(1);

    expect(await running).toEqual(RELEASED);
  });

  test("leaves no rejection unhandled when the handler rejects after the grace", async () => {
    const { attempt, clock } = anAttempt();
    const handler = Promise.withResolvers<never>();
    const running = attempt.run(() => handler.promise, BYTES_MAX);
    attempt.stop("timeout");
    await clock.advance(ABORT_GRACE_MS);

    // A rejection that nobody handles fails the test by itself.
    handler.reject(new Error("late"));
    await turn();

    expect(await running).toEqual(RELEASED);
  });

  test("arms no timer when the handler has ended already", async () => {
    const { attempt, clock } = anAttempt();
    await attempt.run(async () => 7, BYTES_MAX);

    attempt.stop("timeout");

    expect(clock.armed).toBe(0);
  });
});

test("a timeout aborts with a TimeoutError, and everything else with an AbortError", () => {
  expect(STOP_REASONS.map((reason) => abortError(reason).name)).toEqual([
    "TimeoutError",
    "AbortError",
    "AbortError",
  ]);
});

/** Rejects with the reason of a signal once it aborts. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}
