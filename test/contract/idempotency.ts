/** How every engine answers an enqueue that comes again. */

import { describe, expect, test } from "bun:test";
import type { EnqueueRequest } from "../../src/engine/engine.ts";
import { aRequest, type EngineHarness } from "../support/engine-harness.ts";
import type { Contract } from "./contract.ts";

const MINUTE_MS = 60_000;

/** Enqueues under a key what has to be accepted, and gives the receipts. */
async function enqueueUnder(
  key: string,
  harness: EngineHarness,
  requests: readonly EnqueueRequest[],
) {
  const answer = await harness.engine.enqueue(requests, key);
  if (answer.kind !== "accepted") throw new Error(`not accepted, but ${answer.kind}`);
  return answer.receipts;
}

export function describeIdempotency(contract: Contract): void {
  test("the same task under the same key is answered again and enqueued once", async () => {
    await using harness = await contract.open();
    const receipts = await enqueueUnder("key", harness, [aRequest({ payload: { n: 1 } })]);

    const answer = await harness.engine.enqueue([aRequest({ payload: { n: 1 } })], "key");

    expect(answer).toEqual({ kind: "repeated", receipts });
    expect(await harness.listAll()).toHaveLength(1);
  });

  test("the same batch under the same key is answered again and enqueued once", async () => {
    await using harness = await contract.open();
    const batch = [aRequest({ payload: 1 }), aRequest({ payload: 2, delayMs: 5 })];
    const receipts = await enqueueUnder("key", harness, batch);

    const answer = await harness.engine.enqueue(batch, "key");

    expect(answer).toEqual({ kind: "repeated", receipts });
    expect(receipts.map(({ status }) => status)).toEqual(["queued", "scheduled"]);
    expect(await harness.listAll()).toHaveLength(2);
  });

  test("the order in which a task's fields are written does not matter", async () => {
    await using harness = await contract.open();
    await enqueueUnder("key", harness, [{ payload: 1, type: "a", queue: "b" }]);

    const answer = await harness.engine.enqueue([{ queue: "b", type: "a", payload: 1 }], "key");

    expect(answer.kind).toBe("repeated");
  });

  test("the first answer comes again even when the task has finished since", async () => {
    await using harness = await contract.open();
    const receipts = await enqueueUnder("key", harness, [aRequest()]);
    await harness.settleDone(await harness.claim());

    const answer = await harness.engine.enqueue([aRequest()], "key");

    expect(answer).toEqual({ kind: "repeated", receipts });
  });

  test("the same task under another key, or none, is another task", async () => {
    await using harness = await contract.open();
    await enqueueUnder("one", harness, [aRequest()]);

    await enqueueUnder("two", harness, [aRequest()]);
    await harness.enqueue();

    expect(await harness.listAll()).toHaveLength(3);
  });

  describe("another task under the same key", () => {
    const base: EnqueueRequest = { payload: { n: 1 } };
    test.each<[string, readonly EnqueueRequest[]]>([
      ["its payload", [{ payload: { n: 2 } }]],
      ["its type", [{ ...base, type: "other" }]],
      ["its queue", [{ ...base, queue: "other" }]],
      ["its tags", [{ ...base, tags: ["a"] }]],
      ["its priority", [{ ...base, priority: 1 }]],
      ["its retries", [{ ...base, maxRetries: 1 }]],
      ["its timeout", [{ ...base, timeoutMs: 1 }]],
      ["its delay", [{ ...base, delayMs: 1 }]],
      ["its time of day", [{ ...base, runAtMs: 1 }]],
      ["how many tasks there are", [base, base]],
    ])("another task under the same key is refused when it differs in %s", async (_, requests) => {
      await using harness = await contract.open();
      await enqueueUnder("key", harness, [base]);

      const answer = await harness.engine.enqueue(requests, "key");

      expect(answer).toEqual({ kind: "key_reused" });
      expect(await harness.listAll()).toHaveLength(1);
    });

    test("another batch under the same key is refused when it differs in the order of its tasks", async () => {
      await using harness = await contract.open();
      await enqueueUnder("key", harness, [aRequest({ payload: 1 }), aRequest({ payload: 2 })]);

      const answer = await harness.engine.enqueue(
        [aRequest({ payload: 2 }), aRequest({ payload: 1 })],
        "key",
      );

      expect(answer).toEqual({ kind: "key_reused" });
    });
  });

  test("a repeated enqueue is answered although the queue is full by now", async () => {
    await using harness = await contract.open({ queueSize: 1 });
    const receipts = await enqueueUnder("key", harness, [aRequest()]);

    const answer = await harness.engine.enqueue([aRequest()], "key");

    expect(answer).toEqual({ kind: "repeated", receipts });
  });

  test("what was refused leaves its key free for another try", async () => {
    await using harness = await contract.open({ queueSize: 1 });
    const id = await harness.enqueue();
    expect((await harness.engine.enqueue([aRequest()], "key")).kind).toBe("refused");
    await harness.engine.cancel(id);

    const answer = await harness.engine.enqueue([aRequest({ payload: "another" })], "key");

    expect(answer.kind).toBe("accepted");
  });

  test("what was invalid leaves its key free for another try", async () => {
    await using harness = await contract.open();
    const invalid = aRequest({ payload: JSON.parse("1e400") });
    expect((await harness.engine.enqueue([invalid], "key")).kind).toBe("invalid");

    const answer = await harness.engine.enqueue([aRequest({ payload: 1 })], "key");

    expect(answer.kind).toBe("accepted");
  });

  test("a key is kept for as long as its task is unfinished", async () => {
    await using harness = await contract.open({ retainMs: MINUTE_MS });
    await enqueueUnder("key", harness, [aRequest()]);

    await harness.advance(10 * MINUTE_MS);

    expect((await harness.engine.enqueue([aRequest()], "key")).kind).toBe("repeated");
  });

  contract.clockTest("a key is forgotten once its finished task is", async () => {
    await using harness = await contract.open({ retainMs: MINUTE_MS });
    const [receipt] = await enqueueUnder("key", harness, [aRequest()]);
    await harness.settleDone(await harness.claim());

    await harness.advance(MINUTE_MS - 1);
    expect((await harness.engine.enqueue([aRequest()], "key")).kind).toBe("repeated");
    await harness.advance(1);
    const [later] = await enqueueUnder("key", harness, [aRequest({ payload: "another" })]);

    expect(later?.id).not.toBe(receipt?.id);
  });
}
