/**
 * What accepting a task over HTTP costs: ringq against a bare route below it, and against its peers.
 */

import { barChart, COMPARED_COLUMNS, compare, comparedRow } from "./kit/comparison.ts";
import { showSpread } from "./kit/figures.ts";
import { redisVersion } from "./kit/machine.ts";
import { OHA_VERSION, requireOha } from "./kit/oha.ts";
import { planOf, say } from "./kit/plan.ts";
import { writeReport } from "./kit/report.ts";
import { available, bullmq, bunqueue, floor, keeper, ringq } from "./kit/targets.ts";

const CONNECTIONS = 64;

const plan = planOf("http");
requireOha();
const rounds = plan.isQuick ? 2 : 7;
const timing = plan.isQuick ? { warmUpSeconds: 1, seconds: 1 } : { warmUpSeconds: 3, seconds: 6 };

const peers = available([bunqueue(), bullmq()], (text) => say(plan, text));
const results = await compare(plan, [floor(), keeper(), ringq(), ...peers], rounds, {
  connections: CONNECTIONS,
  ...timing,
});

await writeReport(plan, {
  title: "Accepting a task over HTTP",
  method:
    `${rounds} interleaved rounds of ${timing.seconds} s after ${timing.warmUpSeconds} s of warm-up, ${CONNECTIONS} connections, ` +
    "a fresh process per round; server and load generator on one core each; median [min, max] of the rounds.",
  columns: [...COMPARED_COLUMNS, "CPU ÷ floor"],
  rows: results.map((each) => [...comparedRow(each), showSpread(each.cpuToBase)]),
  data: results,
  chart: barChart(
    "CPU time per accepted task",
    "µs of CPU per request: less is better",
    results.map(({ name, cpuUsPerRequest }) => ({ name, ...cpuUsPerRequest })),
  ),
  peers: ["bunqueue", "bullmq", "elysia"],
  tools: { oha: OHA_VERSION, ...redisVersion() },
});
