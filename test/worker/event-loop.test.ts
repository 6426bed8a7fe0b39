import { describe, expect, test } from "bun:test";
import type { EnqueueRequest, TaskView } from "../../src/engine/engine.ts";
import { createMemoryEngine } from "../../src/engine/memory/engine.ts";
import { silentLog } from "../../src/log.ts";
import { runOnEventLoop } from "../../src/worker/event-loop.ts";
import {
  defineHandlers,
  type HandlerContext,
  type HandlerFunction,
} from "../../src/worker/handlers/define.ts";
import { NonRetryableError, RetryAfterError } from "../../src/worker/handlers/errors.ts";
import { Pool } from "../../src/worker/pool.ts";
import { EngineHarness, someSettings } from "../support/engine-harness.ts";
import { ManualClock, turn } from "../support/manual-clock.ts";

/** An engine in which tasks of type `default` are worked on by this handler. */
function aHarness(handler: HandlerFunction, loops = 1): EngineHarness {
  const clock = new ManualClock();
  const engine = createMemoryEngine(someSettings(clock));
  const run = runOnEventLoop({
    engine,
    handlers: defineHandlers({ default: handler }),
    resultBytesMax: 100,
    progressBytesMax: 100,
    log: silentLog,
  });
  const harness = new EngineHarness(engine, clock);
  new Pool({ engine, lane: "loop", run, loops, clock }).start();
  return harness;
}

/** A task that this handler has worked on to its end. */
async function finished(
  handler: HandlerFunction,
  request: Partial<EnqueueRequest> = {},
): Promise<TaskView | undefined> {
  const harness = aHarness(handler);
  return harness.poll(await harness.enqueue(request));
}

describe("a handler on the event loop", () => {
  test("gets the payload, and its result becomes the result of the task", async () => {
    const payload = JSON.parse('{ "to": ["ü", null], "__proto__": 7 }');

    const task = await finished((given) => ({ given }), { payload });

    expect(task).toMatchObject({
      status: "done",
      result: '{"given":{"to":["ü",null],"__proto__":7}}',
    });
  });

  test("gets a fresh payload in every attempt, whatever an earlier one changed in it", async () => {
    const seen: string[] = [];
    const harness = aHarness((payload) => {
      const list = payload as number[];
      seen.push(JSON.stringify(list));
      list.push(7);
      if (seen.length === 1) throw new Error("again");
    });
    const id = await harness.enqueue({ payload: [1] });
    await turn();
    await harness.clock.advance(200);

    expect(await harness.poll(id)).toMatchObject({ status: "done", payload: "[1]" });
    expect(seen).toEqual(["[1]", "[1]"]);
  });

  test("sees its task and the number of the attempt", async () => {
    let told: HandlerContext | undefined;
    const task = await finished(
      (_, context) => {
        told = context;
      },
      { queue: "mail", maxRetries: 5 },
    );

    expect(told).toMatchObject({
      id: task?.id ?? "",
      type: "default",
      queue: "mail",
      attempt: 1,
      maxRetries: 5,
    });
  });

  test("shows its progress while it runs", async () => {
    const end = Promise.withResolvers<void>();
    const harness = aHarness(async (_, { progress }) => {
      progress({ done: 1 });
      await end.promise;
    });
    const id = await harness.enqueue();
    await turn();
    expect(await harness.task(id)).toMatchObject({ status: "running", progress: '{"done":1}' });

    end.resolve();

    expect(await harness.poll(id)).toMatchObject({ status: "done", progress: '{"done":1}' });
  });

  test("shows no progress once its attempt is over", async () => {
    let late: (value: unknown) => void = () => undefined;
    const harness = aHarness((_, { progress }) => {
      late = progress;
    });
    const id = await harness.enqueue();
    await harness.poll(id);

    late("late");

    expect(await harness.task(id)).toMatchObject({ progress: null });
  });

  test("fails its attempt with a progress that is not JSON", async () => {
    const task = await finished((_, { progress }) => progress(10n), { maxRetries: 0 });

    expect(task?.errors).toMatchObject([
      { code: "handler_error", message: expect.stringContaining("the progress is invalid") },
    ]);
  });

  test("fails the task at once with a NonRetryableError", async () => {
    const task = await finished(
      () => {
        throw new NonRetryableError("no such customer");
      },
      { maxRetries: 5 },
    );

    expect(task).toMatchObject({
      status: "failed",
      attempt: 1,
      errors: [{ message: "no such customer" }],
    });
  });

  test("sets the time of its next attempt with a RetryAfterError", async () => {
    const harness = aHarness(() => {
      throw new RetryAfterError(5000);
    });
    const id = await harness.enqueue();
    await turn();

    const { status, runAtMs } = await harness.task(id);

    expect({ status, runAtMs }).toEqual({
      status: "retrying",
      runAtMs: harness.clock.wallMs + 5000,
    });
  });

  test("gets no more attempts than the task has, whatever time it sets", async () => {
    const task = await finished(
      () => {
        throw new RetryAfterError(5000);
      },
      { maxRetries: 0 },
    );

    expect(task).toMatchObject({ status: "failed", attempt: 1 });
  });

  test("learns of its timeout from its signal", async () => {
    const reasons: unknown[] = [];
    const harness = aHarness(async (_, { signal }) => {
      signal.addEventListener("abort", () => reasons.push(signal.reason.name));
      await new Promise(() => undefined);
    });
    const id = await harness.enqueue({ timeoutMs: 100, maxRetries: 0 });
    await turn();

    await harness.clock.advance(100);
    await turn();

    expect(reasons).toEqual(["TimeoutError"]);
    expect(await harness.task(id)).toMatchObject({
      status: "failed",
      errors: [{ code: "timeout" }],
    });
  });

  test("can't change its task by a result after its timeout", async () => {
    const end = Promise.withResolvers<string>();
    const harness = aHarness(() => end.promise);
    const id = await harness.enqueue({ timeoutMs: 100, maxRetries: 0 });
    await turn();
    await harness.clock.advance(100);

    end.resolve("late");
    await turn();

    expect(await harness.task(id)).toMatchObject({ status: "failed", result: null });
  });
});

test("a task without a handler fails at once, whatever retries it has", async () => {
  const task = await finished(() => undefined, { type: "nobody.does", maxRetries: 5 });

  expect(task).toMatchObject({
    status: "failed",
    attempt: 1,
    errors: [{ code: "no_handler", message: "no handler for type nobody.does" }],
  });
});

test.each(["__proto__", "constructor", "toString"])(
  "the type %s has no handler unless one is defined",
  async (type) => {
    expect(await finished(() => undefined, { type, maxRetries: 0 })).toMatchObject({
      errors: [{ code: "no_handler" }],
    });
  },
);
