import { describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import type { Claim, Lane, MaybePromise, Outcome } from "../../src/engine/engine.ts";
import { MemoryEngine } from "../../src/engine/memory/engine.ts";
import { ABORT_GRACE_MS, type Attempt } from "../../src/worker/attempt.ts";
import { Pool, type Work } from "../../src/worker/pool.ts";
import { Scene, type SceneOptions, someSettings } from "../support/engine-harness.ts";
import { ManualClock, turn } from "../support/manual-clock.ts";

const DONE: Outcome = { kind: "done", result: null };
const BYTES_MAX = 1000;

interface Options extends SceneOptions {
  readonly loops?: number;
}

interface Working {
  readonly scene: Scene;
  readonly pool: Pool;
}

/** A pool at work on an engine of its own. */
function aPool(work: Work, { loops = 1, ...options }: Options = {}): Working {
  const clock = new ManualClock();
  return working(new MemoryEngine(someSettings(clock, options)), clock, work, loops);
}

function working(engine: MemoryEngine, clock: ManualClock, work: Work, loops: number): Working {
  const scene = new Scene(engine, clock);
  const pool = new Pool({ engine, lane: "loop", work, loops, clock });
  pool.start();
  return { scene, pool };
}

/** Work that ends when the test says so. */
class Bench {
  /** The attempts that were started, in order. */
  readonly started: Attempt[] = [];
  readonly #ends: ((outcome: Outcome) => void)[] = [];
  #onStart = Promise.withResolvers<void>();

  readonly work: Work = (attempt) =>
    attempt.follow(
      new Promise((end) => {
        this.started.push(attempt);
        this.#ends.push(end);
        this.#onStart.resolve();
        this.#onStart = Promise.withResolvers();
      }),
    );

  /** Ends the attempt that was started as this one, counted from 0. */
  async end(index: number, outcome: Outcome = DONE): Promise<void> {
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

describe("a pool", () => {
  test("works on what was enqueued before it started", async () => {
    const clock = new ManualClock();
    const engine = new MemoryEngine(someSettings(clock));
    const early = engine.enqueue([{ payload: null }]);
    if (early.kind !== "accepted") throw new Error(early.kind);

    const { scene } = working(engine, clock, () => DONE, 1);

    expect(await scene.poll(early.receipts[0]?.id ?? "")).toMatchObject({ status: "done" });
  });

  test("works on what is enqueued while all of its loops are parked", async () => {
    const { scene } = aPool(() => DONE, { loops: 3 });
    await turn();

    const ids = await scene.enqueueAll([{}, {}, {}, {}]);

    for (const id of ids) expect(await scene.poll(id)).toMatchObject({ status: "done" });
  });

  test("lets the event loop take what comes in a turn before it starts any of it", async () => {
    const bench = new Bench();
    const { scene } = aPool(bench.work, { loops: 2 });
    await turn();

    const first = await scene.enqueue();
    const second = await scene.enqueue();
    expect(bench.ids).toEqual([]);
    await bench.starts(2);

    expect(bench.ids).toEqual([first, second]);
  });

  test("runs as many tasks at once as it has loops, and then the next", async () => {
    const bench = new Bench();
    const { scene } = aPool(bench.work, { loops: 2 });
    const ids = await scene.enqueueAll([{}, {}, {}]);
    await turn();
    expect(bench.ids).toEqual(ids.slice(0, 2));

    await bench.end(1);
    await bench.starts(3);

    expect(bench.ids).toEqual(ids);
  });

  test("is not held up by a task that hangs, as long as a loop is free", async () => {
    const bench = new Bench();
    const work: Work = (attempt) => (attempt.task.type === "hangs" ? bench.work(attempt) : DONE);
    const { scene } = aPool(work, { loops: 2 });
    const hanging = await scene.enqueue({ type: "hangs" });

    const others = await scene.enqueueAll([{}, {}, {}]);

    for (const id of others) expect(await scene.poll(id)).toMatchObject({ status: "done" });
    expect(await scene.statusOf(hanging)).toBe("running");
  });

  test("runs a task again when its retry is due", async () => {
    const outcomes: Outcome[] = [
      { kind: "failed", code: "broken", message: "it broke", retry: { kind: "backoff" } },
      DONE,
    ];
    const { scene } = aPool(() => outcomes.shift() ?? DONE);
    const id = await scene.enqueue();
    await turn();
    expect(await scene.statusOf(id)).toBe("retrying");

    await scene.clock.advance(200);

    expect(await scene.poll(id)).toMatchObject({ status: "done", attempt: 2 });
  });

  test("goes on with an engine that takes its time", async () => {
    const bench = new Bench();
    const { scene } = aLatePool(bench.work);
    // The loop is told of the task while the engine still looks for one: it must not park with that.
    const id = await scene.enqueue();
    await turn();
    await turn();
    expect(bench.ids).toEqual([id]);

    await bench.end(0);

    expect(await scene.poll(id)).toMatchObject({ status: "done" });
  });
});

describe("an attempt that overruns", () => {
  test("is told to stop, and its slot is free once it has", async () => {
    const bench = new Bench();
    const { scene } = aPool(bench.work, { timeoutMs: 100 });
    const [first = "", second = ""] = await scene.enqueueAll([{ maxRetries: 0 }, {}]);
    await bench.starts(1);

    await scene.clock.advance(100);
    expect(bench.started[0]?.stopReason).toBe("timeout");
    expect(await scene.task(first)).toMatchObject({ status: "failed" });
    expect(bench.ids).toEqual([first]);
    await bench.end(0);
    await bench.starts(2);

    expect(bench.ids).toEqual([first, second]);
  });

  test("gives its slot away after a grace, and what it returns later changes nothing", async () => {
    const bench = new Bench();
    const { scene } = aPool(bench.work, { timeoutMs: 100 });
    const [first = "", second = ""] = await scene.enqueueAll([{ maxRetries: 0 }, {}]);
    await bench.starts(1);

    await scene.clock.advance(100 + ABORT_GRACE_MS);
    await bench.starts(2);
    expect(bench.ids).toEqual([first, second]);
    await bench.end(0, { kind: "done", result: '"late"' });

    expect(await scene.task(first)).toMatchObject({
      status: "failed",
      result: null,
      errors: [{ code: "timeout", attempt: 1 }],
    });
  });

  test("does not disturb the next attempt at the same task", async () => {
    const bench = new Bench();
    const { scene } = aPool(bench.work, { loops: 2, timeoutMs: 500 });
    const id = await scene.enqueue({ maxRetries: 1 });
    await bench.starts(1);
    await scene.clock.advance(500 + 200);
    await bench.starts(2);
    expect(bench.started.map(({ claim }) => claim.fence)).toEqual([1, 2]);

    await bench.end(0, { kind: "done", result: '"first"' });
    expect(await scene.statusOf(id)).toBe("running");
    await bench.end(1, { kind: "done", result: '"second"' });

    expect(await scene.task(id)).toMatchObject({ status: "done", attempt: 2, result: '"second"' });
  });

  test("takes nothing from the next attempt's being told to stop", async () => {
    const bench = new Bench();
    const { scene } = aPool(bench.work, { loops: 2, timeoutMs: 500 });
    const id = await scene.enqueue({ maxRetries: 1 });
    await bench.starts(1);
    await scene.clock.advance(500 + 200);
    await bench.starts(2);
    await bench.end(0);

    await scene.engine.cancel(id);
    await turn();

    expect(bench.started.map(({ stopReason }) => stopReason)).toEqual(["timeout", "cancelled"]);
  });
});

describe("a running task that is cancelled", () => {
  test("is told to stop", async () => {
    const bench = new Bench();
    const { scene } = aPool(bench.work);
    const id = await scene.enqueue();
    await turn();

    await scene.engine.cancel(id);
    await turn();

    expect(bench.started[0]?.signal.reason.message).toBe("cancelled");
    expect(await scene.statusOf(id)).toBe("cancelled");
  });

  test("is told only after the engine has done its part, since a listener may call it", async () => {
    const heard = Promise.withResolvers<boolean>();
    let hasAnswered = false;
    const bench = new Bench();
    const work: Work = (attempt) => {
      attempt.signal.addEventListener("abort", () => heard.resolve(hasAnswered));
      return bench.work(attempt);
    };
    const { scene } = aPool(work);
    const id = await scene.enqueue();
    await turn();

    void scene.engine.cancel(id);
    hasAnswered = true;

    expect(await heard.promise).toBe(true);
  });

  test("is not told of what concerns another attempt at it", async () => {
    const bench = new Bench();
    const { scene, pool } = aPool(bench.work);
    const id = await scene.enqueue();
    await turn();

    pool.onRevoke(id, 2, "timeout");
    await turn();

    expect(bench.started[0]?.stopReason).toBeNull();
  });

  test("is told nothing when its attempt has ended", async () => {
    const bench = new Bench();
    const { scene } = aPool(bench.work);
    const id = await scene.enqueue();
    await turn();
    await bench.end(0);

    await scene.engine.cancel(id);
    await turn();

    expect(bench.started[0]?.stopReason).toBeNull();
  });
});

describe("a pool that stops", () => {
  test("claims nothing more, and lets run what runs", async () => {
    const bench = new Bench();
    const { scene, pool } = aPool(bench.work);
    const [running = "", waiting = ""] = await scene.enqueueAll([{}, {}]);
    await turn();

    pool.stopClaiming();
    await bench.end(0);

    expect(await scene.statusOf(running)).toBe("done");
    expect(await scene.statusOf(waiting)).toBe("queued");
  });

  test("claims nothing more after a turn of the event loop that it waited for, either", async () => {
    const bench = new Bench();
    const slow = Promise.withResolvers<Outcome>();
    const outcomes = [slow.promise, DONE];
    const work: Work = (attempt) => outcomes.shift() ?? bench.work(attempt);
    const { scene, pool } = aPool(work);
    const [, second = "", third = ""] = await scene.enqueueAll([{}, {}, {}]);
    await turn();
    // Time goes by, so that after the second task the loop lets the event loop turn.
    await scene.clock.advance(10);
    slow.resolve(DONE);
    await scene.poll(second);

    await pool.interrupt();
    await turn();

    expect(bench.ids).toEqual([]);
    expect(await scene.statusOf(third)).toBe("queued");
  });

  test("aborts what runs, gives it back without a failure, and counts it", async () => {
    const bench = new Bench();
    const { scene, pool } = aPool(bench.work, { loops: 2 });
    const ids = await scene.enqueueAll([{}, {}, {}]);
    await turn();

    expect(await pool.interrupt()).toBe(2);

    expect(bench.started.map(({ stopReason }) => stopReason)).toEqual(["shutdown", "shutdown"]);
    for (const id of ids)
      expect(await scene.task(id)).toMatchObject({ status: "queued", errors: [] });
    expect(bench.ids).toHaveLength(2);
  });

  test("does not count what has lost its task before", async () => {
    const bench = new Bench();
    const { scene, pool } = aPool(bench.work, { timeoutMs: 100 });
    await scene.enqueue({ maxRetries: 0 });
    await bench.starts(1);
    await scene.clock.advance(100);

    expect(await pool.interrupt()).toBe(0);
  });

  test("ignores what an interrupted attempt returns", async () => {
    const bench = new Bench();
    const { scene, pool } = aPool(bench.work);
    const id = await scene.enqueue();
    await turn();
    await pool.interrupt();

    await bench.end(0, { kind: "done", result: '"late"' });

    expect(await scene.task(id)).toMatchObject({ status: "queued", result: null });
  });

  test("gives back what an engine that takes its time hands out meanwhile", async () => {
    const bench = new Bench();
    const { scene, pool } = aLatePool(bench.work);
    const id = await scene.enqueue();
    await turn();
    pool.stopClaiming();

    await turn();
    await turn();

    expect(bench.ids).toEqual([]);
    expect(await scene.task(id)).toMatchObject({ status: "queued", errors: [] });
  });
});

describe("the types that were at work", () => {
  test("are those that run, and those that ran since the last question", async () => {
    const bench = new Bench();
    const work: Work = (attempt) => (attempt.task.type === "quick" ? DONE : bench.work(attempt));
    const { scene, pool } = aPool(work, { loops: 2 });
    await scene.enqueueAll([{ type: "slow" }, { type: "quick" }, { type: "quick" }]);
    await turn();
    await turn();

    expect(pool.takeActiveTypes().toSorted()).toEqual(["quick", "slow"]);
    expect(pool.takeActiveTypes()).toEqual(["slow"]);
    await bench.end(0);
    expect(pool.takeActiveTypes()).toEqual(["slow"]);
    expect(pool.takeActiveTypes()).toEqual([]);
  });

  test("are all of them, however many came after the one that held up the rest", async () => {
    const { scene, pool } = aPool(() => DONE);

    const ids = await scene.enqueueAll([{ type: "culprit" }, { type: "b" }, { type: "c" }]);
    await scene.poll(ids[2] ?? "");

    expect(pool.takeActiveTypes()).toEqual(["culprit", "b", "c"]);
  });
});

describe("the event loop", () => {
  const TASKS = 50_000;
  const settings = { queueSize: TASKS, queueBytes: 100 * TASKS, retainTasks: TASKS };

  test.each<[string, Work]>([
    ["at once", (attempt) => attempt.run(() => undefined, BYTES_MAX)],
    ["in microtasks", (attempt) => attempt.run(async () => undefined, BYTES_MAX)],
  ])("turns while 50,000 tasks run that end %s", async (_, work) => {
    const engine = new MemoryEngine(someSettings(systemClock, settings));
    let ended = 0;
    const counted: Work = (attempt) => {
      ended += 1;
      return work(attempt);
    };
    await engine.enqueue(Array.from({ length: TASKS }, () => ({ payload: null })));
    new Pool({ engine, lane: "loop", work: counted, loops: 4 }).start();

    let turns = 0;
    while (ended < TASKS) {
      await turn();
      turns += 1;
    }

    // Without a breather the first turn comes when all is done.
    expect(turns).toBeGreaterThan(3);
    await engine.close();
  });

  test("answers HTTP while 50,000 tasks run", async () => {
    const engine = new MemoryEngine(someSettings(systemClock, settings));
    let ended = 0;
    const work: Work = () => {
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
    new Pool({ engine, lane: "loop", work, loops: 4 }).start();

    const endedThen = await fetch(url).then((response) => response.json());

    expect(endedThen).toBeLessThan(TASKS);
    await engine.close();
  });
});

/** A pool on an engine that says only in the next turn of the event loop what there is to claim. */
function aLatePool(work: Work): Working {
  const clock = new ManualClock();
  return working(new LateEngine(someSettings(clock)), clock, work, 1);
}

class LateEngine extends MemoryEngine {
  // A promise is what the seam allows, though this engine never makes one by itself.
  override claim(lane: Lane): never {
    const claim = super.claim(lane);
    const claiming: MaybePromise<Claim | undefined> = turn().then(() => claim);
    return claiming as never;
  }
}
