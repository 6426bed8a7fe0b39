/**
 * What a task costs when many come in one request, against one by one.
 */

import { show, showSpread, spreadOf } from "./kit/figures.ts";
import { OHA_VERSION, requireOha } from "./kit/oha.ts";
import { planOf, say } from "./kit/plan.ts";
import { writeReport } from "./kit/report.ts";
import { ringq, TASK, type Target } from "./kit/targets.ts";
import { interleave, runTrial } from "./kit/trial.ts";

const CONNECTIONS = 16;
const SIZES = [1, 10, 100, 1000];

const plan = planOf("batch");
requireOha();
const rounds = plan.isQuick ? 1 : 5;
const timing = plan.isQuick ? { warmUpSeconds: 1, seconds: 1 } : { warmUpSeconds: 2, seconds: 4 };

interface Subject {
  readonly label: string;
  readonly target: Target;
  readonly size: number;
}

const single: Subject = { label: "one, POST /enqueue", target: ringq(), size: 1 };
const batches = SIZES.map((size): Subject => {
  const body = JSON.stringify({ tasks: new Array(size).fill(TASK) });
  const target = { ...ringq(), path: "/enqueue/batch", body };
  return { label: `batch of ${size.toLocaleString("en-US")}`, target, size };
});

const trials = await interleave([single, ...batches], rounds, async (subject, round) => {
  const { label, target, size } = subject;
  const options = { connections: CONNECTIONS, ...timing, tasksPerBody: size };
  const trial = await runTrial(target, options);
  const acceptedPerSecond = trial.perSecond * size;
  const runPerSecond = (trial.requests * size) / trial.secondsToDrained;
  say(
    plan,
    `round ${round + 1}/${rounds}, ${label}: ${show(acceptedPerSecond)} accepted/s, ${show(runPerSecond)} run/s`,
  );
  return { ...trial, acceptedPerSecond, runPerSecond, cpuUsPerTask: trial.cpuUsPerRequest / size };
});

const singles = trials.get(single) ?? [];
const results = Array.from(trials, ([{ label, size }, each]) => ({
  label,
  size,
  acceptedPerSecond: spreadOf(each.map(({ acceptedPerSecond }) => acceptedPerSecond)),
  runPerSecond: spreadOf(each.map(({ runPerSecond }) => runPerSecond)),
  cpuUsPerTask: spreadOf(each.map(({ cpuUsPerTask }) => cpuUsPerTask)),
  p99Ms: spreadOf(each.map(({ p99Ms }) => p99Ms)),
  acceptedToSingle: spreadOf(
    each.map(
      ({ acceptedPerSecond }, round) =>
        acceptedPerSecond / (singles[round]?.acceptedPerSecond ?? Number.NaN),
    ),
  ),
  runToSingle: spreadOf(
    each.map(
      ({ runPerSecond }, round) => runPerSecond / (singles[round]?.runPerSecond ?? Number.NaN),
    ),
  ),
  rounds: each,
}));

await writeReport(plan, {
  title: "Batches",
  method:
    `${rounds} interleaved rounds of ${timing.seconds} s after ${timing.warmUpSeconds} s of warm-up, ${CONNECTIONS} connections, ` +
    "a fresh process per round; CPU time counts until the last task has run; median [min, max] of the rounds.",
  columns: [
    "body",
    "accepted/s",
    "run/s",
    "CPU µs/task",
    "p99 ms",
    "accepted ÷ single",
    "run ÷ single",
  ],
  rows: results.map((each) => [
    each.label,
    showSpread(each.acceptedPerSecond),
    showSpread(each.runPerSecond),
    showSpread(each.cpuUsPerTask),
    showSpread(each.p99Ms),
    showSpread(each.acceptedToSingle),
    showSpread(each.runToSingle),
  ]),
  data: results,
  chart: {
    title: {
      text: "Tasks per second, by batch",
      subtitle:
        "Accepted while the load lasts, and run until the last one is done. More is better.",
    },
    data: {
      values: results.flatMap(({ label, acceptedPerSecond, runPerSecond }) => [
        { label, what: "accepted", ...acceptedPerSecond },
        { label, what: "run", ...runPerSecond },
      ]),
    },
    width: 480,
    height: { step: 22 },
    encoding: {
      y: { field: "label", type: "nominal", sort: null, title: null },
      yOffset: { field: "what", sort: null },
    },
    layer: [
      {
        mark: "bar",
        encoding: {
          x: { field: "median", type: "quantitative", title: "tasks per second" },
          color: {
            field: "what",
            type: "nominal",
            sort: null,
            scale: { range: ["#3b6ea5", "#9bbbd8"] },
            legend: { title: null, orient: "bottom" },
          },
        },
      },
      {
        mark: { type: "rule", color: "#222" },
        encoding: { x: { field: "min", type: "quantitative" }, x2: { field: "max" } },
      },
      {
        mark: { type: "text", align: "left", dx: 6, color: "#222" },
        encoding: {
          x: { field: "max", type: "quantitative" },
          text: { field: "median", format: ",.0f" },
        },
      },
    ],
  },
  tools: { oha: OHA_VERSION },
});
