/**
 * Starts a process on a core of its own, tells what it costs, and ends it. Reads /proc, so it needs Linux.
 */

import { readFileSync } from "node:fs";

/** Linux counts CPU time in hundredths of a second for every program that asks, whatever the kernel's own tick is. */
const TICKS_PER_SECOND = 100;

/** How long a process gets to end by itself before it is killed. */
const STOP_GRACE_MS = 10_000;

const ROOT = new URL("../..", import.meta.url).pathname;

/** Servers run on the first core, and whatever loads them on the second, where there is one; some need more than one. */
export type Core = "server" | "load" | "any";

export function pinned(core: Core, command: readonly string[]): string[] {
  if (core === "any" || navigator.hardwareConcurrency < 2 || Bun.which("taskset") === null)
    return [...command];
  return ["taskset", "-c", core === "server" ? "0" : "1", ...command];
}

export interface Started {
  readonly pid: number;
  /** The lines of its output, as far as they have come. */
  readonly lines: AsyncIterable<string>;
  stop(): Promise<void>;
}

/** Starts a process with nothing but this environment, so that what is set in the caller's does not change the numbers. */
export function start(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  onExit: (text: string) => void = () => undefined,
  core: Core = "server",
): Started {
  const { PATH = "", HOME = "" } = process.env;
  const child = Bun.spawn(pinned(core, command), {
    cwd: ROOT,
    env: { PATH, HOME, NODE_ENV: "production", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let isStopping = false;
  const errors = new Response(child.stderr).text();
  void child.exited.then(async (code) => {
    if (!isStopping) onExit(`it ended with code ${code}: ${(await errors).slice(-2000)}`);
  });
  return {
    pid: child.pid,
    lines: linesOf(child.stdout),
    async stop() {
      isStopping = true;
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_GRACE_MS);
      await child.exited;
      clearTimeout(timer);
    },
  };
}

/** CPU time that these processes have used so far, all threads, user and system, in microseconds. */
export function cpuUs(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name may hold anything, so the fields are counted from behind it; utime and stime are the 14th and 15th.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const ticks = Number(fields[11]) + Number(fields[12]);
    return sum + (ticks * 1_000_000) / TICKS_PER_SECOND;
  }, 0);
}

/** Resident memory of these processes, in bytes. */
export function rssBytes(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const kib = /^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return sum + Number(kib) * 1024;
  }, 0);
}

/** A port that was free a moment ago, for servers that can't say which one they took. */
export function freePort(): number {
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: () => undefined },
  });
  const { port } = listener;
  listener.stop(true);
  return port;
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}
