/**
 * Plants one defect after the other in a copy of the engine, lets the suites in this folder look for
 * it, and writes the findings into test/faults/PLANTS.md. Ends with code 1 when all of them missed
 * one. Takes an hour. With a pattern, `bun test/faults/plant-run.ts claim`, it tries only the defects
 * whose name matches, and with a second one, `bun test/faults/plant-run.ts claim "groups|files"`, only
 * in the suites whose name matches. Then it leaves the table alone.
 */

import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import type { Plant } from "../sim/plants.ts";
import { FAULT_PLANTS } from "./plants.ts";

const DOCUMENT = "test/faults/PLANTS.md";
const BEGIN = "<!-- fault plants -->";
const END = "<!-- /fault plants -->";

/** A suite that a defect keeps from ending has found it, too. */
const SUITE_MS_MAX = 180_000;

const SUITES: readonly (readonly [name: string, files: readonly string[]])[] = [
  ["power cuts", ["power-cut.test.ts"]],
  ["groups", ["group.test.ts", "outage.test.ts"]],
  ["failing calls", ["failing-calls.test.ts", "disk-full.test.ts"]],
  [
    "files",
    [
      "damaged-file.test.ts",
      "second-process.test.ts",
      "../engine/sqlite/data-file.test.ts",
      "../engine/sqlite/maintenance.test.ts",
    ],
  ],
  [
    "crashes",
    ["crash.test.ts", "killed-turn.test.ts", "remote-crash.test.ts", "waits-after-restart.test.ts"],
  ],
];

interface Finding {
  readonly plant: Plant;
  /** By suite, whether it failed. */
  readonly found: readonly boolean[];
  /** The first thing that was said about it. */
  readonly said: string;
}

interface Result {
  readonly found: boolean;
  readonly said: string;
}

const pattern = process.argv[2] ?? "";
const suitePattern = new RegExp(process.argv[3] ?? "");
const suites = SUITES.filter(([name]) => suitePattern.test(name));

async function runSuite(folder: string, files: readonly string[]): Promise<Result> {
  const suite = Bun.spawn(
    [process.execPath, "test", ...files.map((file) => `./test/faults/${file}`)],
    {
      cwd: folder,
      stdio: ["ignore", "ignore", "pipe"],
      timeout: SUITE_MS_MAX,
      env: { ...process.env, SEED: "1" },
    },
  );
  const text = await new Response(suite.stderr).text();
  if ((await suite.exited) === 0) return { found: false, said: "" };
  const fault = /^\+ +"(?!seed|faults)(?:cycle \d+: |\{.*?\}: )?((?:\w+ ){2}[^"]*)",$/m.exec(
    text,
  )?.[1];
  const test = /^\(fail\) (.*?)(?: \[[\d.]+ms\])?$/m.exec(text)?.[1];
  return { found: true, said: fault ?? test ?? "it did not end" };
}

async function findIn(folder: string, plant: Plant): Promise<Finding> {
  const path = join(folder, "src/engine", plant.file);
  const sound = readFileSync(path, "utf8");
  if (sound.split(plant.code).length !== 2) {
    throw new Error(`"${plant.defect}" is stale: its code does not stand exactly once`);
  }
  writeFileSync(
    path,
    sound.replace(plant.code, () => plant.planted),
  );
  try {
    const results = await Promise.all(suites.map(([, files]) => runSuite(folder, files)));
    return {
      plant,
      found: results.map(({ found }) => found),
      said: results.find(({ found }) => found)?.said ?? "MISSED",
    };
  } finally {
    writeFileSync(path, sound);
  }
}

function rowOf({ plant: { defect, file }, found, said }: Finding): string {
  const marks = found.map((is) => (is ? "✓" : "–")).join(" | ");
  return `| ${defect} | \`${file}\` | ${marks} | ${said.replaceAll("|", "\\|")} |`;
}

const folder = mkdtempSync(join(tmpdir(), "ringq-plants-"));
const findings: Finding[] = [];
try {
  for (const part of ["src", "test", "package.json", "tsconfig.json", "bunfig.toml"]) {
    cpSync(part, join(folder, part), { recursive: true });
  }
  symlinkSync(join(process.cwd(), "node_modules"), join(folder, "node_modules"));
  for (const [name, files] of suites) {
    const { found, said } = await runSuite(folder, files);
    if (found) throw new Error(`the suite of ${name} fails without any plant: ${said}`);
  }
  for (const plant of FAULT_PLANTS.filter(({ defect }) => new RegExp(pattern).test(defect))) {
    const finding = await findIn(folder, plant);
    findings.push(finding);
    console.log(rowOf(finding));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

const missed = findings.filter(({ found }) => !found.includes(true)).length;
if (pattern !== "") process.exit(missed === 0 ? 0 : 1);
const table = [
  `Found: ${findings.length - missed} of ${findings.length}. ` +
    `Bun ${Bun.version}, ${cpus()[0]?.model.trim()}, \`bun test/faults/plant-run.ts\`.`,
  "",
  `| defect | in \`src/engine/\` | ${SUITES.map(([name]) => name).join(" | ")} | the first to say so said |`,
  `|---|---|${SUITES.map(() => "---|").join("")}---|`,
  ...findings.map(rowOf),
].join("\n");
const [before, rest] = readFileSync(DOCUMENT, "utf8").split(BEGIN);
const after = rest?.split(END)[1];
if (after === undefined) throw new Error(`${DOCUMENT} has no place for the table`);
writeFileSync(DOCUMENT, `${before}${BEGIN}\n${table}\n${END}${after}`);
process.exit(missed === 0 ? 0 : 1);
