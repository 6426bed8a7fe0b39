/** How every engine takes back tasks that their workers give back. */

import { expect, test } from "bun:test";
import type { Contract } from "./contract.ts";

export function describeRelease(contract: Contract): void {
  test("a released attempt costs no retry", async () => {
    await using harness = await contract.open();
    const id = await harness.enqueue({ maxRetries: 0 });

    await harness.release(await harness.claim());

    expect(await harness.task(id)).toMatchObject({
      status: "queued",
      attempt: 1,
      failures: 0,
      errors: [],
    });
  });

  test("a released task runs again", async () => {
    await using harness = await contract.open();
    const id = await harness.enqueue({ maxRetries: 0 });
    await harness.release(await harness.claim());

    await harness.settleDone(await harness.claim());

    expect(await harness.task(id)).toMatchObject({ status: "done", attempt: 2 });
  });

  test("a release says that the task is queued", async () => {
    await using harness = await contract.open();
    await harness.enqueue();

    const answer = await harness.release(await harness.claim());

    expect(answer).toEqual({
      kind: "settled",
      receipt: { outcome: "released", status: "queued", runAtMs: null },
    });
  });

  contract.orderTest.each([
    ["in the order of their claims", [0, 1, 2]],
    ["in the opposite order", [2, 1, 0]],
    ["in no order", [1, 2, 0]],
  ])("tasks that are released %s keep their original order", async (_, order) => {
    await using harness = await contract.open();
    const ids = await harness.enqueueAll([{}, {}, {}, {}]);
    const claims = await harness.claims({ max: 3 });

    for (const index of order) {
      const claim = claims[index];
      if (claim !== undefined) await harness.release(claim);
    }

    expect(await harness.claimAll()).toEqual(ids);
  });

  contract.orderTest("a released task goes before the rest of its priority", async () => {
    await using harness = await contract.open();
    const first = await harness.enqueue();
    const claim = await harness.claim();
    const second = await harness.enqueue();

    await harness.release(claim);

    expect(await harness.claimAll()).toEqual([first, second]);
  });

  contract.orderTest("a released task goes behind a higher priority", async () => {
    await using harness = await contract.open();
    const low = await harness.enqueue();
    const claim = await harness.claim();
    const high = await harness.enqueue({ priority: 1 });

    await harness.release(claim);

    expect(await harness.claimAll()).toEqual([high, low]);
  });

  contract.orderTest("a task that is released twice keeps its place", async () => {
    await using harness = await contract.open();
    const ids = await harness.enqueueAll([{}, {}]);
    await harness.release(await harness.claim());

    await harness.release(await harness.claim());

    expect(await harness.claimAll()).toEqual(ids);
  });

  contract.clockTest("a release with a delay makes the task wait for that long", async () => {
    await using harness = await contract.open();
    const id = await harness.enqueue({ maxRetries: 0 });
    const runAtMs = harness.wallMs + 5000;

    const answer = await harness.release(await harness.claim(), 5000);

    expect(answer).toEqual({
      kind: "settled",
      receipt: { outcome: "released", status: "retrying", runAtMs },
    });
    expect(await harness.task(id)).toMatchObject({ status: "retrying", runAtMs });
    await harness.advance(4999);
    expect(await harness.statusOf(id)).toBe("retrying");
    await harness.advance(1);
    expect(await harness.statusOf(id)).toBe("queued");
  });

  test("a release with a delay spends no retry", async () => {
    await using harness = await contract.open();
    const id = await harness.enqueue({ maxRetries: 1 });
    for (let round = 0; round < 3; round += 1) {
      await harness.release(await harness.claim(), 1000);
      await harness.advance(1000);
    }

    await harness.settleFailed(await harness.claim());

    expect(await harness.task(id)).toMatchObject({ status: "retrying", failures: 1, attempt: 4 });
  });

  test("a release with a delay of nothing is a plain release", async () => {
    await using harness = await contract.open();
    const id = await harness.enqueue();

    await harness.release(await harness.claim(), 0);

    expect(await harness.task(id)).toMatchObject({ status: "queued", runAtMs: null });
  });

  contract.orderTest("a task that was released with a delay goes to the back", async () => {
    await using harness = await contract.open();
    const first = await harness.enqueue();
    const claim = await harness.claim();
    const second = await harness.enqueue();

    await harness.release(claim, 1000);
    await harness.advance(1000);

    expect(await harness.claimAll()).toEqual([second, first]);
  });

  test("a release with a delay counts as a released attempt, not as a retry", async () => {
    await using harness = await contract.open();
    await harness.enqueue();

    await harness.release(await harness.claim(), 1000);

    expect((await harness.queue()).totals).toMatchObject({ interrupted: 1, retried: 0 });
  });

  test("a task that was released with a delay can be cancelled", async () => {
    await using harness = await contract.open();
    const id = await harness.enqueue();
    await harness.release(await harness.claim(), 1000);

    expect((await harness.engine.cancel(id)).kind).toBe("cancelled");
  });

  test("a release finds its place although the queue is full by then", async () => {
    await using harness = await contract.open({ queueSize: 1 });
    const id = await harness.enqueue();
    const claim = await harness.claim();
    await harness.enqueue();

    await harness.release(claim);

    expect(await harness.statusOf(id)).toBe("queued");
    expect((await harness.queue()).waiting).toBe(2);
  });
}
