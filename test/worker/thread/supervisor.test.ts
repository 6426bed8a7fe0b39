import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Engine } from "../../../src/engine/engine.ts";
import { createMemoryEngine } from "../../../src/engine/memory/engine.ts";
import { createLog } from "../../../src/log-output.ts";
import { Attempt } from "../../../src/worker/attempt.ts";
import { RELEASED } from "../../../src/worker/outcome.ts";
import { Pool } from "../../../src/worker/pool.ts";
import { ThreadSupervisor } from "../../../src/worker/thread/supervisor.ts";
import { ManualClock, turn } from "../../support/manual-clock.ts";

setDefaultTimeout(60_000);

const THROWS = 'throw new Error("no database for threads");';
const EXITS = "process.exit(5);";
const HANGS = "await new Promise(() => undefined);";
const DIES_SOON = 'setTimeout(() => { throw new Error("died of what it loaded"); });';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ringq-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A supervised thread, with a clock that stands still and a log that can be awaited. */
class SupervisorHarness implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly events: string[] = [];
  readonly supervisor: ThreadSupervisor;
  readonly #path = join(folder, "handlers.ts");
  readonly #engine: Engine;
  #wake: () => void = () => undefined;

  constructor() {
    const backoff = { baseMs: 0, jitterMs: 0, maxMs: 0 };
    const queue = { size: 10, bytes: 1000, concurrency: 10, claims: 10 };
    this.#engine = createMemoryEngine({
      limits: {
        queue,
        queues: new Map(),
        queuesMax: 10,
        retainTasks: 10,
        retainBytes: 1000,
        retainMs: 1000,
        claimsWaitingMax: 10,
      },
      defaults: { maxRetries: 0, timeoutMs: 1000, backoff },
      types: new Map(["work", "crash"].map((type) => [type, { lane: "thread" }])),
      clock: this.clock,
    });
    this.deploy("");
    const write = (line: string): void => {
      this.events.push((JSON.parse(line) as { event: string }).event);
      this.#wake();
    };
    this.supervisor = new ThreadSupervisor({
      path: this.#path,
      engine: this.#engine,
      resultBytesMax: 1000,
      log: createLog({ level: "info", isForPeople: false, write }),
      clock: this.clock,
    });
  }

  /** Writes the module that threads load from now on, with something more in it. */
  deploy(more: string): void {
    writeFileSync(
      this.#path,
      `import { defineHandlers } from ${JSON.stringify(resolve("src/index.ts"))};
      ${more}
      export default defineHandlers({
        work: { handler: (payload) => payload, isolation: "thread" },
        crash: { handler: () => process.exit(9), isolation: "thread" },
      });`,
    );
  }

  async attempt(type: string): Promise<Attempt> {
    await this.#engine.enqueue([{ type, payload: "p" }]);
    const answer = await this.#engine.claim({ lane: "thread", max: 1 });
    const [claim] = answer.kind === "claimed" ? answer.claims : [];
    if (claim === undefined) throw new Error("there is no task to claim");
    return new Attempt(claim, this.clock);
  }

  /** Starts a loop that feeds the thread. */
  work(): void {
    new Pool({
      engine: this.#engine,
      lane: "thread",
      run: (attempt) => attempt.follow(this.supervisor.run(attempt)),
      loops: 1,
      untilReady: () => this.supervisor.untilReady(),
      clock: this.clock,
    }).start();
  }

  async enqueue(type: string): Promise<string> {
    const answer = await this.#engine.enqueue([{ type, payload: "p" }]);
    if (answer.kind !== "accepted") throw new Error(answer.kind);
    return answer.receipts[0]?.id ?? "";
  }

  async statusOf(id: string): Promise<string | undefined> {
    return (await this.#engine.find(id))?.status;
  }

  async resultOf(id: string): Promise<string | null | undefined> {
    return (await this.#engine.waitFor(id, 60_000, new AbortController().signal))?.result;
  }

  async logged(event: string): Promise<void> {
    while (!this.events.includes(event)) {
      await new Promise<void>((wake) => {
        this.#wake = wake;
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.supervisor.stop();
  }
}

test.each([
  [THROWS, "no database for threads"],
  [EXITS, "it exited with code 5"],
])("a module that fails in a thread fails the start: %s", async (more, why) => {
  await using harness = new SupervisorHarness();
  harness.deploy(more);
  expect(await harness.supervisor.start()).toEndWith(why);
});

test("a thread that dies in an attempt is replaced at once", async () => {
  await using harness = new SupervisorHarness();
  await harness.supervisor.start();
  const crashed = await harness.supervisor.run(await harness.attempt("crash"));
  await harness.supervisor.untilReady();
  const next = await harness.supervisor.run(await harness.attempt("work"));
  expect(crashed).toMatchObject({ kind: "failed", code: "thread_crashed" });
  expect(next).toEqual({ kind: "done", result: '"p"' });
});

test("a thread that dies before it has worked is replaced only after a pause", async () => {
  await using harness = new SupervisorHarness();
  harness.deploy(DIES_SOON);
  await harness.supervisor.start();
  await harness.logged("thread_replaced");
  harness.deploy("");
  const hadThread = harness.supervisor.hasThread;
  await harness.clock.advance(1000);
  expect(hadThread).toBe(false);
  await harness.supervisor.untilReady();
  expect(await harness.supervisor.run(await harness.attempt("work"))).toEqual({
    kind: "done",
    result: '"p"',
  });
});

test("a thread that can't load any more is tried again after a pause, until it can", async () => {
  await using harness = new SupervisorHarness();
  await harness.supervisor.start();
  harness.deploy(THROWS);
  await harness.supervisor.run(await harness.attempt("crash"));
  await harness.logged("thread_failed_to_load");
  harness.deploy("");
  const hadThread = harness.supervisor.hasThread;
  await harness.clock.advance(1000);
  expect(hadThread).toBe(false);
  await harness.supervisor.untilReady();
  expect(await harness.supervisor.run(await harness.attempt("work"))).toEqual({
    kind: "done",
    result: '"p"',
  });
});

test("nothing is claimed while there is no thread, so no timeout runs while a task waits for one", async () => {
  await using harness = new SupervisorHarness();
  await harness.supervisor.start();
  harness.work();
  harness.deploy(THROWS);
  await harness.enqueue("crash");
  await harness.logged("thread_failed_to_load");
  const id = await harness.enqueue("work");
  await turn();
  await harness.clock.advance(999);
  expect(await harness.statusOf(id)).toBe("queued");
  harness.deploy("");
  await harness.clock.advance(1);
  expect(await harness.resultOf(id)).toBe('"p"');
});

test("an attempt whose thread died after the claim is released", async () => {
  await using harness = new SupervisorHarness();
  await harness.supervisor.start();
  harness.deploy(THROWS);
  await harness.supervisor.run(await harness.attempt("crash"));
  await harness.logged("thread_failed_to_load");
  expect(await harness.supervisor.run(await harness.attempt("work"))).toEqual(RELEASED);
});

test("a thread that still runs an attempt is given no other", async () => {
  await using harness = new SupervisorHarness();
  await harness.supervisor.start();
  const running = harness.supervisor.run(await harness.attempt("work"));
  const untilReady = harness.supervisor.untilReady();
  expect(await harness.supervisor.run(await harness.attempt("work"))).toEqual(RELEASED);
  await running;
  await untilReady;
  expect(harness.supervisor.untilReady()).toBeNull();
});

test("a stopped supervisor starts no thread, even when one was about to be tried again", async () => {
  await using harness = new SupervisorHarness();
  await harness.supervisor.start();
  harness.deploy(THROWS);
  await harness.supervisor.run(await harness.attempt("crash"));
  await harness.logged("thread_failed_to_load");
  await harness.supervisor.stop();
  await harness.clock.advance(10_000);
  expect({ hasThread: harness.supervisor.hasThread, timers: harness.clock.armed }).toEqual({
    hasThread: false,
    timers: 0,
  });
});

test("a thread that never ends to load holds up the stop for a second at most", async () => {
  await using harness = new SupervisorHarness();
  harness.deploy(HANGS);
  const starting = harness.supervisor.start();
  const stopping = harness.supervisor.stop();
  await harness.clock.advance(1000);
  await stopping;
  expect(await starting).toBe("the process is stopping");
});
