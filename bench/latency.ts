/**
 * How long a task takes to be accepted, to be started and to be done, while the server is loaded to a part of what it can.
 */

import { sharedMs } from "./kit/clock.ts";
import { quantile, show } from "./kit/figures.ts";
import { OHA_VERSION, requireOha, runLoad } from "./kit/oha.ts";
import { planOf, say } from "./kit/plan.ts";
import { writeReport } from "./kit/report.ts";
import { type Running, ringq } from "./kit/targets.ts";
import { loadOf, runTrial } from "./kit/trial.ts";

const CONNECTIONS = 64;
const SHARES = [0.25, 0.5, 0.75];
/** Probes a second: many enough for a tail, few enough to add nothing to the load. */
const PROBES_PER_SECOND = 400;
/** Probes begin and end inside of the load. */
const MARGIN_MS = 500;

/** Less of the rate that was due than this is another measurement. */
const REACHED_MIN = 0.98;

const plan = planOf("latency");
requireOha();
const rounds = plan.isQuick ? 1 : 3;
const seconds = plan.isQuick ? 2 : 8;
const peakTiming = { warmUpSeconds: plan.isQuick ? 1 : 3, seconds: plan.isQuick ? 1 : 4 };
const target = ringq();

const peaks: number[] = [];
for (let round = 1; round <= rounds; round += 1) {
  const { perSecond } = await runTrial(target, { connections: CONNECTIONS, ...peakTiming });
  say(plan, `peak, round ${round}/${rounds}: ${show(perSecond)}/s`);
  peaks.push(perSecond);
}
const peak = quantile(peaks, 0.5);

interface Probe {
  readonly startedMs: number;
  readonly doneMs: number;
}

interface Level {
  readonly share: number;
  readonly perSecond: number;
  readonly accepted: readonly { readonly p50Ms: number; p99Ms: number; p999Ms: number }[];
  readonly probes: readonly Probe[];
}

const levels: Level[] = [];
for (const share of SHARES) levels.push(await measureLevel(share));

async function measureLevel(share: number): Promise<Level> {
  const probes: Probe[] = [];
  const accepted = [];
  let reached = 0;
  for (let round = 1; round <= rounds; round += 1) {
    const running = await target.start();
    try {
      const load = loadOf(target, running, CONNECTIONS);
      await runLoad({ ...load, seconds: peakTiming.warmUpSeconds });
      const [result, probed] = await Promise.all([
        runLoad({ ...load, seconds, perSecond: peak * share }),
        probe(running, seconds * 1000),
      ]);
      accepted.push(result);
      probes.push(...probed);
      reached += result.perSecond / rounds;
      // A server that falls behind shows here as well as in the tail.
      say(
        plan,
        `${share * 100} %, round ${round}/${rounds}: ${show(result.perSecond)} of ${show(peak * share)}/s, accepted p99 ${show(result.p99Ms)} ms`,
      );
    } finally {
      await running.stop();
    }
  }
  return { share, perSecond: reached, accepted, probes };
}

/**
 * Enqueues tasks at random moments, as independent clients would, each timed from the moment it was due to be sent: one
 * that waits for anything, here or there, counts all of that wait.
 */
async function probe(running: Running, durationMs: number): Promise<readonly Probe[]> {
  const beginMs = sharedMs() + MARGIN_MS;
  const endMs = beginMs + durationMs - 2 * MARGIN_MS;
  const coming: Promise<Probe>[] = [];
  for (
    let dueMs = beginMs;
    dueMs < endMs;
    dueMs += (-Math.log(1 - Math.random()) * 1000) / PROBES_PER_SECOND
  ) {
    const waitMs = dueMs - sharedMs();
    if (waitMs > 0) await Bun.sleep(waitMs);
    // A timer may fire a fraction of a millisecond early: then this is the moment. One that fires late changes nothing.
    const one = probeOnce(running.url, Math.min(dueMs, sharedMs()));
    // One that fails is told once, by whoever awaits them all.
    one.catch(() => undefined);
    coming.push(one);
  }
  return Promise.all(coming);
}

async function probeOnce(url: string, dueMs: number): Promise<Probe> {
  const enqueued = await fetch(`${url}/enqueue`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"type":"probe","payload":null}',
  });
  if (enqueued.status !== 202) throw new Error(`a probe was answered ${enqueued.status}`);
  const { id } = (await enqueued.json()) as { readonly id: string };
  const answer = await fetch(`${url}/tasks/${id}?wait_ms=60000`);
  const task = (await answer.json()) as { readonly status: string; readonly result: number };
  if (task.status !== "done") throw new Error(`a probe is ${task.status}`);
  const startedMs = task.result - dueMs;
  if (startedMs <= 0)
    throw new Error(`a probe was started ${-startedMs} ms before it was sent: the clocks differ`);
  return { startedMs, doneMs: sharedMs() - dueMs };
}

const QUANTILES = { p50: 0.5, p99: 0.99, "p99.9": 0.999 };
type QuantileName = keyof typeof QUANTILES;
const names = Object.keys(QUANTILES) as QuantileName[];

const rows = levels.flatMap(({ share, perSecond, accepted, probes }) => {
  const of = (values: readonly number[]) =>
    Object.fromEntries(names.map((name) => [name, quantile(values, QUANTILES[name])]));
  const load = `${share * 100} %: ${show(perSecond)}/s`;
  return [
    {
      load,
      until: "accepted (202 read)",
      p50: quantile(
        accepted.map(({ p50Ms }) => p50Ms),
        0.5,
      ),
      p99: quantile(
        accepted.map(({ p99Ms }) => p99Ms),
        0.5,
      ),
      "p99.9": quantile(
        accepted.map(({ p999Ms }) => p999Ms),
        0.5,
      ),
    },
    { load, until: "handler started", ...of(probes.map(({ startedMs }) => startedMs)) },
    { load, until: "seen done (long poll)", ...of(probes.map(({ doneMs }) => doneMs)) },
  ] as readonly ({ readonly load: string; readonly until: string } & Record<
    QuantileName,
    number
  >)[];
});

await writeReport(plan, {
  title: "Latency",
  method:
    `Peak measured first: ${show(peak)}/s. Then ${rounds} rounds of ${seconds} s at each rate, ${CONNECTIONS} connections, corrected for coordinated omission. ` +
    `*Accepted* is what the load generator saw, median of the rounds; *started* and *done* come from ${PROBES_PER_SECOND} probes a second at random moments beside it, of all rounds together.`,
  columns: ["load", "from due to", "p50 ms", "p99 ms", "p99.9 ms"],
  rows: rows.map(({ load, until, ...figures }) => [
    load,
    until,
    ...names.map((name) => show(figures[name])),
  ]),
  notes: [
    ...levels
      .filter(({ share, perSecond }) => perSecond < REACHED_MIN * peak * share)
      .map(
        ({ share, perSecond }) =>
          `**${share * 100} % was not reached:** ${show(peak * share)}/s were due and ${show(perSecond)}/s came, so its figures are those of an overload.`,
      ),
    "*Seen done* is what a client sees that enqueues and then asks with `wait_ms`: two requests, one after the other.",
  ],
  // Tens of thousands of probes are kept as what is asked of them.
  data: {
    peak,
    peaks,
    levels: levels.map(({ probes, ...level }) => ({ ...level, probes: probes.length })),
    rows,
  },
  chart: {
    title: {
      text: "Latency under load",
      subtitle: "From the moment a request was due. Circles: p50, squares: p99, triangles: p99.9.",
    },
    data: {
      values: rows.flatMap(({ load, until, ...figures }) =>
        names.map((name) => ({ load, until, quantile: name, ms: figures[name] })),
      ),
    },
    width: 480,
    height: { step: 26 },
    mark: { type: "point", filled: true, size: 70 },
    encoding: {
      y: { field: "until", type: "nominal", sort: null, title: null },
      row: {
        field: "load",
        type: "nominal",
        sort: null,
        title: null,
        header: { labelAngle: 0, labelAlign: "left" },
      },
      x: {
        field: "ms",
        type: "quantitative",
        scale: { type: "log" },
        title: "milliseconds, logarithmic",
      },
      color: { field: "quantile", type: "nominal", sort: null, legend: { title: null } },
      shape: { field: "quantile", type: "nominal", sort: null },
    },
  },
  tools: { oha: OHA_VERSION },
});
