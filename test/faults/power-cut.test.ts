import { expect, test } from "bun:test";
import { seedOf } from "./dice.ts";
import { findRecorderObstacle } from "./disk-recorder.ts";
import { openDurable } from "./open-durable.ts";
import { cutPower } from "./power-cut.ts";

const TIMEOUT_MS = 300_000;

const obstacle = findRecorderObstacle();
if (obstacle !== null) process.stderr.write(`Power cuts are not tested: ${obstacle}.\n`);
const testHere = test.skipIf(obstacle !== null);

const seed = seedOf(process.env["SEED"]);

testHere(
  "5,000 power cuts with DURABILITY=full lose nothing, invent nothing and leave nothing half done",
  async () => {
    const report = await cutPower({
      open: (path, clock) => openDurable(path, "full", clock),
      seed,
      recordings: 20,
      states: 250,
      stopsAtFault: true,
    });
    expect(report.faults).toEqual([]);
    expect(report.states).toBe(5000);
    // Cuts between two groups, where all is synced, are easy: most must not be.
    expect(report.withUnsynced).toBeGreaterThan(2500);
  },
  TIMEOUT_MS,
);

testHere(
  "the same with DURABILITY=normal is caught losing what was accepted, and nothing worse",
  async () => {
    const report = await cutPower({
      open: (path, clock) => openDurable(path, "normal", clock),
      seed,
      recordings: 3,
      states: 100,
      stopsAtFault: false,
    });
    expect(report.statesWithFaults).toBeGreaterThan(30);
    expect(report.kinds).toContain("lost");
    expect(report.kinds).not.toContain("half a batch");
    expect(report.kinds).not.toContain("it can't be opened");
  },
  TIMEOUT_MS,
);
