/**
 * Stops workers by SIGSTOP as often as you like: `bun test/faults/frozen-worker-run.ts --tries 1000 [--batch 25]`. Ends
 * with 1 when one was not told that its claim has expired, or its result counted.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { startServerProcess } from "../support/server-process.ts";
import { faultsOfFreezes } from "./frozen-worker.ts";
import { makeScratch } from "./scratch.ts";

const { values } = parseArgs({
  options: {
    tries: { type: "string", default: "1000" },
    batch: { type: "string", default: "25" },
  },
});

const tries = Number(values.tries);
const batch = Number(values.batch);
const startedMs = performance.now();
const faults: string[] = [];

using scratch = makeScratch();
{
  const settings = { DATA_FILE: join(scratch.folder, "ringq.db") };
  await using server = await startServerProcess("none", settings);
  for (let done = 0; done < tries; done += batch) {
    const each = await faultsOfFreezes(server.url, Math.min(batch, tries - done));
    faults.push(...each.filter((fault) => fault !== null));
  }
}
for (const fault of faults) console.log(fault);
const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
console.log(`${tries} workers stood still, ${faults.length} faults, ${seconds} s`);
process.exitCode = faults.length === 0 ? 0 : 1;
