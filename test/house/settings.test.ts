import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type Config, configOf } from "../../src/config.ts";

const README = readFileSync(resolve(import.meta.dir, "../../README.md"), "utf8");

/** A row of the table: `NAME`, the default, what is allowed, and words. */
const ROW = /^\| `([A-Z_]+)` \| ([^|]*) \| ([^|]*) \| [^|]*[^| ][^|]* \|$/gm;

const DEFAULTS = configOf({});

const NAMES = Object.keys(DEFAULTS) as (keyof Config)[];

/** What is said of options when none of them can be used, by option. */
function allowedByName(): ReadonlyMap<string, string> {
  const nothingFits = Object.fromEntries(NAMES.map((name) => [name, Number.NaN]));
  let told = "";
  try {
    configOf(nothingFits as unknown as Partial<Config>);
  } catch (error) {
    told = (error as RangeError).message;
  }
  const faults = Array.from(told.matchAll(/(\w+) must be (.*?), but is NaN/g));
  return new Map(faults.map(([, name = "", allowed = ""]) => [name, allowed]));
}

function envOf(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

function defaultCell(name: keyof Config): string {
  // The only one that depends on the machine.
  if (name === "threads") return "cores − 1, at least 1";
  const text = String(DEFAULTS[name] ?? "");
  return text === "" ? "unset" : text;
}

function allowedCell(allowed: string): string {
  return allowed
    .replace(/^a whole number of at least (\d+)$/, "≥ $1")
    .replace(/^a whole number from (\d+) to (\d+)$/, "$1–$2")
    .replace(/^a number from (\d+) to (\d+)$/, "a number $1–$2")
    .replace(/^one of (.*)$/, (_, values: string) => values.replace(/\w+/g, "`$&`"));
}

test("the README names every setting, with its default and what is allowed", () => {
  const allowed = allowedByName();
  const rows = Array.from(README.matchAll(ROW), ([, ...cells]) => cells);
  expect(rows).toEqual(
    NAMES.map((name) => [envOf(name), defaultCell(name), allowedCell(allowed.get(name) ?? "")]),
  );
});
