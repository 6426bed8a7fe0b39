import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Gate } from "../support/gate.ts";
import { type LogLine, type ServerProcess, startServerProcess } from "../support/server-process.ts";

setDefaultTimeout(60_000);

const HANDLERS = "test/fixtures/rules.ts";
const HOUR_MS = 3_600_000;

describe("the rules of a type and of a queue", () => {
  let server: ServerProcess;
  let gate: Gate;

  beforeAll(async () => {
    gate = new Gate();
    server = await startServerProcess(HANDLERS, { WORKERS: "2" });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await gate[Symbol.asyncDispose]();
  });

  test("apply to a task without options of its own", async () => {
    const id = await server.enqueue({ type: "ruled" });
    const task = await server.taskThat(id, ({ status }) => status === "retrying");
    expect(task).toMatchObject({ queue: "ruled", timeout_ms: 1234, max_retries: 1 });
    // The process's own jitter of 0 ms goes on to hold: what the type leaves out is as configured.
    expect(Date.parse(task.run_at ?? "") - Date.parse(task.error?.at ?? "")).toBe(HOUR_MS);
  });

  test("give way to the options of the task", async () => {
    const own = { queue: "other", timeout_ms: 99, max_retries: 0 };
    expect(await server.run({ type: "ruled", ...own })).toMatchObject({ ...own, attempt: 1 });
  });

  test("fail a task of a type without a handler at once, whatever retries are left", async () => {
    const task = await server.run({ type: "unknown", max_retries: 9 });
    expect(task).toMatchObject({
      status: "failed",
      attempt: 1,
      error: { code: "no_handler", message: "no handler for type unknown" },
    });
  });

  test("keep a queue at its concurrency waiting, and no other queue", async () => {
    const held = { type: "hold", queue: "narrow", payload: gate.url };
    const first = await server.enqueue(held);
    const second = await server.enqueue(held);
    const visit = await gate.visit("held");
    // Both loops could work; if the limit did not hold, the second task would be at the gate before
    // this one is done.
    await server.run({ type: "quick" });
    const { status } = await server.task(second);
    const unseen = gate.unseen("held");
    visit.release();
    (await gate.visit("held")).release();
    const results = await Promise.all([server.finished(first), server.finished(second)]);
    expect({ status, unseen, results: results.map(({ result }) => result) }).toEqual({
      status: "queued",
      unseen: 0,
      results: ["released", "released"],
    });
  });

  test.each([
    ["short", "x", 1],
    ["light", "x".repeat(600), 1],
    ["unlimited", "x".repeat(600), 64],
  ])("bound each queue by its own limits: %s", async (queue, payload, room) => {
    const delayed = { type: "quick", queue, payload, delay_ms: HOUR_MS };
    for (let taken = 0; taken < room; taken += 1) await server.enqueue(delayed);
    const response = await server.post("/enqueue", delayed);
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([
      503,
      "queue_full",
    ]);
  });

  test("let other types run beside one that hangs while a loop is free", async () => {
    const hanging = await server.enqueue({ type: "hang", timeout_ms: HOUR_MS });
    const others = await Promise.all(
      Array.from({ length: 20 }, (_, payload) => server.run({ type: "quick", payload })),
    );
    const { status } = await server.task(hanging);
    await server.request(`/tasks/${hanging}`, { method: "DELETE" });
    expect({ status, results: others.map(({ result }) => result) }).toEqual({
      status: "running",
      results: Array.from({ length: 20 }, (_, index) => index),
    });
  });

  test("let HTTP and the tasks of the event loop go on while all threads are busy", async () => {
    const id = await server.enqueue({ type: "spin-in-thread", timeout_ms: HOUR_MS });
    await server.taskThat(id, ({ progress }) => progress === "spinning");
    const health = await server.request("/healthz");
    const quick = await server.run({ type: "quick", payload: 1 });
    const { status } = await server.task(id);
    await server.request(`/tasks/${id}`, { method: "DELETE" });
    expect([health.status, quick.result, status]).toEqual([200, 1, "running"]);
  });
});

describe("the process", () => {
  test("names a handler that blocks the event loop in one warning, among whatever others", async () => {
    await using server = await startServerProcess(HANDLERS);
    const batch = Array.from({ length: 40 }, () => ({ type: "quick", payload: 1 }));
    await server.post("/enqueue/batch", {
      tasks: [...batch.slice(20), { type: "blocks-the-loop", payload: null }, ...batch.slice(20)],
    });
    const namesIt = ({ types }: LogLine): boolean =>
      String(types).split(", ").includes("blocks-the-loop");
    await server.event("event_loop_blocked", namesIt);
    await server.run({ type: "quick" });
    const { lines } = await server.stop();
    expect(
      lines.filter((line) => line.event === "event_loop_blocked" && namesIt(line)),
    ).toHaveLength(1);
  });

  test("logs an unhandled rejection of a handler, finishes waiting tasks and exits 1", async () => {
    await using server = await startServerProcess(HANDLERS, { WORKERS: "1" });
    await server.post("/enqueue/batch", {
      tasks: [
        { type: "floating-rejection", payload: null },
        { type: "quick", payload: 1 },
      ],
    });
    const { exitCode, lines } = await server.ended();
    const fault = lines.find(({ event }) => event === "process_fault");
    expect(exitCode).toBe(1);
    expect(fault?.["error"]).toContain("nobody waits for this");
    expect(lines.at(-1)).toMatchObject({ event: "stopped", unfinished: 0 });
  });

  test("waits at its stop for a thread that ends in time, and exits 0", async () => {
    await using gate = new Gate();
    await using server = await startServerProcess(HANDLERS, { SHUTDOWN_GRACE_MS: "60000" });
    await server.enqueue({ type: "hold-in-thread", payload: gate.url });
    const visit = await gate.visit("held");
    const stopping = server.stop();
    await server.event("stopping");
    visit.release();
    const { exitCode, lines } = await stopping;
    expect(exitCode).toBe(0);
    expect(lines.at(-1)).toMatchObject({ event: "stopped", finished: 1, interrupted: 0 });
  });

  test("ends a thread that does not end in time at its stop, and counts the lost task", async () => {
    await using server = await startServerProcess(HANDLERS, { SHUTDOWN_GRACE_MS: "10" });
    const id = await server.enqueue({ type: "spin-in-thread", timeout_ms: HOUR_MS });
    await server.taskThat(id, ({ progress }) => progress === "spinning");
    const { exitCode, lines } = await server.stop();
    expect(exitCode).toBe(1);
    expect(lines.at(-1)).toMatchObject({ event: "stopped", interrupted: 1, unfinished: 1 });
  });
});
