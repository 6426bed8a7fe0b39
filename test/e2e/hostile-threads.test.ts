import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  type ServerProcess,
  startServerProcess,
  type TaskAnswer,
} from "../support/server-process.ts";

setDefaultTimeout(60_000);

// One thread: whatever a handler does to it, the next task has to find one that works.
describe("a thread", () => {
  let server: ServerProcess;

  beforeAll(async () => {
    server = await startServerProcess("test/fixtures/hostile-threads.ts", { THREADS: "1" });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  const run = (type: string, fields: object = {}): Promise<TaskAnswer> =>
    server.run({ type, max_retries: 0, ...fields });

  const replacements = (): number =>
    server.lines.filter(({ event }) => event === "thread_replaced").length;

  test.each([
    ["exits", "it exited with code 0"],
    ["exits-with-7", "it exited with code 7"],
    ["floating-rejection", "nobody waits for this"],
    ["late-throw-outside", "thrown by a timer"],
    ["floating-rejection-without-watch", ""],
    ["exit-is-overridden", "and can't exit"],
  ])("is replaced, and the attempt fails, when its handler ends it: %s", async (type, why) => {
    const before = replacements();
    const { status, error } = await run(type);
    const next = await run("fine", { payload: "still here" });
    expect({
      status,
      code: error?.code,
      next: next.result,
      replaced: replacements() - before,
    }).toEqual({
      status: "failed",
      code: "thread_crashed",
      next: "still here",
      replaced: 1,
    });
    expect(error?.message).toStartWith(`the thread ended during the attempt: ${why}`);
  });

  test("is killed at the timeout of a handler that blocks it, and replaced", async () => {
    const before = await run("which-thread");
    const stuck = await run("spins", { timeout_ms: 50 });
    const after = await run("which-thread");
    expect(stuck).toMatchObject({ status: "failed", error: { code: "timeout" } });
    expect(after.result).not.toBe(before.result);
  });

  test("is used again when its handler has ended", async () => {
    const first = await run("which-thread");
    const second = await run("which-thread");
    expect(second.result).toBe(first.result);
  });

  test.each(["forges-an-end", "posts-rubbish", "takes-the-globals"])(
    "does not hear a handler that posts messages in its name: %s",
    async (type) => {
      expect(await run(type)).toMatchObject({ status: "done", result: "true" });
      expect((await run("fine", { payload: 1 })).result).toBe(1);
    },
  );

  test("shows no progress of a handler that goes on after its end", async () => {
    await run("progress-after-its-end");
    expect(await run("waits-a-turn")).toMatchObject({ status: "done", progress: null });
  });

  test("loads its handlers again after one has changed the working directory", async () => {
    await run("changes-the-directory");
    await run("exits");

    expect(await run("fine", { payload: "still here" })).toMatchObject({ result: "still here" });
  });

  test("that is blocked blocks neither HTTP nor the tasks of the event loop", async () => {
    const id = await server.enqueue({ type: "spins", timeout_ms: 3_600_000 });
    await server.taskThat(id, ({ progress }) => progress === "spinning");
    const health = await server.request("/healthz");
    const other = await run("no-such-handler");
    const { status } = await server.task(id);
    await server.request(`/tasks/${id}`, { method: "DELETE" });
    expect([health.status, other.error?.code, status]).toEqual([200, "no_handler", "running"]);
  });
});
