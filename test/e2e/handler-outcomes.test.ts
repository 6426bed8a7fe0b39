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

for (const place of ["loop", "thread"]) {
  describe(place === "loop" ? "on the event loop" : "in a thread", () => {
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
      server.run({ type: `${place}.${name}`, max_retries: 0, ...fields });

    test("what a handler returns is the result", async () => {
      const task = await run("returns", { payload: { a: [1, "ü", null] } });
      expect(task).toMatchObject({ status: "done", result: { got: { a: [1, "ü", null] } } });
    });

    test("a handler that returns nothing is done without a result", async () => {
      expect(await run("returns-nothing")).toMatchObject({ status: "done", result: null });
    });

    test.each(["returns-cyclic", "returns-bigint", "returns-function"])(
      "a result that JSON does not have fails the attempt: %s",
      async (name) => {
        const { status, error } = await run(name);
        expect({ status, code: error?.code }).toEqual({ status: "failed", code: "invalid_result" });
        expect(error?.message).toStartWith("the result can't be written as JSON: ");
      },
    );

    test("a result over the limit fails the attempt, and says by how much", async () => {
      const { status, error, result } = await run("returns-large");
      expect({ status, code: error?.code, result }).toEqual({
        status: "failed",
        code: "result_too_large",
        result: null,
      });
      expect(error?.message).toBe(
        "the result is too large: it has 65538 bytes, and 65536 are allowed",
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
    ])("anything thrown fails the attempt: %s", async (name, code, message) => {
      const { status, attempt, error } = await run(name);
      expect({ status, attempt, code: error?.code, message: error?.message }).toEqual({
        status: "failed",
        attempt: 1,
        code,
        message,
      });
    });

    test("an error that asks for no retry, and whose getters then throw, is taken at its first word", async () => {
      const task = await run("throws-turning-getters", { max_retries: 3 });
      expect(task).toMatchObject({ status: "failed", attempt: 1, error: { message: "turning" } });
    });

    test("a retry that is asked for beyond the end of time is none", async () => {
      const task = await run("throws-endless-retry", { max_retries: 1 });
      expect(task).toMatchObject({
        status: "failed",
        attempt: 2,
        error: { message: "much later" },
      });
    });

    test("an endless message is cut", async () => {
      const { error } = await run("throws-long");
      expect(error?.message).toHaveLength(1000);
      expect(error?.message).toEndWith("x…");
    });

    test("only the first of two settlements counts", async () => {
      expect(await run("settles-twice")).toMatchObject({ status: "done", result: "first" });
    });

    test("a thenable that settles more than once counts once", async () => {
      expect(await run("returns-bad-thenable")).toMatchObject({ status: "done", result: "first" });
    });

    test("NonRetryableError fails the task at once, whatever retries it has left", async () => {
      const task = await run("gives-up", { max_retries: 5 });
      expect(task).toMatchObject({
        status: "failed",
        attempt: 1,
        error: { message: "no such customer" },
      });
    });

    test("RetryAfterError says when the next attempt starts", async () => {
      const id = await server.enqueue({ type: `${place}.asks-for-a-day` });
      const task = await server.taskThat(id, ({ status }) => status === "retrying");
      const failedAtMs = Date.parse(task.error?.at ?? "");
      expect(Date.parse(task.run_at ?? "") - failedAtMs).toBe(DAY_MS);
    });

    test("a retry is another attempt, and its result counts", async () => {
      const task = await run("second-time", { max_retries: 1 });
      expect(task).toMatchObject({ status: "done", attempt: 2, result: "attempt 2" });
    });

    test("a handler is told what it works on", async () => {
      const { id, result } = await run("tells-its-context", { max_retries: 7, queue: "letters" });
      expect(result).toEqual({
        id,
        type: `${place}.tells-its-context`,
        queue: "letters",
        attempt: 1,
        maxRetries: 7,
        isAborted: false,
      });
    });

    test("a handler that never returns times out, and its place goes to the next task", async () => {
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
      "what comes after the timeout is ignored: %s",
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

    test("progress shows on the task while it runs, and the last of it stays", async () => {
      const id = await server.enqueue({ type: `${place}.progress`, payload: gate.url });
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

    test("progress that is not JSON is thrown back at the handler", async () => {
      const { error } = await run("progress-of-a-function");
      expect(error?.message).toBe("the progress can't be shown: a function is not a JSON value");
    });

    test("cancelling a running task aborts its signal, and the task stays cancelled", async () => {
      const id = await server.enqueue({ type: `${place}.tells-of-abort`, payload: gate.url });
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

    test("a handler's log lines name its task, and no field of its own takes that away", async () => {
      const { id } = await run("logs");
      expect(await server.event("hello_from_handler")).toMatchObject({
        level: "info",
        id,
        type: `${place}.logs`,
        attempt: 1,
        colour: "red",
      });
    });

    test("whatever a handler logs, it harms neither the task nor the server", async () => {
      const { status } = await run("logs-anything");
      expect(status).toBe("done");
      expect(await server.event("odd_fields")).toMatchObject({ big: "1", error: "no" });
    });

    test("a payload that its schema refuses is answered with its path, and never queued", async () => {
      const response = await server.post("/enqueue", {
        type: `${place}.checked`,
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

    test("a payload that its schema takes arrives", async () => {
      const task = await run("checked", { payload: { to: "Ada", copies: 2 } });
      expect(task).toMatchObject({ status: "done", result: "2 to Ada" });
    });
  });
}
