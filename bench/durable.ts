/**
 * What it costs to keep tasks in a file: ringq in memory against itself with DATA_FILE, and bunqueue with its SQLite file.
 */

import { mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { readConfig } from "../src/config.ts";
import { barChart, COMPARED_COLUMNS, compare, comparedRow } from "./kit/comparison.ts";
import { showSpread } from "./kit/figures.ts";
import { OHA_VERSION, requireOha } from "./kit/oha.ts";
import { planOf, say } from "./kit/plan.ts";
import { writeReport } from "./kit/report.ts";
import { available, bunqueue, ringq, type Target } from "./kit/targets.ts";

const CONNECTIONS = 64;

const plan = planOf("durable");
if (!knowsDataFile()) {
  say(plan, "SKIPPED: this ringq does not know DATA_FILE");
  process.exit(0);
}
requireOha();
const rounds = plan.isQuick ? 1 : 5;
const timing = plan.isQuick ? { warmUpSeconds: 1, seconds: 1 } : { warmUpSeconds: 2, seconds: 6 };

// Files lie where the system has its temporary ones; where that is kept in memory, set TMPDIR to a disk.
const folder = `${tmpdir()}/ringq-bench-${process.pid}`;

const peers = available(
  [
    withFreshFile("bunqueue, buffered", (file) =>
      bunqueue("bunqueue, buffered", { BUNQUEUE_DATA_PATH: file }),
    ),
    withFreshFile("bunqueue, durable: true", (file) =>
      bunqueue("bunqueue, durable: true", { BUNQUEUE_DATA_PATH: file }, { durable: true }),
    ),
  ],
  (text) => say(plan, text),
);
const targets: [Target, ...Target[]] = [
  ringq("ringq, memory"),
  ...["full", "normal"].map((durability) =>
    withFreshFile(`ringq, ${durability}`, (file) =>
      ringq(`ringq, ${durability}`, { DATA_FILE: file, DURABILITY: durability }),
    ),
  ),
  ...peers,
];
const results = await compare(plan, targets, rounds, { connections: CONNECTIONS, ...timing });
rmSync(folder, { recursive: true, force: true });

await writeReport(plan, {
  title: "Durable mode",
  method:
    `${rounds} interleaved rounds of ${timing.seconds} s after ${timing.warmUpSeconds} s of warm-up, ${CONNECTIONS} connections, ` +
    "a fresh process and a fresh file per round; server and load generator on one core each; median [min, max] of the rounds.",
  columns: [...COMPARED_COLUMNS, "rate ÷ memory"],
  rows: results.map((each) => [...comparedRow(each), showSpread(each.rateToBase)]),
  notes: [
    "*full* answers after the disk has confirmed; *normal* may lose the last moments in a power cut. bunqueue answers before " +
      "it writes (*buffered*), or after a write that the disk has not confirmed (*durable: true*).",
  ],
  data: results,
  chart: barChart(
    "Requests per second, by durability",
    "requests per second: more is better",
    results.map(({ name, perSecond }) => ({ name, ...perSecond })),
  ),
  peers: ["bunqueue"],
  tools: { oha: OHA_VERSION },
});

function knowsDataFile(): boolean {
  const outcome = readConfig({ DATA_FILE: "ringq.db" });
  return outcome.kind === "valid" && "dataFile" in outcome.config;
}

/** A target whose every start has a file of its own, gone after its stop. */
function withFreshFile(name: string, make: (file: string) => Target): Target {
  let files = 0;
  return {
    ...make(""),
    name,
    async start() {
      files += 1;
      const own = `${folder}/${name.replaceAll(/\W+/g, "-")}-${files}`;
      mkdirSync(own, { recursive: true });
      const running = await make(`${own}/tasks.db`).start();
      return {
        ...running,
        async stop() {
          await running.stop();
          rmSync(own, { recursive: true, force: true });
        },
      };
    },
  };
}
