import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type ServerProcess, startServerProcess } from "../support/server-process.ts";
import { programsIn } from "./runnable.ts";

setDefaultTimeout(120_000);

const ROOT = resolve(import.meta.dir, "../..");

/** The pages with programs, and the number of their programs. */
const PAGES = [
  ["README.md", 2],
  ["docs/HANDLERS.md", 1],
  ["docs/WORKERS.md", 1],
  ["docs/CLIENT.md", 2],
] as const;

/** For programs that call one. They find it by RINGQ_URL. */
let server: ServerProcess;
beforeAll(async () => {
  server = await startServerProcess("none");
});
afterAll(() => server[Symbol.asyncDispose]());

describe.each(PAGES)("%s", (page, count) => {
  const programs = programsIn(readFileSync(join(ROOT, page), "utf8"));

  let folder: string;
  beforeAll(() => {
    // Inside of the package, so that "ringq" is found there; all in one place, so that one may import another.
    folder = mkdtempSync(join(ROOT, ".readme-"));
    // Named one by one: the compiler passes by what is hidden.
    const files = programs.map(({ file }) => file);
    const tsconfig = { extends: "../tsconfig.json", include: [], files };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(tsconfig));
    for (const { file, code } of programs) writeFileSync(join(folder, file), code);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  async function run(...args: readonly string[]): Promise<{ output: string; exitCode: number }> {
    const { stdout, exited } = Bun.spawn([process.execPath, ...args], {
      cwd: folder,
      env: { ...process.env, RINGQ_URL: server.url },
      stdio: ["ignore", "pipe", "inherit"],
    });
    return { output: await new Response(stdout).text(), exitCode: await exited };
  }

  test("has programs to copy", () => {
    expect(programs).toHaveLength(count);
  });

  test("has programs that pass the type check", async () => {
    expect(await run("--bun", "tsc", "--project", folder)).toEqual({ output: "", exitCode: 0 });
  });

  test.each(programs.map((program) => [program.file, program] as const))(
    "%s runs, prints what the page says, and ends by itself",
    async (file, { prints }) => {
      const { output, exitCode } = await run(file);
      const printed = output.split("\n").filter((line) => prints.includes(line));
      expect({ printed, exitCode }).toEqual({ printed: [...prints], exitCode: 0 });
    },
  );
});
