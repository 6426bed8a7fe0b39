/**
 * Servers measured side by side: the rounds, and what is made of them. For every benchmark that loads one server after
 * the other and asks what each costs, against one of them.
 */

import { mib, type Spread, show, showSpread, spreadOf } from "./figures.ts";
import { type Plan, say } from "./plan.ts";
import type { Target } from "./targets.ts";
import { interleave, runTrial, type Trial, type TrialOptions } from "./trial.ts";

export interface Compared {
  readonly name: string;
  readonly perSecond: Spread;
  readonly p50Ms: Spread;
  readonly p99Ms: Spread;
  readonly p999Ms: Spread;
  readonly cpuUsPerRequest: Spread;
  readonly rssMib: Spread;
  /** Of each round on its own: what the machine does to one server in a round, it does to the other. */
  readonly cpuToBase: Spread;
  readonly rateToBase: Spread;
  readonly rounds: readonly Trial[];
}

export const COMPARED_COLUMNS = [
  "server",
  "requests/s",
  "p50 ms",
  "p99 ms",
  "p99.9 ms",
  "CPU µs/request",
  "RSS MiB",
];

/** The cells of a row, in the order of {@link COMPARED_COLUMNS}. */
export function comparedRow(each: Compared): string[] {
  const { name, perSecond, p50Ms, p99Ms, p999Ms, cpuUsPerRequest, rssMib } = each;
  return [
    name,
    ...[perSecond, p50Ms, p99Ms, p999Ms, cpuUsPerRequest, rssMib].map((spread) =>
      showSpread(spread),
    ),
  ];
}

/** Measures the first of the targets, to which the ratios refer, and the others. */
export async function compare(
  plan: Plan,
  targets: readonly [Target, ...Target[]],
  rounds: number,
  options: TrialOptions,
): Promise<readonly Compared[]> {
  const trials = await interleave(targets, rounds, async (target, round) => {
    const trial = await runTrial(target, options);
    const { perSecond, cpuUsPerRequest } = trial;
    say(
      plan,
      `round ${round + 1}/${rounds}, ${target.name}: ${show(perSecond)}/s, ${show(cpuUsPerRequest)} µs CPU`,
    );
    return trial;
  });
  const base = trials.get(targets[0]) ?? [];
  return Array.from(trials, ([{ name }, each]) => {
    const spread = (figure: (trial: Trial) => number): Spread => spreadOf(each.map(figure));
    const toBase = (figure: (trial: Trial) => number): Spread =>
      spreadOf(base.map((ofBase, round) => figureOf(each[round], figure) / figure(ofBase)));
    return {
      name,
      perSecond: spread((trial) => trial.perSecond),
      p50Ms: spread((trial) => trial.p50Ms),
      p99Ms: spread((trial) => trial.p99Ms),
      p999Ms: spread((trial) => trial.p999Ms),
      cpuUsPerRequest: spread((trial) => trial.cpuUsPerRequest),
      rssMib: spread((trial) => mib(trial.rssBytes)),
      cpuToBase: toBase((trial) => trial.cpuUsPerRequest),
      rateToBase: toBase((trial) => trial.perSecond),
      rounds: each,
    };
  });
}

/** Bars from zero to the median of each server, with the range of its rounds. */
export function barChart(
  title: string,
  axis: string,
  values: readonly ({ readonly name: string } & Spread)[],
) {
  return {
    title: { text: title, subtitle: `Median of the rounds, with their range. ${axis}.` },
    data: { values },
    width: 480,
    height: { step: 34 },
    encoding: { y: { field: "name", type: "nominal", sort: null, title: null } },
    layer: [
      {
        mark: { type: "bar", height: 20 },
        encoding: { x: { field: "median", type: "quantitative", title: axis } },
      },
      {
        mark: { type: "rule", color: "#222" },
        encoding: { x: { field: "min", type: "quantitative" }, x2: { field: "max" } },
      },
      {
        mark: { type: "text", align: "left", dx: 6, color: "#222" },
        encoding: {
          x: { field: "max", type: "quantitative" },
          text: { field: "median", format: ",.3~r" },
        },
      },
    ],
  };
}

function figureOf(trial: Trial | undefined, figure: (trial: Trial) => number): number {
  if (trial === undefined) throw new Error("every server is measured in every round");
  return figure(trial);
}
