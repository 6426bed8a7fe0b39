import { describe, expect, test } from "bun:test";
import { isPending } from "../engine/manual-clock.ts";
import { bodyOf, expectProblem, openScene, type TaskBody } from "./scene.ts";
import { RawSocket, requestText } from "./socket.ts";

describe("GET /tasks/:id?wait_ms", () => {
  test("answers at once for a finished task", async () => {
    await using scene = await openScene();
    const id = await scene.enqueue();
    await scene.finished(id);

    expect((await scene.finished(id)).status).toBe("done");
  });

  test("answers at once with a wait of 0", async () => {
    await using scene = await openScene();
    const id = await scene.enqueueHeld();

    const task = await bodyOf<TaskBody>(await scene.get(`/tasks/${id}?wait_ms=0`));

    expect(task.status).toBe("running");
  });

  test("answers when the task finishes", async () => {
    await using scene = await openScene();
    const id = await scene.enqueueHeld();
    const poll = scene.finished(id);
    expect((await scene.get("/healthz")).status).toBe(200);
    expect(await isPending(poll)).toBe(true);

    scene.release();

    expect(await poll).toMatchObject({ id, status: "done" });
  });

  test("answers when the task is cancelled", async () => {
    await using scene = await openScene();
    const id = await scene.enqueueWaiting();
    const poll = scene.finished(id);
    expect((await scene.get("/healthz")).status).toBe(200);

    await scene.delete(`/tasks/${id}`);

    expect(await poll).toMatchObject({ id, status: "cancelled" });
  });

  test("answers with the task as it is when the time is up", async () => {
    await using scene = await openScene();
    const id = await scene.enqueueHeld();

    const task = await bodyOf<TaskBody>(await scene.get(`/tasks/${id}?wait_ms=20`));

    expect(task).toMatchObject({ id, status: "running" });
  });

  test("answers all who wait for one task", async () => {
    await using scene = await openScene();
    const id = await scene.enqueueHeld();
    const polls = Array.from({ length: 50 }, () => scene.finished(id));
    expect((await scene.get("/healthz")).status).toBe(200);

    scene.release();

    const tasks = await Promise.all(polls);
    expect(tasks.map(({ status }) => status)).toEqual(Array(50).fill("done"));
  });

  test("answers with the task as it is when the server stops", async () => {
    await using scene = await openScene({ shutdownGraceMs: 0 });
    const id = await scene.enqueueWaiting();
    const poll = scene.finished(id);
    expect((await scene.get("/healthz")).status).toBe(200);

    await scene.server.stop();

    expect(await poll).toMatchObject({ id, status: "scheduled" });
  });

  test("answers at once for a task that there is not", async () => {
    await using scene = await openScene();

    await expectProblem(scene.get("/tasks/nope?wait_ms=60000"), "not_found");
  });

  test("lets go of clients that leave", async () => {
    await using scene = await openScene();
    const id = await scene.enqueueHeld();
    const poll = requestText("GET", `/tasks/${id}?wait_ms=60000`);

    for (let round = 0; round < 50; round += 1) {
      using socket = await RawSocket.open(scene.port);
      socket.send(poll);
      // The poll has been heard once the server answers what came after it on another connection.
      expect((await scene.get("/healthz")).status).toBe(200);
      socket.abort();
    }

    scene.release();
    expect(await scene.finished(id)).toMatchObject({ status: "done" });
  });
});
