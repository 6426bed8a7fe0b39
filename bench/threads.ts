/**
 * Whether HTTP answers while handlers compute: the latency of `/healthz` with idle threads, and with threads that burn CPU.
 */

import { show, showSpread, spreadOf } from "./kit/figures.ts";
import { OHA_VERSION, requireOha, runLoad } from "./kit/oha.ts";
import { planOf, say } from "./kit/plan.ts";
import { writeReport } from "./kit/report.ts";
import { startListening } from "./kit/targets.ts";
import { interleave } from "./kit/trial.ts";

const PER_SECOND = 50;

/** Longer than a round, so that the threads burn through the whole of it. */
const BURN_SECONDS = 30;

const plan = planOf("threads");
requireOha();
const rounds = plan.isQuick ? 2 : 7;
const timing = plan.isQuick ? { warmUp: 1, measured: 2 } : { warmUp: 2, measured: 10 };

interface Subject {
  readonly name: string;
  readonly threads: number;
  readonly burning: number;
}

const cores = navigator.hardwareConcurrency;
const idle: Subject = { name: "idle", threads: 1, burning: 0 };
const subjects: readonly Subject[] = [
  idle,
  { name: "THREADS=1, it burns", threads: 1, burning: 1 },
  // More than the default, which leaves a core to the event loop: this is what that is good for.
  { name: `THREADS=${cores}, all burn`, threads: cores, burning: cores },
];

const trials = await interleave(subjects, rounds, async ({ name, threads, burning }, round) => {
  const env = {
    PORT: "0",
    HANDLERS: "bench/servers/threads/handlers.ts",
    THREADS: String(threads),
    SHUTDOWN_GRACE_MS: "0",
  };
  const { url, stop } = await startListening(["src/main.ts"], env, "any");
  try {
    const load = { url: `${url}/healthz`, body: null, status: 200, connections: 4 };
    await runLoad({ ...load, perSecond: PER_SECOND, seconds: timing.warmUp });
    for (let count = 0; count < burning; count += 1) await burn(url);
    const result = await runLoad({ ...load, perSecond: PER_SECOND, seconds: timing.measured });
    if ((await running(url)) !== burning) throw new Error("the threads did not burn all the time");
    say(plan, `round ${round + 1}/${rounds}, ${name}: p99 ${show(result.p99Ms)} ms`);
    return result;
  } finally {
    await stop();
  }
});

const idleTrials = trials.get(idle) ?? [];
const results = Array.from(trials, ([{ name }, each]) => ({
  name,
  p50Ms: spreadOf(each.map(({ p50Ms }) => p50Ms)),
  p99Ms: spreadOf(each.map(({ p99Ms }) => p99Ms)),
  p999Ms: spreadOf(each.map(({ p999Ms }) => p999Ms)),
  p99ToIdle: spreadOf(
    each.map(({ p99Ms }, round) => p99Ms / (idleTrials[round]?.p99Ms ?? Number.NaN)),
  ),
  rounds: each,
}));

await writeReport(plan, {
  title: "HTTP while threads compute",
  method:
    `${rounds} interleaved rounds of ${timing.measured} s with ${PER_SECOND} requests/s to \`/healthz\` over 4 connections, counted from ` +
    `when each was due, a fresh process per round, on ${cores} cores; a burning handler computes for ${BURN_SECONDS} s. ` +
    "Median [min, max] of the rounds; the ratio is that of the rounds' own p99.",
  columns: ["threads", "p50 ms", "p99 ms", "p99.9 ms", "p99 ÷ idle"],
  rows: results.map(({ name, p50Ms, p99Ms, p999Ms, p99ToIdle }) => [
    name,
    ...[p50Ms, p99Ms, p999Ms, p99ToIdle].map(showSpread),
  ]),
  data: results,
  chart: {
    title: {
      text: "p99 of /healthz while threads compute",
      subtitle: "Every round as a mark, the median in red. Less is better.",
    },
    data: {
      values: results.flatMap(({ name, rounds: each }) =>
        each.map(({ p99Ms }) => ({ name, p99Ms })),
      ),
    },
    width: 480,
    height: { step: 34 },
    encoding: { y: { field: "name", type: "nominal", sort: null, title: null } },
    layer: [
      {
        mark: { type: "tick", color: "#3b6ea5", opacity: 0.6 },
        encoding: { x: { field: "p99Ms", type: "quantitative", title: "milliseconds" } },
      },
      {
        mark: { type: "tick", color: "#c0392b", thickness: 3 },
        encoding: { x: { aggregate: "median", field: "p99Ms", type: "quantitative" } },
      },
    ],
  },
  tools: { oha: OHA_VERSION },
});

/** Lets one more thread burn, and comes back when it does. */
async function burn(url: string): Promise<void> {
  const response = await fetch(`${url}/enqueue`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ type: "burn", payload: BURN_SECONDS }),
  });
  const { id } = (await response.json()) as { id: string };
  for (let tries = 0; tries < 1000; tries += 1) {
    const task = await (await fetch(`${url}/tasks/${id}`)).json();
    if ((task as { progress: unknown }).progress === "burning") return;
    await Bun.sleep(10);
  }
  throw new Error("the thread does not burn");
}

async function running(url: string): Promise<number> {
  const page = await (await fetch(`${url}/tasks?status=running`)).json();
  return (page as { tasks: readonly object[] }).tasks.length;
}
