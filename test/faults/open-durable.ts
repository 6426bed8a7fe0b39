/** The engine that these suites try: durable, with room for everything, so that it forgets and refuses nothing. */

import type { Clock } from "../../src/engine/clock.ts";
import type { Durability } from "../../src/engine/data-file.ts";
import { DurableEngine } from "../../src/engine/durable.ts";
import { someSettings } from "../engine/contract/scene.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

export function openDurable(path: string, durability: Durability, clock: Clock): DurableEngine {
  const settings = someSettings(clock, {
    queueSize: 1_000_000,
    queueBytes: 2 ** 30,
    retainTasks: 1_000_000,
    retainMs: DAY_MS,
    timeoutMs: DAY_MS,
  });
  return new DurableEngine({
    ...settings,
    limits: { ...settings.limits, retainBytes: 2 ** 30 },
    path,
    durability,
  });
}
