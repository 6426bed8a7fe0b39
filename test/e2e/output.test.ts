import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { resolve } from "node:path";

const ROOT = resolve(import.meta.dir, "../..");

/** The first line that a process writes, after which nobody reads on. */
async function firstLine(stdout: ReadableStream<Uint8Array>): Promise<string> {
  const reader = stdout.getReader();
  const decoder = new TextDecoder();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`it ended with ${text}`);
    text += decoder.decode(value, { stream: true });
  }
  await reader.cancel();
  return text;
}

test("a server whose log nobody reads any more goes on with its tasks", async () => {
  const server = Bun.spawn([process.execPath, "src/main.ts"], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"] ?? "", PORT: "0", FAILURE_RATE: "0", LOG_LEVEL: "debug" },
  });
  const stderr = new Response(server.stderr).text();
  const { url } = JSON.parse(await firstLine(server.stdout));
  const statusOfTask = async (): Promise<unknown> => {
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ payload: null });
    const accepted = await fetch(`${url}/enqueue`, { method: "POST", headers, body });
    const task = await fetch(`${url}${accepted.headers.get("location")}?wait_ms=60000`);
    return task.json();
  };

  // The first writes into a pipe that nobody reads, and the second comes after that has failed.
  expect(await statusOfTask()).toMatchObject({ status: "done" });
  expect(await statusOfTask()).toMatchObject({ status: "done" });
  server.kill("SIGTERM");

  expect(await server.exited).toBe(0);
  expect(await stderr).toMatch(/^ringq: the log can't be written: EPIPE[^\n]*\n$/);
}, 60_000);

// Only Linux has a disk that is always full.
test.if(existsSync("/dev/full"))(
  "a full disk is reported once, however many lines it costs",
  async () => {
    const server = Bun.spawn([process.execPath, "src/main.ts"], {
      cwd: ROOT,
      stdio: ["ignore", Bun.file("/dev/full"), "pipe"],
      env: { PATH: process.env["PATH"] ?? "", PORT: "0" },
    });
    const reader = server.stderr.getReader();
    const decoder = new TextDecoder();
    // That it listens is its first line. Three more come with the stop.
    let text = decoder.decode((await reader.read()).value);
    server.kill("SIGTERM");
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      text += decoder.decode(read.value);
    }

    expect(await server.exited).toBe(0);
    expect(text).toMatch(/^ringq: the log can't be written: ENOSPC[^\n]*\n$/);
  },
  60_000,
);
