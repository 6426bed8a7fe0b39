/** What every engine tells its subscribers. */

import { describe, expect, test } from "bun:test";
import type { EventSubscriber, TaskEvent } from "../../src/engine/events.ts";
import { type EngineHarness, REMOTE_TYPES } from "../support/engine-harness.ts";
import { turn } from "../support/manual-clock.ts";
import type { Contract } from "./contract.ts";

export function describeEvents(contract: Contract): void {
  test("each step of a task is told once, in order", async () => {
    await using harness = await contract.open();
    const events = recordEvents(harness);
    const id = await harness.enqueue({ maxRetries: 1, delayMs: 50 });
    await harness.advance(50);
    await harness.settleFailed(await harness.claim());
    await harness.advance(200);
    await harness.settleDone(await harness.claim());
    await turn();

    expect(events.map(({ from, status }) => [from, status])).toEqual([
      [null, "scheduled"],
      ["scheduled", "queued"],
      ["queued", "running"],
      ["running", "retrying"],
      ["retrying", "queued"],
      ["queued", "running"],
      ["running", "done"],
    ]);
    expect(new Set(events.map(({ taskId }) => taskId))).toEqual(new Set([id]));
  });

  contract.clockTest("an event carries its task's facts and its time", async () => {
    await using harness = await contract.open();
    const events = recordEvents(harness);
    const id = await harness.enqueue({ type: "email", queue: "mail" });
    const enqueuedAtMs = harness.wallMs;
    await harness.advance(70);
    const claim = await harness.claim();
    const startedAtMs = harness.wallMs;
    await harness.advance(30);

    await harness.settleFailed(claim);
    await turn();

    const task = { taskId: id, type: "email", queue: "mail" };
    expect(events).toEqual([
      {
        ...task,
        status: "queued",
        from: null,
        attempt: 0,
        code: undefined,
        atMs: enqueuedAtMs,
        waitMs: null,
        runMs: null,
      },
      {
        ...task,
        status: "running",
        from: "queued",
        attempt: 1,
        code: undefined,
        atMs: startedAtMs,
        waitMs: 70,
        runMs: null,
      },
      {
        ...task,
        status: "retrying",
        from: "running",
        attempt: 1,
        code: "broken",
        atMs: startedAtMs + 30,
        waitMs: null,
        runMs: 30,
      },
    ]);
  });

  contract.clockTest("the wait counts from when a task was queued, not enqueued", async () => {
    await using harness = await contract.open();
    const events = recordEvents(harness);
    await harness.enqueue({ delayMs: 1000 });
    await harness.advance(1000 + 70);

    await harness.claim();

    expect(events.find(({ status }) => status === "running")?.waitMs).toBe(70);
  });

  contract.clockTest("a timeout is told with its code and how long the attempt ran", async () => {
    await using harness = await contract.open();
    const events = recordEvents(harness);
    await harness.enqueue({ timeoutMs: 500, maxRetries: 0 });
    await harness.claim();

    await harness.advance(500);
    await turn();

    expect(events.at(-1)).toMatchObject({ status: "failed", code: "timeout", runMs: 500 });
  });

  test("a lost lease is told as a step back to the queue", async () => {
    await using harness = await contract.open({ types: REMOTE_TYPES });
    const events = recordEvents(harness);
    await harness.enqueue({ type: "remote" });
    await harness.claimRemote();

    await harness.advance(10_000);
    await turn();

    expect(events.at(-1)).toMatchObject({ from: "running", status: "queued", code: undefined });
  });

  test("a cancel and a retry by hand are told", async () => {
    await using harness = await contract.open();
    const id = await harness.enqueue();
    const events = recordEvents(harness);

    await harness.engine.cancel(id);
    await harness.engine.retry(id);
    await turn();

    expect(events).toMatchObject([
      { taskId: id, from: "queued", status: "cancelled" },
      { taskId: id, from: "cancelled", status: "queued" },
    ]);
  });

  test("a purge is told for each of its tasks", async () => {
    await using harness = await contract.open();
    const ids = await harness.enqueueAll([{}, {}, {}]);
    const events = recordEvents(harness);

    await harness.engine.purge("default");
    await turn();

    expect(events.map(({ status }) => status)).toEqual(["cancelled", "cancelled", "cancelled"]);
    expect(events.map(({ taskId }) => taskId).toSorted()).toEqual(ids.toSorted());
  });

  test("a batch is told task by task, in its order", async () => {
    await using harness = await contract.open();
    const events = recordEvents(harness);

    const ids = await harness.enqueueAll([{}, {}, {}]);
    await turn();

    expect(events.map(({ taskId }) => taskId)).toEqual([...ids]);
  });

  describe("silence", () => {
    test("of a refused enqueue nothing is told", async () => {
      await using harness = await contract.open({ queueSize: 1 });
      await harness.enqueue();
      const events = recordEvents(harness);

      await harness.engine.enqueue([{ payload: 1 }]);
      await turn();

      expect(events).toEqual([]);
    });

    test("of a repeated enqueue nothing is told", async () => {
      await using harness = await contract.open();
      await harness.engine.enqueue([{ payload: 1 }], "key");
      const events = recordEvents(harness);

      await harness.engine.enqueue([{ payload: 1 }], "key");
      await turn();

      expect(events).toEqual([]);
    });

    test("of a late or repeated settle nothing is told", async () => {
      await using harness = await contract.open();
      await harness.enqueue();
      const claim = await harness.claim();
      await harness.settleDone(claim);
      await turn();
      const events = recordEvents(harness);

      await harness.settleDone(claim);
      await harness.settleFailed(claim);
      await turn();

      expect(events).toEqual([]);
    });

    test("of steps that a subscriber does not want it is told nothing", async () => {
      await using harness = await contract.open();
      const events = recordEvents(harness, (status) => status === "done");

      await harness.enqueueIn("done");
      await harness.enqueueIn("failed");
      await turn();

      expect(events.map(({ status }) => status)).toEqual(["done"]);
    });
  });

  test("every subscriber is told, each of what it wants", async () => {
    await using harness = await contract.open();
    const starts = recordEvents(harness, (status) => status === "running");
    const all = recordEvents(harness);

    await harness.enqueueIn("done");
    await turn();

    expect([starts.length, all.length]).toEqual([1, 3]);
  });

  test("an event stays as it was told", async () => {
    await using harness = await contract.open();
    const events = recordEvents(harness);
    await harness.enqueue();
    await turn();
    const [event] = events;

    await harness.settleDone(await harness.claim());

    expect(event).toMatchObject({ status: "queued", attempt: 0 });
  });
}

/** What a subscriber hears from now on. */
function recordEvents(
  harness: EngineHarness,
  wants: EventSubscriber["wants"] = () => true,
): readonly TaskEvent[] {
  const events: TaskEvent[] = [];
  harness.engine.subscribe({ wants, onTask: (event) => events.push(event) });
  return events;
}
