/** Runs the simulated handler, with the configured duration and failure rate. */

import { setTimeout as sleep } from "node:timers/promises";
import type { Attempt } from "./attempt.ts";
import type { RunAttempt } from "./pool.ts";

export interface SimulatedOptions {
  /** The probability that an attempt fails, from 0 to 1. */
  readonly failureRate: number;
  readonly workMs: number;
  readonly random?: () => number;
}

/** A longer timer would fire at once. No attempt may take nearly as long as this, 24 days. */
const TIMER_MAX_MS = 2 ** 31 - 1;

class SimulatedFailure extends Error {
  override readonly name = "SimulatedFailure";
  readonly code = "simulated_failure";
}

export function runSimulated({
  failureRate,
  workMs,
  random = Math.random,
}: SimulatedOptions): RunAttempt {
  const conclude = (): void => {
    if (random() < failureRate) throw new SimulatedFailure("the simulated attempt failed");
  };
  const work = async ({ signal }: Attempt): Promise<void> => {
    await sleep(Math.min(workMs, TIMER_MAX_MS), undefined, { signal });
    conclude();
  };
  return (attempt) => attempt.run(workMs === 0 ? conclude : work, 0);
}
