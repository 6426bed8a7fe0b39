/**
 * What a change does to the cost of a task: checkouts of ringq beside this one, `bun bench/versions.ts <folder>…`.
 *
 * All servers are alive at once and are loaded in bursts, one after the other, so that what the machine does meanwhile it
 * does to all of them. Two processes of one version differ by some percent, so there are several of each; what is
 * smaller than the range between them is no difference.
 */

import { existsSync, realpathSync } from "node:fs";
import { median, show, showSpread, spreadOf } from "./kit/figures.ts";
import { requireOha } from "./kit/oha.ts";
import { say } from "./kit/plan.ts";
import { floor, type Running, ringq, type Target } from "./kit/targets.ts";
import { interleave, loadOf, measureLoad } from "./kit/trial.ts";

const CONNECTIONS = 64;
const PROCESSES = 3;
const ROUNDS = 12;
const WARM_UP_SECONDS = 4;
const BURST_SECONDS = 1;

const folders = process.argv.slice(2);
if (folders.length === 0) {
  console.error("usage: bun bench/versions.ts <folder of another checkout>…");
  process.exit(2);
}
const plan = { bench: "versions" };
requireOha();

interface Subject {
  readonly version: string;
  readonly target: Target;
  readonly running: Running;
  accepted: number;
}

const versions = [".", ...folders];
for (const folder of versions) {
  if (existsSync(`${folder}/bench/servers/handlers.ts`)) continue;
  console.error(`${folder} holds no checkout of ringq with its benchmarks`);
  process.exit(2);
}
if (new Set(versions.map((folder) => realpathSync(folder))).size < versions.length) {
  console.error("every folder can be given once, and this one is measured anyway");
  process.exit(2);
}

const subjects: Subject[] = [];
try {
  await start("floor", floor());
  for (let copy = 1; copy <= PROCESSES; copy += 1) {
    for (const folder of versions) await start(folder, ringq(folder, {}, realpathSync(folder)));
  }
  say(plan, `${subjects.length} servers are up`);
  for (const subject of subjects) await burst(subject, WARM_UP_SECONDS);
  const costs = await interleave(subjects, ROUNDS, async (subject, round) => {
    const cost = await burst(subject, BURST_SECONDS);
    say(plan, `round ${round + 1}/${ROUNDS}, ${subject.version}: ${show(cost)} µs CPU`);
    return cost;
  });
  showResult(costs);
} finally {
  for (const { running } of subjects) await running.stop();
}

async function start(version: string, target: Target): Promise<void> {
  subjects.push({ version, target, running: await target.start(), accepted: 0 });
}

/** CPU time per request of one burst, until its last task has run: microseconds. */
async function burst(subject: Subject, seconds: number): Promise<number> {
  const { target, running, accepted } = subject;
  const load = { ...loadOf(target, running, CONNECTIONS), seconds };
  const { requests, cpuUsPerRequest } = await measureLoad(running, load, accepted);
  subject.accepted += requests;
  return cpuUsPerRequest;
}

function showResult(costs: ReadonlyMap<Subject, readonly number[]>): void {
  const costsOf = (version: string): (readonly number[])[] =>
    Array.from(costs).flatMap(([subject, each]) => (subject.version === version ? [each] : []));
  const floorCosts = costsOf("floor")[0] ?? [];
  console.log(
    `\nCPU ÷ floor, each process by its median: the median of ${PROCESSES} [lowest, highest]`,
  );
  for (const version of versions) {
    const ratios = costsOf(version).map((each) =>
      median(each.map((cost, round) => cost / (floorCosts[round] ?? Number.NaN))),
    );
    console.log(`${showSpread(spreadOf(ratios)).padStart(24)}  ${version}`);
  }
  console.log(`\nThe floor takes ${showSpread(spreadOf(floorCosts))} µs of CPU per request.`);
}
