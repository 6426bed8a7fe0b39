/**
 * The built client in programs of its own, on Bun and on Node, against a real server: without any
 * bundler or flag, and with signals.
 */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createServer, type Server } from "../../src/index.ts";
import { findNode } from "../support/node.ts";

setDefaultTimeout(60_000);

const INDEX = resolve(import.meta.dir, "../../src/client/index.ts");

const RUNTIMES = [
  ["Bun", process.execPath],
  ["Node", findNode()],
] as const;

/** Runs a task of each kind, and prints what became of them. */
const WORK = `
const [url] = process.argv.slice(2);
const client = new Client(url, { key: "unused" });
const handlers = {
  double: async (payload, { attempt }) => ({ doubled: payload.value * 2, attempt }),
  fail: () => { throw new NonRetryableError("it broke"); },
  later: (_, { attempt }) => { if (attempt === 1) throw new RetryAfterError(1); return attempt; },
};
const worker = new Worker(client, { handlers, concurrency: 20, name: "w" });
worker.start();
const receipts = await client.enqueueBatch([
  { type: "double", payload: { value: 21 } },
  { type: "fail", payload: null },
  { type: "later", payload: null },
]);
const tasks = await Promise.all(receipts.map(({ id }) => client.waitFor(id)));
const report = await worker.stop();
const missing = await client.task("01a20fc5-4889-709f-bcae-6837094e9fbd") ?? "undefined";
const refused = await client.enqueue({ type: "no type", payload: 1 }).catch(({ code }) => code);
const away = new Client("http://127.0.0.1:9", { timeoutMs: 50 });
const lost = await away.cancel("1").catch((error) => [error instanceof RingqError, error.code]);
console.log(JSON.stringify({
  tasks: tasks.map(({ status, result, error }) => [status, result, error?.message ?? null]),
  isDate: tasks.every(({ finishedAt }) => finishedAt instanceof Date),
  report, missing, refused, lost,
}));
`;

/** Holds a task until it is told to stop. */
const HOLD = `
const [url, how] = process.argv.slice(2);
const client = new Client(url);
const handler = (_, { signal }) => new Promise((resolve) => {
  console.log("started");
  signal.addEventListener("abort", () => {
    console.log("aborted: " + signal.reason.message);
    resolve();
  });
});
const log = { isDebug: false, debug() {}, warn() {}, error() {}, info: (event) => console.log(event) };
const graceMs = how === "slow" ? 60000 : 0;
new Worker(client, { handlers: { hold: handler }, graceMs, log }).start();
if (how === "own") process.on("SIGTERM", () => console.log("own listener"));
`;

let folder: string;
let server: Server;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "ringq-client-"));
  const { success } = await Bun.build({
    entrypoints: [INDEX],
    target: "browser",
    format: "esm",
    outdir: folder,
    naming: "client.mjs",
  });
  if (!success) throw new Error("the client can't be built");
  const names = "Client, NonRetryableError, RetryAfterError, RingqError, Worker";
  const head = `import { ${names} } from "./client.mjs";\n`;
  await Bun.write(join(folder, "work.mjs"), head + WORK);
  await Bun.write(join(folder, "hold.mjs"), head + HOLD);
  server = await createServer({ port: 0, handlers: "none", shutdownGraceMs: 0 });
});

afterAll(async () => {
  await server.stop();
  await rm(folder, { recursive: true });
});

function spawn(runtime: string | null, program: string, ...args: readonly string[]) {
  const command = [runtime ?? "", join(folder, program), server.url, ...args];
  return Bun.spawn(command, { stdout: "pipe", stderr: "inherit" });
}

/** The next lines of a program. */
async function* linesOf(stdout: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const bytes of stdout) {
    const lines = (text + decoder.decode(bytes, { stream: true })).split("\n");
    text = lines.pop() ?? "";
    yield* lines;
  }
}

test("the client needs nothing but the language and fetch", async () => {
  const code = await Bun.file(join(folder, "client.mjs")).text();
  expect(code).not.toMatch(/\bimport\b|\brequire\b|\bBun\b|\bBuffer\b/);
});

describe.each(RUNTIMES)("on %s", (_, runtime) => {
  const testHere = test.skipIf(runtime === null);

  testHere("client and worker work together", async () => {
    const program = spawn(runtime, "work.mjs");
    const [output, exitCode] = [await program.stdout.text(), await program.exited];
    const lines = output
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const events = lines.slice(0, -1).map(({ level, event }) => `${level} ${event}`);
    expect(events).toEqual(["info worker_started", "info worker_stopped"]);
    expect({ exitCode, ...lines.at(-1) }).toEqual({
      exitCode: 0,
      tasks: [
        ["done", { doubled: 42, attempt: 1 }, null],
        ["failed", null, "it broke"],
        ["done", 2, "try again after 1 ms"],
      ],
      isDate: true,
      report: { released: 0, unsettled: 0 },
      missing: "undefined",
      refused: "invalid_request",
      lost: [true, "connection_failed"],
    });
  });

  testHere.each(["SIGTERM", "SIGINT"] as const)(
    "%s gives the tasks back and ends the process",
    async (signal) => {
      const { id } = await enqueueHeld();
      const program = spawn(runtime, "hold.mjs");
      const lines: string[] = [];
      for await (const line of linesOf(program.stdout)) {
        lines.push(line);
        if (line === "started") program.kill(signal);
      }
      await program.exited;

      expect(lines).toEqual(["worker_started", "started", "aborted: shutdown", "worker_stopped"]);
      expect(program.signalCode).toBe(signal);
      expect(await untilQueued(id)).toMatchObject({ error: null, run_at: null });
      await cancelled(id);
    },
  );

  testHere("a second signal ends the process at once", async () => {
    const { id } = await enqueueHeld();
    const program = spawn(runtime, "hold.mjs", "slow");
    const lines: string[] = [];
    for await (const line of linesOf(program.stdout)) {
      lines.push(line);
      if (line !== "started") continue;
      program.kill("SIGTERM");
      program.kill("SIGINT");
    }
    await program.exited;

    expect(lines).toEqual(["worker_started", "started"]);
    expect(["SIGTERM", "SIGINT"]).toContain(program.signalCode as string);
    await cancelled(id);
  });

  testHere("a listener of the program decides about its end", async () => {
    const { id } = await enqueueHeld();
    const program = spawn(runtime, "hold.mjs", "own");
    const lines: string[] = [];
    for await (const line of linesOf(program.stdout)) {
      lines.push(line);
      if (line === "started") program.kill("SIGTERM");
    }
    await program.exited;

    expect(lines.sort()).toEqual(
      ["worker_started", "started", "own listener", "aborted: shutdown", "worker_stopped"].sort(),
    );
    expect(program).toMatchObject({ signalCode: null, exitCode: 0 });
    await cancelled(id);
  });
});

async function enqueueHeld(): Promise<{ readonly id: string }> {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ type: "hold", payload: null });
  const response = await fetch(`${server.url}/enqueue`, { method: "POST", headers, body });
  return (await response.json()) as { readonly id: string };
}

/** The server may learn of a claim's closed connection after it has the released task. */
async function untilQueued(id: string): Promise<unknown> {
  while (true) {
    const task = await (await fetch(`${server.url}/tasks/${id}`)).json();
    if ((task as { readonly status: string }).status === "queued") return task;
  }
}

async function cancelled(id: string): Promise<unknown> {
  return (await fetch(`${server.url}/tasks/${id}`, { method: "DELETE" })).json();
}
