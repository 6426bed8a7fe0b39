/** How every engine takes tasks, and how it says no. */

import { describe, expect, test } from "bun:test";
import { type EnqueueRequest, LIMITS } from "../../src/engine/engine.ts";
import { aRequest } from "../support/engine-harness.ts";
import type { Contract } from "./contract.ts";

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const HOUR_MS = 3_600_000;

const DEPTH_MAX = LIMITS.payloadDepth.max;

/** JSON text of arrays in arrays, the innermost empty. */
function nested(levels: number): string {
  return "[".repeat(levels) + "]".repeat(levels);
}

export function describeEnqueue(contract: Contract): void {
  describe("answers", () => {
    test("an accepted task gets a UUIDv7 and is queued", async () => {
      await using harness = await contract.open();

      const answer = await harness.engine.enqueue([aRequest()]);

      expect(answer).toEqual({
        kind: "accepted",
        receipts: [{ id: expect.stringMatching(UUID_V7), status: "queued" }],
      });
    });

    test("a batch gets its receipts in the order of its tasks", async () => {
      await using harness = await contract.open();

      const ids = await harness.enqueueAll([{ payload: 1 }, { payload: 2 }, { payload: 3 }]);

      const payloads = [];
      for (const id of ids) payloads.push((await harness.task(id)).payload);
      expect(payloads).toEqual(["1", "2", "3"]);
    });

    test.each<[string, Partial<EnqueueRequest>, string]>([
      ["a delay", { delayMs: 1 }, "scheduled"],
      ["no delay", { delayMs: 0 }, "queued"],
    ])("a task with %s is at first as it should be", async (_, request, status) => {
      await using harness = await contract.open();

      const answer = await harness.engine.enqueue([aRequest(request)]);

      expect(answer).toMatchObject({ kind: "accepted", receipts: [{ status }] });
    });

    contract.clockTest.each([
      ["to come", 1, "scheduled"],
      ["that is now", 0, "queued"],
      ["that has passed", -HOUR_MS, "queued"],
    ])("a task for a time %s is at first as it should be", async (_, offsetMs, status) => {
      await using harness = await contract.open();

      const answer = await harness.engine.enqueue([
        aRequest({ runAtMs: harness.wallMs + offsetMs }),
      ]);

      expect(answer).toMatchObject({ kind: "accepted", receipts: [{ status }] });
    });

    test("a full queue refuses and keeps what it has", async () => {
      await using harness = await contract.open({ queueSize: 2 });
      const ids = await harness.enqueueAll([{}, {}]);

      const answer = await harness.engine.enqueue([aRequest()]);

      expect(answer).toEqual({ kind: "refused", bound: "queue_size", limit: 2, queue: "default" });
      expect(await harness.claimAll()).toEqual(ids);
    });

    test("a batch that does not fit as a whole is refused as a whole", async () => {
      await using harness = await contract.open({ queueSize: 2 });
      const id = await harness.enqueue();

      const answer = await harness.engine.enqueue([aRequest(), aRequest()]);

      expect(answer.kind).toBe("refused");
      expect(await harness.listAll()).toEqual([id]);
    });

    test("a batch is refused as a whole when only one of its queues is full", async () => {
      await using harness = await contract.open({ queueSize: 1 });
      const id = await harness.enqueue({ queue: "full" });

      const answer = await harness.engine.enqueue([
        aRequest({ queue: "empty" }),
        aRequest({ queue: "full" }),
      ]);

      expect(answer).toEqual({ kind: "refused", bound: "queue_size", limit: 1, queue: "full" });
      expect(await harness.listAll()).toEqual([id]);
      expect(await harness.engine.queue("empty")).toBeUndefined();
    });

    test("tasks that are delayed or wait for a retry hold their places, running ones do not", async () => {
      await using harness = await contract.open({ queueSize: 2 });
      await harness.enqueueIn("retrying");
      await harness.enqueueIn("scheduled");
      expect((await harness.engine.enqueue([aRequest()])).kind).toBe("refused");

      await harness.advance(200);
      await harness.claim();

      expect((await harness.engine.enqueue([aRequest()])).kind).toBe("accepted");
    });

    test("a queue is full by the bytes of its payloads, counted as UTF-8", async () => {
      await using harness = await contract.open({ queueBytes: 8 });
      // Two quotes and three letters of two bytes each.
      await harness.enqueue({ payload: "äöü" });

      const answer = await harness.engine.enqueue([aRequest({ payload: 1 })]);

      expect(answer).toEqual({ kind: "refused", bound: "queue_bytes", limit: 8, queue: "default" });
    });

    test("no more queues come into use than may be", async () => {
      await using harness = await contract.open({ queuesMax: 1 });
      await harness.enqueue({ queue: "first" });

      const answer = await harness.engine.enqueue([aRequest({ queue: "second" })]);

      expect(answer).toEqual({ kind: "refused", bound: "queues_max", limit: 1, queue: "second" });
    });
  });

  describe("fields", () => {
    contract.clockTest("a task that says nothing takes the defaults", async () => {
      await using harness = await contract.open({ maxRetries: 7, timeoutMs: 1234 });
      const enqueuedAtMs = harness.wallMs;

      const id = await harness.enqueue({ payload: { n: 1 } });
      await harness.advance(10);

      expect(await harness.task(id)).toEqual({
        id,
        type: "default",
        queue: "default",
        status: "queued",
        payload: '{"n":1}',
        tags: [],
        priority: 0,
        attempt: 0,
        failures: 0,
        maxRetries: 7,
        timeoutMs: 1234,
        enqueuedAtMs,
        runAtMs: null,
        startedAtMs: null,
        finishedAtMs: null,
        result: null,
        progress: null,
        errors: [],
        claim: null,
      });
    });

    contract.clockTest("a task keeps what it says", async () => {
      await using harness = await contract.open();

      const id = await harness.enqueue({
        payload: "x",
        type: "email.send",
        queue: "mail",
        tags: ["customer:7", "EU/west"],
        priority: -5,
        maxRetries: 0,
        timeoutMs: 1,
        delayMs: 70,
      });

      expect(await harness.task(id)).toMatchObject({
        type: "email.send",
        queue: "mail",
        status: "scheduled",
        payload: '"x"',
        tags: ["customer:7", "EU/west"],
        priority: -5,
        maxRetries: 0,
        timeoutMs: 1,
        runAtMs: harness.wallMs + 70,
      });
    });

    contract.clockTest("a task for a time of day says when it is due", async () => {
      await using harness = await contract.open();
      const runAtMs = harness.wallMs + HOUR_MS;

      const id = await harness.enqueue({ runAtMs });

      expect((await harness.task(id)).runAtMs).toBe(runAtMs);
    });

    test("a task that was never enqueued is unknown", async () => {
      await using harness = await contract.open();

      expect(await harness.engine.find(Bun.randomUUIDv7())).toBeUndefined();
      expect(await harness.engine.find("not an id")).toBeUndefined();
    });
  });

  describe("payloads", () => {
    test.each([
      "null",
      "true",
      "0",
      "-1.5e-7",
      '""',
      '"ü€😀\\u0000"',
      "[]",
      "{}",
      '[[],{"a":{"":[1,2]}}]',
      '{"toJSON":1,"constructor":null,"length":0}',
    ])("%s comes back as it was", async (text) => {
      await using harness = await contract.open();

      const id = await harness.enqueue({ payload: JSON.parse(text) });

      expect(JSON.parse((await harness.task(id)).payload)).toEqual(JSON.parse(text));
    });

    test("__proto__ as a key comes back as data", async () => {
      await using harness = await contract.open();
      const text = '{"__proto__":{"isAdmin":true}}';

      const id = await harness.enqueue({ payload: JSON.parse(text) });

      expect((await harness.task(id)).payload).toBe(text);
    });

    test("a lone surrogate comes back as it was", async () => {
      await using harness = await contract.open();

      const id = await harness.enqueue({ payload: { "\udc00": "a\ud800b" } });

      expect(JSON.parse((await harness.task(id)).payload)).toEqual({ "\udc00": "a\ud800b" });
    });

    test("as many levels as may be are taken", async () => {
      await using harness = await contract.open();

      const id = await harness.enqueue({ payload: JSON.parse(nested(DEPTH_MAX)) });

      expect(DEPTH_MAX).toBe(64);
      expect((await harness.task(id)).payload).toBe(nested(DEPTH_MAX));
    });

    test("one level more is refused, with a pointer to it", async () => {
      await using harness = await contract.open();

      const answer = await harness.engine.enqueue([
        aRequest({ payload: JSON.parse(nested(DEPTH_MAX + 1)) }),
      ]);

      expect(answer).toEqual({
        kind: "invalid",
        faults: [
          { index: 0, path: `/payload${"/0".repeat(64)}`, message: expect.stringContaining("64") },
        ],
      });
    });

    test("a hundred thousand levels are refused like one too many", async () => {
      await using harness = await contract.open();

      const answer = await harness.engine.enqueue([
        aRequest({ payload: JSON.parse(nested(100_000)) }),
      ]);

      expect(answer).toMatchObject({
        kind: "invalid",
        faults: [{ path: `/payload${"/0".repeat(64)}` }],
      });
    });

    test("a number beyond a double is refused, with a pointer to it", async () => {
      await using harness = await contract.open();

      const answer = await harness.engine.enqueue([
        aRequest({ payload: JSON.parse('{"a/b":[0,{"~":-1e400}]}') }),
      ]);

      expect(answer).toEqual({
        kind: "invalid",
        faults: [
          { index: 0, path: "/payload/a~1b/1/~0", message: expect.stringContaining("range") },
        ],
      });
    });

    test("a batch reports each faulty payload by its index, and takes none of the tasks", async () => {
      await using harness = await contract.open();
      const tooLarge: unknown = JSON.parse("1e400");

      const answer = await harness.engine.enqueue([
        aRequest({ payload: tooLarge }),
        aRequest(),
        aRequest({ payload: [tooLarge] }),
      ]);

      expect(answer).toMatchObject({
        kind: "invalid",
        faults: [
          { index: 0, path: "/payload" },
          { index: 2, path: "/payload/0" },
        ],
      });
      expect(await harness.listAll()).toEqual([]);
    });

    test("a payload that changes after its enqueue changes no task", async () => {
      await using harness = await contract.open();
      const payload = { n: 1 };
      const id = await harness.enqueue({ payload });

      payload.n = 2;

      expect((await harness.task(id)).payload).toBe('{"n":1}');
    });
  });
}
