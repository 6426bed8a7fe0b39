/**
 * The load generator: oha, and what it says of a run. It counts every answer as a success, so the statuses are checked
 * here: a run with a single wrong answer is no measurement.
 */

import { pinned } from "./process.ts";

const VERSION = "1.15.0";

export interface Load {
  readonly url: string;
  /** What is posted; null for requests that only ask. */
  readonly body: string | null;
  readonly connections: number;
  readonly seconds: number;
  /** What every answer has to be. */
  readonly status: number;
  /** Requests a second; as many as it can when left out. Latency then counts from when a request should have left. */
  readonly perSecond?: number;
}

export interface LoadResult {
  readonly requests: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
}

/** What is used of oha's output. */
interface OhaOutput {
  readonly summary: { readonly requestsPerSec: number };
  readonly latencyPercentiles: Readonly<Record<string, number | null>>;
  readonly statusCodeDistribution: Readonly<Record<string, number>>;
  readonly errorDistribution: Readonly<Record<string, number>>;
}

/** Ends the benchmark, and says how to go on, when there is no oha of the right version. */
export function requireOha(): void {
  const path = find();
  const found =
    path === null
      ? "is not installed"
      : Bun.spawnSync([path, "--version"]).stdout.toString().trim();
  if (found === `oha ${VERSION}`) return;
  console.error(
    `The load generator oha ${VERSION} is needed${path === null ? ", but" : ", but this is"} ${found}.\n` +
      `Install it with: cargo install oha --locked --version ${VERSION}`,
  );
  process.exit(1);
}

export const OHA_VERSION = VERSION;

export async function runLoad(load: Load): Promise<LoadResult> {
  const rate =
    load.perSecond === undefined
      ? []
      : ["-q", String(Math.round(load.perSecond)), "--latency-correction"];
  const oha = Bun.spawn(
    pinned("load", [
      ...[find() ?? "oha", "--no-tui", "--output-format", "json", "--disable-compression"],
      ...["-z", `${load.seconds}s`, "-w", "-c", String(load.connections), ...rate],
      // From a file: a batch is larger than an argument may be.
      ...(load.body === null ? [] : ["-m", "POST", "-T", "application/json", "-D", "/dev/stdin"]),
      load.url,
    ]),
    { stdin: Buffer.from(load.body ?? ""), stdout: "pipe", stderr: "pipe" },
  );
  const [output, errors, code] = await Promise.all([
    new Response(oha.stdout).text(),
    new Response(oha.stderr).text(),
    oha.exited,
  ]);
  if (code !== 0) throw new Error(`oha ended with code ${code}: ${errors.slice(-2000)}`);
  return resultOf(JSON.parse(output), load.status);
}

function resultOf(output: OhaOutput, status: number): LoadResult {
  const { summary, latencyPercentiles, statusCodeDistribution, errorDistribution } = output;
  const { [String(status)]: requests = 0, ...wrong } = statusCodeDistribution;
  if (requests === 0 || Object.keys(wrong).length + Object.keys(errorDistribution).length > 0) {
    throw new Error(
      `every answer should be ${status}, but they were ${JSON.stringify(statusCodeDistribution)} ` +
        `with errors ${JSON.stringify(errorDistribution)}`,
    );
  }
  const ms = (percentile: string): number => (latencyPercentiles[percentile] ?? Number.NaN) * 1000;
  return {
    requests,
    perSecond: summary.requestsPerSec,
    p50Ms: ms("p50"),
    p99Ms: ms("p99"),
    p999Ms: ms("p99.9"),
  };
}

function find(): string | null {
  const { PATH = "", HOME = "" } = process.env;
  return Bun.which("oha", { PATH: `${PATH}:${HOME}/.cargo/bin` });
}
