/** How every engine lists its tasks. */

import { describe, expect, test } from "bun:test";
import { type MakeEngine, openScene, type Scene } from "../support/engine-harness.ts";

async function aPage(scene: Scene, limit: number, cursor?: string) {
  const answer = await scene.engine.list({ limit, cursor });
  if (answer.kind !== "page") throw new Error(`not a page, but ${answer.kind}`);
  return { ids: answer.tasks.map(({ id }) => id), nextCursor: answer.nextCursor };
}

export function describeList(makeEngine: MakeEngine): void {
  test("an empty engine has one empty page", async () => {
    await using scene = await openScene(makeEngine);

    expect(await aPage(scene, 10)).toEqual({ ids: [], nextCursor: null });
  });

  test("the newest task comes first, whatever its priority or status", async () => {
    await using scene = await openScene(makeEngine);
    const first = await scene.enqueueIn("done");
    const second = await scene.enqueue({ priority: 100 });
    const third = await scene.enqueue({ delayMs: 1000 });

    expect(await aPage(scene, 10)).toEqual({ ids: [third, second, first], nextCursor: null });
  });

  test("pages follow one another without a gap or a repetition", async () => {
    await using scene = await openScene(makeEngine);
    const ids = await scene.enqueueAll([{}, {}, {}, {}, {}]);

    expect(await scene.listAll({ limit: 2 })).toEqual(ids.toReversed());
  });

  test("a page holds no more than its limit", async () => {
    await using scene = await openScene(makeEngine);
    await scene.enqueueAll([{}, {}, {}]);

    const { ids, nextCursor } = await aPage(scene, 2);

    expect(ids).toHaveLength(2);
    expect(nextCursor).toBeString();
  });

  test("a last page that is just full has no next one", async () => {
    await using scene = await openScene(makeEngine);
    await scene.enqueueAll([{}, {}]);

    expect((await aPage(scene, 2)).nextCursor).toBeNull();
  });

  test("tasks that come in between do not shift what follows", async () => {
    await using scene = await openScene(makeEngine);
    const [first = "", second = "", third = "", fourth = ""] = await scene.enqueueAll([
      {},
      {},
      {},
      {},
    ]);
    const before = await aPage(scene, 2);
    await scene.enqueueAll([{}, {}]);

    const after = await aPage(scene, 2, before.nextCursor ?? "");

    expect(before.ids).toEqual([fourth, third]);
    expect(after).toEqual({ ids: [second, first], nextCursor: null });
  });

  test("a cursor holds although the task that it stands on was forgotten", async () => {
    await using scene = await openScene(makeEngine, { retainMs: 1000 });
    const [first = "", second = "", third = ""] = await scene.enqueueAll([{}, {}, {}]);
    const { ids, nextCursor } = await aPage(scene, 2);
    expect(ids).toEqual([third, second]);
    await scene.engine.cancel(second);
    await scene.clock.advance(1000);
    expect(await scene.engine.find(second)).toBeUndefined();

    expect(await aPage(scene, 2, nextCursor ?? "")).toEqual({ ids: [first], nextCursor: null });
  });

  test.each(["", "-1", "A", "1.5", "😀", "' or 1=1", "z".repeat(100)])(
    "%p is no cursor",
    async (cursor) => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue();

      expect(await scene.engine.list({ limit: 1, cursor })).toEqual({ kind: "invalid_cursor" });
    },
  );

  describe("a filter", () => {
    test("by status gives the tasks that are in it now", async () => {
      await using scene = await openScene(makeEngine);
      const done = await scene.enqueueIn("done");
      const failed = await scene.enqueueIn("failed");
      const cancelled = await scene.enqueueIn("cancelled");
      const retrying = await scene.enqueueIn("retrying");
      const running = await scene.enqueueIn("running");
      const scheduled = await scene.enqueueIn("scheduled");
      const queued = await scene.enqueueIn("queued");

      expect({
        done: await scene.listAll({ status: "done" }),
        failed: await scene.listAll({ status: "failed" }),
        cancelled: await scene.listAll({ status: "cancelled" }),
        retrying: await scene.listAll({ status: "retrying" }),
        running: await scene.listAll({ status: "running" }),
        scheduled: await scene.listAll({ status: "scheduled" }),
        queued: await scene.listAll({ status: "queued" }),
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

    test("by queue, type and status gives what passes all of them", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue({ queue: "a", type: "y" });
      await scene.enqueue({ queue: "b", type: "x" });
      await scene.enqueueIn("scheduled", { queue: "a", type: "x" });
      const wanted = await scene.enqueue({ queue: "a", type: "x" });

      const ids = await scene.listAll({ queue: "a", type: "x", status: "queued" });

      expect(ids).toEqual([wanted]);
    });

    test("finds what is far apart, page by page", async () => {
      await using scene = await openScene(makeEngine, { queueSize: 100 });
      const wanted: string[] = [];
      for (let index = 0; index < 100; index += 1) {
        const isWanted = index % 30 === 0;
        const id = await scene.enqueue({ type: isWanted ? "rare" : "common" });
        if (isWanted) wanted.push(id);
      }

      expect(await scene.listAll({ type: "rare", limit: 1 })).toEqual(wanted.toReversed());
    });

    test("that nothing passes ends without a task", async () => {
      await using scene = await openScene(makeEngine);
      await scene.enqueue();

      expect(await scene.listAll({ queue: "other" })).toEqual([]);
    });
  });
}
