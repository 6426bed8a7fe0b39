/** What a process leaves that is killed in the middle of a turn of the event loop, before its group is written. */

import { expect, test } from "bun:test";
import { cpSync } from "node:fs";
import { join } from "node:path";
import type { Claim, Engine, TaskView } from "../../src/engine/engine.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { openDurable } from "./open-durable.ts";
import { makeScratch } from "./scratch.ts";

test("an attempt that had ended, and the one that took its place, both count as started", async () => {
  await using life = await openLife(2);
  const first = await life.claim();
  void life.engine.settle(first.taskId, first.fence, { kind: "done", result: null });
  const second = await life.claim();

  const found = await life.killed();

  // The end was not written, so the first runs again as well.
  expect(found(first)).toMatchObject({ status: "queued", attempt: 1 });
  expect(found(second)).toMatchObject({ status: "queued", attempt: 1 });
});

test("a task that failed and was claimed again has both attempts", async () => {
  await using life = await openLife(1);
  const first = await life.claim();
  void life.engine.settle(first.taskId, first.fence, { kind: "released" });
  const again = await life.claim();

  const found = await life.killed();

  expect(again.task.attempt).toBe(2);
  expect(found(again)).toMatchObject({ status: "queued", attempt: 2 });
});

test("what was asked for in this turn is not there, and what had been accepted is", async () => {
  await using life = await openLife(1);
  const asked = life.engine.enqueue([{ payload: null }]);

  const found = await life.killed();

  expect(found.count).toBe(1);
  expect(await asked).toMatchObject({ kind: "accepted" });
});

interface Life extends AsyncDisposable {
  readonly engine: Engine;
  /** Claims a task that has to be there. */
  claim(): Promise<Claim>;
  /** What the next process finds if this one is killed now. */
  killed(): Promise<((claim: Claim) => TaskView | undefined) & { readonly count: number }>;
}

/** An engine with so many tasks, accepted and waiting. */
async function openLife(count: number): Promise<Life> {
  const scratch = makeScratch();
  const path = join(scratch.folder, "ringq.db");
  const engine = openDurable(path, "full", new ManualClock());
  await engine.enqueue(Array.from({ length: count }, () => ({ payload: null })));
  return {
    engine,
    claim: async () => {
      const answer = await engine.claim({ lane: "loop", max: 1 });
      const [claim] = answer.kind === "claimed" ? answer.claims : [];
      if (claim === undefined) throw new Error("there is nothing to claim");
      return claim;
    },
    killed: async () => {
      const copy = join(scratch.folder, "copy.db");
      // At once: until the next turn nothing of this one is written.
      for (const suffix of ["", "-wal", "-running"]) cpSync(path + suffix, copy + suffix);
      const next = openDurable(copy, "full", new ManualClock());
      const answer = await next.list({ limit: 500 });
      const tasks = answer.kind === "page" ? answer.tasks : [];
      await next.close();
      const find = (claim: Claim) => tasks.find(({ id }) => id === claim.task.id);
      return Object.assign(find, { count: tasks.length });
    },
    [Symbol.asyncDispose]: async () => {
      await engine.close();
      scratch[Symbol.dispose]();
    },
  };
}
