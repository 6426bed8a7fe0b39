/**
 * Cuts the power as often as you like: `bun test/faults/power-cut-run.ts --states 100000 [--per-recording 250]
 * [--durability normal] [--seed 1]`. Ends with 1 when something was lost, invented or half done.
 */

import { parseArgs } from "node:util";
import { seedOf } from "./dice.ts";
import { findRecorderObstacle } from "./disk-recorder.ts";
import { openDurable } from "./open-durable.ts";
import { cutPower } from "./power-cut.ts";

const { values } = parseArgs({
  options: {
    states: { type: "string", default: "100000" },
    "per-recording": { type: "string", default: "250" },
    durability: { type: "string", default: "full" },
    seed: { type: "string" },
  },
});

const obstacle = findRecorderObstacle();
if (obstacle !== null) {
  console.error(`The power can't be cut here: ${obstacle}.`);
  process.exit(2);
}
const durability = values.durability === "normal" ? "normal" : "full";
const seed = seedOf(values.seed ?? process.env["SEED"]);
const perRecording = Number(values["per-recording"]);
const startedMs = performance.now();

console.log(`${values.states} states with DURABILITY=${durability}, seed ${seed}`);
const report = await cutPower({
  open: (path, clock) => openDurable(path, durability, clock),
  seed,
  recordings: Math.ceil(Number(values.states) / perRecording),
  states: perRecording,
  stopsAtFault: durability === "full",
  onRecording: ({ states, statesWithFaults }) => {
    if (states % 5000 === 0)
      console.log(`${states} states, ${statesWithFaults} wrong, ${seconds()} s`);
  },
});
for (const fault of report.faults) console.log(fault);
console.log(
  `${report.states} states, ${report.withUnsynced} with something unsynced, ${report.cutTwice} cut twice, ` +
    `${report.accepted} tasks accepted, ${report.statesWithFaults} wrong, ${seconds()} s`,
);
process.exit(report.statesWithFaults === 0 ? 0 : 1);

function seconds(): string {
  return ((performance.now() - startedMs) / 1000).toFixed(1);
}
