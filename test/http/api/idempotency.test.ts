import { describe, expect, test } from "bun:test";
import {
  type BatchReceiptBody,
  bodyOf,
  expectProblem,
  openScene,
  type ReceiptBody,
} from "../../support/http-harness.ts";

describe("Idempotency-Key", () => {
  test("gives the first answer again, marked, and enqueues nothing", async () => {
    await using scene = await openScene();
    const key = { "idempotency-key": "k1" };
    const first = await scene.post("/enqueue", { payload: { a: 1 } }, key);

    const second = await scene.post("/enqueue", { payload: { a: 1 } }, key);

    expect(second.status).toBe(202);
    expect(first.headers.has("idempotency-replayed")).toBe(false);
    expect(second.headers.get("idempotency-replayed")).toBe("true");
    const receipt = await bodyOf<ReceiptBody>(first);
    expect(await bodyOf<ReceiptBody>(second)).toEqual(receipt);
    expect(second.headers.get("location")).toBe(`/tasks/${receipt.id}`);
    expect((await scene.page()).tasks).toHaveLength(1);
  });

  test("gives the first answer again after the task has finished", async () => {
    await using scene = await openScene();
    const key = { "idempotency-key": "k1" };
    const first = await bodyOf<ReceiptBody>(await scene.post("/enqueue", { payload: 1 }, key));
    await scene.finished(first.id);

    const second = await bodyOf<ReceiptBody>(await scene.post("/enqueue", { payload: 1 }, key));

    expect(second).toEqual({ id: first.id, status: "queued" });
  });

  test("does not care for the order or the space in which a client writes the fields", async () => {
    await using scene = await openScene();
    const headers = { "idempotency-key": "k1" };
    const send = (body: string) => scene.send("POST", "/enqueue", { body, headers });
    const first = await bodyOf<ReceiptBody>(await send('{"payload":1,"priority":2}'));

    const second = await bodyOf<ReceiptBody>(await send('{ "priority": 2, "payload": 1 }'));

    expect(second.id).toBe(first.id);
  });

  test.each([
    ["payload", { payload: 2 }],
    ["priority", { payload: 1, priority: 1 }],
    ["queue", { payload: 1, queue: "other" }],
    ["type", { payload: 1, type: "other" }],
    ["delay", { payload: 1, delay_ms: 1 }],
  ])("refuses another %s under the same key", async (_, json) => {
    await using scene = await openScene();
    const key = { "idempotency-key": "k1" };
    await scene.post("/enqueue", { payload: 1 }, key);

    await expectProblem(scene.post("/enqueue", json, key), "idempotency_key_reused");

    expect((await scene.page()).tasks).toHaveLength(1);
  });

  test("tells different keys apart", async () => {
    await using scene = await openScene();
    await scene.post("/enqueue", { payload: 1 }, { "idempotency-key": "k1" });

    await scene.post("/enqueue", { payload: 1 }, { "idempotency-key": "K1" });

    expect((await scene.page()).tasks).toHaveLength(2);
  });

  test("gives one task to many who ask at the same time", async () => {
    await using scene = await openScene();
    const key = { "idempotency-key": "k1" };

    const responses = await Promise.all(
      Array.from({ length: 50 }, () => scene.post("/enqueue", { payload: 1 }, key)),
    );

    const receipts = await Promise.all(responses.map((each) => bodyOf<ReceiptBody>(each)));
    expect(new Set(receipts.map(({ id }) => id)).size).toBe(1);
  });

  test("gives the answer of a batch again, whole", async () => {
    await using scene = await openScene();
    const key = { "idempotency-key": "k1" };
    const batch = { tasks: [{ payload: 1 }, { payload: 2 }] };
    const first = await bodyOf<BatchReceiptBody>(await scene.post("/enqueue/batch", batch, key));

    const second = await scene.post("/enqueue/batch", batch, key);

    expect(second.headers.get("idempotency-replayed")).toBe("true");
    expect(await bodyOf<BatchReceiptBody>(second)).toEqual(first);
  });

  test("is not used up by a request that was refused", async () => {
    await using scene = await openScene({ queueSize: 1 });
    const key = { "idempotency-key": "k1" };
    const waiting = await scene.enqueueWaiting();
    await expectProblem(scene.post("/enqueue", { payload: 1 }, key), "queue_full");
    await scene.delete(`/tasks/${waiting}`);

    const response = await scene.post("/enqueue", { payload: 1 }, key);

    expect(response.status).toBe(202);
    expect(response.headers.has("idempotency-replayed")).toBe(false);
  });

  test("gives the first answer again while the queue is full", async () => {
    await using scene = await openScene({ queueSize: 1 });
    const key = { "idempotency-key": "k1" };
    const json = { payload: 1, delay_ms: 60_000 };
    const first = await bodyOf<ReceiptBody>(await scene.post("/enqueue", json, key));

    const second = await bodyOf<ReceiptBody>(await scene.post("/enqueue", json, key));

    expect(second).toEqual(first);
  });

  test("may have 255 characters", async () => {
    await using scene = await openScene();

    const response = await scene.post(
      "/enqueue",
      { payload: 1 },
      { "idempotency-key": "~".repeat(255) },
    );

    expect(response.status).toBe(202);
  });

  test.each([
    ["empty", ""],
    ["longer than 255 characters", "x".repeat(256)],
    ["not ASCII", "schlüssel"],
    ["two words", "a b"],
  ])("may not be %s", async (_, key) => {
    await using scene = await openScene();

    const answering = scene.post("/enqueue", { payload: 1 }, { "idempotency-key": key });

    const { errors } = await expectProblem(answering, "invalid_request");
    expect(errors).toMatchObject([{ path: "Idempotency-Key" }]);
  });
});
