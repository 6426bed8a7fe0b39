import { describe, expect, test } from "bun:test";
import { TICK_MAX } from "../../../src/core/broker.ts";
import { MemoryEngine, type MemoryEngineOptions } from "../../../src/engine/memory/engine.ts";
import type { LogLevel } from "../../../src/log.ts";
import { createLog } from "../../../src/log-output.ts";
import { describeEngine } from "../../contract/contract.ts";
import { Scene, type SceneOptions, someSettings } from "../../support/engine-harness.ts";
import { ManualClock } from "../../support/manual-clock.ts";

describeEngine("in memory", { tasks: "die" }, (settings) => new MemoryEngine(settings));

/** A scene whose engine writes its log lines into `lines`. */
function aLoggedScene(level: LogLevel): { readonly scene: Scene; readonly lines: string[] } {
  const lines: string[] = [];
  const log = createLog({ level, isForPeople: false, write: (line) => lines.push(line) });
  return { scene: aScene({}, { log }), lines };
}

function aScene(options: SceneOptions, more: Partial<MemoryEngineOptions> = {}): Scene {
  const clock = new ManualClock();
  return new Scene(new MemoryEngine({ ...someSettings(clock, options), ...more }), clock);
}

describe("the engine in memory", () => {
  test("says that what is unfinished is lost with the process", async () => {
    const scene = aScene({});

    expect((await scene.close()).areLost).toBe(true);
  });

  test("answers at once, without a promise", () => {
    const { engine } = aScene({});

    expect(engine.enqueue([{ payload: null }])).not.toBeInstanceOf(Promise);
    expect(engine.claim("loop")).not.toBeInstanceOf(Promise);
  });

  test("moves no more due tasks in one turn of the event loop than it may", async () => {
    const scene = aScene({ queueSize: 2 * TICK_MAX, queueBytes: 1_000_000 });
    await scene.enqueueAll(Array.from({ length: TICK_MAX + 1 }, () => ({ delayMs: 10 })));
    const readyAtTurns: number[] = [];
    const note = (): void => {
      readyAtTurns.push(scene.worker.ready);
    };
    // Armed after the engine's own timer for the same time, so it comes between that and the next.
    scene.clock.after(10, note);

    await scene.clock.advance(10);
    note();

    expect(readyAtTurns).toEqual([TICK_MAX, TICK_MAX + 1]);
  });

  describe("its timer", () => {
    test("is not armed while nothing is due", async () => {
      const scene = aScene({});
      await scene.enqueue();

      expect(scene.clock.armed).toBe(0);
    });

    test("is one, however much is due", async () => {
      const scene = aScene({});
      await scene.enqueueIn("retrying");
      await scene.enqueueIn("running");
      await scene.enqueueIn("done");
      await scene.enqueue({ delayMs: 20 });
      await scene.enqueue({ delayMs: 10 });
      await scene.enqueue({ runAtMs: scene.clock.wallMs + 5 });

      expect(scene.clock.armed).toBe(1);
    });

    test("is let go of by close", async () => {
      const scene = aScene({});
      await scene.enqueueIn("scheduled");
      const poll = scene.poll(await scene.enqueueIn("running"));

      await scene.close();
      await poll;

      expect(scene.clock.armed).toBe(0);
    });

    test("is not armed again by an attempt that ends after close", async () => {
      const scene = aScene({});
      await scene.enqueue();
      const claim = await scene.claim();
      await scene.close();

      await scene.settleDone(claim);

      expect(scene.clock.armed).toBe(0);
    });
  });

  test("close ends a drain that still waits", async () => {
    const scene = aScene({});
    await scene.enqueueIn("running");
    const drained = scene.engine.drain(8000);

    await scene.close();

    await drained;
    expect(scene.clock.armed).toBe(0);
  });

  test("works by the system's clock and chance when it is given none", async () => {
    const { limits, defaults } = someSettings(new ManualClock());
    const engine = new MemoryEngine({ limits, defaults });
    const beforeMs = Date.now();
    const answer = engine.enqueue([{ payload: null, delayMs: 1, maxRetries: 0 }]);
    if (answer.kind !== "accepted") throw new Error(answer.kind);
    const [{ id } = { id: "" }] = answer.receipts;
    engine.attach("loop", {
      onReady: () =>
        queueMicrotask(() => {
          const claim = engine.claim("loop");
          if (claim !== undefined) engine.settle(claim, { kind: "done", result: null });
        }),
      onRevoke: () => undefined,
    });

    const task = await engine.waitFor(id, 60_000, new AbortController().signal);

    expect(task?.status).toBe("done");
    expect(task?.enqueuedAtMs).toBeWithin(beforeMs, Date.now() + 1);
    await engine.close();
  });
});

describe("the log of the engine in memory", () => {
  /** What a log line says, without its time. */
  const contentOf = (line: string): unknown => ({ ...JSON.parse(line), time: undefined });

  test("warns of a task that has failed, with its code and without its payload", async () => {
    const { scene, lines } = aLoggedScene("info");
    const id = await scene.enqueue({ payload: "secret", type: "email", maxRetries: 1 });
    await scene.settleFailed(await scene.claim());
    await scene.clock.advance(200);

    await scene.settleFailed(await scene.claim());

    expect(lines.map(contentOf)).toEqual([
      {
        level: "warn",
        event: "task_failed",
        id,
        type: "email",
        queue: "default",
        attempt: 2,
        code: "broken",
      },
    ]);
  });

  test("says nothing of a task that goes well, unless it is to debug", async () => {
    const { scene, lines } = aLoggedScene("info");

    await scene.enqueueIn("done");

    expect(lines).toEqual([]);
  });

  test("tells every step of a task to debug", async () => {
    const { scene, lines } = aLoggedScene("debug");
    const id = await scene.enqueue({ delayMs: 10, payload: "secret" });
    await scene.clock.advance(10);
    await scene.settleFailed(await scene.claim());
    await scene.engine.cancel(id);

    expect(lines.map((line) => JSON.parse(line).event)).toEqual([
      "task_enqueued",
      "task_queued",
      "task_running",
      "task_retrying",
      "task_cancelled",
    ]);
    expect(lines.join("")).not.toContain("secret");
  });
});
