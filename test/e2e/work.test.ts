import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { QueueBody, TaskBody } from "../support/http-harness.ts";
import { type ServerProcess, startServerProcess } from "../support/server-process.ts";

/** Starting a process takes its time on a busy machine. */
setDefaultTimeout(60_000);

async function read<T>(server: ServerProcess, path: string): Promise<T> {
  return (await (await server.request(path)).json()) as T;
}

describe("the simulated handler", () => {
  test("fails a task after its retries, each after the delay that is promised", async () => {
    await using server = await startServerProcess("", {
      FAILURE_RATE: "1",
      RETRY_BASE_MS: "200",
      RETRY_JITTER_MS: "100",
    });

    const { id } = await server.run({ type: "x", max_retries: 2 });

    const task = await read<TaskBody>(server, `/tasks/${id}`);
    expect(task).toMatchObject({ status: "failed", attempt: 3 });
    expect(task.errors.map(({ code, attempt }) => [code, attempt])).toEqual([
      ["simulated_failure", 1],
      ["simulated_failure", 2],
      ["simulated_failure", 3],
    ]);
    const [first = 0, second = 0, third = 0] = task.errors.map(({ at }) => Date.parse(at));
    // The delays are on another clock than these times, which are whole milliseconds: one may be
    // cut off.
    expect(second - first).toBeGreaterThanOrEqual(199);
    expect(third - second).toBeGreaterThanOrEqual(399);
  });

  test("fails as many tasks as it is told", async () => {
    await using server = await startServerProcess("", {
      FAILURE_RATE: "0.2",
      MAX_RETRIES: "0",
      QUEUE_SIZE: "10000",
    });
    const tasks = Array.from({ length: 10_000 }, () => ({ payload: null }));
    await server.post("/enqueue/batch", { tasks });
    const last = await server.enqueue({ type: "x", priority: -100 });
    await server.finished(last);

    const { totals } = await read<QueueBody>(server, "/queues/default");

    expect(totals.done + totals.failed).toBe(10_001);
    // Five standard deviations.
    expect(totals.failed).toBeGreaterThan(1800);
    expect(totals.failed).toBeLessThan(2200);
  });
});

describe("a queue of two with one worker", () => {
  const SETTINGS = { QUEUE_SIZE: "2", WORKERS: "1", SIMULATED_WORK_MS: "60000" };

  test("refuses the fourth task", async () => {
    await using server = await startServerProcess("", SETTINGS);
    const running = await server.enqueue({ type: "x" });
    await server.taskThat(running, ({ status }) => status === "running");
    await server.enqueue({ type: "x" });
    await server.enqueue({ type: "x" });

    const response = await server.post("/enqueue", { payload: 1 });

    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("1");
    expect(await response.json()).toMatchObject({ code: "queue_full" });
  });

  test("refuses a batch of three and stays as it was", async () => {
    await using server = await startServerProcess("", SETTINGS);
    await server.enqueue({ type: "x", delay_ms: 60_000 });
    const before = await read<QueueBody>(server, "/queues/default");

    const response = await server.post("/enqueue/batch", {
      tasks: [{ payload: 1 }, { payload: 2 }, { payload: 3 }],
    });

    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ code: "queue_full" });
    expect(await read<QueueBody>(server, "/queues/default")).toEqual(before);
  });
});
