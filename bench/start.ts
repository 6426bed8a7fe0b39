/**
 * How long a server takes from being started to answering that it is ready.
 */

import { median, quantile, show } from "./kit/figures.ts";
import { planOf, say } from "./kit/plan.ts";
import { writeReport } from "./kit/report.ts";
import { ringqEnv, startListening } from "./kit/targets.ts";
import { interleave } from "./kit/trial.ts";

const plan = planOf("start");
const rounds = plan.isQuick ? 3 : 21;

interface Subject {
  readonly name: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** What answers once it is ready. */
  readonly path: string;
  readonly method?: string;
}

const ringqMain = ["src/main.ts"];
const subjects: readonly Subject[] = [
  { name: "ringq", command: ringqMain, env: { PORT: "0" }, path: "/readyz" },
  { name: "ringq with handlers", command: ringqMain, env: ringqEnv(), path: "/readyz" },
  // What it takes to start Bun and its HTTP server, which nothing built on them can undercut.
  { name: "floor", command: ["bench/servers/floor.ts"], env: {}, path: "/" },
];

const times = await interleave(subjects, rounds, async ({ command, env, path }) => {
  const startedMs = performance.now();
  const { url, stop } = await startListening(command, env);
  try {
    const response = await fetch(url + path);
    const tookMs = performance.now() - startedMs;
    const expected = path === "/readyz" ? 200 : 404;
    if (response.status !== expected) throw new Error(`${path} answers ${response.status}`);
    return tookMs;
  } finally {
    await stop();
  }
});

const results = Array.from(times, ([{ name }, each]) => {
  say(plan, `${name}: ${show(median(each))} ms`);
  const [min, max] = [Math.min(...each), Math.max(...each)];
  return { name, medianMs: median(each), p90Ms: quantile(each, 0.9), min, max, rounds: each };
});

await writeReport(plan, {
  title: "Start to ready",
  method:
    `${rounds} interleaved starts each, from spawning the process to its first answer, without a cache of compiled code; ` +
    "ringq from its TypeScript sources, as it is shipped.",
  columns: ["process", "median ms", "p90 ms", "min ms", "max ms"],
  rows: results.map(({ name, medianMs, p90Ms, min, max }) => [
    name,
    ...[medianMs, p90Ms, min, max].map(show),
  ]),
  data: results,
  chart: {
    title: { text: "Start to ready", subtitle: "Every start as a mark, the median in red." },
    data: {
      values: results.flatMap(({ name, rounds: each }) => each.map((ms) => ({ name, ms }))),
    },
    width: 480,
    height: { step: 34 },
    encoding: { y: { field: "name", type: "nominal", sort: null, title: null } },
    layer: [
      {
        mark: { type: "tick", color: "#3b6ea5", opacity: 0.6 },
        encoding: { x: { field: "ms", type: "quantitative", title: "milliseconds" } },
      },
      {
        mark: { type: "tick", color: "#c0392b", thickness: 3 },
        encoding: { x: { aggregate: "median", field: "ms", type: "quantitative" } },
      },
    ],
  },
});
