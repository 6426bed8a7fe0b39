import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { resolve } from "node:path";
import { type Config, configOf } from "../../src/config.ts";
import type { Engine, EnqueueRequest, TaskView } from "../../src/engine/engine.ts";
import { type Log, silentLog } from "../../src/log.ts";
import { createLog } from "../../src/log-output.ts";
import { HandlersError, type Runtime, startRuntime } from "../../src/runtime.ts";
import {
  defineHandlers,
  type HandlerFunction,
  type Handlers,
} from "../../src/worker/handlers/define.ts";

// Threads take their time to load when other tests keep the cores busy.
setDefaultTimeout(60_000);

/** Longer than any test waits. */
const LONG_MS = 3_600_000;

const NEVER = new AbortController().signal;

/** A runtime that stops at the end of a test, whatever that has left behind. */
class Running implements AsyncDisposable {
  readonly runtime: Runtime;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  get engine(): Engine {
    return this.runtime.engine;
  }

  async enqueue(request: Partial<EnqueueRequest> = {}): Promise<string> {
    const answer = await this.engine.enqueue([{ payload: null, ...request }]);
    if (answer.kind !== "accepted") throw new Error(answer.kind);
    return answer.receipts[0]?.id ?? "";
  }

  /** A task once it has finished. */
  async finished(id: string): Promise<TaskView | undefined> {
    return this.engine.waitFor(id, LONG_MS, NEVER);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.runtime.stop();
  }
}

async function start(
  options: Partial<Config> = {},
  handlers: Handlers | null = null,
  log: Log = silentLog,
): Promise<Running> {
  const config = configOf({ failureRate: 0, shutdownGraceMs: 0, ...options });
  return new Running(await startRuntime(config, handlers, log, { hasHttp: true }));
}

function startWith(handler: HandlerFunction, options: Partial<Config> = {}): Promise<Running> {
  return start(options, defineHandlers({ default: handler }));
}

/** A log, and the events that it heard. */
function aLog(): { readonly log: Log; readonly events: Record<string, unknown>[] } {
  const events: Record<string, unknown>[] = [];
  const write = (line: string): unknown => events.push(JSON.parse(line));
  return { log: createLog({ level: "info", isForPeople: false, write }), events };
}

/** A handler that tells when it runs, and runs until the test lets it end. */
class Gate {
  readonly #entered = Promise.withResolvers<AbortSignal>();
  readonly #left = Promise.withResolvers<void>();

  readonly handler: HandlerFunction = async (_, { signal }) => {
    this.#entered.resolve(signal);
    await this.#left.promise;
  };

  /** Resolves with the handler's signal once it runs. */
  get entered(): Promise<AbortSignal> {
    return this.#entered.promise;
  }

  open(): void {
    this.#left.resolve();
  }
}

describe("what runs the tasks", () => {
  test("is the simulated handler when there are no others", async () => {
    await using running = await start({ failureRate: 1, maxRetries: 0 });

    expect(running.runtime.handlers).toBe("simulated, failure rate 1");
    expect(await running.finished(await running.enqueue({ type: "any.type" }))).toMatchObject({
      status: "failed",
      errors: [{ code: "simulated_failure" }],
    });
  });

  test("are the handlers that were given", async () => {
    const handlers = defineHandlers({ a: () => 7, b: () => 8 });
    await using running = await start({}, handlers);

    expect(running.runtime.handlers).toBe("given: a, b");
    expect(await running.finished(await running.enqueue({ type: "b" }))).toMatchObject({
      status: "done",
      result: "8",
    });
  });

  test("are the handlers of a module, in threads where they ask for it", async () => {
    await using running = await start({ handlers: "test/fixtures/threads.ts", threads: 1 });

    expect(running.runtime.handlers).toStartWith(
      `${resolve("test/fixtures/threads.ts")}: returns, facts, `,
    );
    expect(await running.finished(await running.enqueue({ type: "returns" }))).toMatchObject({
      result: '{"payload":null,"isMainThread":false}',
    });
  });

  test("is bounded by the configured sizes, and those that handlers give their queues", async () => {
    const gate = new Gate();
    const handlers = defineHandlers(
      { default: { handler: gate.handler } },
      { queues: { small: { size: 1 } } },
    );
    await using running = await start({ workers: 1, queueSize: 2 }, handlers);
    await running.enqueue();
    await gate.entered;

    const answers = ["small", "small", "large", "large", "large"].map((queue) =>
      running.engine.enqueue([{ payload: null, queue }]),
    );

    expect(await Promise.all(answers)).toMatchObject([
      { kind: "accepted" },
      { kind: "refused", bound: "queue_size" },
      { kind: "accepted" },
      { kind: "accepted" },
      { kind: "refused", bound: "queue_size" },
    ]);
  });

  test("gives tasks the configured retries, backoff and time", async () => {
    const options = { maxRetries: 1, retryBaseMs: 0, retryJitterMs: 0, taskTimeoutMs: 777 };
    await using running = await startWith(() => {
      throw new Error("always");
    }, options);

    expect(await running.finished(await running.enqueue())).toMatchObject({
      status: "failed",
      attempt: 2,
      maxRetries: 1,
      timeoutMs: 777,
    });
  });
});

describe("a runtime does not start", () => {
  /** What a runtime says that has to refuse to start. */
  const refusalOf = async (options: Partial<Config>, handlers?: Handlers): Promise<string> => {
    try {
      await start(options, handlers);
    } catch (error) {
      if (error instanceof HandlersError) return error.message;
      throw error;
    }
    throw new Error("it started");
  };

  test("with a module that can't be loaded", async () => {
    expect(await refusalOf({ handlers: "test/fixtures/nowhere.ts" })).toStartWith(
      `${resolve("test/fixtures/nowhere.ts")} can't be loaded: `,
    );
  });

  test("with handlers for threads that are in no module", async () => {
    const handlers = defineHandlers({ a: { handler: () => 7, isolation: "thread" } });

    expect(await refusalOf({}, handlers)).toStartWith(
      'a has isolation "thread": pass the path of the handlers module',
    );
  });

  test("with a module that loads everywhere but in a thread", async () => {
    expect(await refusalOf({ handlers: "test/fixtures/no-thread.ts", threads: 1 })).toBe(
      `in a thread: ${resolve("test/fixtures/no-thread.ts")} can't be loaded: not in here`,
    );
  });
});

describe("a runtime that stops", () => {
  test("takes nothing more", async () => {
    const { runtime, engine } = await start();

    await runtime.stop();

    expect(await engine.enqueue([{ payload: null }])).toEqual({ kind: "stopping" });
  });

  test("finishes what runs and what waits within the grace", async () => {
    const gate = new Gate();
    const running = await startWith(gate.handler, { workers: 1, shutdownGraceMs: LONG_MS });
    const ids = [await running.enqueue(), await running.enqueue(), await running.enqueue()];
    await gate.entered;

    const stopping = running.runtime.stop();
    gate.open();

    expect(await stopping).toEqual({ unfinished: 0, areLost: true });
    for (const id of ids) expect(await running.engine.find(id)).toMatchObject({ status: "done" });
  });

  test("aborts what still runs when the grace is over, and says what is left", async () => {
    const gate = new Gate();
    const running = await startWith(gate.handler, { workers: 1, shutdownGraceMs: 0 });
    const ids = [await running.enqueue(), await running.enqueue()];
    const signal = await gate.entered;

    const report = await running.runtime.stop();

    expect(report).toEqual({ unfinished: 2, areLost: true });
    expect(signal.reason.message).toBe("shutdown");
    for (const id of ids) expect(await running.engine.find(id)).toMatchObject({ status: "queued" });
  });

  test("ends the threads with what they hold", async () => {
    const opened = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    const listener = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open: () => opened.resolve(),
        close: () => closed.resolve(),
        data: () => undefined,
      },
    });
    const running = await start({ handlers: "test/fixtures/threads.ts", threads: 1 });
    await running.finished(
      await running.enqueue({ type: "leaves-a-connection", payload: listener.port }),
    );
    await opened.promise;

    await running.runtime.stop();

    await closed.promise;
    listener.stop();
  });

  test("is not held up by a thread that blocks", async () => {
    const started = Promise.withResolvers<void>();
    const log = { ...silentLog, info: (event: string) => event === "started" && started.resolve() };
    const running = await start({ handlers: "test/fixtures/threads.ts", threads: 1 }, null, log);
    await running.enqueue({ type: "blocks" });
    await started.promise;

    expect(await running.runtime.stop()).toEqual({ unfinished: 1, areLost: true });
  });

  test("closes the doors after the last task and before the engine", async () => {
    const gate = new Gate();
    const running = await startWith(gate.handler, { shutdownGraceMs: LONG_MS });
    const id = await running.enqueue();
    await gate.entered;
    const { log, events } = aLog();

    const stopping = running.runtime.stop(async () => {
      log.info("doors", { status: (await running.engine.find(id))?.status });
    });
    gate.open();
    await stopping;

    expect(events).toMatchObject([{ event: "doors", status: "done" }]);
  });

  test("stops once, and gives every later call the same answer", async () => {
    let closed = 0;
    const { runtime } = await start();
    const doors = async (): Promise<void> => {
      closed += 1;
    };

    const reports = await Promise.all([runtime.stop(doors), runtime.stop(doors)]);

    expect(reports[0]).toBe(reports[1] as (typeof reports)[0]);
    expect(closed).toBe(1);
  });

  test("tells in the log what finished, what was interrupted and what is left", async () => {
    const { log, events } = aLog();
    const gate = new Gate();
    const handlers = defineHandlers({ default: gate.handler });
    const running = await start({ workers: 1, shutdownGraceMs: 0 }, handlers, log);
    await running.enqueue();
    await running.enqueue();
    await gate.entered;

    await running.runtime.stop();

    expect(events).toMatchObject([
      { level: "info", event: "stopping", grace_ms: 0 },
      { level: "warn", event: "stopped", finished: 0, interrupted: 1, unfinished: 2 },
    ]);
  });

  test("tells in the log, without a warning, that nothing is left", async () => {
    const { log, events } = aLog();
    const gate = new Gate();
    const handlers = defineHandlers({ default: gate.handler });
    const running = await start({ shutdownGraceMs: LONG_MS }, handlers, log);
    await running.enqueue();
    await gate.entered;

    const stopping = running.runtime.stop();
    gate.open();
    await stopping;

    expect(events.at(-1)).toMatchObject({
      level: "info",
      event: "stopped",
      finished: 1,
      unfinished: 0,
    });
  });
});
