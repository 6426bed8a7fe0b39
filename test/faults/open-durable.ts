/** The engine that these suites try: durable, with room for everything, so that it forgets and refuses nothing. */

import type { Clock } from "../../src/clock.ts";
import type { Durability } from "../../src/engine/sqlite/data-file.ts";
import { SqliteEngine } from "../../src/engine/sqlite/engine.ts";
import { someSettings } from "../support/engine-harness.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

export function openDurable(path: string, durability: Durability, clock: Clock): SqliteEngine {
  const settings = someSettings(clock, {
    queueSize: 1_000_000,
    queueBytes: 2 ** 30,
    retainTasks: 1_000_000,
    retainMs: DAY_MS,
    timeoutMs: DAY_MS,
  });
  return new SqliteEngine({
    ...settings,
    limits: { ...settings.limits, retainBytes: 2 ** 30 },
    path,
    durability,
  });
}
