import { describe, expect, test } from "bun:test";
import { TICK_MAX } from "../../../src/core/broker.ts";
import type { HostOptions } from "../../../src/engine/host/broker-host.ts";
import { createMemoryEngine } from "../../../src/engine/memory/engine.ts";
import type { LogLevel } from "../../../src/log.ts";
import { createLog } from "../../../src/log-output.ts";
import { describeEngine } from "../../contract/contract.ts";
import {
  EngineHarness,
  type EngineOptions,
  onManualClock,
  REMOTE,
  REMOTE_TYPES,
  someSettings,
} from "../../support/engine-harness.ts";
import { ManualClock } from "../../support/manual-clock.ts";

describeEngine("in memory", { durable: false, ownClock: false, exactOrder: true }, (settings) =>
  onManualClock(createMemoryEngine(settings), settings.clock),
);

/** An engine that writes its log lines into `lines`. */
function openLogged(
  level: LogLevel,
  options: EngineOptions = {},
): {
  readonly harness: EngineHarness;
  readonly lines: string[];
} {
  const lines: string[] = [];
  const log = createLog({ level, isForPeople: false, write: (line) => lines.push(line) });
  return { harness: open(options, { log }), lines };
}

function open(options: EngineOptions, more: Partial<HostOptions> = {}): EngineHarness {
  const clock = new ManualClock();
  return new EngineHarness(createMemoryEngine({ ...someSettings(clock, options), ...more }), clock);
}

describe("engine in memory", () => {
  test("the engine in memory says that what is unfinished is lost with the process", async () => {
    const harness = open({});

    expect((await harness.close()).areLost).toBe(true);
  });

  test("the engine in memory answers at once, without a promise", () => {
    const { engine } = open({});

    expect(engine.enqueue([{ payload: null }])).not.toBeInstanceOf(Promise);
    expect(engine.claim({ lane: "loop", max: 1 })).not.toBeInstanceOf(Promise);
  });

  test("the engine in memory moves no more due tasks in one tick of the event loop than it may", async () => {
    const harness = open({ queueSize: 2 * TICK_MAX, queueBytes: 1_000_000 });
    await harness.enqueueAll(Array.from({ length: TICK_MAX + 1 }, () => ({ delayMs: 10 })));
    const readyAtTurns: number[] = [];
    const note = (): void => {
      readyAtTurns.push(harness.worker.ready);
    };
    // Armed after the engine's own timer for the same time, so it comes between that and the next.
    harness.clock.after(10, note);

    await harness.advance(10);
    note();

    expect(readyAtTurns).toEqual([TICK_MAX, TICK_MAX + 1]);
  });

  describe("timer", () => {
    test("the timer is not armed while nothing is due", async () => {
      const harness = open({});
      await harness.enqueue();

      expect(harness.clock.armed).toBe(0);
    });

    test("one timer is armed, however much is due", async () => {
      const harness = open({});
      await harness.enqueueIn("retrying");
      await harness.enqueueIn("running");
      await harness.enqueueIn("done");
      await harness.enqueue({ delayMs: 20 });
      await harness.enqueue({ delayMs: 10 });
      await harness.enqueue({ runAtMs: harness.wallMs + 5 });

      expect(harness.clock.armed).toBe(1);
    });

    test("the timer is let go of by close", async () => {
      const harness = open({});
      await harness.enqueueIn("scheduled");
      const poll = harness.poll(await harness.enqueueIn("running"));

      await harness.close();
      await poll;

      expect(harness.clock.armed).toBe(0);
    });

    test("the timer is not armed again by an attempt that ends after close", async () => {
      const harness = open({});
      await harness.enqueue();
      const claim = await harness.claim();
      await harness.close();

      await harness.settleDone(claim);

      expect(harness.clock.armed).toBe(0);
    });
  });

  test("close ends a drain that still waits", async () => {
    const harness = open({});
    await harness.enqueueIn("running");
    const drained = harness.engine.drain(8000);

    await harness.close();

    await drained;
    expect(harness.clock.armed).toBe(0);
  });

  test("the engine works by the system's clock and chance when it is given none", async () => {
    const { limits, defaults } = someSettings(new ManualClock());
    const engine = createMemoryEngine({ limits, defaults });
    const beforeMs = Date.now();
    const answer = await engine.enqueue([{ payload: null, delayMs: 1, maxRetries: 0 }]);
    if (answer.kind !== "accepted") throw new Error(answer.kind);
    const [{ id } = { id: "" }] = answer.receipts;
    engine.attach("loop", {
      onReady: () =>
        queueMicrotask(() => {
          const answer = engine.claim({ lane: "loop", max: 1 });
          if (answer instanceof Promise || answer.kind !== "claimed") return;
          for (const { taskId, fence } of answer.claims) {
            void engine.settle(taskId, fence, { kind: "done", result: null });
          }
        }),
      onRevoke: () => undefined,
    });

    const task = await engine.waitFor(id, 60_000, new AbortController().signal);

    expect(task?.status).toBe("done");
    expect(task?.enqueuedAtMs).toBeWithin(beforeMs, Date.now() + 1);
    await engine.close();
  });
});

describe("log of lost leases", () => {
  test("a lost lease is a warning that names its worker", async () => {
    const { harness, lines } = openLogged("warn", { types: REMOTE_TYPES });
    const id = await harness.enqueueRemote();
    await harness.claimRemote({ worker: "gpu-1" });

    await harness.advance(REMOTE.leaseMs);

    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { event: "lease_lost", id, type: "remote", queue: "default", attempt: 1, worker: "gpu-1" },
    ]);
  });
});

describe("pause of the process", () => {
  /** An engine with a remote claim, and a process that can stand still while time goes by. */
  async function openPausable(leaseMs: number, timeoutMs = 3_600_000) {
    const clock = new ManualClock();
    let pausedMs = 0;
    const engine = createMemoryEngine({
      ...someSettings(clock, { types: REMOTE_TYPES }),
      clock: {
        now: () => {
          const { monoMs, wallMs } = clock.now();
          return { monoMs: monoMs + pausedMs, wallMs: wallMs + pausedMs };
        },
        after: (delayMs, fire) => clock.after(delayMs, fire),
      },
    });
    const harness = new EngineHarness(engine, clock);
    const id = await harness.enqueue({ type: "remote", timeoutMs });
    await harness.claimRemote({ leaseMs });
    const pause = async (ms: number): Promise<void> => {
      pausedMs += ms;
      // What was due meanwhile comes late, when the process goes on.
      await harness.advance(250);
    };
    return { harness, id, pause };
  }

  test("a pause of the process that is longer than a second gives a lease that ended meanwhile ten seconds more", async () => {
    const { harness, id, pause } = await openPausable(60_000);

    await pause(600_000);

    await harness.advance(9000);
    expect(await harness.statusOf(id)).toBe("running");
    await harness.advance(1000);
    expect(await harness.statusOf(id)).toBe("queued");
  });

  test("a pause of the process gives a short lease no more than its length", async () => {
    const { harness, id, pause } = await openPausable(2000);

    await pause(600_000);

    await harness.advance(1000);
    expect(await harness.statusOf(id)).toBe("running");
    await harness.advance(1000);
    expect(await harness.statusOf(id)).toBe("queued");
  });

  test("a pause of the process that is shorter than half a second gives no lease more time", async () => {
    const { harness, id, pause } = await openPausable(2000);
    await harness.advance(1500);

    await pause(400);
    await harness.advance(250);

    expect(await harness.statusOf(id)).toBe("queued");
  });

  test("a pause of the process gives no attempt more time than its timeout", async () => {
    const { harness, id, pause } = await openPausable(60_000, 60_000);

    await pause(600_000);

    expect((await harness.task(id)).errors).toMatchObject([{ code: "timeout" }]);
  });
});

describe("log of the engine in memory", () => {
  /** What a log line says, without its time. */
  const contentOf = (line: string): unknown => ({ ...JSON.parse(line), time: undefined });

  test("the log warns of a task that has failed, with its code and without its payload", async () => {
    const { harness, lines } = openLogged("info");
    const id = await harness.enqueue({ payload: "secret", type: "email", maxRetries: 1 });
    await harness.settleFailed(await harness.claim());
    await harness.advance(200);

    await harness.settleFailed(await harness.claim());

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

  test("the log says nothing of a task that goes well, unless it is to debug", async () => {
    const { harness, lines } = openLogged("info");

    await harness.enqueueIn("done");

    expect(lines).toEqual([]);
  });

  test("the log tells every step of a task to debug", async () => {
    const { harness, lines } = openLogged("debug");
    const id = await harness.enqueue({ delayMs: 10, payload: "secret" });
    await harness.advance(10);
    await harness.settleFailed(await harness.claim());
    await harness.engine.cancel(id);

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
