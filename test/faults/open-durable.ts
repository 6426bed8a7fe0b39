/** The engine that these suites try: durable, with room for everything, so that it forgets and refuses nothing. */

import type { Clock } from "../../src/clock.ts";
import type { Engine } from "../../src/engine/engine.ts";
import type { Durability } from "../../src/engine/sqlite/data-file.ts";
import { createSqliteEngine } from "../../src/engine/sqlite/engine.ts";
import { someSettings } from "../support/engine-harness.ts";
import { ManualClock } from "../support/manual-clock.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

/** The type whose tasks run elsewhere. */
export const REMOTE_TYPE = "far";

export function openDurable(path: string, durability: Durability, clock: Clock): Engine {
  const settings = someSettings(new ManualClock(), {
    queueSize: 1_000_000,
    queueBytes: 2 ** 30,
    retainTasks: 1_000_000,
    retainMs: DAY_MS,
    timeoutMs: DAY_MS,
    types: { [REMOTE_TYPE]: { lane: "remote" } },
  });
  return createSqliteEngine({
    ...settings,
    clock,
    limits: { ...settings.limits, retainBytes: 2 ** 30 },
    path,
    durability,
  });
}
