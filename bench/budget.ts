/**
 * Holds what was measured against the performance budget. Measures nothing itself: it reads the results of the others.
 */

import { existsSync, readFileSync } from "node:fs";
import { median, type Spread, show } from "./kit/figures.ts";
import { planOf } from "./kit/plan.ts";
import { resultsFolder, writeSection } from "./kit/report.ts";

interface ReadyList {
  readonly what: string;
  readonly toReach: string;
  /** Undefined when it was not measured. */
  readonly figure: number | undefined;
  readonly isMet: (figure: number) => boolean;
  readonly unit: string;
  readonly from: string;
}

const plan = planOf("budget");

/** The row of bench/remote.ts that counts. */
const REMOTE = "ringq, remote worker";

/** What is read of the results: the fields that their benchmarks write. */
type Http = readonly { readonly name: string; readonly cpuToBase: Spread }[];
type Core = readonly { readonly name: string; readonly waiting: number; readonly ns: Spread }[];
type Batch = readonly { readonly size: number; readonly acceptedToSingle: Spread }[];
type Durable = readonly { readonly name: string; readonly rateToBase: Spread }[];
type Start = readonly { readonly name: string; readonly medianMs: number }[];
interface Remote {
  readonly results: readonly {
    readonly name: string;
    readonly rateToBase: Spread;
    readonly cpuToBase: Spread;
  }[];
}
interface Memory {
  readonly waiting: readonly { readonly bytesPerTask: number }[];
  readonly through: readonly { readonly rssMib: number }[];
}

const http = dataOf<Http>("http")?.find(({ name }) => name === "ringq");
const core = dataOf<Core>("core")?.find(({ name, waiting }) => name === "core" && waiting === 1000);
const batch = dataOf<Batch>("batch")?.find(({ size }) => size === 1000);
const durable = dataOf<Durable>("durable")?.find(({ name }) => name === "ringq, full");
const memory = dataOf<Memory>("memory");
const remote = dataOf<Remote>("remote")?.results.find(({ name }) => name === REMOTE);
const start = dataOf<Start>("start")?.find(({ name }) => name === "ringq");

const lines: readonly ReadyList[] = [
  {
    what: "accepting one task over HTTP and running it, CPU ÷ floor",
    toReach: "≤ 1.3",
    figure: http?.cpuToBase.median,
    isMet: (figure) => figure <= 1.3,
    unit: "",
    from: "http",
  },
  {
    what: "core alone: enqueue + claim + settle, 1,000 waiting",
    toReach: "≥ 2.5 million tasks/s",
    figure: core === undefined ? undefined : 1000 / core.ns.median,
    isMet: (figure) => figure >= 2.5,
    unit: "million tasks/s",
    from: "core",
  },
  {
    what: "batches of 1,000 over HTTP, accepted ÷ single",
    toReach: "≥ 15",
    figure: batch?.acceptedToSingle.median,
    isMet: (figure) => figure >= 15,
    unit: "",
    from: "batch",
  },
  {
    what: "durable, `full`, 64 connections, rate ÷ memory",
    toReach: "≥ 0.6",
    figure: durable?.rateToBase.median,
    isMet: (figure) => figure >= 0.6,
    unit: "",
    from: "durable",
  },
  {
    what: "queued small task",
    toReach: "≤ 450 bytes",
    figure: memory && median(memory.waiting.map(({ bytesPerTask }) => bytesPerTask)),
    isMet: (figure) => figure <= 450,
    unit: "bytes",
    from: "memory",
  },
  {
    what: "10 million tasks: memory of the last fifth ÷ that of the second",
    toReach: "flat: ≤ 1.1",
    figure: memory && growth(memory.through.map(({ rssMib }) => rssMib)),
    isMet: (figure) => figure <= 1.1,
    unit: "",
    from: "memory",
  },
  {
    what: "start to ready",
    toReach: "≤ 120 ms",
    figure: start?.medianMs,
    isMet: (figure) => figure <= 120,
    unit: "ms",
    from: "start",
  },
  {
    what: "remote workers in batches, rate ÷ handler in the process",
    toReach: "≥ 0.5",
    figure: remote?.rateToBase.median,
    isMet: (figure) => figure >= 0.5,
    unit: "",
    from: "remote",
  },
  {
    what: "remote workers in batches, server CPU ÷ handler in the process",
    toReach: "≤ 1.8",
    figure: remote?.cpuToBase.median,
    isMet: (figure) => figure <= 1.8,
    unit: "",
    from: "remote",
  },
];

const rows = lines.map(({ what, toReach, figure, isMet, unit, from }) =>
  figure === undefined
    ? [what, toReach, "not measured", "–", `[${from}](#${anchorOf(from)})`]
    : [
        what,
        toReach,
        `${show(figure)} ${unit}`.trim(),
        isMet(figure) ? "yes" : "**no**",
        `[${from}](#${anchorOf(from)})`,
      ],
);
writeSection(plan, ["budget line", "to reach", "measured", "met", "from"], rows);

/** The data that a benchmark has written, or undefined when it has not run. */
function dataOf<Data>(bench: string): Data | undefined {
  const file = new URL(`${bench}.json`, resultsFolder(plan));
  if (!existsSync(file)) return undefined;
  return (JSON.parse(readFileSync(file, "utf8")) as { readonly data: Data }).data;
}

/** By how much the last fifth of a series lies above its second one; the first is still filling up. */
function growth(series: readonly number[]): number {
  const fifth = Math.floor(series.length / 5);
  return median(series.slice(-fifth)) / median(series.slice(fifth, 2 * fifth));
}

function anchorOf(bench: string): string {
  const anchors: Readonly<Record<string, string>> = {
    http: "accepting-a-task-over-http",
    core: "the-core-alone",
    batch: "batches",
    durable: "durable-mode",
    memory: "memory",
    start: "start-to-ready",
    remote: "remote-workers",
  };
  return anchors[bench] ?? "";
}
