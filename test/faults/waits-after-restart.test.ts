/** A clock that was a day ahead when a wait began must not stretch it: after a restart it is as long as it was meant to be. */

import { expect, test } from "bun:test";
import { cpSync } from "node:fs";
import { join } from "node:path";
import type { AttemptOutcome, EnqueueRequest } from "../../src/engine/engine.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { openDurable } from "./open-durable.ts";
import { makeScratch } from "./scratch.ts";

const DAY_MS = 24 * 3_600_000;
const WAIT_MS = 2000;

const FAILED = { kind: "failed", code: "error", message: "it broke" } as const;

test.each<
  readonly [name: string, request: Partial<EnqueueRequest>, outcome: AttemptOutcome | null]
>([
  ["a delay", { delayMs: WAIT_MS }, null],
  ["a retry", {}, { ...FAILED, retry: { kind: "backoff" } }],
  ["a retry after a time", {}, { ...FAILED, retry: { kind: "after", ms: WAIT_MS } }],
  ["a release with a delay", {}, { kind: "released", delayMs: WAIT_MS }],
])("%s is no longer than it was meant to be", async (_, request, outcome) => {
  using scratch = makeScratch();
  const [path, copy] = [join(scratch.folder, "ringq.db"), join(scratch.folder, "copy.db")];
  const clock = new ManualClock();
  clock.jumpWall(DAY_MS);
  const engine = openDurable(path, "full", clock);
  await engine.enqueue([{ payload: null, ...request }]);
  if (outcome !== null) {
    const answer = await engine.claim({ lane: "loop", max: 1 });
    if (answer.kind !== "claimed") throw new Error(`a claim was answered ${answer.kind}`);
    for (const { taskId, fence } of answer.claims) await engine.settle(taskId, fence, outcome);
    // Reads once that is stored.
    await engine.queues();
  }
  for (const suffix of ["", "-wal", "-running"]) cpSync(path + suffix, copy + suffix);
  await engine.close();

  clock.jumpWall(-DAY_MS);
  const next = openDurable(copy, "full", clock);
  expect(await next.claim({ lane: "loop", max: 1 })).toEqual({ kind: "claimed", claims: [] });
  await clock.advance(WAIT_MS);

  const answer = await next.claim({ lane: "loop", max: 1 });
  expect(answer.kind === "claimed" && answer.claims.length).toBe(1);
  await next.close();
});
