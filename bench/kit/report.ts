/**
 * Writes what was measured: as JSON, as a Markdown table and as a chart, with the machine, the versions, the commit and
 * the command that repeats it; and puts the table into docs/BENCHMARKS.md, between its markers.
 */

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type ChartSpec, draw } from "./chart.ts";
import { commit, type Facts, machineFacts, versionFacts } from "./machine.ts";
import type { Plan } from "./plan.ts";

export interface Report {
  readonly title: string;
  /** How it was measured, in a sentence or two. */
  readonly method: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** What is to be known of this run beside the table. */
  readonly notes?: readonly string[];
  /** Everything that was measured, round by round. */
  readonly data: object;
  readonly chart: ChartSpec;
  /** The packages that took part. */
  readonly peers?: readonly string[];
  /** The versions of what took part and is no package. */
  readonly tools?: Facts;
}

const ROOT = new URL("../..", import.meta.url);
const DOCUMENT = new URL("docs/BENCHMARKS.md", ROOT);

export async function writeReport(plan: Plan, report: Report): Promise<void> {
  const folder = resultsFolder(plan);
  mkdirSync(folder, { recursive: true });
  const file = (extension: string): URL => new URL(`${plan.bench}.${extension}`, folder);

  const provenance = {
    command: plan.command,
    date: new Date().toISOString().slice(0, 16).concat("Z"),
    commit: commit(),
    machine: machineFacts(),
    versions: { ...versionFacts(report.peers ?? []), ...report.tools },
  };
  const { title, method, notes = [], data } = report;
  const whole = { title, ...provenance, method, notes, data };
  writeFileSync(file("json"), `${JSON.stringify(whole, null, 2)}\n`);

  const svg = await draw(report.chart);
  if (svg === null) {
    console.log("SKIPPED the chart: vega is not installed; see bench/README.md");
    // One that shows other numbers than the table beside it is worse than none.
    rmSync(file("svg"), { force: true });
  } else writeFileSync(file("svg"), svg);

  const from = [
    `\`${provenance.command}\` at ${provenance.commit}, ${provenance.date}`,
    Object.values(withUnits(provenance.machine)).join(", "),
    ...Object.entries(provenance.versions).map(([name, version]) => `${name} ${version}`),
  ].join("; ");
  const text = [
    table(report),
    ...notes
      .map((note) => `- ${note}`)
      .join("\n")
      .split("\n\n"),
    `${method} ${from}.`,
  ].filter((part) => part !== "");
  const markdown = text.join("\n\n");
  writeFileSync(file("md"), `# ${title}\n\n${markdown}\n`);
  console.log(`\n${title}\n\n${table(report)}\n${notes.map((note) => `\n- ${note}`).join("")}\n`);
  if (plan.isQuick) return;
  const image = svg === null ? "" : `![${title}](../bench/results/${plan.bench}.svg)\n\n`;
  replaceSection(plan.bench, `${image}${markdown}`);
}

/** The numbers of a smoke test must never stand where a measurement is expected. */
export function resultsFolder({ isQuick }: Plan): URL {
  return new URL(isQuick ? "bench/results/quick/" : "bench/results/", ROOT);
}

/** Shows a table that is made of results, and puts it into docs/BENCHMARKS.md. */
export function writeSection(
  plan: Plan,
  columns: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const markdown = table({ columns, rows });
  console.log(`\n${markdown}\n`);
  if (!plan.isQuick) replaceSection(plan.bench, markdown);
}

/** A table whose columns line up, with numbers to the right. */
function table({ columns, rows }: Pick<Report, "columns" | "rows">): string {
  const widths = columns.map((column, index) =>
    Math.max(column.length, ...rows.map((row) => row[index]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, index) => (index === 0 ? cell.padEnd(widths[index] ?? 0) : cell.padStart(widths[index] ?? 0))).join(" | ")} |`;
  const rule = widths.map((width, index) =>
    index === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`,
  );
  return [line(columns), line(rule), ...rows.map(line)].join("\n");
}

function withUnits({ cpu = "", cores = "", memory = "", kernel = "" }: Facts): Facts {
  return { cpu, cores: `${cores} cores`, memory, kernel };
}

function replaceSection(bench: string, markdown: string): void {
  const document = readFileSync(DOCUMENT, "utf8");
  const [start, end] = [`<!-- bench:${bench} -->`, `<!-- /bench:${bench} -->`];
  const [from, to] = [document.indexOf(start), document.indexOf(end)];
  if (from === -1 || to < from) throw new Error(`docs/BENCHMARKS.md has no section ${start}`);
  writeFileSync(
    DOCUMENT,
    `${document.slice(0, from + start.length)}\n${markdown}\n${document.slice(to)}`,
  );
}
