/** How every engine lists its tasks. */

import { describe, expect, test } from "bun:test";
import type { EngineHarness } from "../support/engine-harness.ts";
import type { Contract } from "./contract.ts";

async function aPage(harness: EngineHarness, limit: number, cursor?: string) {
  const answer = await harness.engine.list({ limit, cursor });
  if (answer.kind !== "page") throw new Error(`not a page, but ${answer.kind}`);
  return { ids: answer.tasks.map(({ id }) => id), nextCursor: answer.nextCursor };
}

export function describeList(contract: Contract): void {
  test("an empty engine has one empty page", async () => {
    await using harness = await contract.open();

    expect(await aPage(harness, 10)).toEqual({ ids: [], nextCursor: null });
  });

  test("the newest task comes first, whatever its priority or status", async () => {
    await using harness = await contract.open();
    const first = await harness.enqueueIn("done");
    const second = await harness.enqueue({ priority: 100 });
    const third = await harness.enqueue({ delayMs: 1000 });

    expect(await aPage(harness, 10)).toEqual({ ids: [third, second, first], nextCursor: null });
  });

  test("pages follow one another without a gap or a repetition", async () => {
    await using harness = await contract.open();
    const ids = await harness.enqueueAll([{}, {}, {}, {}, {}]);

    expect(await harness.listAll({ limit: 2 })).toEqual(ids.toReversed());
  });

  test("a page holds no more than its limit", async () => {
    await using harness = await contract.open();
    await harness.enqueueAll([{}, {}, {}]);

    const { ids, nextCursor } = await aPage(harness, 2);

    expect(ids).toHaveLength(2);
    expect(nextCursor).toBeString();
  });

  test("a last page that is just full has no next one", async () => {
    await using harness = await contract.open();
    await harness.enqueueAll([{}, {}]);

    expect((await aPage(harness, 2)).nextCursor).toBeNull();
  });

  test("tasks that come in between do not shift what follows", async () => {
    await using harness = await contract.open();
    const [first = "", second = "", third = "", fourth = ""] = await harness.enqueueAll([
      {},
      {},
      {},
      {},
    ]);
    const before = await aPage(harness, 2);
    await harness.enqueueAll([{}, {}]);

    const after = await aPage(harness, 2, before.nextCursor ?? "");

    expect(before.ids).toEqual([fourth, third]);
    expect(after).toEqual({ ids: [second, first], nextCursor: null });
  });

  test("a cursor holds although the task that it stands on was forgotten", async () => {
    await using harness = await contract.open({ retainMs: 1000 });
    const [first = "", second = "", third = ""] = await harness.enqueueAll([{}, {}, {}]);
    const { ids, nextCursor } = await aPage(harness, 2);
    expect(ids).toEqual([third, second]);
    await harness.engine.cancel(second);
    await harness.advance(1000);
    expect(await harness.engine.find(second)).toBeUndefined();

    expect(await aPage(harness, 2, nextCursor ?? "")).toEqual({ ids: [first], nextCursor: null });
  });

  test.each(["", "-1", "A", "1.5", "😀", "' or 1=1", "z".repeat(100)])(
    "%p is no cursor",
    async (cursor) => {
      await using harness = await contract.open();
      await harness.enqueue();

      expect(await harness.engine.list({ limit: 1, cursor })).toEqual({ kind: "invalid_cursor" });
    },
  );

  describe("filter", () => {
    test("a filter by status gives the tasks that are in it now", async () => {
      await using harness = await contract.open();
      const done = await harness.enqueueIn("done");
      const failed = await harness.enqueueIn("failed");
      const cancelled = await harness.enqueueIn("cancelled");
      const retrying = await harness.enqueueIn("retrying");
      const running = await harness.enqueueIn("running");
      const scheduled = await harness.enqueueIn("scheduled");
      const queued = await harness.enqueueIn("queued");

      expect({
        done: await harness.listAll({ status: "done" }),
        failed: await harness.listAll({ status: "failed" }),
        cancelled: await harness.listAll({ status: "cancelled" }),
        retrying: await harness.listAll({ status: "retrying" }),
        running: await harness.listAll({ status: "running" }),
        scheduled: await harness.listAll({ status: "scheduled" }),
        queued: await harness.listAll({ status: "queued" }),
      }).toEqual({
        done: [done],
        failed: [failed],
        cancelled: [cancelled],
        retrying: [retrying],
        running: [running],
        scheduled: [scheduled],
        queued: [queued],
      });
    });

    test("a filter by queue, type and status gives what passes all of them", async () => {
      await using harness = await contract.open();
      await harness.enqueue({ queue: "a", type: "y" });
      await harness.enqueue({ queue: "b", type: "x" });
      await harness.enqueueIn("scheduled", { queue: "a", type: "x" });
      const wanted = await harness.enqueue({ queue: "a", type: "x" });

      const ids = await harness.listAll({ queue: "a", type: "x", status: "queued" });

      expect(ids).toEqual([wanted]);
    });

    test("a filter by tag gives the tasks that have it, and no others", async () => {
      await using harness = await contract.open();
      const [, second, third] = await harness.enqueueAll([
        {},
        { tags: ["a", "b"] },
        { tags: ["b"] },
        { tags: ["ab"] },
      ]);

      expect<unknown>(await harness.listAll({ tag: "b" })).toEqual([third, second]);
      expect<unknown>(await harness.listAll({ tag: "a" })).toEqual([second]);
      expect(await harness.listAll({ tag: "c" })).toEqual([]);
    });

    test("a filter finds what is far apart, page by page", async () => {
      await using harness = await contract.open({ queueSize: 100 });
      const wanted: string[] = [];
      for (let index = 0; index < 100; index += 1) {
        const isWanted = index % 30 === 0;
        const id = await harness.enqueue({ type: isWanted ? "rare" : "common" });
        if (isWanted) wanted.push(id);
      }

      expect(await harness.listAll({ type: "rare", limit: 1 })).toEqual(wanted.toReversed());
    });

    test("a filter that nothing passes ends without a task", async () => {
      await using harness = await contract.open();
      await harness.enqueue();

      expect(await harness.listAll({ queue: "other" })).toEqual([]);
    });
  });
}
