/** Checks that the gate runs every test file. Lint finds focused and skipped tests. */

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const ROOT = resolve(import.meta.dir, "../..");
const GATE = readFileSync(resolve(ROOT, "scripts/check.ts"), "utf8");

/** Folders with a step of their own, and the pattern of files that the large step leaves out. */
const OWN_STEPS = Array.from(
  GATE.matchAll(/run: \["test", "\.\/(.+?)"\]/g),
  ([, path = ""]) => path,
);
const LEFT_OUT = /"--path-ignore-patterns=(.+?)"/.exec(GATE)?.[1] ?? "";

const FILES = Array.from(new Bun.Glob("**/*{.,_}{test,spec}.{ts,tsx,js}").scanSync(`${ROOT}/test`));

test("every test file belongs to exactly one step of the gate", () => {
  const steps = FILES.map((file) => {
    const path = `test/${file.replaceAll("\\", "/")}`;
    const own = OWN_STEPS.filter((folder) => path.startsWith(`${folder}/`)).length;
    return { path, steps: own + (new Bun.Glob(LEFT_OUT).match(path) ? 0 : 1) };
  });
  expect(FILES.length).toBeGreaterThan(50);
  expect(steps.filter((file) => file.steps !== 1)).toEqual([]);
});

test("no setting leaves out other files", () => {
  expect(GATE.match(/ignore-patterns|--bail|--only|--todo/g)).toEqual(["ignore-patterns"]);
  expect(readFileSync(resolve(ROOT, "bunfig.toml"), "utf8")).not.toMatch(
    /^\s*(root|path\w*ignore\w*)\s*=/im,
  );
});
