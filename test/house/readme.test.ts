import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { programsIn } from "./runnable.ts";

setDefaultTimeout(120_000);

const ROOT = resolve(import.meta.dir, "../..");
const PROGRAMS = programsIn(readFileSync(join(ROOT, "README.md"), "utf8"));

let folder: string;
beforeAll(() => {
  // Inside of the package, so that "ringq" is found there; all in one place, so that one may import another.
  folder = mkdtempSync(join(ROOT, ".readme-"));
  // Named one by one: the compiler passes by what is hidden.
  const files = PROGRAMS.map(({ file }) => file);
  const tsconfig = { extends: "../tsconfig.json", include: [], files };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(tsconfig));
  for (const { file, code } of PROGRAMS) writeFileSync(join(folder, file), code);
});
afterAll(() => rmSync(folder, { recursive: true }));

async function run(...args: readonly string[]): Promise<{ output: string; exitCode: number }> {
  const { stdout, exited } = Bun.spawn([process.execPath, ...args], {
    cwd: folder,
    stdio: ["ignore", "pipe", "inherit"],
  });
  return { output: await new Response(stdout).text(), exitCode: await exited };
}

test("the README has programs to copy", () => {
  expect(PROGRAMS.length).toBeGreaterThanOrEqual(3);
});

test("the programs in the README pass the type check", async () => {
  expect(await run("--bun", "tsc", "--project", folder)).toEqual({ output: "", exitCode: 0 });
});

test.each(PROGRAMS.map((program) => [program.file, program] as const))(
  "the README's %s runs, prints what it says, and ends by itself",
  async (file, { prints }) => {
    const { output, exitCode } = await run(file);
    const printed = output.split("\n").filter((line) => prints.includes(line));
    expect({ printed, exitCode }).toEqual({ printed: [...prints], exitCode: 0 });
  },
);
