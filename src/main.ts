#!/usr/bin/env bun
/**
 * The process: reads the configuration, starts the server, stops it on a signal, and sets the exit
 * code.
 */

import { readFileSync } from "node:fs";
import { printInfo, runCommand } from "./cli.ts";
import { type Config, readProcessConfig } from "./config.ts";
import { DataFileError } from "./engine/sqlite/data-file.ts";
import type { Log } from "./log.ts";
import { stdoutLog, writeToStderr } from "./log-output.ts";
import { HandlersError } from "./runtime.ts";
import { type Server, startServer } from "./server.ts";

/** The configuration is invalid: nothing was started. */
const EXIT_CONFIG = 2;
/** A second signal ended the process at once. */
const EXIT_INTERRUPTED = 130;

/**
 * Bun's error codes for a host that is unknown, belongs to another machine, or is not a valid name.
 */
const HOST_ERRORS: readonly unknown[] = [
  "EINVAL",
  "EADDRNOTAVAIL",
  "ENOTFOUND",
  "ERR_INVALID_ARG_TYPE",
];

await main();

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  if (printInfo(args)) process.exit(0);
  const outcome = readProcessConfig();
  if (outcome.kind === "invalid") {
    for (const fault of outcome.faults) writeToStderr(`ringq: ${fault}\n`);
    process.exit(EXIT_CONFIG);
  }
  const { config } = outcome;
  const exitCode = runCommand(args, config);
  if (exitCode !== null) process.exit(exitCode);
  const log = stdoutLog(config.logLevel);
  const serve = stopOnSignals(log);
  try {
    await probeAddress(config);
    serve(await startServer(config, log));
  } catch (error) {
    const fault = configFaultOf(error, config);
    if (fault !== null) {
      writeToStderr(`ringq: ${fault}\n`);
      process.exit(EXIT_CONFIG);
    }
    const { host, port } = config;
    log.error("server_failed_to_start", { host, port, error: String(error) });
    process.exit(1);
  }
}

/** Fails if the server could not listen, before tasks of a data file start to run. */
async function probeAddress({ host, port }: Config): Promise<void> {
  const fetch = () => new Response(null, { status: 503 });
  await Bun.serve({ hostname: host, port, reusePort: false, fetch }).stop(true);
}

/** The invalid setting and its fault, or null when the configuration did not cause the error. */
function configFaultOf(error: unknown, { host }: Config): string | null {
  if (error instanceof HandlersError) return `HANDLERS: ${error.message}`;
  if (error instanceof DataFileError) return `DATA_FILE: ${error.message}`;
  if (error instanceof Error && "code" in error && HOST_ERRORS.includes(error.code)) {
    return `HOST must be a name or an address of this machine, but is ${Bun.inspect(host)}`;
  }
  return null;
}

/** Stops on signals. Call the returned function with the server once it exists. */
function stopOnSignals(log: Log): (server: Server) => void {
  let server: Server | null = null;
  let isStopping = false;
  let hasFault = false;

  const stop = async (): Promise<void> => {
    if (isStopping) return;
    isStopping = true;
    try {
      // During the start nothing is accepted yet: there is nothing to finish and nothing to lose.
      const { unfinished, areLost } = (await server?.stop()) ?? { unfinished: 0, areLost: false };
      process.exit(hasFault || (unfinished > 0 && areLost) ? 1 : 0);
    } catch (error) {
      log.error("process_fault", { error: textOf(error) });
      process.exit(1);
    }
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    // A closed terminal sends SIGHUP, and so may its shell: both mean the same stop.
    if (isStopping && signal === "SIGHUP") return;
    log.info("signal_received", { signal });
    if (isStopping) process.exit(EXIT_INTERRUPTED);
    void stop();
  };
  // No `catch` handled this error. The state may be wrong, so finish running work and exit.
  const onFault = (fault: unknown): void => {
    hasFault = true;
    log.error("process_fault", { error: textOf(fault) });
    void stop();
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  if (!ignoresHangUp()) process.on("SIGHUP", onSignal);
  process.on("uncaughtException", onFault);
  process.on("unhandledRejection", onFault);
  return (started) => {
    server = started;
  };
}

function textOf(fault: unknown): string {
  return fault instanceof Error ? (fault.stack ?? fault.message) : String(fault);
}

/**
 * Whether this process was started to outlive its terminal, for example by nohup: a listener would
 * undo that. Where the system does not tell, only a process on a terminal can get a hang-up.
 */
function ignoresHangUp(): boolean {
  try {
    const status = readFileSync("/proc/self/status", "utf8");
    const [, ignored = "0"] = /^SigIgn:\s*([0-9a-f]+)$/m.exec(status) ?? [];
    return (BigInt(`0x${ignored}`) & 1n) === 1n;
  } catch {
    return process.stdin.isTTY !== true && process.stdout.isTTY !== true;
  }
}
