/**
 * The commands `ringq backup FILE` and `ringq verify FILE`. Each prints its result, and its exit
 * code reports success or failure.
 */

import packageJson from "../package.json" with { type: "json" };
import type { Config } from "./config.ts";
import { DataFileError } from "./engine/sqlite/data-file.ts";
import { backUp, verifyDataFile } from "./engine/sqlite/maintenance.ts";
import { writeToStderr, writeToStdout } from "./log-output.ts";

const EXIT_FAULT = 1;
const EXIT_USAGE = 2;

const USAGE = `Usage:
  ringq               Start the server
  ringq backup FILE   Copy the data file (DATA_FILE) to FILE; works while the server runs
  ringq verify FILE   Check a data file, or a copy of one
  ringq --help        Show this text
  ringq --version     Show the version
`;

const INFO: ReadonlyMap<string | undefined, string> = new Map([
  ["--help", USAGE],
  ["-h", USAGE],
  ["help", USAGE],
  ["--version", `${packageJson.version}\n`],
]);

/**
 * Prints help or the version, which need no configuration, if the arguments ask for it. Returns
 * whether it did.
 */
export function printInfo(args: readonly string[]): boolean {
  const text = args.length === 1 ? INFO.get(args[0]) : undefined;
  if (text === undefined) return false;
  writeToStdout(text);
  return true;
}

/**
 * Runs the command in these arguments and returns its exit code; null when they contain no command.
 */
export function runCommand(args: readonly string[], config: Config): number | null {
  const [command, path, ...rest] = args;
  if (command === undefined) return null;
  if (path === undefined || path === "" || rest.length > 0) return usage();
  try {
    if (command === "backup") return backup(config.dataFile, path);
    if (command === "verify") return verify(path);
    return usage();
  } catch (error) {
    if (!(error instanceof DataFileError)) throw error;
    writeToStderr(`ringq: ${error.message}\n`);
    return EXIT_FAULT;
  }
}

function backup(from: string | null, to: string): number {
  if (from === null) {
    writeToStderr("ringq: DATA_FILE is not set. Set it to the path of the file to copy\n");
    return EXIT_USAGE;
  }
  backUp(from, to);
  writeToStdout(`Copied ${from} to ${to}\n`);
  return 0;
}

function verify(path: string): number {
  const { version, counts, keys, pausedQueues, faults } = verifyDataFile(path);
  const lines = [
    `version: ${version}`,
    ...Object.entries(counts).map(([status, count]) => `${status}: ${count}`),
    `idempotency keys: ${keys}`,
    `paused queues: ${pausedQueues}`,
  ];
  writeToStdout(`${lines.join("\n")}\n`);
  for (const fault of faults) writeToStderr(`ringq: ${path}: ${fault}\n`);
  if (faults.length > 0) return EXIT_FAULT;
  writeToStdout(`${path} is sound\n`);
  return 0;
}

function usage(): number {
  writeToStderr(USAGE);
  return EXIT_USAGE;
}
