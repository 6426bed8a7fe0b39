import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import packageJson from "../../package.json" with { type: "json" };
import { startInVain, startServerProcess } from "../support/server-process.ts";

/** Starting a process takes its time on a busy machine. */
setDefaultTimeout(60_000);

const SIMULATED = "";

/** Runs the process with one argument to its end. */
function ringq(argument: string, env: Readonly<Record<string, string>> = {}) {
  const main = join(import.meta.dir, "../../src/main.ts");
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, main, argument], { env });
  return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

describe("the process", () => {
  test("says where it listens and what it runs, and answers there", async () => {
    await using server = await startServerProcess(SIMULATED, {
      WORKERS: "2",
      QUEUE_SIZE: "7",
      FAILURE_RATE: "0.5",
    });

    const [first] = server.lines;

    expect(first).toMatchObject({
      event: "server_listening",
      level: "info",
      version: packageJson.version,
      workers: 2,
      queue_size: 7,
      handlers: "simulated, failure rate 0.5",
      pid: server.pid,
    });
    expect(first?.["url"]).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect((await server.request("/healthz")).status).toBe(200);
  });

  test("takes its settings from the environment", async () => {
    await using server = await startServerProcess(SIMULATED, {
      QUEUE_SIZE: "1",
      MAX_RETRIES: "9",
      MAX_BODY_BYTES: "1024",
    });
    const id = await server.enqueue({ type: "x", delay_ms: 60_000 });

    expect(await server.task(id)).toMatchObject({ max_retries: 9 });
    expect((await server.post("/enqueue", { payload: 1 })).status).toBe(503);
    expect((await server.post("/enqueue", { payload: "x".repeat(1024) })).status).toBe(413);
  });

  test("names every fault of its environment at once, and exits 2 before it listens", async () => {
    const { exitCode, stderr, lines } = await startInVain(SIMULATED, {
      PORT: "65536",
      WORKERS: "0",
      QUEUE_SIZE: "many",
      FAILURE_RATE: "1.1",
      LOG_LEVEL: "loud",
      MAX_RETRIES: "101",
      QUEUE_BYTES: "1023",
    });

    expect(exitCode).toBe(2);
    expect(lines).toEqual([]);
    expect(stderr.trimEnd().split("\n").toSorted()).toEqual([
      "ringq: FAILURE_RATE must be a number from 0 to 1, but is 1.1",
      'ringq: LOG_LEVEL must be one of debug, info, warn, error, silent, but is "loud"',
      "ringq: MAX_RETRIES must be a whole number from 0 to 100, but is 101",
      "ringq: PORT must be a whole number from 0 to 65535, but is 65536",
      "ringq: QUEUE_BYTES must be a whole number of at least 1024, but is 1023",
      'ringq: QUEUE_SIZE must be a whole number of at least 1, but is "many"',
      "ringq: WORKERS must be a whole number from 1 to 10000, but is 0",
    ]);
  });

  test("exits 2 when its handlers can't be loaded, and says which", async () => {
    const { exitCode, stderr } = await startInVain("./no-such-handlers.ts");

    expect(exitCode).toBe(2);
    expect(stderr).toStartWith("ringq: HANDLERS: ");
    expect(stderr).toContain("no-such-handlers.ts");
  });

  test("exits 1 when its port is in use, and leaves the other server alone", async () => {
    await using other = await startServerProcess(SIMULATED);
    const { port } = new URL(other.url);

    const { exitCode, lines } = await startInVain(SIMULATED, { PORT: port });

    expect(exitCode).toBe(1);
    expect(lines).toMatchObject([
      { event: "server_failed_to_start", level: "error", host: "127.0.0.1", port: Number(port) },
    ]);
    expect(lines[0]?.["error"]).toContain(`Is port ${port} in use?`);
    expect((await other.request("/healthz")).status).toBe(200);
  });

  test.each([
    ["is unknown", "nosuch.invalid"],
    ["belongs to another machine", "192.0.2.1"],
    ["is no name", "::g"],
    ["has a port", "127.0.0.1:80"],
    ["has a blank", "a b"],
  ])("exits 2 when its host %s, and starts nothing", async (_, host) => {
    expect(await startInVain(SIMULATED, { HOST: host })).toEqual({
      exitCode: 2,
      stderr: `ringq: HOST must be a name or an address of this machine, but is "${host}"\n`,
      lines: [],
    });
  });

  test.each(["--help", "-h", "help"])("prints its usage for %s and exits 0", (argument) => {
    const { exitCode, stdout, stderr } = ringq(argument);

    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout).toStartWith("Usage:\n  ringq ");
  });

  test("prints its version, also when its environment is wrong", () => {
    expect(ringq("--version", { PORT: "none" })).toEqual({
      exitCode: 0,
      stdout: `${packageJson.version}\n`,
      stderr: "",
    });
  });
});
