/**
 * What a benchmark is asked to do: the real measurement, or with `--quick` a smoke test of a few seconds whose numbers
 * mean nothing and never reach the documentation.
 */

export interface Plan {
  /** The name of the benchmark, and of its results. */
  readonly bench: string;
  readonly isQuick: boolean;
  /** The command that repeats it. */
  readonly command: string;
}

export function planOf(bench: string): Plan {
  const given = process.argv.slice(2);
  const unknown = given.filter((argument) => argument !== "--quick");
  if (unknown.length > 0) {
    console.error(`unknown: ${unknown.join(" ")}\nusage: bun bench/${bench}.ts [--quick]`);
    process.exit(2);
  }
  const isQuick = given.includes("--quick");
  return { bench, isQuick, command: `bun bench/${bench}.ts${isQuick ? " --quick" : ""}` };
}

/** Says how far a benchmark is. */
export function say(plan: Pick<Plan, "bench">, text: string): void {
  const seconds = (performance.now() / 1000).toFixed(0).padStart(4);
  console.log(`${seconds} s  ${plan.bench}: ${text}`);
}
