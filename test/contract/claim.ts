/** How every engine hands out attempts. */

import { describe, expect, test } from "bun:test";
import type { Contract } from "./contract.ts";

export function describeClaim(contract: Contract): void {
  describe("claim", () => {
    test("an empty engine has nothing to claim", async () => {
      await using harness = await contract.open();

      expect(await harness.claimAll()).toEqual([]);
    });

    contract.clockTest("a claimed task is running", async () => {
      await using harness = await contract.open();
      const id = await harness.enqueue({ payload: [1] });
      await harness.advance(70);

      const claim = await harness.claim();

      const running = {
        id,
        payload: "[1]",
        status: "running",
        attempt: 1,
        startedAtMs: harness.wallMs,
      } as const;
      expect(claim).toMatchObject({ taskId: id, task: running });
      expect(await harness.task(id)).toMatchObject(running);
    });

    test("no task is handed out twice", async () => {
      await using harness = await contract.open();
      const ids = await harness.enqueueAll([{}, {}, {}]);

      expect(await harness.claimAll()).toEqual(ids);
    });

    contract.orderTest("a higher priority goes first, and within one the first in", async () => {
      await using harness = await contract.open();
      const low = await harness.enqueue({ priority: -1 });
      const [first, second] = await harness.enqueueAll([{}, {}]);
      const high = await harness.enqueue({ priority: 1 });

      expect(await harness.claimAll()).toEqual([high, first ?? "", second ?? "", low]);
    });

    contract.orderTest("queues are served in turn, however long one of them is", async () => {
      await using harness = await contract.open();
      const [a1 = "", a2 = "", a3 = ""] = await harness.enqueueAll([
        { queue: "a" },
        { queue: "a" },
        { queue: "a" },
      ]);
      const b1 = await harness.enqueue({ queue: "b" });

      expect(await harness.claimAll()).toEqual([a1, b1, a2, a3]);
    });
  });

  describe("onReady", () => {
    test("the worker hears of every task that can be claimed", async () => {
      await using harness = await contract.open();

      await harness.enqueueAll([{}, {}, {}]);

      await harness.worker.hearsOf(3);
      expect(harness.worker.ready).toBe(3);
    });

    contract.clockTest("the worker hears of a scheduled task only when it is due", async () => {
      await using harness = await contract.open();
      await harness.enqueue({ delayMs: 100 });
      await harness.advance(99);
      expect(harness.worker.ready).toBe(0);

      await harness.advance(1);

      await harness.worker.hearsOf(1);
    });

    contract.clockTest("the worker hears of a retry when it is due", async () => {
      await using harness = await contract.open();
      await harness.enqueueIn("retrying");
      await harness.advance(199);
      expect(harness.worker.ready).toBe(1);

      await harness.advance(1);

      await harness.worker.hearsOf(2);
    });

    test("the worker hears of a released task at once", async () => {
      await using harness = await contract.open();
      await harness.enqueue();

      await harness.release(await harness.claim());

      await harness.worker.hearsOf(2);
    });
  });
}
