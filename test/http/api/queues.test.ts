import { describe, expect, test } from "bun:test";
import { bodyOf, expectProblem, openScene, type QueueBody } from "../../support/http-harness.ts";

const NO_NAMES = [
  "none",
  "__proto__",
  "constructor",
  "%00",
  "%ff",
  "%zz",
  "x".repeat(4000),
  "a%2Fb",
];

describe("GET /queues/:name", () => {
  test("shows depth by status, capacity, bytes, age and totals", async () => {
    await using scene = await openScene({ workers: 1, queueSize: 9, queueBytes: 2048 });
    await scene.finished(await scene.enqueue());
    await scene.finished(await scene.enqueue({ type: "fail" }));
    await scene.enqueueHeld();
    await scene.enqueue({ payload: "12345678" });
    await scene.enqueueWaiting({ payload: [] });
    await scene.delete(`/tasks/${await scene.enqueueWaiting()}`);

    const queue = await scene.queue();

    expect(queue).toEqual({
      name: "default",
      paused: false,
      capacity: { tasks: 9, bytes: 2048 },
      waiting: { tasks: 2, bytes: 12 },
      depth: { scheduled: 1, queued: 1, running: 1, retrying: 0, done: 1, failed: 1, cancelled: 1 },
      oldest_waiting_ms: queue.oldest_waiting_ms,
      claims: { running: 0, waiting: 0 },
      totals: { enqueued: 6, done: 1, failed: 1, cancelled: 1, retried: 0, interrupted: 0 },
    });
    expect(Number.isInteger(queue.oldest_waiting_ms)).toBe(true);
    expect(queue.oldest_waiting_ms).toBeGreaterThanOrEqual(0);
  });

  test("has no oldest when nothing is queued", async () => {
    await using scene = await openScene();
    await scene.enqueueWaiting();

    expect((await scene.queue()).oldest_waiting_ms).toBeNull();
  });

  test.each(NO_NAMES)("knows no queue %s", async (name) => {
    await using scene = await openScene();

    await expectProblem(scene.get(`/queues/${name}`), "not_found");
  });
});

describe("GET /queues", () => {
  test("lists no queue before the first task", async () => {
    await using scene = await openScene();

    expect(await bodyOf<object>(await scene.get("/queues"))).toEqual({ queues: [] });
  });

  test("lists every queue as it is read by its name", async () => {
    await using scene = await openScene();
    await scene.enqueueWaiting({ queue: "b" });
    await scene.enqueueWaiting({ queue: "a" });

    const { queues } = await bodyOf<{ queues: QueueBody[] }>(await scene.get("/queues"));

    const byName = queues.toSorted((a, b) => a.name.localeCompare(b.name));
    expect(byName).toEqual([await scene.queue("a"), await scene.queue("b")]);
  });
});

describe("pausing a queue", () => {
  test("stops its claims, and no other queue's", async () => {
    await using scene = await openScene();
    await scene.enqueueWaiting({ queue: "a" });

    const response = await scene.post("/queues/a/pause");

    expect(response.status).toBe(200);
    expect(await bodyOf<QueueBody>(response)).toMatchObject({ name: "a", paused: true });
    const held = await scene.enqueue({ queue: "a" });
    await scene.finished(await scene.enqueue({ queue: "b" }));
    expect((await scene.task(held)).status).toBe("queued");
  });

  test("lasts until it is resumed", async () => {
    await using scene = await openScene();
    await scene.enqueueWaiting();
    await scene.post("/queues/default/pause");
    const id = await scene.enqueue();

    const response = await scene.post("/queues/default/resume");

    expect(await bodyOf<QueueBody>(response)).toMatchObject({ paused: false });
    expect((await scene.finished(id)).status).toBe("done");
  });

  test("twice, or resuming what is not paused, changes nothing", async () => {
    await using scene = await openScene();
    await scene.enqueueWaiting();

    const answers = [];
    for (const step of ["resume", "pause", "pause", "resume"]) {
      answers.push(await bodyOf<QueueBody>(await scene.post(`/queues/default/${step}`)));
    }

    expect(answers.map(({ paused }) => paused)).toEqual([false, true, true, false]);
  });

  test("still takes tasks, up to the bound", async () => {
    await using scene = await openScene({ queueSize: 2 });
    await scene.enqueueWaiting();
    await scene.post("/queues/default/pause");

    expect((await scene.post("/enqueue", { payload: 1 })).status).toBe(202);
    await expectProblem(scene.post("/enqueue", { payload: 1 }), "queue_full");
  });

  test("refuses when it would be in use beyond those that may be", async () => {
    await using scene = await openScene({ maxQueues: 1 });
    await scene.finished(await scene.enqueue({ queue: "idle" }));
    await scene.enqueueWaiting({ queue: "used" });

    await expectProblem(scene.post("/queues/idle/pause"), "queue_full");
  });

  test.each(NO_NAMES)("knows no queue %s", async (name) => {
    await using scene = await openScene();

    await expectProblem(scene.post(`/queues/${name}/pause`), "not_found");
    await expectProblem(scene.post(`/queues/${name}/resume`), "not_found");
  });
});

describe("DELETE /queues/:name/tasks", () => {
  test("cancels what waits, says how many, and lets go on what runs", async () => {
    await using scene = await openScene({ workers: 1 });
    const running = await scene.enqueueHeld();
    const queued = await scene.enqueue();
    const scheduled = await scene.enqueueWaiting();
    const elsewhere = await scene.enqueueWaiting({ queue: "other" });

    const response = await scene.delete("/queues/default/tasks");

    expect(response.status).toBe(200);
    expect(await bodyOf<object>(response)).toEqual({ cancelled: 2 });
    expect((await scene.task(queued)).status).toBe("cancelled");
    expect((await scene.task(scheduled)).status).toBe("cancelled");
    expect((await scene.task(elsewhere)).status).toBe("scheduled");
    scene.release();
    expect((await scene.finished(running)).status).toBe("done");
  });

  test("frees every place", async () => {
    await using scene = await openScene({ queueSize: 2 });
    await scene.enqueueWaiting();
    await scene.enqueueWaiting();

    await scene.delete("/queues/default/tasks");

    expect((await scene.queue()).waiting).toEqual({ tasks: 0, bytes: 0 });
  });

  test("cancels nothing when nothing waits", async () => {
    await using scene = await openScene();
    await scene.finished(await scene.enqueue());

    const response = await scene.delete("/queues/default/tasks");

    expect(await bodyOf<object>(response)).toEqual({ cancelled: 0 });
  });

  test.each(NO_NAMES)("knows no queue %s", async (name) => {
    await using scene = await openScene();

    await expectProblem(scene.delete(`/queues/${name}/tasks`), "not_found");
  });
});
