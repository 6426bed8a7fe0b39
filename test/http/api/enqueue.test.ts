import { describe, expect, test } from "bun:test";
import {
  type BatchReceiptBody,
  bodyOf,
  expectProblem,
  openScene,
  type ReceiptBody,
} from "../../support/http-harness.ts";

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const DAY_MS = 86_400_000;

describe("POST /enqueue", () => {
  test("answers 202 with an id, a status and where the task is", async () => {
    await using scene = await openScene();

    const response = await scene.post("/enqueue", { payload: { a: 1 }, max_retries: 2 });

    expect(response.status).toBe(202);
    expect(response.headers.get("content-type")).toStartWith("application/json");
    const receipt = await bodyOf<ReceiptBody>(response);
    expect(Object.keys(receipt)).toEqual(["id", "status"]);
    expect(receipt.id).toMatch(UUID_V7);
    expect(receipt.status).toBe("queued");
    expect(response.headers.get("location")).toBe(`/tasks/${receipt.id}`);
  });

  test("gives a task without options the defaults of the configuration", async () => {
    await using scene = await openScene({ maxRetries: 7, taskTimeoutMs: 12_345 });

    const id = await scene.enqueue();

    expect(await scene.task(id)).toMatchObject({
      type: "default",
      queue: "default",
      priority: 0,
      max_retries: 7,
      timeout_ms: 12_345,
      run_at: null,
    });
  });

  test("takes every field", async () => {
    await using scene = await openScene();
    const fields = {
      payload: ["any", { value: true }],
      max_retries: 5,
      type: "Some.type_of:task-1",
      queue: "a.queue_of-1",
      priority: -7,
      timeout_ms: 250,
    };

    const response = await scene.post("/enqueue", { ...fields, delay_ms: 60_000 });

    const { id, status } = await bodyOf<ReceiptBody>(response);
    expect(status).toBe("scheduled");
    const task = await scene.task(id);
    expect(task).toMatchObject({ ...fields, status: "scheduled", attempt: 0 });
    expect(Date.parse(task.run_at ?? "") - Date.parse(task.enqueued_at)).toBe(60_000);
  });

  test.each([
    ["null", null],
    ["a boolean", false],
    ["a number", 0.1],
    ["a string", "ünïcödé \u0000 \u2028 😀"],
    ["an empty string", ""],
    ["an empty array", []],
    ["an empty object", {}],
    ["nested values", [[[{ a: [null, -0.5, "x"] }]]]],
    ["the largest safe integer", Number.MAX_SAFE_INTEGER],
    ["the largest double", Number.MAX_VALUE],
  ])("takes %s as a payload and gives it back", async (_, payload) => {
    await using scene = await openScene();

    const id = await scene.enqueue({ payload, type: "echo" });

    expect(await scene.finished(id)).toMatchObject({ payload, result: payload });
  });

  test.each([
    ["__proto__", '{"__proto__":{"isAdmin":true}}'],
    ["constructor", '{"constructor":{"prototype":{"isAdmin":true}}}'],
    ["toString and then", '{"toString":1,"then":2,"hasOwnProperty":3}'],
    ["toJSON", '{"toJSON":"x"}'],
    ["a number that sorts first", '{"b":1,"2":2,"1":3}'],
  ])("takes the key %s as data", async (_, payload) => {
    await using scene = await openScene();

    const response = await scene.send("POST", "/enqueue", {
      body: `{"payload":${payload},"type":"echo"}`,
    });

    expect(response.status).toBe(202);
    const { id } = await bodyOf<ReceiptBody>(response);
    await scene.finished(id);
    const text = await (await scene.get(`/tasks/${id}`)).text();
    const canonical = JSON.stringify(JSON.parse(payload));
    expect(text).toContain(`"payload":${canonical}`);
    expect(text).toContain(`"result":${canonical}`);
    expect(Reflect.get({}, "isAdmin")).toBeUndefined();
  });

  test("keeps a lone surrogate", async () => {
    await using scene = await openScene();

    const response = await scene.send("POST", "/enqueue", {
      body: '{"payload":"a\\ud800b","type":"echo"}',
    });

    const { id } = await bodyOf<ReceiptBody>(response);
    expect((await scene.finished(id)).result).toBe("a\ud800b");
  });

  test("takes the last of duplicate keys", async () => {
    await using scene = await openScene();

    const response = await scene.send("POST", "/enqueue", { body: '{"payload":1,"payload":2}' });

    const { id } = await bodyOf<ReceiptBody>(response);
    expect((await scene.task(id)).payload).toBe(2);
  });

  test.each([
    ["max_retries", 0],
    ["max_retries", 100],
    ["type", "x"],
    ["type", "A.z_9:-".padEnd(128, "x")],
    ["queue", "0"],
    ["queue", "..."],
    ["queue", ".a"],
    ["queue", "a.z_9-".padEnd(64, "x")],
    ["priority", -100],
    ["priority", 100],
    ["timeout_ms", 1],
    ["timeout_ms", DAY_MS],
  ])("takes %s = %p, the last that is allowed", async (field, value) => {
    await using scene = await openScene();

    const id = await scene.enqueueWaiting({ [field]: value });

    expect(await scene.task(id)).toMatchObject({ [field]: value });
  });

  test.each([
    ["max_retries", -1],
    ["max_retries", 101],
    ["max_retries", 1.5],
    ["max_retries", "2"],
    ["max_retries", null],
    ["max_retries", 1e300],
    ["type", ""],
    ["type", "x".repeat(129)],
    ["type", "a b"],
    ["type", "a\n"],
    ["type", "ä"],
    ["type", 1],
    ["queue", ""],
    ["queue", "x".repeat(65)],
    ["queue", "A"],
    ["queue", "a:b"],
    ["queue", "a/b"],
    ["queue", "a\n"],
    ["queue", "."],
    ["queue", ".."],
    ["queue", {}],
    ["priority", -101],
    ["priority", 101],
    ["priority", 0.5],
    ["priority", "high"],
    ["delay_ms", -1],
    ["delay_ms", 30 * DAY_MS + 1],
    ["delay_ms", 0.5],
    ["delay_ms", "1"],
    ["timeout_ms", 0],
    ["timeout_ms", DAY_MS + 1],
    ["timeout_ms", true],
    ["run_at", 0],
    ["run_at", null],
    ["run_at", ""],
    ["run_at", "tomorrow"],
    ["run_at", "2030-01-01"],
    ["run_at", "2030-01-01T00:00:00"],
    ["run_at", "2030-01-01 00:00:00Z"],
    ["run_at", "2030-13-01T00:00:00Z"],
    ["run_at", "2030-02-30T00:00:00Z"],
    ["run_at", "2030-01-01T24:00:00Z"],
    ["run_at", "2030-01-01T23:60:00Z"],
    ["run_at", "2030-01-01T00:00:00+25:00"],
    ["run_at", "2030-01-01T00:00:00Z\n"],
    ["run_at", "9999-12-31T23:59:59-00:01"],
    ["run_at", "0000-01-01T00:00:00+00:01"],
    ["run_at", "2030-06-30T23:59:60Z"],
    ["run_at", "2030-06-30T23:59:61Z"],
    ["no_such_field", 1],
    ["maxRetries", 1],
    ["__proto__x", 1],
  ])("refuses %s = %p by name", async (field, value) => {
    await using scene = await openScene();

    const answering = scene.post("/enqueue", { payload: null, [field]: value });

    const { errors } = await expectProblem(answering, "invalid_request");
    expect(new Set(errors?.map(({ path }) => path))).toEqual(new Set([`/${field}`]));
  });

  test("refuses a field named __proto__ by name", async () => {
    await using scene = await openScene();

    const answering = scene.send("POST", "/enqueue", {
      body: '{"payload":1,"__proto__":{"queue":"x"}}',
    });

    const { errors } = await expectProblem(answering, "invalid_request");
    expect(errors).toMatchObject([{ path: "/__proto__" }]);
  });

  test("refuses a body without a payload by name", async () => {
    await using scene = await openScene();

    const answering = scene.post("/enqueue", { max_retries: 1 });

    const { errors } = await expectProblem(answering, "invalid_request");
    expect(errors?.[0]?.path).toBe("/payload");
  });

  test.each([
    ["null", null],
    ["a number", 1],
    ["a string", "x"],
    ["an array", [{ payload: 1 }]],
    ["an empty object", {}],
  ])("refuses a body that is %s", async (_, json) => {
    await using scene = await openScene();

    await expectProblem(scene.post("/enqueue", json), "invalid_request");
  });

  test("tells every fault of a body at once", async () => {
    await using scene = await openScene();

    const answering = scene.post("/enqueue", { priority: 1000, queue: "A B", other: 1 });

    const { errors } = await expectProblem(answering, "invalid_request");
    const paths = new Set(errors?.map(({ path }) => path));
    expect(paths).toEqual(new Set(["/payload", "/priority", "/queue", "/other"]));
  });

  test("tells of no more faults than a person can read", async () => {
    await using scene = await openScene();
    const json = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`x${index}`, 1]));

    const { errors } = await expectProblem(scene.post("/enqueue", json), "invalid_request");

    expect(errors).toHaveLength(20);
  });

  test("repeats neither a payload nor a long key in a problem", async () => {
    await using scene = await openScene();
    const secret = "s3cret".repeat(1000);

    const response = await scene.post("/enqueue", {
      payload: { secret },
      type: secret,
      [secret]: secret,
    });

    const text = await response.text();
    expect(response.status).toBe(422);
    expect(text.length).toBeLessThan(2000);
    expect(text.split("s3cret").length - 1).toBeLessThan(100);
  });

  test("takes a payload of 64 levels", async () => {
    await using scene = await openScene();

    const response = await scene.send("POST", "/enqueue", {
      body: `{"payload":${"[".repeat(64)}${"]".repeat(64)}}`,
    });

    expect(response.status).toBe(202);
  });

  test("refuses a payload of 65 levels", async () => {
    await using scene = await openScene();

    const answering = scene.send("POST", "/enqueue", {
      body: `{"payload":${'{"a":'.repeat(65)}1${"}".repeat(65)}}`,
    });

    const { errors } = await expectProblem(answering, "invalid_request");
    expect(errors).toMatchObject([{ message: "is nested deeper than 64 levels" }]);
    expect(errors?.[0]?.path).toStartWith("/payload/a/a/");
  });

  test("refuses a number that no double can hold", async () => {
    await using scene = await openScene();

    const answering = scene.send("POST", "/enqueue", { body: '{"payload":{"n":[1e400]}}' });

    const { errors } = await expectProblem(answering, "invalid_request");
    expect(errors).toMatchObject([{ path: "/payload/n/0" }]);
  });

  test("refuses when the queue is full, and takes again when there is room", async () => {
    await using scene = await openScene({ queueSize: 2, workers: 1 });
    await scene.enqueueHeld();
    const first = await scene.enqueue();
    await scene.enqueue();

    const { detail } = await expectProblem(scene.post("/enqueue", { payload: 1 }), "queue_full");

    expect(detail).toBe("Queue default is full (size 2).");
    await scene.delete(`/tasks/${first}`);
    expect((await scene.post("/enqueue", { payload: 1 })).status).toBe(202);
  });

  test("refuses what exceeds the bytes that may wait", async () => {
    await using scene = await openScene({ queueBytes: 1024 });

    expect((await scene.post("/enqueue", { payload: "x".repeat(1022), delay_ms: 1 })).status).toBe(
      202,
    );
    const answering = scene.post("/enqueue", { payload: "x".repeat(1023) });
    const { detail } = await expectProblem(answering, "queue_full");
    expect(detail).toBe("Queue default is full (1024 bytes).");
  });

  test("refuses a queue beyond those that may be in use", async () => {
    await using scene = await openScene({ maxQueues: 1 });
    await scene.enqueueWaiting({ queue: "a" });

    const { detail } = await expectProblem(
      scene.post("/enqueue", { payload: 1, queue: "b" }),
      "queue_full",
    );

    expect(detail).toEndWith("(MAX_QUEUES = 1).");
  });
});

describe("when a task starts", () => {
  test("at once with a delay of 0", async () => {
    await using scene = await openScene();

    const response = await scene.post("/enqueue", { payload: 1, delay_ms: 0 });

    expect((await bodyOf<ReceiptBody>(response)).status).toBe("queued");
  });

  test("not before a delay is over", async () => {
    await using scene = await openScene();

    const task = await scene.finished(await scene.enqueue({ delay_ms: 30 }));

    expect(task.status).toBe("done");
    expect(Date.parse(task.started_at ?? "") - Date.parse(task.enqueued_at)).toBeGreaterThanOrEqual(
      29,
    );
  });

  test("up to 30 days later", async () => {
    await using scene = await openScene();

    const task = await scene.task(await scene.enqueue({ delay_ms: 30 * DAY_MS }));

    expect(Date.parse(task.run_at ?? "") - Date.parse(task.enqueued_at)).toBe(30 * DAY_MS);
  });

  test("at once with a run_at in the past", async () => {
    await using scene = await openScene();

    const response = await scene.post("/enqueue", { payload: 1, run_at: "2001-01-01T00:00:00Z" });

    expect((await bodyOf<ReceiptBody>(response)).status).toBe("queued");
  });

  test.each([
    ["2125-06-01T12:30:00Z", "2125-06-01T12:30:00.000Z"],
    ["2125-06-01T12:30:00.5Z", "2125-06-01T12:30:00.500Z"],
    ["2125-06-01T12:30:00.123456789Z", "2125-06-01T12:30:00.123Z"],
    ["2125-06-01T12:30:00+02:00", "2125-06-01T10:30:00.000Z"],
    ["2125-06-01T00:30:00-01:30", "2125-06-01T02:00:00.000Z"],
    ["2125-06-01t12:30:00z", "2125-06-01T12:30:00.000Z"],
    ["2128-02-29T00:00:00Z", "2128-02-29T00:00:00.000Z"],
    ["9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"],
    ["9999-12-31T23:59:59-00:00", "9999-12-31T23:59:59.000Z"],
  ])("at %s, in UTC with milliseconds", async (run_at, expected) => {
    await using scene = await openScene();

    const id = await scene.enqueue({ run_at });

    expect(await scene.task(id)).toMatchObject({ status: "scheduled", run_at: expected });
  });

  test.each([
    ["9999-12-31T23:59:59-00:01", "is outside the years 0000 to 9999 (UTC)"],
    ["2030-06-30T23:59:60Z", "is in a leap second: use the next second"],
    ["2030-02-30T00:00:00Z", "is not a valid time"],
  ])("not at %s, and says why", async (run_at, message) => {
    await using scene = await openScene();

    const answering = scene.post("/enqueue", { payload: 1, run_at });

    const { errors } = await expectProblem(answering, "invalid_request");
    expect(errors).toEqual([{ path: "/run_at", message }]);
  });

  test("is asked for by delay_ms or run_at, not both", async () => {
    await using scene = await openScene();

    const answering = scene.post("/enqueue", {
      payload: 1,
      delay_ms: 1,
      run_at: "2125-06-01T12:30:00Z",
    });

    const { errors } = await expectProblem(answering, "invalid_request");
    expect(errors).toEqual([{ path: "/run_at", message: "can't be combined with delay_ms" }]);
  });
});

describe("POST /enqueue/batch", () => {
  test("answers 202 with an id and a status for every task, in order", async () => {
    await using scene = await openScene();

    const response = await scene.post("/enqueue/batch", {
      tasks: [{ payload: "a" }, { payload: "b", delay_ms: 60_000 }, { payload: "c" }],
    });

    expect(response.status).toBe(202);
    expect(response.headers.has("location")).toBe(false);
    const { tasks } = await bodyOf<BatchReceiptBody>(response);
    expect(tasks.map(({ status }) => status)).toEqual(["queued", "scheduled", "queued"]);
    const payloads = await Promise.all(tasks.map(async ({ id }) => (await scene.task(id)).payload));
    expect(payloads).toEqual(["a", "b", "c"]);
  });

  test("takes all that fit, exactly", async () => {
    await using scene = await openScene({ queueSize: 100 });
    const tasks = Array.from({ length: 100 }, (_, payload) => ({ payload, delay_ms: 60_000 }));

    const response = await scene.post("/enqueue/batch", { tasks });

    expect(response.status).toBe(202);
    expect((await scene.queue()).waiting.tasks).toBe(100);
  });

  test("takes none when one is too many", async () => {
    await using scene = await openScene({ queueSize: 3 });
    await scene.enqueueWaiting();
    const tasks = Array.from({ length: 3 }, (_, payload) => ({ payload }));

    await expectProblem(scene.post("/enqueue/batch", { tasks }), "queue_full");

    expect(await scene.queue()).toMatchObject({
      waiting: { tasks: 1 },
      totals: { enqueued: 1 },
    });
    expect((await scene.page()).tasks).toHaveLength(1);
  });

  test("takes none when one of its queues is full", async () => {
    await using scene = await openScene({ queueSize: 1 });
    await scene.enqueueWaiting({ queue: "full" });

    await expectProblem(
      scene.post("/enqueue/batch", {
        tasks: [
          { payload: 1, queue: "free" },
          { payload: 2, queue: "full" },
        ],
      }),
      "queue_full",
    );

    expect((await scene.get("/queues/free")).status).toBe(404);
  });

  test("takes none when one is not valid, and says which", async () => {
    await using scene = await openScene();

    const answering = scene.post("/enqueue/batch", {
      tasks: [{ payload: 1 }, { payload: 2, priority: 101 }, { max_retries: 1 }],
    });

    const { errors } = await expectProblem(answering, "invalid_request");
    const paths = new Set(errors?.map(({ path }) => path));
    expect(paths).toEqual(new Set(["/tasks/1/priority", "/tasks/2/payload"]));
    expect((await scene.page()).tasks).toEqual([]);
  });

  test("says which task has a time that does not exist", async () => {
    await using scene = await openScene();

    const answering = scene.post("/enqueue/batch", {
      tasks: [{ payload: 1 }, { payload: 2, run_at: "2031-02-29T00:00:00Z" }],
    });

    const { errors } = await expectProblem(answering, "invalid_request");
    expect(errors).toEqual([{ path: "/tasks/1/run_at", message: "is not a valid time" }]);
  });

  test("says which payload is too deep", async () => {
    await using scene = await openScene();

    const answering = scene.send("POST", "/enqueue/batch", {
      body: `{"tasks":[{"payload":1},{"payload":${"[".repeat(65)}${"]".repeat(65)}}]}`,
    });

    const { errors } = await expectProblem(answering, "invalid_request");
    expect(errors?.[0]?.path).toStartWith("/tasks/1/payload/0/0");
    expect((await scene.page()).tasks).toEqual([]);
  });

  test.each([
    ["no tasks", { tasks: [] }],
    ["tasks that are no list", { tasks: { payload: 1 } }],
    ["a bare list", [{ payload: 1 }]],
    ["a field of its own", { tasks: [{ payload: 1 }], queue: "a" }],
    ["a task that is no object", { tasks: [1] }],
    ["a hole", { tasks: [null] }],
  ])("refuses %s", async (_, json) => {
    await using scene = await openScene();

    await expectProblem(scene.post("/enqueue/batch", json), "invalid_request");
  });

  test("takes as many as the body limit allows", async () => {
    await using scene = await openScene({ queueSize: 100_000, workers: 1 });
    const tasks = Array.from({ length: 20_000 }, () => ({ payload: 1, delay_ms: 3_600_000 }));

    const response = await scene.post("/enqueue/batch", { tasks });

    expect((await bodyOf<BatchReceiptBody>(response)).tasks).toHaveLength(20_000);
  });
});
