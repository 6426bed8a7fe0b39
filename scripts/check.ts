// Runs the gate: every check of this project, in order, up to the first that fails.
// It only starts programs and reads their exit codes; what they check is in their own settings.
// The walls between the rooms of src/ are a test: test/house/walls.test.ts.

import { rmSync } from "node:fs";

const steps = [
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
  { name: "coverage", run: ["scripts/coverage.ts"] },
  // Without coverage: it slows millions of steps and thousands of starts, and shows nothing new.
  { name: "simulator", run: ["test", "./test/sim"] },
  { name: "crashes, power cuts and failing disks", run: ["test", "./test/faults"] },
];

// A report of an earlier run must not stand in for one that this run failed to write.
rmSync("coverage", { recursive: true, force: true });

const startedMs = performance.now();
for (const [index, step] of steps.entries()) {
  console.log(`\n[${index + 1}/${steps.length}] ${step.name}`);
  const stepStartedMs = performance.now();
  // --bun: the tools' files ask for node, which a machine with only Bun does not have.
  const { exitCode } = Bun.spawnSync([process.execPath, "--bun", ...step.run], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  const seconds = ((performance.now() - stepStartedMs) / 1000).toFixed(1);
  if (exitCode !== 0) {
    console.log(`[${index + 1}/${steps.length}] ${step.name}: FAILED after ${seconds} s`);
    process.exit(exitCode ?? 1);
  }
  console.log(`[${index + 1}/${steps.length}] ${step.name}: ok, ${seconds} s`);
}
console.log(`\nAll checks passed in ${((performance.now() - startedMs) / 1000).toFixed(1)} s.`);
