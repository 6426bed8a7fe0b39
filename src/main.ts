#!/usr/bin/env bun
/**
 * The process: reads the configuration, starts the server, and turns signals into a stop and the
 * stop into an exit code.
 */

import { readFileSync } from "node:fs";
import { printInfo, runCommand } from "./cli.ts";
import { type Config, readProcessConfig } from "./config.ts";
import { DataFileError } from "./engine/sqlite/data-file.ts";
import type { Log } from "./log.ts";
import { stdoutLog, writeToStderr } from "./log-output.ts";
import { HandlersError } from "./runtime.ts";
import { type Server, startServer } from "./server.ts";

/** The configuration is wrong: nothing was started. */
const EXIT_CONFIG = 2;
/** A second signal asked to end at once. */
const EXIT_INTERRUPTED = 130;

/**
 * The codes with which Bun fails to listen on a host that is unknown, of another machine, or no
 * name at all.
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

/** Fails where the server would fail to listen, before tasks of a data file start to run. */
async function probeAddress({ host, port }: Config): Promise<void> {
  const fetch = () => new Response(null, { status: 503 });
  await Bun.serve({ hostname: host, port, reusePort: false, fetch }).stop(true);
}

/** The setting that is wrong and why, or null when the error is no fault of the configuration. */
function configFaultOf(error: unknown, { host }: Config): string | null {
  if (error instanceof HandlersError) return `HANDLERS: ${error.message}`;
  if (error instanceof DataFileError) return `DATA_FILE: ${error.message}`;
  if (error instanceof Error && "code" in error && HOST_ERRORS.includes(error.code)) {
    return `HOST must be a name or an address of this machine, but is ${Bun.inspect(host)}`;
  }
  return null;
}

/** Stops on signals from now on. Call the returned function with the server, once there is one. */
function stopOnSignals(log: Log): (server: Server) => void {
  let server: Server | null = null;
  let isStopping = false;
  let hasFault = false;

  const stop = async (): Promise<void> => {
    if (isStopping) return;
    isStopping = true;
    // While it starts nothing is accepted yet: there is nothing to finish and nothing to lose.
    const { unfinished, areLost } = (await server?.stop()) ?? { unfinished: 0, areLost: false };
    process.exit(hasFault || (unfinished > 0 && areLost) ? 1 : 0);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    // A terminal that closes hangs up, and so may its shell: both mean the same stop.
    if (isStopping && signal === "SIGHUP") return;
    log.info("signal_received", { signal });
    if (isStopping) process.exit(EXIT_INTERRUPTED);
    void stop();
  };
  // Something escaped every place that catches: the state may be wrong, so finish what can be
  // finished and end.
  const onFault = (fault: unknown): void => {
    hasFault = true;
    log.error("process_fault", {
      error: fault instanceof Error ? (fault.stack ?? fault.message) : String(fault),
    });
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

/**
 * Whether this process was started to outlive its terminal, as by nohup: a listener would undo
 * that. Where the system does not say, only a process on a terminal can be hung up.
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
