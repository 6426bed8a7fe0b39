// Runs the gate: every check of this project, in order, up to the first that fails. A step that needs
// one core only runs beside the one before it.
// It only starts programs and reads their exit codes; what they check is in their own settings.
// The walls between the rooms of src/ are a test: test/house/walls.test.ts.

import { rmSync } from "node:fs";

interface Step {
  readonly name: string;
  readonly run: readonly string[];
  /** Starts together with the step before it, on another core, and is reported in its turn. */
  readonly isBeside?: boolean;
}

const steps: readonly Step[] = [
  { name: "format", run: ["biome", "check", "--linter-enabled=false", "."] },
  { name: "lint", run: ["biome", "lint", "--error-on-warnings", "."] },
  { name: "types", run: ["tsc"] },
  // Once more without Bun's types: the core knows no platform.
  { name: "types of the core", run: ["tsc", "--project", "src/core"] },
  // And without Bun's and Node's: the client knows only web standards.
  { name: "types of the client", run: ["tsc", "--project", "src/client"] },
  { name: "dead files, exports and dependencies", run: ["knip", "--no-config-hints"] },
  {
    name: "tests, no loaded file below the floor in bunfig.toml",
    run: ["test", "--coverage", "--path-ignore-patterns=test/{sim,faults}/**"],
  },
  // Without coverage: it slows millions of steps and thousands of starts, and shows nothing new.
  { name: "simulator", run: ["test", "./test/sim"], isBeside: true },
  { name: "coverage", run: ["scripts/coverage.ts"] },
  { name: "crashes, power cuts and failing disks", run: ["test", "./test/faults"] },
];

// A report of an earlier run must not stand in for one that this run failed to write.
rmSync("coverage", { recursive: true, force: true });

const startedMs = performance.now();
let beside: Running | null = null;
for (const [index, step] of steps.entries()) {
  const title = `[${index + 1}/${steps.length}] ${step.name}`;
  console.log(`\n${title}`);
  const next = steps[index + 1];
  const running: Running = beside ?? start(step, "inherit");
  beside = next?.isBeside === true ? start(next, "pipe") : null;
  const { exitCode, seconds } = await running.end;
  process.stdout.write(await running.output);
  if (exitCode !== 0) {
    beside?.kill();
    console.log(`${title}: FAILED after ${seconds} s`);
    process.exit(exitCode);
  }
  console.log(`${title}: ok, ${seconds} s`);
}
console.log(`\nAll checks passed in ${secondsSince(startedMs)} s.`);

interface Running {
  readonly end: Promise<{ readonly exitCode: number; readonly seconds: string }>;
  /** What it has written, if that was not shown at once. */
  readonly output: Promise<string>;
  kill(): void;
}

function start({ run }: Step, output: "inherit" | "pipe"): Running {
  const stepStartedMs = performance.now();
  // --bun: the tools' files ask for node, which a machine with only Bun does not have.
  const child = Bun.spawn([process.execPath, "--bun", ...run], {
    stdio: ["ignore", output, output],
  });
  const texts = [child.stdout, child.stderr].map((stream) =>
    stream instanceof ReadableStream ? new Response(stream).text() : "",
  );
  return {
    end: child.exited.then((exitCode) => ({ exitCode, seconds: secondsSince(stepStartedMs) })),
    output: Promise.all(texts).then((each) => each.join("")),
    kill: () => child.kill(),
  };
}

function secondsSince(ms: number): string {
  return ((performance.now() - ms) / 1000).toFixed(1);
}
