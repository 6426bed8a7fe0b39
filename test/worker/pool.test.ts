import { describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import type { AttemptOutcome, Engine } from "../../src/engine/engine.ts";
import { createMemoryEngine } from "../../src/engine/memory/engine.ts";
import { ABORT_GRACE_MS, type Attempt } from "../../src/worker/attempt.ts";
import { Pool, type PoolOptions, type RunAttempt } from "../../src/worker/pool.ts";
import { EngineHarness, type EngineOptions, someSettings } from "../support/engine-harness.ts";
import { ManualClock, turn } from "../support/manual-clock.ts";

const DONE: AttemptOutcome = { kind: "done", result: null };
const BYTES_MAX = 1000;

interface Options extends EngineOptions {
  readonly loops?: number;
}

interface Working {
  readonly harness: EngineHarness;
  readonly pool: Pool;
}

/** A pool at work on an engine of its own. */
function aPool(run: RunAttempt, { loops = 1, ...options }: Options = {}): Working {
  const clock = new ManualClock();
  return working(createMemoryEngine(someSettings(clock, options)), clock, { run, loops });
}

function working(
  engine: Engine,
  clock: ManualClock,
  options: Partial<PoolOptions> & Pick<PoolOptions, "run">,
): Working {
  const harness = new EngineHarness(engine, clock);
  const pool = new Pool({ engine, lane: "loop", loops: 1, clock, ...options });
  pool.start();
  return { harness, pool };
}

/** Attempts that end when the test says so. */
class HeldAttempts {
  /** The attempts that were started, in order. */
  readonly started: Attempt[] = [];
  readonly #ends: ((outcome: AttemptOutcome) => void)[] = [];
  #onStart = Promise.withResolvers<void>();

  readonly run: RunAttempt = (attempt) =>
    attempt.follow(
      new Promise((end) => {
        this.started.push(attempt);
        this.#ends.push(end);
        this.#onStart.resolve();
        this.#onStart = Promise.withResolvers();
      }),
    );

  /** Ends the attempt that was started as this one, counted from 0. */
  async end(index: number, outcome: AttemptOutcome = DONE): Promise<void> {
    this.#ends[index]?.(outcome);
    await turn();
  }

  /** Resolves once so many attempts were started. */
  async starts(count: number): Promise<void> {
    while (this.started.length < count) await this.#onStart.promise;
  }

  get ids(): readonly string[] {
    return this.started.map(({ task }) => task.id);
  }
}

describe("a pool of loops", () => {
  test("runs tasks that were enqueued before it started", async () => {
    const clock = new ManualClock();
    const engine = createMemoryEngine(someSettings(clock));
    const early = await engine.enqueue([{ payload: null }]);
    if (early.kind !== "accepted") throw new Error(early.kind);

    const { harness } = working(engine, clock, { run: () => DONE });

    expect(await harness.poll(early.receipts[0]?.id ?? "")).toMatchObject({ status: "done" });
  });

  test("runs tasks that are enqueued while all of its loops are parked", async () => {
    const { harness } = aPool(() => DONE, { loops: 3 });
    await turn();

    const ids = await harness.enqueueAll([{}, {}, {}, {}]);

    for (const id of ids) expect(await harness.poll(id)).toMatchObject({ status: "done" });
  });

  test("starts the tasks of one tick only when the tick is over", async () => {
    const held = new HeldAttempts();
    const { harness } = aPool(held.run, { loops: 2 });
    await turn();

    const first = await harness.enqueue();
    const second = await harness.enqueue();
    expect(held.ids).toEqual([]);
    await held.starts(2);

    expect(held.ids).toEqual([first, second]);
  });

  test("runs as many tasks at once as it has loops, then the next", async () => {
    const held = new HeldAttempts();
    const { harness } = aPool(held.run, { loops: 2 });
    const ids = await harness.enqueueAll([{}, {}, {}]);
    await turn();
    expect(held.ids).toEqual(ids.slice(0, 2));

    await held.end(1);
    await held.starts(3);

    expect(held.ids).toEqual(ids);
  });

  test("passes a task on to a loop that is ready when the one that was woken is not", async () => {
    const clock = new ManualClock();
    const engine = createMemoryEngine(someSettings(clock));
    const notReady = new Set<number>();
    const { harness } = working(engine, clock, {
      run: (_, loop) => ({ kind: "done", result: String(loop) }),
      loops: 3,
      untilReady: (loop) => (notReady.has(loop) ? new Promise(() => undefined) : null),
    });
    // All are parked, and the last two are woken first.
    await turn();
    notReady.add(1).add(2);

    const id = await harness.enqueue();

    expect(await harness.poll(id)).toMatchObject({ status: "done", result: "0" });
  });

  test("is not held up by a task that hangs, as long as a loop is free", async () => {
    const held = new HeldAttempts();
    const run: RunAttempt = (attempt) =>
      attempt.task.type === "hangs" ? held.run(attempt, 0) : DONE;
    const { harness } = aPool(run, { loops: 2 });
    const hanging = await harness.enqueue({ type: "hangs" });

    const others = await harness.enqueueAll([{}, {}, {}]);

    for (const id of others) expect(await harness.poll(id)).toMatchObject({ status: "done" });
    expect(await harness.statusOf(hanging)).toBe("running");
  });

  test("runs a task again when its retry is due", async () => {
    const outcomes: AttemptOutcome[] = [
      { kind: "failed", code: "broken", message: "it broke", retry: { kind: "backoff" } },
      DONE,
    ];
    const { harness } = aPool(() => outcomes.shift() ?? DONE);
    const id = await harness.enqueue();
    await turn();
    expect(await harness.statusOf(id)).toBe("retrying");

    await harness.clock.advance(200);

    expect(await harness.poll(id)).toMatchObject({ status: "done", attempt: 2 });
  });

  test("does not park while an engine that takes its time looks for a task", async () => {
    const held = new HeldAttempts();
    const { harness } = aLatePool(held.run);
    // The loop is told of the task while the engine still looks for one: it must not park with
    // that.
    const id = await harness.enqueue();
    await turn();
    await turn();
    expect(held.ids).toEqual([id]);

    await held.end(0);

    expect(await harness.poll(id)).toMatchObject({ status: "done" });
  });

  test.each(["storage_unavailable", "stopping"] as const)(
    "parks while the engine answers %s, and goes on when it is told of a task",
    async (kind) => {
      const clock = new ManualClock();
      const engine = createMemoryEngine(someSettings(clock));
      let asked = 0;
      let isAway = true;
      const away: PoolOptions["engine"] = {
        attach: (lane, worker) => engine.attach(lane, worker),
        claim: (request) => {
          asked += 1;
          return isAway ? { kind } : engine.claim(request);
        },
        settle: (taskId, fence, outcome) => engine.settle(taskId, fence, outcome),
      };
      const { harness } = working(engine, clock, { engine: away, run: () => DONE });
      const first = await harness.enqueue();
      await turn();
      await turn();
      expect(asked).toBe(2);
      isAway = false;

      const second = await harness.enqueue();

      expect(await harness.poll(second)).toMatchObject({ status: "done" });
      expect(await harness.statusOf(first)).toBe("done");
    },
  );
});

describe("a timeout", () => {
  test("stops the attempt, and frees its loop once the handler has ended", async () => {
    const held = new HeldAttempts();
    const { harness } = aPool(held.run, { timeoutMs: 100 });
    const [first = "", second = ""] = await harness.enqueueAll([{ maxRetries: 0 }, {}]);
    await held.starts(1);

    await harness.clock.advance(100);
    expect(held.started[0]?.stopReason).toBe("timeout");
    expect(await harness.task(first)).toMatchObject({ status: "failed" });
    expect(held.ids).toEqual([first]);
    await held.end(0);
    await held.starts(2);

    expect(held.ids).toEqual([first, second]);
  });

  test("frees the loop after a grace, and a later result of the handler changes nothing", async () => {
    const held = new HeldAttempts();
    const { harness } = aPool(held.run, { timeoutMs: 100 });
    const [first = "", second = ""] = await harness.enqueueAll([{ maxRetries: 0 }, {}]);
    await held.starts(1);

    await harness.clock.advance(100 + ABORT_GRACE_MS);
    await held.starts(2);
    expect(held.ids).toEqual([first, second]);
    await held.end(0, { kind: "done", result: '"late"' });

    expect(await harness.task(first)).toMatchObject({
      status: "failed",
      result: null,
      errors: [{ code: "timeout", attempt: 1 }],
    });
  });

  test("leaves the next attempt at the same task alone when the late one ends", async () => {
    const held = new HeldAttempts();
    const { harness } = aPool(held.run, { loops: 2, timeoutMs: 500 });
    const id = await harness.enqueue({ maxRetries: 1 });
    await held.starts(1);
    await harness.clock.advance(500 + 200);
    await held.starts(2);
    const [first, second] = held.started.map(({ claim }) => claim.fence);
    expect(first).not.toBe(second);

    await held.end(0, { kind: "done", result: '"first"' });
    expect(await harness.statusOf(id)).toBe("running");
    await held.end(1, { kind: "done", result: '"second"' });

    expect(await harness.task(id)).toMatchObject({
      status: "done",
      attempt: 2,
      result: '"second"',
    });
  });

  test("does not keep a cancel from the next attempt at the same task", async () => {
    const held = new HeldAttempts();
    const { harness } = aPool(held.run, { loops: 2, timeoutMs: 500 });
    const id = await harness.enqueue({ maxRetries: 1 });
    await held.starts(1);
    await harness.clock.advance(500 + 200);
    await held.starts(2);
    await held.end(0);

    await harness.engine.cancel(id);
    await turn();

    expect(held.started.map(({ stopReason }) => stopReason)).toEqual(["timeout", "cancelled"]);
  });
});

describe("a cancel", () => {
  test("stops the running attempt", async () => {
    const held = new HeldAttempts();
    const { harness } = aPool(held.run);
    const id = await harness.enqueue();
    await turn();

    await harness.engine.cancel(id);
    await turn();

    expect(held.started[0]?.signal.reason.message).toBe("cancelled");
    expect(await harness.statusOf(id)).toBe("cancelled");
  });

  test("reaches the handler only after the engine has finished its step, since a listener may call it", async () => {
    const heard = Promise.withResolvers<boolean>();
    let hasAnswered = false;
    const held = new HeldAttempts();
    const run: RunAttempt = (attempt) => {
      attempt.signal.addEventListener("abort", () => heard.resolve(hasAnswered));
      return held.run(attempt, 0);
    };
    const { harness } = aPool(run);
    const id = await harness.enqueue();
    await turn();

    void harness.engine.cancel(id);
    hasAnswered = true;

    expect(await heard.promise).toBe(true);
  });

  test("by the handler itself, before it returns, stops the attempt", async () => {
    const stopped = Promise.withResolvers<void>();
    const { harness } = aPool((attempt) => {
      void harness.engine.cancel(attempt.task.id);
      attempt.signal.addEventListener("abort", () => stopped.resolve());
      return attempt.follow(Promise.withResolvers<AttemptOutcome>().promise);
    });
    const id = await harness.enqueue();

    await stopped.promise;
    await harness.clock.advance(ABORT_GRACE_MS);

    expect(await harness.statusOf(id)).toBe("cancelled");
    // Its loop is free.
    const next = await harness.enqueue();
    expect(await harness.poll(next)).toMatchObject({ attempt: 1 });
  });

  test("of another attempt at the same task does not stop this one", async () => {
    const held = new HeldAttempts();
    const { harness, pool } = aPool(held.run);
    const id = await harness.enqueue();
    await turn();

    const fence = held.started[0]?.claim.fence ?? 0;
    pool.onRevoke(id, fence + 1, "timeout");
    await turn();

    expect(held.started[0]?.stopReason).toBeNull();
  });

  test("does not stop an attempt that has ended", async () => {
    const held = new HeldAttempts();
    const { harness } = aPool(held.run);
    const id = await harness.enqueue();
    await turn();
    await held.end(0);

    await harness.engine.cancel(id);
    await turn();

    expect(held.started[0]?.stopReason).toBeNull();
  });
});

describe("a stopped pool", () => {
  test("claims no more tasks and lets running ones finish", async () => {
    const held = new HeldAttempts();
    const { harness, pool } = aPool(held.run);
    const [running = "", waiting = ""] = await harness.enqueueAll([{}, {}]);
    await turn();

    pool.stopClaiming();
    await held.end(0);

    expect(await harness.statusOf(running)).toBe("done");
    expect(await harness.statusOf(waiting)).toBe("queued");
  });

  test("claims no more tasks after a tick for which it yielded", async () => {
    const held = new HeldAttempts();
    const slow = Promise.withResolvers<AttemptOutcome>();
    const outcomes = [slow.promise, DONE];
    const run: RunAttempt = (attempt) => outcomes.shift() ?? held.run(attempt, 0);
    const { harness, pool } = aPool(run);
    const [, second = "", third = ""] = await harness.enqueueAll([{}, {}, {}]);
    await turn();
    // Time goes by, so that after the second task the loop lets the event loop turn.
    await harness.clock.advance(10);
    slow.resolve(DONE);
    await harness.poll(second);

    await pool.releaseAll();
    await turn();

    expect(held.ids).toEqual([]);
    expect(await harness.statusOf(third)).toBe("queued");
  });

  test("aborts running attempts, releases their tasks without a failure, and counts them", async () => {
    const held = new HeldAttempts();
    const { harness, pool } = aPool(held.run, { loops: 2 });
    const ids = await harness.enqueueAll([{}, {}, {}]);
    await turn();

    expect(await pool.releaseAll()).toBe(2);

    expect(held.started.map(({ stopReason }) => stopReason)).toEqual(["shutdown", "shutdown"]);
    for (const id of ids)
      expect(await harness.task(id)).toMatchObject({ status: "queued", errors: [] });
    expect(held.ids).toHaveLength(2);
  });

  test("does not count an attempt that had lost its task before", async () => {
    const held = new HeldAttempts();
    const { harness, pool } = aPool(held.run, { timeoutMs: 100 });
    await harness.enqueue({ maxRetries: 0 });
    await held.starts(1);
    await harness.clock.advance(100);

    expect(await pool.releaseAll()).toBe(0);
  });

  test("ignores the result of a released attempt", async () => {
    const held = new HeldAttempts();
    const { harness, pool } = aPool(held.run);
    const id = await harness.enqueue();
    await turn();
    await pool.releaseAll();

    await held.end(0, { kind: "done", result: '"late"' });

    expect(await harness.task(id)).toMatchObject({ status: "queued", result: null });
  });

  test("releases a task that an engine that takes its time hands out after the stop", async () => {
    const held = new HeldAttempts();
    const { harness, pool } = aLatePool(held.run);
    const id = await harness.enqueue();
    await turn();
    pool.stopClaiming();

    await turn();
    await turn();

    expect(held.ids).toEqual([]);
    expect(await harness.task(id)).toMatchObject({ status: "queued", errors: [] });
  });
});

describe("takeActiveTypes", () => {
  test("gives the types that run and those that ran since the last call", async () => {
    const held = new HeldAttempts();
    const run: RunAttempt = (attempt) =>
      attempt.task.type === "quick" ? DONE : held.run(attempt, 0);
    const { harness, pool } = aPool(run, { loops: 2 });
    await harness.enqueueAll([{ type: "slow" }, { type: "quick" }, { type: "quick" }]);
    await turn();
    await turn();

    expect(pool.takeActiveTypes().toSorted()).toEqual(["quick", "slow"]);
    expect(pool.takeActiveTypes()).toEqual(["slow"]);
    await held.end(0);
    expect(pool.takeActiveTypes()).toEqual(["slow"]);
    expect(pool.takeActiveTypes()).toEqual([]);
  });

  test("gives all types, however many came after the one that blocked the others", async () => {
    const { harness, pool } = aPool(() => DONE);

    const ids = await harness.enqueueAll([{ type: "culprit" }, { type: "b" }, { type: "c" }]);
    await harness.poll(ids[2] ?? "");

    expect(pool.takeActiveTypes()).toEqual(["culprit", "b", "c"]);
  });
});

describe("the event loop", () => {
  const TASKS = 50_000;
  const settings = { queueSize: TASKS, queueBytes: 100 * TASKS, retainTasks: TASKS };

  test.each<[string, RunAttempt]>([
    ["at once", (attempt) => attempt.run(() => undefined, BYTES_MAX)],
    ["in microtasks", (attempt) => attempt.run(async () => undefined, BYTES_MAX)],
  ])("ticks while 50,000 tasks run that end %s", async (_, run) => {
    const engine = createMemoryEngine(someSettings(systemClock, settings));
    let ended = 0;
    const counted: RunAttempt = (attempt) => {
      ended += 1;
      return run(attempt, 0);
    };
    await engine.enqueue(Array.from({ length: TASKS }, () => ({ payload: null })));
    new Pool({ engine, lane: "loop", run: counted, loops: 4 }).start();

    let turns = 0;
    while (ended < TASKS) {
      await turn();
      turns += 1;
    }

    // Without yielding, the first tick comes when all is done.
    expect(turns).toBeGreaterThan(3);
    await engine.close();
  });

  test("answers HTTP while 50,000 tasks run", async () => {
    const engine = createMemoryEngine(someSettings(systemClock, settings));
    let ended = 0;
    const run: RunAttempt = () => {
      ended += 1;
      return DONE;
    };
    await using server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () => Response.json(ended),
    });
    const url = server.url.href;
    await fetch(url);
    await engine.enqueue(Array.from({ length: TASKS }, () => ({ payload: null })));
    new Pool({ engine, lane: "loop", run, loops: 4 }).start();

    const endedThen = await fetch(url).then((response) => response.json());

    expect(endedThen).toBeLessThan(TASKS);
    await engine.close();
  });
});

/** A pool on an engine that hands out a task only in the next tick of the event loop. */
function aLatePool(run: RunAttempt): Working {
  const clock = new ManualClock();
  const engine = createMemoryEngine(someSettings(clock));
  const late: PoolOptions["engine"] = {
    attach: (lane, worker) => engine.attach(lane, worker),
    claim: async (request) => {
      const answer = await engine.claim(request);
      await turn();
      return answer;
    },
    settle: (taskId, fence, outcome) => engine.settle(taskId, fence, outcome),
  };
  return working(engine, clock, { engine: late, run });
}
