/**
 * What HTTP makes of an engine that can't do what it is asked: one that stops, one whose storage
 * fails, and one that breaks its promises.
 */

import { describe, expect, test } from "bun:test";
import type { Engine, StorageUnavailable } from "../../../src/engine/engine.ts";
import { createMemoryEngine } from "../../../src/engine/memory/engine.ts";
import { createLog } from "../../../src/log-output.ts";
import { someSettings } from "../../support/engine-harness.ts";
import { bodyOf, expectProblem, openSceneOf } from "../../support/http-harness.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const TOKEN = "01920000-0000-7000-8000-000000000000.1";

/** Every call that changes something. */
const CHANGES: readonly (readonly [method: string, path: string, json: object | undefined])[] = [
  ["POST", "/enqueue", { payload: 1 }],
  ["POST", "/enqueue/batch", { tasks: [{ payload: 1 }] }],
  ["DELETE", "/tasks/x", undefined],
  ["POST", "/tasks/x/retry", undefined],
  ["POST", "/queues/x/pause", undefined],
  ["POST", "/queues/x/resume", undefined],
  ["DELETE", "/queues/x/tasks", undefined],
  ["POST", "/claims", undefined],
  ["POST", "/claims", { wait_ms: 1000 }],
  ["POST", `/claims/${TOKEN}/done`, undefined],
  ["POST", `/claims/${TOKEN}/failed`, undefined],
  ["POST", `/claims/${TOKEN}/released`, undefined],
];

const SETTLES = { settles: Array(3).fill({ token: TOKEN, outcome: "done" }) };

const SECRET = "s3cret";

function anEngine(): Engine {
  return createMemoryEngine(someSettings(new ManualClock()));
}

/** An engine that answers some calls otherwise. */
function anEngineThat(answers: Partial<Engine>): Engine {
  return new Proxy<Engine>(anEngine(), {
    get(engine, name) {
      const own: unknown = Reflect.get(answers, name) ?? Reflect.get(engine, name, engine);
      return typeof own === "function" ? own.bind(engine) : own;
    },
  });
}

/** Can't write, and says so in its own time, as an engine does that waits for its disk. */
function anUnwritableEngine(): Engine {
  const unavailable = async (): Promise<StorageUnavailable> => ({ kind: "storage_unavailable" });
  return anEngineThat({
    readiness: "storage_unavailable",
    enqueue: unavailable,
    cancel: unavailable,
    retry: unavailable,
    pause: unavailable,
    resume: unavailable,
    purge: unavailable,
    claimOrWait: unavailable,
    settle: unavailable,
  });
}

/** Throws whatever it is asked. */
function aBrokenEngine(): Engine {
  return anEngineThatBreaks(() => {
    throw new Error(`an invariant that tells a ${SECRET}`);
  });
}

function anEngineThatBreaks(breakDown: () => never): Engine {
  return anEngineThat({
    enqueue: breakDown,
    find: breakDown,
    cancel: breakDown,
    retry: breakDown,
    pause: breakDown,
    resume: breakDown,
    purge: breakDown,
    claimOrWait: breakDown,
    settle: breakDown,
    extend: breakDown,
  });
}

describe("an engine whose storage can't be written", () => {
  test.each(CHANGES)("makes %s %s answer that it is unavailable", async (method, path, json) => {
    await using scene = openSceneOf(anUnwritableEngine());

    await expectProblem(scene.send(method, path, { json }), "storage_unavailable");
  });

  test("makes each of several settles answer that it is unavailable", async () => {
    await using scene = openSceneOf(anUnwritableEngine());

    const response = await scene.post("/claims/settle", SETTLES);

    const { results } = await bodyOf<{ results: unknown[] }>(response);
    expect(results).toHaveLength(3);
    for (const result of results) {
      expect(result).toMatchObject({ problem: { status: 503, code: "storage_unavailable" } });
    }
  });

  test("makes GET /readyz answer that it is unavailable, and is alive", async () => {
    await using scene = openSceneOf(anUnwritableEngine());

    await expectProblem(scene.get("/readyz"), "storage_unavailable");

    expect((await scene.get("/healthz")).status).toBe(200);
  });

  test("lets reads go on", async () => {
    await using scene = openSceneOf(anUnwritableEngine());

    expect((await scene.get("/tasks")).status).toBe(200);
    expect((await scene.get("/queues")).status).toBe(200);
  });
});

describe("an engine that stops", () => {
  test.each([
    ["GET", "/readyz", undefined],
    ["POST", "/enqueue", { payload: 1 }],
    ["POST", "/enqueue/batch", { tasks: [{ payload: 1 }] }],
    ["POST", "/tasks/x/retry", undefined],
  ])("makes %s %s answer that it does", async (method, path, json) => {
    const engine = anEngine();
    await using scene = openSceneOf(engine);

    engine.stopIntake();

    await expectProblem(scene.send(method, path, { json }), "shutting_down");
  });

  test("still finds what is wrong with a body", async () => {
    const engine = anEngine();
    await using scene = openSceneOf(engine);

    engine.stopIntake();

    await expectProblem(scene.post("/enqueue", {}), "invalid_request");
  });

  test("still cancels, and lets reads go on", async () => {
    const engine = anEngine();
    await using scene = openSceneOf(engine);
    const id = await scene.enqueueWaiting();

    engine.stopIntake();

    expect((await scene.delete(`/tasks/${id}`)).status).toBe(200);
    expect((await scene.task(id)).status).toBe("cancelled");
  });
});

describe("an engine that breaks its promises", () => {
  test.each([
    ...CHANGES,
    ["GET", "/tasks/x", undefined] as const,
    ["POST", `/claims/${TOKEN}/extend`, undefined] as const,
    ["POST", "/claims/settle", SETTLES] as const,
  ])(
    "makes %s %s answer 500, with nothing of what it said, and the server lives",
    async (method, path, json) => {
      await using scene = openSceneOf(aBrokenEngine());

      const { detail } = await expectProblem(scene.send(method, path, { json }), "internal_error");

      expect(detail).not.toContain(SECRET);
      expect((await scene.get("/healthz")).status).toBe(200);
    },
  );

  test("makes several settles answer 500 when it does so later, and the server lives", async () => {
    const engine = anEngineThat({ settle: () => Promise.reject(new Error(SECRET)) });
    await using scene = openSceneOf(engine);

    await expectProblem(scene.post("/claims/settle", SETTLES), "internal_error");

    expect((await scene.get("/healthz")).status).toBe(200);
  });

  test("is found out by the log", async () => {
    const lines: string[] = [];
    const log = createLog({
      level: "error",
      isForPeople: false,
      write: (line) => lines.push(line),
    });
    await using scene = openSceneOf(aBrokenEngine(), log);

    await scene.get("/tasks/x");

    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      {
        level: "error",
        event: "request_failed",
        method: "GET",
        error: expect.stringContaining(SECRET),
      },
    ]);
  });
});
