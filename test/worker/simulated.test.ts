import { describe, expect, test } from "bun:test";
import type { AttemptOutcome, Claim, MaybePromise } from "../../src/engine/engine.ts";
import { createMemoryEngine } from "../../src/engine/memory/engine.ts";
import { Attempt } from "../../src/worker/attempt.ts";
import { runSimulated, type SimulatedOptions } from "../../src/worker/simulated.ts";
import { EngineHarness, someSettings } from "../support/engine-harness.ts";
import { isPending, ManualClock } from "../support/manual-clock.ts";

const FAILED: AttemptOutcome = {
  kind: "failed",
  code: "simulated_failure",
  message: "the simulated attempt failed",
  retry: { kind: "backoff" },
};
const DONE: AttemptOutcome = { kind: "done", result: null };

async function aClaim(): Promise<Claim> {
  const clock = new ManualClock();
  const harness = new EngineHarness(createMemoryEngine(someSettings(clock)), clock);
  await harness.enqueue();
  return harness.claim();
}

/** An attempt at simulated work, and the way to its outcome. */
async function simulate(
  options: Partial<SimulatedOptions>,
): Promise<{ readonly attempt: Attempt; readonly running: MaybePromise<AttemptOutcome> }> {
  const attempt = new Attempt(await aClaim(), new ManualClock());
  const run = runSimulated({ failureRate: 0, workMs: 0, ...options });
  return { attempt, running: run(attempt, 0) };
}

describe("the simulated handler", () => {
  test("ends at once, without a promise, when it takes no time", async () => {
    expect((await simulate({ workMs: 0 })).running).toEqual(DONE);
  });

  test("fails when the random number is below the failure rate", async () => {
    expect((await simulate({ failureRate: 0.2, random: () => 0.199 })).running).toEqual(FAILED);
  });

  test("succeeds when the random number equals the failure rate", async () => {
    expect((await simulate({ failureRate: 0.2, random: () => 0.2 })).running).toEqual(DONE);
  });

  test("never fails at a failure rate of 0, and always at 1", async () => {
    expect((await simulate({ failureRate: 0, random: () => 0 })).running).toEqual(DONE);
    expect((await simulate({ failureRate: 1, random: () => 1 - Number.EPSILON })).running).toEqual(
      FAILED,
    );
  });

  test("ends later, with the same outcome, when it takes time", async () => {
    const { running } = await simulate({ workMs: 1, failureRate: 1 });

    expect(running).toBeInstanceOf(Promise);
    expect(await running).toEqual(FAILED);
  });

  test("does not end at once when it takes longer than a timer can", async () => {
    const { attempt, running } = await simulate({ workMs: 2 ** 31 });
    const shorter = await simulate({ workMs: 5 });
    await shorter.running;

    expect(await isPending(Promise.resolve(running))).toBe(true);
    attempt.stop("shutdown");
    await running;
  });

  test("ends when its attempt is stopped", async () => {
    const { attempt, running } = await simulate({ workMs: 60_000 });

    attempt.stop("cancelled");

    expect(await running).toEqual({ kind: "released" });
  });
});
