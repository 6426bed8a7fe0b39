/** The server and its remote workers, killed by SIGKILL again and again, over HTTP. */

import { expect, test } from "bun:test";
import { Dice, seedOf } from "./dice.ts";
import { runWorkerChain, sumOf } from "./worker-chain.ts";

const TIMEOUT_MS = 300_000;

const CYCLES_PER_CHAIN = 25;
const CHAINS = 2;

const seed = seedOf(process.env["SEED"]);

test(
  "50 crashes of servers and remote workers lose no task and no claim, and count no settle twice",
  async () => {
    const chains = Array.from({ length: CHAINS }, (_, chain) =>
      runWorkerChain({ cycles: CYCLES_PER_CHAIN, dice: new Dice(seed + chain) }),
    );
    const reports = await Promise.all(chains);

    const faults = reports.map((report, chain) => ({ seed: seed + chain, faults: report.faults }));
    expect(faults).toEqual(faults.map(({ seed: each }) => ({ seed: each, faults: [] })));
    // A run in which hardly anything happened would prove nothing.
    const cycles = CHAINS * CYCLES_PER_CHAIN;
    for (const count of ["accepted", "claims", "settles"] as const)
      expect(sumOf(reports, count)).toBeGreaterThan(cycles * 5);
    for (const count of ["extends", "repeats", "losses", "stale"] as const)
      expect(sumOf(reports, count)).toBeGreaterThan(10);
    expect(new Set(reports.flatMap(({ kills }) => [...kills.keys()])).size).toBe(3);
  },
  TIMEOUT_MS,
);
