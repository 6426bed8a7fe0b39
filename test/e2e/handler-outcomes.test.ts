import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Gate } from "../support/gate.ts";
import {
  type ServerProcess,
  startServerProcess,
  type TaskAnswer,
} from "../support/server-process.ts";

setDefaultTimeout(60_000);

const HANDLERS = "test/fixtures/outcomes.ts";
const DAY_MS = 24 * 60 * 60 * 1000;

for (const lane of ["loop", "thread"]) {
  describe(lane === "loop" ? "a handler on the event loop" : "a handler in a thread", () => {
    let server: ServerProcess;
    let gate: Gate;

    beforeAll(async () => {
      gate = new Gate();
      server = await startServerProcess(HANDLERS);
    });
    afterAll(async () => {
      await server[Symbol.asyncDispose]();
      await gate[Symbol.asyncDispose]();
    });

    const run = (name: string, fields: object = {}): Promise<TaskAnswer> =>
      server.run({ type: `${lane}.${name}`, max_retries: 0, ...fields });

    test("returns the result of its task", async () => {
      const task = await run("returns", { payload: { a: [1, "ü", null] } });
      expect(task).toMatchObject({ status: "done", result: { got: { a: [1, "ü", null] } } });
    });

    test("may return nothing: its task is done without a result", async () => {
      expect(await run("returns-nothing")).toMatchObject({ status: "done", result: null });
    });

    test.each(["returns-cyclic", "returns-bigint", "returns-function"])(
      "fails its attempt with a result that is not JSON: %s",
      async (name) => {
        const { status, error } = await run(name);
        expect({ status, code: error?.code }).toEqual({ status: "failed", code: "invalid_result" });
        expect(error?.message).toStartWith("the result can't be written as JSON: ");
      },
    );

    test("fails its attempt with a result over the limit, and learns by how much", async () => {
      const { status, error, result } = await run("returns-large");
      expect({ status, code: error?.code, result }).toEqual({
        status: "failed",
        code: "result_too_large",
        result: null,
      });
      expect(error?.message).toBe(
        "the result is too large: it has 65538 bytes; the limit is 65536",
      );
    });

    test.each([
      ["throws-string", "handler_error", "out of paper"],
      ["throws-null", "handler_error", "null"],
      ["throws-undefined", "handler_error", "undefined"],
      ["throws-bigint", "handler_error", "1"],
      ["rejects-null", "handler_error", "null"],
      ["throws-error", "out_of_paper", "the printer is out of paper"],
      [
        "throws-throwing-getters",
        "handler_error",
        "the handler threw something that can't be described",
      ],
    ])("fails its attempt with anything that it throws: %s", async (name, code, message) => {
      const { status, attempt, error } = await run(name);
      expect({ status, attempt, code: error?.code, message: error?.message }).toEqual({
        status: "failed",
        attempt: 1,
        code,
        message,
      });
    });

    test("may throw an error that can be read only once", async () => {
      const task = await run("throws-turning-getters", { max_retries: 3 });
      expect(task).toMatchObject({ status: "failed", attempt: 1, error: { message: "turning" } });
    });

    test("gets the usual backoff when it asks for a retry beyond the end of time", async () => {
      const task = await run("throws-endless-retry", { max_retries: 1 });
      expect(task).toMatchObject({
        status: "failed",
        attempt: 2,
        error: { message: "much later" },
      });
    });

    test("has an endless error message cut", async () => {
      const { error } = await run("throws-long");
      expect(error?.message).toHaveLength(1000);
      expect(error?.message).toEndWith("x…");
    });

    test("settles its promise once, however often it tries", async () => {
      expect(await run("settles-twice")).toMatchObject({ status: "done", result: "first" });
    });

    test("settles its thenable once, however often it tries", async () => {
      expect(await run("returns-bad-thenable")).toMatchObject({ status: "done", result: "first" });
    });

    test("fails the task at once with a NonRetryableError, whatever retries are left", async () => {
      const task = await run("gives-up", { max_retries: 5 });
      expect(task).toMatchObject({
        status: "failed",
        attempt: 1,
        error: { message: "no such customer" },
      });
    });

    test("sets the start of the next attempt with a RetryAfterError", async () => {
      const id = await server.enqueue({ type: `${lane}.asks-for-a-day` });
      const task = await server.taskThat(id, ({ status }) => status === "retrying");
      const failedAtMs = Date.parse(task.error?.at ?? "");
      expect(Date.parse(task.run_at ?? "") - failedAtMs).toBe(DAY_MS);
    });

    test("gets another attempt, whose result counts", async () => {
      const task = await run("second-time", { max_retries: 1 });
      expect(task).toMatchObject({ status: "done", attempt: 2, result: "attempt 2" });
    });

    test("sees its task and the number of the attempt", async () => {
      const { id, result } = await run("tells-its-context", { max_retries: 7, queue: "letters" });
      expect(result).toEqual({
        id,
        type: `${lane}.tells-its-context`,
        queue: "letters",
        attempt: 1,
        maxRetries: 7,
        isAborted: false,
      });
    });

    test("times out when it never returns, and the next task runs", async () => {
      const stuck = await Promise.all(
        Array.from({ length: 4 }, () => run("never", { timeout_ms: 50 })),
      );
      const next = await run("returns");
      expect(stuck.map(({ status, error }) => [status, error?.code])).toEqual(
        Array.from({ length: 4 }, () => ["failed", "timeout"]),
      );
      expect(next.status).toBe("done");
    });

    test.each(["late-result", "late-throw"])(
      "changes nothing after its timeout: %s",
      async (name) => {
        const { id } = await run(name, { timeout_ms: 50 });
        await run("returns");
        expect(await server.task(id)).toMatchObject({
          status: "failed",
          result: null,
          error: { code: "timeout" },
        });
      },
    );

    test("shows its progress on the running task, and the last progress stays", async () => {
      const id = await server.enqueue({ type: `${lane}.progress`, payload: gate.url });
      const visit = await gate.visit("progressed");
      const task = await server.taskThat(id, ({ progress }) => progress !== null);
      visit.release();
      const { progress } = await server.finished(id);
      expect({ during: task.progress, status: task.status, after: progress }).toEqual({
        during: { percent: 40 },
        status: "running",
        after: { percent: 100 },
      });
    });

    test("gets a TypeError for progress that is not JSON", async () => {
      const { error } = await run("progress-of-a-function");
      expect(error?.message).toBe("the progress is invalid: a function is not a JSON value");
    });

    test("learns of a cancel from its signal, and the task stays cancelled", async () => {
      const id = await server.enqueue({ type: `${lane}.tells-of-abort`, payload: gate.url });
      (await gate.visit("started")).release();
      await server.taskThat(id, ({ status }) => status === "running");
      const { status } = await server.request(`/tasks/${id}`, { method: "DELETE" });
      const aborted = await gate.visit("aborted");
      aborted.release();
      await run("returns");
      expect([status, aborted.query.get("reason"), (await server.task(id)).status]).toEqual([
        200,
        "cancelled",
        "cancelled",
      ]);
    });

    test("writes log lines that name its task, whatever its fields are called", async () => {
      const { id } = await run("logs");
      expect(await server.event("hello_from_handler")).toMatchObject({
        level: "info",
        id,
        type: `${lane}.logs`,
        attempt: 1,
        colour: "red",
      });
    });

    test("may log anything without harm to the task or the server", async () => {
      const { status } = await run("logs-anything");
      expect(status).toBe("done");
      expect(await server.event("odd_fields")).toMatchObject({ big: "1", error: "no" });
    });

    test("gets no payload that does not fit its schema: the answer names the path, and nothing is queued", async () => {
      const response = await server.post("/enqueue", {
        type: `${lane}.checked`,
        queue: "checked",
        payload: { to: "", copies: "two" },
      });
      expect(response.status).toBe(422);
      expect(await response.json()).toMatchObject({
        code: "invalid_request",
        errors: [{ path: "/payload/to" }, { path: "/payload/copies" }],
      });
      expect((await server.request("/queues/checked")).status).toBe(404);
    });

    test("gets a payload that fits its schema", async () => {
      const task = await run("checked", { payload: { to: "Ada", copies: 2 } });
      expect(task).toMatchObject({ status: "done", result: "2 to Ada" });
    });
  });
}
