import { describe, expect, test } from "bun:test";
import type { Engine, EnqueueAnswer, TaskView } from "../../../src/engine/engine.ts";
import { createMemoryEngine } from "../../../src/engine/memory/engine.ts";
import { aRequest, someSettings } from "../../support/engine-harness.ts";
import {
  bodyOf,
  expectProblem,
  openScene,
  openSceneOf,
  type TaskBody,
} from "../../support/http-harness.ts";
import { isPending, ManualClock } from "../../support/manual-clock.ts";
import { RawSocket, requestText } from "../../support/socket.ts";

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
    using socket = await RawSocket.open(scene.port);
    socket.send(requestText("GET", `/tasks/${id}?wait_ms=60000`));
    expect((await scene.get("/healthz")).status).toBe(200);

    await scene.server.stop();

    const { status, body } = await socket.answer();
    expect(status).toBe(200);
    expect(JSON.parse(body)).toMatchObject({ id, status: "scheduled" });
  });

  test("answers at once for a task that there is not", async () => {
    await using scene = await openScene();

    await expectProblem(scene.get("/tasks/nope?wait_ms=60000"), "not_found");
  });

  test("ends in the engine when its client leaves", async () => {
    const { engine, firstPoll } = observed(createMemoryEngine(someSettings(new ManualClock())));
    await using scene = openSceneOf(engine);
    const id = receiptOf(await engine.enqueue([aRequest()]));
    using socket = await RawSocket.open(scene.port);
    socket.send(requestText("GET", `/tasks/${id}?wait_ms=60000`));
    const poll = await firstPoll;
    expect(await isPending(poll.answer)).toBe(true);

    socket.abort();

    // The clock stands still and the task is never claimed: nothing but the client can end this.
    expect(await poll.answer).toMatchObject({ id, status: "queued" });
  });
});

/** An engine that shows the first long poll it is asked for. */
function observed(engine: Engine) {
  const first = Promise.withResolvers<{ readonly answer: Promise<TaskView | undefined> }>();
  const ask = engine.waitFor.bind(engine);
  engine.waitFor = (id, waitMs, signal) => {
    const answer = ask(id, waitMs, signal);
    first.resolve({ answer });
    return answer;
  };
  return { engine, firstPoll: first.promise };
}

function receiptOf(answer: EnqueueAnswer): string {
  const [receipt] = answer.kind === "accepted" ? answer.receipts : [];
  if (receipt === undefined) throw new Error("the task was not accepted");
  return receipt.id;
}
