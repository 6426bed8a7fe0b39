#!/usr/bin/env bun
/**
 * The process: reads the configuration, starts the server, and turns signals into a stop and the stop into an exit code.
 */

import { runCommand } from "./cli.ts";
import { readProcessConfig } from "./config.ts";
import { DataFileError } from "./engine/sqlite/data-file.ts";
import type { Log } from "./log.ts";
import { stdoutLog, writeToStderr } from "./log-output.ts";
import { HandlersError } from "./runtime.ts";
import { type Server, startServer } from "./server.ts";

/** The configuration is wrong: nothing was started. */
const EXIT_CONFIG = 2;
/** A second signal asked to end at once. */
const EXIT_INTERRUPTED = 130;

await main();

async function main(): Promise<void> {
  const outcome = readProcessConfig();
  if (outcome.kind === "invalid") {
    for (const fault of outcome.faults) writeToStderr(`ringq: ${fault}\n`);
    process.exit(EXIT_CONFIG);
  }
  const { config } = outcome;
  const exitCode = runCommand(process.argv.slice(2), config);
  if (exitCode !== null) process.exit(exitCode);
  const log = stdoutLog(config.logLevel);
  const serve = stopOnSignals(log);
  try {
    serve(await startServer(config, log));
  } catch (error) {
    if (error instanceof HandlersError) {
      writeToStderr(`ringq: HANDLERS: ${error.message}\n`);
      process.exit(EXIT_CONFIG);
    }
    if (error instanceof DataFileError) {
      writeToStderr(`ringq: DATA_FILE: ${error.message}\n`);
      process.exit(EXIT_CONFIG);
    }
    const { host, port } = config;
    log.error("server_failed_to_start", { host, port, error: String(error) });
    process.exit(1);
  }
}

/** From now on signals are heard. Returns what names the server to stop, once there is one. */
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
    log.info("signal_received", { signal });
    if (isStopping) process.exit(EXIT_INTERRUPTED);
    void stop();
  };
  // Something escaped every place that catches: the state may be wrong, so finish what can be finished and end.
  const onFault = (fault: unknown): void => {
    hasFault = true;
    log.error("process_fault", {
      error: fault instanceof Error ? (fault.stack ?? fault.message) : String(fault),
    });
    void stop();
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  process.on("uncaughtException", onFault);
  process.on("unhandledRejection", onFault);
  return (started) => {
    server = started;
  };
}
