/**
 * Every benchmark, one after the other, each in a process of its own. One that fails is told and does not stop the rest.
 */

import { requireOha } from "./kit/oha.ts";
import { planOf, say } from "./kit/plan.ts";

/** The quick ones first: what is wrong with the machine shows early. The budget is held against the results of the others. */
const BENCHES = [
  "start",
  "core",
  "batch",
  "threads-soak",
  "threads",
  "memory",
  "latency",
  "http",
  "remote",
  "durable",
  "budget",
];

const plan = planOf("all");
requireOha();

const failed: string[] = [];
for (const [index, bench] of BENCHES.entries()) {
  say(plan, `${bench}, ${index + 1} of ${BENCHES.length}`);
  const options = plan.isQuick ? ["--quick"] : [];
  const child = Bun.spawn([process.execPath, `${import.meta.dir}/${bench}.ts`, ...options], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  if ((await child.exited) !== 0) failed.push(bench);
}

if (failed.length > 0) say(plan, `FAILED: ${failed.join(", ")}`);
else say(plan, "all measured");
process.exit(failed.length > 0 ? 1 : 0);
