/**
 * Plants one defect after the other in a copy of the project, lets the suites look for it, and writes the findings into
 * test/faults/PLANTS.md. Ends with code 1 when all of them missed one. Takes an hour. With a pattern,
 * `bun test/faults/plant-run.ts claim`, it tries only the defects whose name matches, and with a second one,
 * `bun test/faults/plant-run.ts claim "groups|files"`, only in the suites whose name matches. The table then keeps the
 * rows of the others, with the day on which they were tried, and tells which suites were not run.
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
  ["workers", ["worker-crash.test.ts", "frozen-worker.test.ts"]],
  [
    "contract",
    [
      "../engine/memory/engine.test.ts",
      "../engine/sqlite/engine.test.ts",
      "../engine/sqlite/recovery.test.ts",
    ],
  ],
  [
    "engine on disk",
    [
      "../engine/sqlite/claims.test.ts",
      "../engine/sqlite/commands.test.ts",
      "../engine/sqlite/outage.test.ts",
      "../engine/sqlite/running-file.test.ts",
    ],
  ],
  ["http", ["../http/api/claims.test.ts", "../http/api/settle.test.ts"]],
];

/** What the table says of a suite that failed, that did not, and that was not run. */
const MARKS = { true: "✓", false: "–", undefined: "·" };

const HEAD =
  `| defect | in \`src/engine/\` | ${SUITES.map(([name]) => name).join(" | ")} | tried | ` +
  "the first to say so said |";

interface Finding {
  readonly plant: Plant;
  /** The suites that were run, and whether they failed. */
  readonly found: ReadonlyMap<string, boolean>;
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
  const fault =
    /^\+ +"(?!seed|faults)(?:cycle \d+: |\{.*?\}: )?((?:[\w-]+[:,]? ){2}[^"]*)",$/m.exec(text)?.[1];
  const test = /^\(fail\) (.*?)(?: \[[\d.]+ms\])?$/m.exec(text)?.[1];
  const said = fault ?? test ?? "it did not end";
  // The folder is another one in each run.
  return { found: true, said: said.replaceAll(/\/[^\s()]*\/ringq-\w+\//g, "") };
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
      found: new Map(suites.map(([name], index) => [name, results[index]?.found === true])),
      said: results.find(({ found }) => found)?.said ?? "MISSED",
    };
  } finally {
    writeFileSync(path, sound);
  }
}

function rowOf({ plant: { defect, file }, found, said }: Finding): string {
  const marks = SUITES.map(([name]) => MARKS[String(found.get(name)) as keyof typeof MARKS]);
  const today = new Date().toISOString().slice(0, 10);
  return `${startOf(defect)}\`${file}\` | ${marks.join(" | ")} | ${today} | ${said.replaceAll("|", "\\|")} |`;
}

function startOf(defect: string): string {
  return `| ${defect} | `;
}

function emptyRowOf({ defect, file }: Plant): string {
  return `${startOf(defect)}\`${file}\` | ${SUITES.map(() => MARKS.undefined).join(" | ")} | never | |`;
}

/** The rows of the table as it is, unless it had other columns. */
function rowsOf(table: string): readonly string[] {
  const lines = table.split("\n");
  return lines.includes(HEAD) ? lines.filter((line) => line.startsWith("| ")) : [];
}

/** Writes what was found into the table. The other rows stay as they are. */
function note(finding: Finding): void {
  const [before, rest] = readFileSync(DOCUMENT, "utf8").split(BEGIN);
  const [old, after] = rest?.split(END) ?? [];
  if (old === undefined || after === undefined) {
    throw new Error(`${DOCUMENT} has no place for the table`);
  }
  const oldRows = rowsOf(old);
  const rows = FAULT_PLANTS.map((plant) => {
    if (plant === finding.plant) return rowOf(finding);
    return oldRows.find((row) => row.startsWith(startOf(plant.defect))) ?? emptyRowOf(plant);
  });
  const found = rows.filter((row) => row.includes(MARKS.true)).length;
  const untried = rows.filter((row) => row.includes(" | never | ")).length;
  const table = [
    `Found: ${found} of ${rows.length - untried} that were tried; ${untried} were not. ` +
      `Bun ${Bun.version}, ${cpus()[0]?.model.trim()}, \`bun test/faults/plant-run.ts\`.`,
    "",
    `${MARKS.true} the suite failed: it sees the defect. ${MARKS.false} it did not. ${MARKS.undefined} it was not run.`,
    "",
    HEAD,
    `|---|---|${SUITES.map(() => "---|").join("")}---|---|`,
    ...rows,
  ].join("\n");
  writeFileSync(DOCUMENT, `${before}${BEGIN}\n${table}\n${END}${after}`);
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
    note(finding);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

process.exit(findings.every(({ found }) => [...found.values()].includes(true)) ? 0 : 1);
