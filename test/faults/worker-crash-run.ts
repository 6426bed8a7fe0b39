/**
 * Kills the server and its remote workers as often as you like: `bun test/faults/worker-crash-run.ts --cycles 10000
 * [--chain 25] [--parallel 2] [--durability normal] [--seed 1]`. Ends with 1 when anything was lost or counted twice.
 */

import { parseArgs } from "node:util";
import { Dice, seedOf } from "./dice.ts";
import { runWorkerChain, sumOf, type WorkerChainReport, type WorkerKill } from "./worker-chain.ts";

const { values } = parseArgs({
  options: {
    cycles: { type: "string", default: "1000" },
    chain: { type: "string", default: "25" },
    parallel: { type: "string", default: "2" },
    durability: { type: "string", default: "full" },
    seed: { type: "string" },
  },
});

const cycles = Number(values.cycles);
const perChain = Number(values.chain);
const seed = seedOf(values.seed ?? process.env["SEED"]);
const startedMs = performance.now();
const kills = new Map<WorkerKill, number>();
const reports: WorkerChainReport[] = [];
let [done, chains] = [0, 0];
let faults: readonly string[] = [];

console.log(`${cycles} cycles in chains of ${perChain}, seed ${seed}`);
await Promise.all(Array.from({ length: Number(values.parallel) }, runChains));
for (const fault of faults) console.log(fault);
console.log(`${done} cycles, ${inWords()}, ${faults.length} faults, ${seconds()} s`);
console.log([...kills].map(([kill, count]) => `${kill}: ${count}`).join(", "));
process.exit(faults.length === 0 ? 0 : 1);

async function runChains(): Promise<void> {
  while (chains * perChain < cycles && faults.length === 0) {
    const chain = chains;
    chains += 1;
    const report = await runWorkerChain({
      cycles: Math.min(perChain, cycles - chain * perChain),
      dice: new Dice(seed + chain),
      settings: { DURABILITY: values.durability },
      onCycle: showProgress,
    });
    reports.push(report);
    for (const [kill, count] of report.kills) kills.set(kill, (kills.get(kill) ?? 0) + count);
    if (report.faults.length > 0)
      faults = [`chain ${chain}, seed ${seed + chain}:`, ...report.faults];
  }
}

function inWords(): string {
  const names = ["accepted", "claims", "extends", "settles", "repeats", "losses", "stale"] as const;
  return names.map((name) => `${sumOf(reports, name)} ${name}`).join(", ");
}

function showProgress(): void {
  done += 1;
  if (done % 100 === 0) console.log(`${done} of ${cycles} cycles, ${seconds()} s`);
}

function seconds(): string {
  return ((performance.now() - startedMs) / 1000).toFixed(1);
}
