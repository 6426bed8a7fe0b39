/**
 * Plants one defect after the other in a copy of the core, lets the core's tests and the simulator
 * look for it, and writes the findings into test/sim/PLANTS.md. Ends with code 1 when the simulator
 * missed one. Takes a minute or two.
 */

import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { PLANTS, type Plant } from "./plants.ts";

const DOCUMENT = "test/sim/PLANTS.md";
const BEGIN = "<!-- plants -->";
const END = "<!-- /plants -->";

/** What the gate plays as well. */
const HISTORIES = 20_000;

interface Finding {
  readonly defect: string;
  readonly file: string;
  /** Where the simulator saw it first; null when it did not. */
  readonly seen: { readonly seed: string; readonly step: string; readonly short: string } | null;
  /** The names of the tests of the core that failed. */
  readonly failed: readonly string[];
}

function run(folder: string, args: readonly string[]): { exitCode: number | null; text: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, ...args], { cwd: folder });
  return { exitCode, text: stdout.toString() + stderr.toString() };
}

function findIn(folder: string, { defect, file, code, planted }: Plant): Finding {
  const path = join(folder, "src/core", file);
  const sound = readFileSync(path, "utf8");
  if (sound.split(code).length !== 2) {
    throw new Error(`"${defect}" is stale: its code does not stand exactly once in ${file}`);
  }
  writeFileSync(
    path,
    sound.replace(code, () => planted),
  );
  try {
    const tests = run(folder, ["test", "test/core"]).text;
    const failed = [...tests.matchAll(/^\(fail\) (.*?)(?: \[[\d.]+ms\])?$/gm)];
    const sim = run(folder, ["test/sim/run.ts", "--seed", "1", "--histories", `${HISTORIES}`]);
    const match =
      /^seed (?<seed>\d+), step (?<step>\d+): [\s\S]*found, (?<short>\d+) operations:$/m.exec(
        sim.text,
      );
    const { seed, step, short } = match?.groups ?? {};
    // Whatever else ends the run with a fault, as code that does not load, is no find.
    if (sim.exitCode !== 0 && match === null) throw new Error(`"${defect}": ${sim.text}`);
    return {
      defect,
      file,
      seen:
        seed === undefined || step === undefined || short === undefined
          ? null
          : { seed, step, short },
      failed: [...new Set(failed.map(([, name]) => name ?? ""))],
    };
  } finally {
    writeFileSync(path, sound);
  }
}

function rowOf({ defect, file, seen, failed }: Finding): string {
  const [first = "–"] = failed;
  const tests = failed.length < 2 ? first : `${first}; ${failed.length - 1} more`;
  const { seed, step, short } = seen ?? { seed: "MISSED", step: "–", short: "–" };
  return `| ${defect} | \`${file}\` | ${seed} | ${step} | ${short} | ${tests} |`;
}

const folder = mkdtempSync(join(tmpdir(), "ringq-plants-"));
const findings: Finding[] = [];
try {
  for (const part of ["src", "test", "package.json", "tsconfig.json"]) {
    cpSync(part, join(folder, part), { recursive: true });
  }
  symlinkSync(join(process.cwd(), "node_modules"), join(folder, "node_modules"));
  const sound = run(folder, ["test", "test/core"]);
  if (sound.exitCode !== 0) throw new Error(`the tests fail without any plant:\n${sound.text}`);
  for (const plant of PLANTS) {
    const finding = findIn(folder, plant);
    findings.push(finding);
    console.log(rowOf(finding));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

const missed = findings.filter(({ seen }) => seen === null).length;
const table = [
  `Found by the simulator: ${findings.length - missed} of ${findings.length}. By the tests of the core alone: ` +
    `${findings.filter(({ failed }) => failed.length > 0).length}. ` +
    `Bun ${Bun.version}, ${cpus()[0]?.model.trim()}, \`bun run plants\`.`,
  "",
  "| defect | in `src/core/` | seed | step | operations once shortened | tests of the core that fail |",
  "|---|---|---|---|---|---|",
  ...findings.map(rowOf),
].join("\n");
const [before, rest] = readFileSync(DOCUMENT, "utf8").split(BEGIN);
const after = rest?.split(END)[1];
if (after === undefined) throw new Error(`${DOCUMENT} has no place for the table`);
writeFileSync(DOCUMENT, `${before}${BEGIN}\n${table}\n${END}${after}`);
process.exit(missed === 0 ? 0 : 1);
