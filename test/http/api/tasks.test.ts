import { describe, expect, test } from "bun:test";
import { defineHandlers } from "../../../src/index.ts";
import {
  bodyOf,
  expectProblem,
  openScene,
  type Scene,
  type TaskBody,
} from "../../support/http-harness.ts";

const RFC_3339_MS = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;
const UNKNOWN_ID = "01920000-0000-7000-8000-000000000000";

/** Ids that no task has, some of which are no ids at all. */
const NO_IDS = [
  UNKNOWN_ID,
  "1",
  "x".repeat(4000),
  "%00",
  "%ff",
  "%zz",
  "%",
  "a%2Fb",
  "..%2f..%2fetc",
  "__proto__",
  "constructor",
  "%F0%9F%98%80",
  "null",
  "-1",
  "'%20or%201=1",
];

describe("GET /tasks/:id", () => {
  test("shows a scheduled task, with null for what is not yet known", async () => {
    await using scene = await openScene();
    const id = await scene.enqueue({ payload: { a: 1 }, run_at: "2125-06-01T12:30:00Z" });

    const response = await scene.get(`/tasks/${id}`);

    expect(response.headers.get("content-type")).toBe("application/json");
    const task = await bodyOf<TaskBody>(response);
    expect(task).toEqual({
      id,
      type: "default",
      queue: "default",
      status: "scheduled",
      tags: [],
      payload: { a: 1 },
      priority: 0,
      attempt: 0,
      max_retries: 3,
      timeout_ms: 30_000,
      enqueued_at: task.enqueued_at,
      run_at: "2125-06-01T12:30:00.000Z",
      started_at: null,
      finished_at: null,
      progress: null,
      result: null,
      error: null,
      errors: [],
      claim: null,
    });
    expect(task.enqueued_at).toMatch(RFC_3339_MS);
  });

  test("shows the tags of a task, and a list by tag has it", async () => {
    await using scene = await openScene();
    const id = await scene.enqueue({ payload: 1, tags: ["customer:7"], delay_ms: 60_000 });
    await scene.enqueue({ payload: 1, delay_ms: 60_000 });

    expect((await scene.task(id)).tags).toEqual(["customer:7"]);
    const page = await bodyOf<{ tasks: TaskBody[] }>(await scene.get("/tasks?tag=customer:7"));
    expect(page.tasks.map((task) => task.id)).toEqual([id]);
    await expectProblem(scene.get("/tasks?tag=a%20b"), "invalid_request");
  });

  test.each([[["a b"]], [new Array(9).fill("a")], ["a"], [[""]]])(
    "refuses the tags %p with their path",
    async (tags) => {
      await using scene = await openScene();

      const problem = await expectProblem(
        scene.post("/enqueue", { payload: 1, tags }),
        "invalid_request",
      );

      expect(problem.errors?.[0]?.path).toStartWith("/tags");
    },
  );

  test("shows a running task", async () => {
    await using scene = await openScene();
    const id = await scene.enqueueHeld();

    const task = await scene.task(id);

    expect(task).toMatchObject({ status: "running", attempt: 1, finished_at: null, result: null });
    expect(task.started_at).toMatch(RFC_3339_MS);
  });

  test("shows a done task with its result", async () => {
    await using scene = await openScene();
    const id = await scene.enqueue({ type: "echo", payload: { a: [1, null] } });

    const task = await scene.finished(id);

    expect(task).toMatchObject({
      status: "done",
      attempt: 1,
      result: { a: [1, null] },
      error: null,
    });
    const times = [task.enqueued_at, task.started_at, task.finished_at].map((time) => time ?? "");
    for (const time of times) expect(time).toMatch(RFC_3339_MS);
    expect(times).toEqual(times.toSorted());
  });

  test("shows a failed task with its latest error and the last few", async () => {
    await using scene = await openScene();
    const id = await scene.enqueue({ type: "fail" });

    const task = await scene.finished(id);

    const { finished_at: at } = task;
    const error = { code: "handler_error", message: "it broke", attempt: 1, at };
    expect(task).toMatchObject({ status: "failed", result: null, error, errors: [error] });
  });

  test("shows a task that waits for its retry, with its error and when it is due", async () => {
    const handlers = defineHandlers({
      default: () => Promise.reject(new Error("it broke")),
    });
    await using scene = await openScene({
      handlers,
      retryBaseMs: 3_600_000,
      retryMaxMs: 3_600_000,
    });
    const id = await scene.enqueue({ max_retries: 1 });

    const task = await scene.untilTask(id, ({ status }) => status === "retrying");

    expect(task).toMatchObject({ attempt: 1, finished_at: null, error: { attempt: 1 } });
    const delayMs = Date.parse(task.run_at ?? "") - Date.parse(task.error?.at ?? "");
    expect(delayMs).toBe(3_600_000);
  });

  test.each(NO_IDS)("knows no task %s", async (id) => {
    await using scene = await openScene();

    await expectProblem(scene.get(`/tasks/${id}`), "not_found");
  });

  test("forgets a finished task when no more are kept", async () => {
    await using scene = await openScene({ retainTasks: 1 });
    const first = await scene.enqueue();
    await scene.finished(first);
    const second = await scene.enqueue();
    await scene.finished(second);

    await expectProblem(scene.get(`/tasks/${first}`), "not_found");

    expect((await scene.task(second)).status).toBe("done");
  });

  test.each(["-1", "60001", "1.5", "1e3", "x", "", "+5", "0x10", "9".repeat(400)])(
    "refuses wait_ms=%s",
    async (waitMs) => {
      await using scene = await openScene();
      const id = await scene.enqueue();

      const answering = scene.get(`/tasks/${id}?wait_ms=${encodeURIComponent(waitMs)}`);

      const { errors } = await expectProblem(answering, "invalid_request");
      expect(errors?.[0]?.path).toBe("wait_ms");
    },
  );

  test("refuses a query that it does not know", async () => {
    await using scene = await openScene();
    const id = await scene.enqueue();

    const { errors } = await expectProblem(scene.get(`/tasks/${id}?wait=1`), "invalid_request");

    expect(errors?.[0]?.path).toBe("wait");
  });
});

async function enqueueNumbered(scene: Scene, count: number): Promise<readonly string[]> {
  const ids: string[] = [];
  for (let index = 0; index < count; index += 1) {
    ids.push(await scene.enqueueWaiting({ payload: index }));
  }
  return ids;
}

describe("GET /tasks", () => {
  test("is empty at first", async () => {
    await using scene = await openScene();

    expect(await scene.page()).toEqual({ tasks: [], next_cursor: null });
  });

  test("lists tasks as they are read one by one, newest first", async () => {
    await using scene = await openScene();
    const [first, second] = await enqueueNumbered(scene, 2);

    const { tasks } = await scene.page();

    expect(tasks).toEqual([await scene.task(second ?? ""), await scene.task(first ?? "")]);
  });

  test("gives 50 when no limit is given", async () => {
    await using scene = await openScene();
    const tasks = Array.from({ length: 51 }, () => ({ payload: 1, delay_ms: 60_000 }));
    await scene.post("/enqueue/batch", { tasks });

    const page = await scene.page();

    expect(page.tasks).toHaveLength(50);
    expect(page.next_cursor).not.toBeNull();
  });

  test("gives 500 at most", async () => {
    await using scene = await openScene({ queueSize: 1000 });
    const tasks = Array.from({ length: 501 }, () => ({ payload: 1, delay_ms: 60_000 }));
    await scene.post("/enqueue/batch", { tasks });

    expect((await scene.page("?limit=500")).tasks).toHaveLength(500);
    await expectProblem(scene.get("/tasks?limit=501"), "invalid_request");
  });

  test("gives every task once, page by page", async () => {
    await using scene = await openScene();
    const ids = await enqueueNumbered(scene, 7);
    const listed: string[] = [];
    let cursor: string | null = "";

    while (cursor !== null) {
      const page = await scene.page(`?limit=3${cursor === "" ? "" : `&cursor=${cursor}`}`);
      listed.push(...page.tasks.map(({ id }) => id));
      cursor = page.next_cursor;
    }

    expect(listed).toEqual(ids.toReversed());
  });

  test("gives no task twice when new ones come between two pages", async () => {
    await using scene = await openScene();
    const ids = await enqueueNumbered(scene, 4);
    const { next_cursor: cursor } = await scene.page("?limit=2");
    await enqueueNumbered(scene, 2);

    const { tasks } = await scene.page(`?limit=2&cursor=${cursor}`);

    expect(tasks.map(({ id }) => id)).toEqual(ids.slice(0, 2).toReversed());
  });

  test("filters by status, queue and type", async () => {
    await using scene = await openScene();
    const wanted = await scene.enqueueWaiting({ queue: "a", type: "x" });
    await scene.enqueueWaiting({ queue: "a", type: "y" });
    await scene.enqueueWaiting({ queue: "b", type: "x" });
    const cancelled = await scene.enqueueWaiting({ queue: "a", type: "x" });
    await scene.delete(`/tasks/${cancelled}`);

    const idsOf = async (query: string) => (await scene.page(query)).tasks.map(({ id }) => id);

    expect(await idsOf("?status=scheduled&queue=a&type=x")).toEqual([wanted]);
    expect(await idsOf("?status=cancelled")).toEqual([cancelled]);
    expect(await idsOf("?queue=a&type=x")).toEqual([cancelled, wanted]);
    expect(await idsOf("?queue=none")).toEqual([]);
  });

  test.each(["scheduled", "queued", "running", "retrying", "done", "failed", "cancelled"])(
    "takes the status %s",
    async (status) => {
      await using scene = await openScene();

      expect((await scene.page(`?status=${status}`)).tasks).toEqual([]);
    },
  );

  test.each([
    ["status", "DONE"],
    ["status", ""],
    ["status", "__proto__"],
    ["queue", "A"],
    ["queue", ""],
    ["type", "a b"],
    ["limit", "0"],
    ["limit", "-1"],
    ["limit", "501"],
    ["limit", "1.0"],
    ["limit", "5e1"],
    ["limit", "ten"],
    ["limit", ""],
    ["limit", " 5"],
    ["cursor", ""],
    ["cursor", "ZZZ"],
    ["cursor", "-1"],
    ["cursor", "x".repeat(1000)],
    ["cursor", "\u0000"],
    ["no_such_filter", "1"],
    ["__proto__", "1"],
    ["constructor", "1"],
  ])("refuses %s=%p by name", async (name, value) => {
    await using scene = await openScene();

    const answering = scene.get(`/tasks?${name}=${encodeURIComponent(value)}`);

    const { errors } = await expectProblem(answering, "invalid_request");
    expect(errors?.[0]?.path).toBe(name);
  });

  test.each(["%zz", "%", "%ff%fe", "%00"])("refuses a broken escape %s", async (value) => {
    await using scene = await openScene();

    await expectProblem(scene.get(`/tasks?limit=${value}`), "invalid_request");
  });

  test("names what there is to choose from", async () => {
    await using scene = await openScene();

    const { errors } = await expectProblem(scene.get("/tasks?status=x"), "invalid_request");

    expect(errors?.[0]?.message).toBe(
      "Expected one of scheduled, queued, running, retrying, done, failed, cancelled",
    );
  });
});

describe("DELETE /tasks/:id", () => {
  test("cancels a waiting task, shows it, and frees its place", async () => {
    await using scene = await openScene({ queueSize: 1 });
    const id = await scene.enqueueWaiting();

    const response = await scene.delete(`/tasks/${id}`);

    expect(response.status).toBe(200);
    expect(await bodyOf<TaskBody>(response)).toMatchObject({ id, status: "cancelled", attempt: 0 });
    expect((await scene.post("/enqueue", { payload: 1 })).status).toBe(202);
  });

  test("aborts the signal of a running handler and frees its worker", async () => {
    await using scene = await openScene({ workers: 1 });
    const id = await scene.enqueueHeld();

    expect((await scene.delete(`/tasks/${id}`)).status).toBe(200);

    expect((await scene.finished(await scene.enqueue())).status).toBe("done");
    expect(await scene.task(id)).toMatchObject({ status: "cancelled", result: null, error: null });
  });

  test.each([
    ["done", "default"],
    ["failed", "fail"],
  ])("conflicts with a task that is %s", async (status, type) => {
    await using scene = await openScene();
    const id = await scene.enqueue({ type });
    await scene.finished(id);

    const { detail } = await expectProblem(scene.delete(`/tasks/${id}`), "conflict");

    expect(detail).toBe(`The task is ${status}.`);
    expect(await scene.task(id)).toMatchObject({ status });
  });

  test("conflicts with a task that was cancelled before", async () => {
    await using scene = await openScene();
    const id = await scene.enqueueWaiting();
    await scene.delete(`/tasks/${id}`);

    await expectProblem(scene.delete(`/tasks/${id}`), "conflict");
  });

  test.each(NO_IDS)("knows no task %s", async (id) => {
    await using scene = await openScene();

    await expectProblem(scene.delete(`/tasks/${id}`), "not_found");
  });
});

describe("POST /tasks/:id/retry", () => {
  test("queues a failed task again, with all its retries", async () => {
    await using scene = await openScene();
    const id = await scene.enqueue({ type: "fail" });
    await scene.finished(id);

    const response = await scene.post(`/tasks/${id}/retry`);

    expect(response.status).toBe(202);
    expect(response.headers.get("location")).toBe(`/tasks/${id}`);
    expect(await bodyOf<object>(response)).toEqual({ id, status: "queued" });
    const task = await scene.finished(id);
    expect(task).toMatchObject({ status: "failed", attempt: 2 });
    expect(task.errors.map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(task.error?.attempt).toBe(2);
  });

  test("queues a cancelled task again", async () => {
    await using scene = await openScene();
    const id = await scene.enqueueWaiting();
    await scene.delete(`/tasks/${id}`);

    expect((await scene.post(`/tasks/${id}/retry`)).status).toBe(202);

    expect(await scene.finished(id)).toMatchObject({ status: "done", attempt: 1 });
  });

  test("conflicts with a task that is done", async () => {
    await using scene = await openScene();
    const id = await scene.enqueue();
    await scene.finished(id);

    await expectProblem(scene.post(`/tasks/${id}/retry`), "conflict");
  });

  test("conflicts with a task that runs", async () => {
    await using scene = await openScene();
    const id = await scene.enqueueHeld();

    await expectProblem(scene.post(`/tasks/${id}/retry`), "conflict");
  });

  test("conflicts with a task that waits", async () => {
    await using scene = await openScene();
    const id = await scene.enqueueWaiting();

    await expectProblem(scene.post(`/tasks/${id}/retry`), "conflict");
  });

  test("refuses when the queue is full, and leaves the task as it was", async () => {
    await using scene = await openScene({ queueSize: 1 });
    const id = await scene.enqueue({ type: "fail" });
    await scene.finished(id);
    await scene.enqueueWaiting();

    await expectProblem(scene.post(`/tasks/${id}/retry`), "queue_full");

    expect((await scene.task(id)).status).toBe("failed");
  });

  test.each(NO_IDS)("knows no task %s", async (id) => {
    await using scene = await openScene();

    await expectProblem(scene.post(`/tasks/${id}/retry`), "not_found");
  });
});
