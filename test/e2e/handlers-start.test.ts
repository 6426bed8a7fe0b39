import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { startInVain, startServerProcess } from "../support/server-process.ts";

setDefaultTimeout(60_000);

const IMPORT = `import { defineHandlers } from ${JSON.stringify(resolve("src/index.ts"))};`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ringq-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

test.each([
  ["has a fault in its syntax", "export default {", "can't be loaded: "],
  ["throws", 'throw new Error("no database");', "can't be loaded: no database"],
  ["throws null", "throw null;", "can't be loaded: null"],
  [
    "imports what is not there",
    'import "./nowhere.ts"; export default {};',
    "can't be loaded: Cannot find module './nowhere.ts'",
  ],
  [
    "exports a bare object",
    "export default { a() {} };",
    "must export defineHandlers(…) as its default, but that is of type object",
  ],
  [
    "exports null",
    "export default null;",
    "must export defineHandlers(…) as its default, but that is null",
  ],
  [
    "exports nothing",
    "export const a = 1;",
    "must export defineHandlers(…) as its default, but it has no default export",
  ],
  [
    "has options that do not exist or can't be",
    `${IMPORT} export default defineHandlers({
      a: { handler() {}, timeout: 5 },
      b: { handler: "no function", timeoutMs: 0 },
      "not a type": () => 1,
    }, { queues: { Q: {}, q: { size: 0 } } });`,
    'can\'t be loaded: invalid handlers: a: unknown option timeout; b: handler must be a function; b: timeoutMs must be a whole number from 1 to 86400000; not a type: the name of a type must be 1 to 128 characters of A–Z a–z 0–9 . _ : -; queue Q: the name of a queue must be 1 to 64 characters of a–z 0–9 . _ - but not "." or ".."; queue q: size must be a whole number of at least 1',
  ],
  [
    "has a schema that is none",
    `${IMPORT} export default defineHandlers({ a: { handler() {}, schema: { type: "string" } } });`,
    "can't be loaded: invalid handlers: a: schema must be a TypeBox schema",
  ],
  [
    "fails in a thread alone",
    `${IMPORT} if (!Bun.isMainThread) throw new Error("no database for threads");
     export default defineHandlers({ a: { handler() {}, isolation: "thread" } });`,
    "can't be loaded: no database for threads",
  ],
])("a module that %s stops the start with exit code 2, and says why", async (name, text, why) => {
  const path = write(`${name.replaceAll(" ", "-")}.ts`, text);
  const { exitCode, stderr, lines } = await startInVain(path);
  expect(stderr).toStartWith("ringq: HANDLERS: ");
  expect(stderr).toContain(`${path} ${why}`);
  expect({ exitCode, lines, rows: stderr.trimEnd().split("\n").length }).toEqual({
    exitCode: 2,
    lines: [],
    rows: 1,
  });
});

test("a module that does not exist stops the start with exit code 2, and is named", async () => {
  const { exitCode, stderr } = await startInVain("no/such/handlers.ts");
  expect(exitCode).toBe(2);
  expect(stderr).toStartWith(
    `ringq: HANDLERS: ${resolve("no/such/handlers.ts")} can't be loaded: `,
  );
});

test("a module that changes the working directory moves neither its threads nor the data file", async () => {
  const cwd = join(folder, "home");
  mkdirSync(cwd);
  writeFileSync(
    join(cwd, "moving.ts"),
    `${IMPORT} process.chdir("/");
     export default defineHandlers({ a: { handler: () => 7, isolation: "thread" } });`,
  );
  const server = Bun.spawn([process.execPath, resolve("src/main.ts")], {
    cwd,
    stdio: ["ignore", "pipe", "ignore"],
    env: { PORT: "0", THREADS: "1", HANDLERS: "./moving.ts", DATA_FILE: "./moving.db" },
  });

  await untilListening(server.stdout);
  server.kill("SIGTERM");

  expect(await server.exited).toBe(0);
  expect(existsSync(join(cwd, "moving.db"))).toBe(true);
});

test("a module in JavaScript is as good", async () => {
  const path = write(
    "plain.js",
    `${IMPORT} export default defineHandlers({ a: () => "from JavaScript" });`,
  );
  await using server = await startServerProcess(path);
  expect((await server.run({ type: "a" })).result).toBe("from JavaScript");
});

/** Reads on until a process listens, or ends. */
async function untilListening(stdout: ReadableStream<Uint8Array>): Promise<void> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of stdout) {
    text += decoder.decode(chunk, { stream: true });
    if (text.includes("server_listening")) break;
  }
}
