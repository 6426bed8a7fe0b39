import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EnqueueRequest, TaskView } from "../../../src/engine/engine.ts";
import { MemoryEngine } from "../../../src/engine/memory/engine.ts";
import type { Log, LogFields } from "../../../src/log.ts";
import { ABORT_GRACE_MS } from "../../../src/worker/attempt.ts";
import { Pool } from "../../../src/worker/pool.ts";
import { ThreadPool } from "../../../src/worker/thread/pool.ts";
import { Scene, someSettings } from "../../support/engine-harness.ts";
import { ManualClock } from "../../support/manual-clock.ts";

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

  #note(event: string, fields: LogFields): void {
    this.#heard.push({ event, fields });
    this.#onEvent.resolve();
    this.#onEvent = Promise.withResolvers();
  }
}

class Works {
  readonly log = new HeardLog();
  readonly clock = new ManualClock();
  readonly engine: MemoryEngine;
  readonly scene: Scene;
  readonly threads: ThreadPool;
  readonly #loops: number;

  constructor(path: string, size: number, loops: number) {
    const { log, clock } = this;
    this.engine = new MemoryEngine({
      ...someSettings(clock, { maxRetries: 0 }),
    });
    this.scene = new Scene(this.engine, clock);
    this.threads = new ThreadPool({
      path,
      size,
      engine: this.engine,
      resultBytesMax: 1000,
      log,
      clock,
    });
    this.#loops = loops;
  }

  /** Starts the threads, and the loops that feed them. */
  async start(): Promise<string | null> {
    const why = await this.threads.start();
    new Pool({
      engine: this.engine,
      lane: "loop",
      work: (attempt) => attempt.follow(this.threads.run(attempt)),
      loops: this.#loops,
      untilRoom: () => this.threads.untilFree(),
      clock: this.clock,
    }).start();
    return why;
  }

  /** A task of this type once it has finished. */
  async finished(type: string, request: Partial<EnqueueRequest> = {}): Promise<TaskView> {
    const task = await this.scene.poll(await this.scene.enqueue({ type, ...request }));
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
  readonly loops?: number;
}

async function someThreads({
  path = HANDLERS,
  size = 1,
  loops = size,
}: ThreadsOptions = {}): Promise<Works> {
  const works = new Works(path, size, loops);
  open.push(works.threads);
  const why = await works.start();
  if (why !== null) throw new Error(why);
  return works;
}

describe("a handler in a thread", () => {
  test("runs off the main thread, and its result is the task's", async () => {
    const works = await someThreads();

    const task = await works.finished("returns", { payload: { a: ["ü", null] } });

    expect(task).toMatchObject({
      status: "done",
      result: '{"payload":{"a":["ü",null]},"isMainThread":false}',
    });
  });

  test("is told the facts of its attempt", async () => {
    const works = await someThreads();

    const { id, result } = await works.finished("facts", { queue: "mail", maxRetries: 5 });

    const facts = { id, type: "facts", queue: "mail", attempt: 1, maxRetries: 5 };
    expect(JSON.parse(result ?? "")).toEqual(facts);
  });

  test("fails its attempt with what it throws", async () => {
    const works = await someThreads();

    expect(await works.finished("throws")).toMatchObject({
      status: "failed",
      errors: [{ code: "E_PAPER", message: "out of paper" }],
    });
  });

  test("leaves on the task the last progress that it showed", async () => {
    const works = await someThreads();

    expect(await works.finished("shows-progress")).toMatchObject({ progress: '{"done":100}' });
  });

  test("that the module does not have fails its attempt", async () => {
    const works = await someThreads();

    expect(await works.finished("nobody.does")).toMatchObject({
      errors: [{ message: "the thread has no handler for type nobody.does" }],
    });
  });

  test("hears of a cancel through its signal, and its thread is used again", async () => {
    const works = await someThreads();
    const id = await works.scene.enqueue({ type: "listens-to-its-signal" });
    await works.log.next("started");

    works.engine.cancel(id);

    expect((await works.log.next("aborted"))["reason"]).toBe("cancelled");
    expect(await works.finished("returns")).toMatchObject({ status: "done" });
    expect(works.threads.size).toBe(1);
  });

  test.each(["hangs", "blocks"])(
    "that %s past its time is killed after the grace, and its thread is replaced",
    async (type) => {
      const works = await someThreads();
      const id = await works.scene.enqueue({ type, timeoutMs: 100 });
      await works.log.next("started");

      await works.clock.advance(100 + ABORT_GRACE_MS);

      expect(await works.log.next("thread_replaced")).toEqual({
        why: "it was killed because its handler did not stop",
      });
      expect(await works.scene.task(id)).toMatchObject({
        status: "failed",
        errors: [{ code: "timeout" }],
      });
      expect(await works.finished("returns")).toMatchObject({ status: "done" });
      expect(works.threads.size).toBe(1);
    },
  );

  test.each([
    ["exits", "it exited with code 3"],
    ["dies-without-a-word", "it failed"],
  ])("that %s fails its attempt, and its thread is replaced", async (type, why) => {
    const works = await someThreads();

    expect(await works.finished(type)).toMatchObject({
      status: "failed",
      errors: [{ code: "thread_crashed", message: `the thread of the attempt ended: ${why}` }],
    });

    expect(await works.log.next("thread_replaced")).toEqual({ why });
    expect(await works.finished("returns")).toMatchObject({ status: "done" });
    expect(works.threads.size).toBe(1);
  });
});

describe("a pool of threads", () => {
  test("runs as many tasks at once as it has threads", async () => {
    const works = await someThreads({ size: 2 });
    const ids = await works.scene.enqueueAll([
      { type: "listens-to-its-signal" },
      { type: "listens-to-its-signal" },
    ]);

    await works.log.next("started");
    await works.log.next("started");

    expect(works.threads.size).toBe(2);
    for (const id of ids) expect(await works.scene.statusOf(id)).toBe("running");
  });

  test("gives a thread that gets free to the attempt that waits for it", async () => {
    const works = await someThreads({ size: 1, loops: 2 });
    const first = await works.scene.enqueue({ type: "listens-to-its-signal" });
    await works.log.next("started");
    const second = works.finished("returns");

    works.engine.cancel(first);

    expect(await second).toMatchObject({ status: "done" });
  });

  test("starts nothing for an attempt that is cancelled while it waits for a thread", async () => {
    const works = await someThreads({ size: 1, loops: 2 });
    const first = await works.scene.enqueue({ type: "listens-to-its-signal" });
    await works.log.next("started");
    const second = await works.scene.enqueue({ type: "hangs" });

    works.engine.cancel(second);
    works.engine.cancel(first);

    expect(await works.finished("returns")).toMatchObject({ status: "done" });
    expect(await works.scene.task(second)).toMatchObject({ status: "cancelled", result: null });
  });

  test("says why it can't start, and leaves no thread behind", async () => {
    const works = new Works("test/fixtures/nowhere.ts", 2, 1);

    const why = await works.threads.start();
    await works.threads.stop();

    expect(why).toContain("test/fixtures/nowhere.ts can't be loaded");
    expect(works.threads.size).toBe(0);
  });

  test("ends every thread when it stops, whatever it does", async () => {
    const works = await someThreads({ size: 2 });
    await works.scene.enqueue({ type: "blocks" });
    await works.log.next("started");

    await works.threads.stop();

    expect(works.threads.size).toBe(0);
  });

  test("tries again, after a while, when a thread can't load its handlers any more", async () => {
    const folder = await mkdtemp(join(tmpdir(), "ringq-threads-"));
    const path = join(folder, "handlers.ts");
    await Bun.write(path, handlersSource);
    const works = await someThreads({ path });
    await Bun.write(path, 'throw new Error("half written");');
    await works.finished("exits");
    expect((await works.log.next("thread_failed_to_load"))["why"]).toContain("half written");

    await Bun.write(path, handlersSource);
    await works.clock.advance(1000);

    expect(await works.finished("returns")).toMatchObject({ status: "done", result: "7" });
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
