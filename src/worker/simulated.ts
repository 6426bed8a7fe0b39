/**
 * The built-in handler: it stands in for real work, takes as long as it is told and fails as often as it is told.
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { Handler } from "./handler.ts";

export interface SimulatedOptions {
  /** The probability that an attempt fails, from 0 to 1. */
  readonly failureRate: number;
  readonly workMs: number;
  readonly random?: () => number;
}

class SimulatedFailure extends Error {
  override readonly name = "SimulatedFailure";
  readonly code = "simulated_failure";
}

export function simulatedHandler({
  failureRate,
  workMs,
  random = Math.random,
}: SimulatedOptions): Handler {
  const conclude = (): void => {
    if (random() < failureRate) throw new SimulatedFailure("the simulated work failed");
  };
  if (workMs === 0) return conclude;
  return async ({ signal }) => {
    await sleep(workMs, undefined, { signal });
    conclude();
  };
}
