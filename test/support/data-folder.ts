/**
 * A folder for the data files of a test run, in memory where the machine has such a thing: tests that cut no power gain
 * nothing from waiting for a disk.
 */

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MEMORY_FOLDER = "/dev/shm";

export interface DataFolder {
  readonly path: string;
  /** The path of a file that does not exist yet. */
  newFile(): string;
  remove(): void;
}

export function makeDataFolder(): DataFolder {
  const path = mkdtempSync(join(existsSync(MEMORY_FOLDER) ? MEMORY_FOLDER : tmpdir(), "ringq-"));
  let files = 0;
  return {
    path,
    newFile: () => {
      files += 1;
      return join(path, `${files}.db`);
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}
