/**
 * What accepting a task over HTTP costs: ringq against a bare route below it, and against its peers.
 */

import { mib, show, showSpread, spreadOf } from "./kit/figures.ts";
import { redisVersion } from "./kit/machine.ts";
import { OHA_VERSION, requireOha } from "./kit/oha.ts";
import { planOf, say } from "./kit/plan.ts";
import { writeReport } from "./kit/report.ts";
import { available, bullmq, bunqueue, floor, ringq } from "./kit/targets.ts";
import { interleave, runTrial } from "./kit/trial.ts";

const CONNECTIONS = 64;

const plan = planOf("http");
requireOha();
const rounds = plan.isQuick ? 2 : 7;
const timing = plan.isQuick ? { warmUpSeconds: 1, seconds: 1 } : { warmUpSeconds: 3, seconds: 6 };

const base = floor();
const targets = available([base, ringq(), bunqueue(), bullmq()], (text) => say(plan, text));
const trials = await interleave(targets, rounds, async (target, round) => {
  const trial = await runTrial(target, { connections: CONNECTIONS, ...timing });
  say(
    plan,
    `round ${round + 1}/${rounds}, ${target.name}: ${show(trial.perSecond)}/s, ${show(trial.cpuUsPerRequest)} µs CPU`,
  );
  return trial;
});

const floorTrials = trials.get(base) ?? [];
const results = Array.from(trials, ([{ name }, each]) => ({
  name,
  perSecond: spreadOf(each.map(({ perSecond }) => perSecond)),
  p50Ms: spreadOf(each.map(({ p50Ms }) => p50Ms)),
  p99Ms: spreadOf(each.map(({ p99Ms }) => p99Ms)),
  p999Ms: spreadOf(each.map(({ p999Ms }) => p999Ms)),
  cpuUsPerRequest: spreadOf(each.map(({ cpuUsPerRequest }) => cpuUsPerRequest)),
  rssMib: spreadOf(each.map(({ rssBytes }) => mib(rssBytes))),
  // Of each round on its own: what the machine does to one round, it does to both.
  cpuToFloor: spreadOf(
    each.map(
      ({ cpuUsPerRequest }, round) =>
        cpuUsPerRequest / (floorTrials[round]?.cpuUsPerRequest ?? Number.NaN),
    ),
  ),
  rounds: each,
}));

await writeReport(plan, {
  title: "Accepting a task over HTTP",
  method:
    `${rounds} interleaved rounds of ${timing.seconds} s after ${timing.warmUpSeconds} s of warm-up, ${CONNECTIONS} connections, ` +
    "a fresh process per round; server and load generator on one core each; median [min, max] of the rounds.",
  columns: [
    "server",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "CPU µs/request",
    "RSS MiB",
    "CPU ÷ floor",
  ],
  rows: results.map((each) => [
    each.name,
    showSpread(each.perSecond),
    showSpread(each.p50Ms),
    showSpread(each.p99Ms),
    showSpread(each.p999Ms),
    showSpread(each.cpuUsPerRequest),
    showSpread(each.rssMib),
    showSpread(each.cpuToFloor),
  ]),
  data: results,
  chart: {
    title: {
      text: "CPU time per accepted task",
      subtitle: "Median of the rounds, with their range. Less is better.",
    },
    data: { values: results.map(({ name, cpuUsPerRequest }) => ({ name, ...cpuUsPerRequest })) },
    width: 480,
    height: { step: 34 },
    encoding: { y: { field: "name", type: "nominal", sort: null, title: null } },
    layer: [
      {
        mark: { type: "bar", height: 20 },
        encoding: { x: { field: "median", type: "quantitative", title: "µs of CPU per request" } },
      },
      {
        mark: { type: "rule", color: "#222" },
        encoding: { x: { field: "min", type: "quantitative" }, x2: { field: "max" } },
      },
      {
        mark: { type: "text", align: "left", dx: 6, color: "#222" },
        encoding: {
          x: { field: "max", type: "quantitative" },
          text: { field: "median", format: ".3~r" },
        },
      },
    ],
  },
  peers: ["bunqueue", "bullmq", "elysia"],
  tools: { oha: OHA_VERSION, ...redisVersion() },
});
