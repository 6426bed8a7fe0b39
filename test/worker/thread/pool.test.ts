import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Engine, EnqueueRequest, TaskView } from "../../../src/engine/engine.ts";
import { createMemoryEngine } from "../../../src/engine/memory/engine.ts";
import type { Log, LogFields } from "../../../src/log.ts";
import { ABORT_GRACE_MS } from "../../../src/worker/attempt.ts";
import { Pool } from "../../../src/worker/pool.ts";
import { LINES_MAX } from "../../../src/worker/thread/log-room.ts";
import { ThreadPool } from "../../../src/worker/thread/pool.ts";
import { EngineHarness, someSettings } from "../../support/engine-harness.ts";
import { ManualClock, turn } from "../../support/manual-clock.ts";

const HANDLERS = "test/fixtures/threads.ts";

// Threads take their time to load when other tests keep the cores busy.
setDefaultTimeout(60_000);

/** A log that can be waited for. */
class HeardLog implements Log {
  readonly isDebug = false;
  readonly #heard: { readonly event: string; readonly fields: LogFields }[] = [];
  #onEvent = Promise.withResolvers<void>();

  readonly debug = (event: string, fields: LogFields = {}): void => this.#note(event, fields);
  readonly info = this.debug;
  readonly warn = this.debug;
  readonly error = this.debug;

  /** The fields of the next event of this name that no one has taken yet. */
  async next(event: string): Promise<LogFields> {
    while (true) {
      const index = this.#heard.findIndex((each) => each.event === event);
      const [found] = index === -1 ? [] : this.#heard.splice(index, 1);
      if (found !== undefined) return found.fields;
      await this.#onEvent.promise;
    }
  }

  /** The fields of every event of this name so far. */
  all(event: string): readonly LogFields[] {
    return this.#heard.filter((each) => each.event === event).map(({ fields }) => fields);
  }

  #note(event: string, fields: LogFields): void {
    this.#heard.push({ event, fields });
    this.#onEvent.resolve();
    this.#onEvent = Promise.withResolvers();
  }
}

class ThreadHarness {
  readonly log = new HeardLog();
  readonly clock = new ManualClock();
  readonly engine: Engine;
  readonly engineHarness: EngineHarness;
  readonly threads: ThreadPool;
  readonly #size: number;

  constructor(path: string, size: number) {
    const { log, clock } = this;
    this.#size = size;
    this.engine = createMemoryEngine({
      ...someSettings(clock, { maxRetries: 0 }),
    });
    this.engineHarness = new EngineHarness(this.engine, clock);
    this.threads = new ThreadPool({
      path,
      size,
      engine: this.engine,
      resultBytesMax: 1000,
      log,
      clock,
    });
  }

  /** Starts the threads, and the loops that feed them. */
  async start(): Promise<string | null> {
    const why = await this.threads.start();
    new Pool({
      engine: this.engine,
      lane: "loop",
      run: (attempt, loop) => attempt.follow(this.threads.run(attempt, loop)),
      loops: this.#size,
      untilReady: (loop) => this.threads.untilReady(loop),
      clock: this.clock,
    }).start();
    return why;
  }

  /** A task of this type once it has finished. */
  async finished(type: string, request: Partial<EnqueueRequest> = {}): Promise<TaskView> {
    const task = await this.engineHarness.poll(
      await this.engineHarness.enqueue({ type, ...request }),
    );
    if (task === undefined) throw new Error("a task that has just finished is known");
    return task;
  }
}

const open: ThreadPool[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((threads) => threads.stop()));
});

interface ThreadsOptions {
  readonly path?: string;
  readonly size?: number;
}

async function someThreads({
  path = HANDLERS,
  size = 1,
}: ThreadsOptions = {}): Promise<ThreadHarness> {
  const harness = new ThreadHarness(path, size);
  open.push(harness.threads);
  const why = await harness.start();
  if (why !== null) throw new Error(why);
  return harness;
}

describe("a handler in a thread", () => {
  test("runs off the main thread, and its result becomes the result of the task", async () => {
    const harness = await someThreads();

    const task = await harness.finished("returns", { payload: { a: ["ü", null] } });

    expect(task).toMatchObject({
      status: "done",
      result: '{"payload":{"a":["ü",null]},"isMainThread":false}',
    });
  });

  test("sees its task and the number of the attempt", async () => {
    const harness = await someThreads();

    const { id, result } = await harness.finished("facts", { queue: "mail", maxRetries: 5 });

    const facts = { id, type: "facts", queue: "mail", attempt: 1, maxRetries: 5 };
    expect(JSON.parse(result ?? "")).toEqual(facts);
  });

  test("fails its attempt with what it throws", async () => {
    const harness = await someThreads();

    expect(await harness.finished("throws")).toMatchObject({
      status: "failed",
      errors: [{ code: "E_PAPER", message: "out of paper" }],
    });
  });

  test("leaves its last progress on the task", async () => {
    const harness = await someThreads();

    expect(await harness.finished("shows-progress")).toMatchObject({ progress: '{"done":100}' });
  });

  test("fails its attempt when the module has no handler for the type", async () => {
    const harness = await someThreads();

    expect(await harness.finished("nobody.does")).toMatchObject({
      errors: [{ message: "the thread has no handler for type nobody.does" }],
    });
  });

  test("learns of a cancel from its signal, and its thread is used again", async () => {
    const harness = await someThreads();
    const id = await harness.engineHarness.enqueue({ type: "listens-to-its-signal" });
    await harness.log.next("started");

    await harness.engine.cancel(id);

    expect((await harness.log.next("aborted"))["reason"]).toBe("cancelled");
    expect(await harness.finished("returns")).toMatchObject({ status: "done" });
    expect(harness.threads.size).toBe(1);
  });

  test.each(["hangs", "blocks"])(
    "is killed after the grace when it %s past its timeout, and its thread is replaced",
    async (type) => {
      const harness = await someThreads();
      const id = await harness.engineHarness.enqueue({ type, timeoutMs: 100 });
      await harness.log.next("started");

      await harness.clock.advance(100 + ABORT_GRACE_MS);

      expect(await harness.log.next("thread_replaced")).toEqual({
        why: "it was killed because its handler did not stop",
      });
      expect(await harness.engineHarness.task(id)).toMatchObject({
        status: "failed",
        errors: [{ code: "timeout" }],
      });
      expect(await harness.finished("returns")).toMatchObject({ status: "done" });
      expect(harness.threads.size).toBe(1);
    },
  );

  test.each([
    ["exits", "it exited with code 3"],
    ["dies-without-a-word", "it failed"],
  ])("fails its attempt when it %s, and its thread is replaced", async (type, why) => {
    const harness = await someThreads();

    expect(await harness.finished(type)).toMatchObject({
      status: "failed",
      errors: [{ code: "thread_crashed", message: `the thread ended during the attempt: ${why}` }],
    });

    expect(await harness.log.next("thread_replaced")).toEqual({ why });
    expect(await harness.finished("returns")).toMatchObject({ status: "done" });
    expect(harness.threads.size).toBe(1);
  });
});

describe("a handler that logs in a tight loop", () => {
  test.each([
    ["short", 1, LINES_MAX],
    ["long", 8 * 1024, 31],
  ])("has its %s lines bounded, and the rest counted in one line", async (_, length, linesMax) => {
    const harness = await someThreads();
    const lines = 3 * LINES_MAX;
    const id = await floodOf(harness, { text: "x".repeat(length), lines, hangs: false });

    await harness.engineHarness.poll(id);

    expect(harness.log.all("flood")).toHaveLength(linesMax);
    expect(harness.log.all("log_lines_dropped")).toEqual([
      { lines: lines - linesMax, id, type: "floods" },
    ]);
  });

  test("has the lines counted that were under way when its thread was ended", async () => {
    const harness = await someThreads();
    await floodOf(harness, { text: "", lines: 2 * LINES_MAX, hangs: true });

    await harness.threads.stop();

    expect(harness.log.all("flood")).toEqual([]);
    expect(harness.log.all("log_lines_dropped")).toMatchObject([{ lines: 2 * LINES_MAX }]);
  });
});

/** Has a handler log all of its lines, and hears nothing of the thread before that is over. */
async function floodOf(harness: ThreadHarness, flood: Flood): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "ringq-flood-"));
  const path = join(folder, "over");
  const id = await harness.engineHarness.enqueue({ type: "floods", payload: { ...flood, path } });
  while ((await harness.engineHarness.statusOf(id)) !== "running") await turn();
  while (!existsSync(path));
  rmSync(folder, { recursive: true });
  return id;
}

interface Flood {
  readonly text: string;
  readonly lines: number;
  readonly hangs: boolean;
}

describe("a pool of threads", () => {
  test("runs as many tasks at once as it has threads", async () => {
    const harness = await someThreads({ size: 2 });
    const ids = await harness.engineHarness.enqueueAll([
      { type: "listens-to-its-signal" },
      { type: "listens-to-its-signal" },
    ]);

    await harness.log.next("started");
    await harness.log.next("started");

    expect(harness.threads.size).toBe(2);
    for (const id of ids) expect(await harness.engineHarness.statusOf(id)).toBe("running");
  });

  test("says why it can't start, and leaves no thread behind", async () => {
    const harness = new ThreadHarness("test/fixtures/nowhere.ts", 2);

    const why = await harness.threads.start();
    await harness.threads.stop();

    expect(why).toContain("test/fixtures/nowhere.ts can't be loaded");
    expect(harness.threads.size).toBe(0);
  });

  test("ends every thread when it stops, whatever the thread does", async () => {
    const harness = await someThreads({ size: 2 });
    await harness.engineHarness.enqueue({ type: "blocks" });
    await harness.log.next("started");

    await harness.threads.stop();

    expect(harness.threads.size).toBe(0);
  });

  test("tries again, after a while, when a thread can't load its handlers any more", async () => {
    const folder = await mkdtemp(join(tmpdir(), "ringq-threads-"));
    const path = join(folder, "handlers.ts");
    await Bun.write(path, handlersSource);
    const harness = await someThreads({ path });
    await Bun.write(path, 'throw new Error("half written");');
    await harness.finished("exits");
    expect((await harness.log.next("thread_failed_to_load"))["why"]).toContain("half written");

    await Bun.write(path, handlersSource);
    await harness.clock.advance(1000);

    expect(await harness.finished("returns")).toMatchObject({ status: "done", result: "7" });
    await rm(folder, { recursive: true });
  });
});

/** Handlers that need nothing from elsewhere. */
const handlersSource = `
  export default {
    [Symbol.for("ringq.handlers")]: true,
    types: new Map([
      ["returns", { handler: () => 7 }],
      ["exits", { handler: () => process.exit(0) }],
    ]),
    queues: new Map(),
  };`;
