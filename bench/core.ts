/**
 * What the queue costs without HTTP, and whether that grows with what waits.
 */

import { show, showSpread, spreadOf } from "./kit/figures.ts";
import { peerVersion } from "./kit/machine.ts";
import { planOf, say } from "./kit/plan.ts";
import { pinned } from "./kit/process.ts";
import { writeReport } from "./kit/report.ts";
import { interleave } from "./kit/trial.ts";

const RETAINED_DEFAULT = 10_000;
const WAITING = [1000, 100_000, 1_000_000];

/** Far beyond what any case takes. */
const CASE_TIMEOUT_MS = 120_000;

const plan = planOf("core");
const rounds = plan.isQuick ? 1 : 5;
const operations = plan.isQuick ? 100_000 : 500_000;

interface Subject {
  readonly name: string;
  readonly structure: string;
  readonly retained: number;
  /** The package that it is, if it is none of ours. */
  readonly peer?: string;
}

const everything: readonly Subject[] = [
  { name: "core", structure: "broker", retained: RETAINED_DEFAULT },
  { name: "core, nothing retained", structure: "broker", retained: 0 },
  { name: "engine in memory", structure: "engine", retained: RETAINED_DEFAULT },
  { name: "engine, nothing retained", structure: "engine", retained: 0 },
  { name: "ring", structure: "ring", retained: 0 },
  { name: "due heap", structure: "heap", retained: 0 },
  { name: "flatqueue", structure: "flatqueue", retained: 0, peer: "flatqueue" },
  { name: "tinyqueue", structure: "tinyqueue", retained: 0, peer: "tinyqueue" },
];
const subjects = everything.filter(({ peer }) => {
  if (peer === undefined || peerVersion(peer) !== null) return true;
  say(plan, `SKIPPED ${peer}: it is not installed; see bench/README.md`);
  return false;
});

const cases = subjects.flatMap((subject) => WAITING.map((waiting) => ({ subject, waiting })));
const times = await interleave(cases, rounds, async ({ subject, waiting }, round) => {
  const ns = await measure(subject, waiting);
  say(
    plan,
    `round ${round + 1}/${rounds}, ${subject.name}, ${waiting.toLocaleString("en-US")} waiting: ${show(ns)} ns`,
  );
  return ns;
});

const results = Array.from(times, ([{ subject, waiting }, each]) => ({
  name: subject.name,
  waiting,
  retained: subject.retained,
  ns: spreadOf(each),
  rounds: each,
}));

/** In a process of its own, so that nothing has been compiled for, or left behind by, another case. */
async function measure({ structure, retained }: Subject, waiting: number): Promise<number> {
  const child = Bun.spawn(
    pinned("server", [
      ...[process.execPath, `${import.meta.dir}/cases/core.ts`],
      ...[structure, waiting, retained, operations].map(String),
    ]),
    { stdio: ["ignore", "pipe", "inherit"], timeout: CASE_TIMEOUT_MS },
  );
  const ns = Number(await new Response(child.stdout).text());
  if ((await child.exited) !== 0 || !(ns > 0)) throw new Error(`${structure} was not measured`);
  return ns;
}

await writeReport(plan, {
  title: "The core alone",
  method:
    `Nanoseconds for one task: enqueue, claim and settle; for a structure alone, one member out and in. ${rounds} interleaved rounds of ` +
    `${operations.toLocaleString("en-US")} operations, each in a fresh process pinned to one core; median [min, max] of the rounds.`,
  columns: ["ns/task", ...WAITING.map((waiting) => `${waiting.toLocaleString("en-US")} waiting`)],
  rows: subjects.map(({ name }) => [
    name,
    ...results.filter((each) => each.name === name).map(({ ns }) => showSpread(ns)),
  ]),
  data: results,
  chart: {
    title: {
      text: "Nanoseconds per task, by how many wait",
      subtitle: "Both axes are logarithmic. A line that stays level does not grow with what waits.",
    },
    data: { values: results.map(({ name, waiting, ns }) => ({ name, waiting, ns: ns.median })) },
    width: 440,
    height: 300,
    mark: { type: "line", point: true },
    encoding: {
      x: {
        field: "waiting",
        type: "quantitative",
        scale: { type: "log" },
        axis: { values: WAITING, format: ",d", title: "tasks waiting" },
      },
      y: {
        field: "ns",
        type: "quantitative",
        scale: { type: "log" },
        title: "nanoseconds per task",
      },
      color: { field: "name", type: "nominal", sort: null, legend: { title: null } },
    },
  },
  peers: ["flatqueue", "tinyqueue"],
});
