/**
 * One round with one target: start it, warm it up, load it, read what that cost, end it. And the order of many.
 */

import { type Load, type LoadResult, runLoad } from "./oha.ts";
import { cpuUs, rssBytes } from "./process.ts";
import type { Running, Target } from "./targets.ts";

export interface TrialOptions {
  readonly connections: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
  /** How many tasks one body holds. */
  readonly tasksPerBody?: number;
}

export interface Trial extends LoadResult {
  /** CPU time of all its processes, until the last accepted task has run. */
  readonly cpuUsPerRequest: number;
  readonly rssBytes: number;
  /** From the first request until the last accepted task has run. */
  readonly secondsToDrained: number;
}

export async function runTrial(target: Target, options: TrialOptions): Promise<Trial> {
  const { connections, warmUpSeconds, seconds, tasksPerBody = 1 } = options;
  const running = await target.start();
  try {
    const load = loadOf(target, running, connections);
    const warmUp = await runLoad({ ...load, seconds: warmUpSeconds });
    const before = warmUp.requests * tasksPerBody;
    await running.drained(before);
    return await measureLoad(running, { ...load, seconds }, before, tasksPerBody);
  } finally {
    await running.stop();
  }
}

/** Loads a target that runs, and has run every one of the `before` tasks that it accepted. */
export async function measureLoad(
  running: Running,
  load: Load,
  before: number,
  tasksPerBody = 1,
): Promise<Trial> {
  const cpuBeforeUs = cpuUs(running.pids);
  const startedMs = performance.now();
  const result = await runLoad(load);
  const rss = rssBytes(running.pids);
  await running.drained(before + result.requests * tasksPerBody);
  const secondsToDrained = (performance.now() - startedMs) / 1000;
  const cpuUsed = cpuUs(running.pids) - cpuBeforeUs;
  return {
    ...result,
    cpuUsPerRequest: cpuUsed / result.requests,
    rssBytes: rss,
    secondsToDrained,
  };
}

export function loadOf(target: Target, running: Running, connections: number) {
  const { path, body, status } = target;
  return { url: running.url + path, body, status, connections };
}

/**
 * Measures everything once a round, in a rotated order: a machine that slows down or speeds up meanwhile does so for all
 * of them, and nobody always comes after the same other one.
 */
export async function interleave<Subject, Result>(
  subjects: readonly Subject[],
  rounds: number,
  measure: (subject: Subject, round: number) => Promise<Result>,
): Promise<Map<Subject, Result[]>> {
  const results = new Map(subjects.map((subject) => [subject, [] as Result[]]));
  for (let round = 0; round < rounds; round += 1) {
    const shift = round % subjects.length;
    for (const subject of [...subjects.slice(shift), ...subjects.slice(0, shift)]) {
      results.get(subject)?.push(await measure(subject, round));
    }
  }
  return results;
}
