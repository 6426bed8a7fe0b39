/**
 * A folder of its own for a test. Where the machine has memory that looks like a disk, it lies there: what these suites
 * test is the order of writes and syncs, and waiting for a real disk would teach nothing.
 */

import { accessSync, constants, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Scratch extends Disposable {
  /** The real path, free of symbolic links. */
  readonly folder: string;
}

export function makeScratch(): Scratch {
  const folder = realpathSync(mkdtempSync(join(findPlace(), "ringq-faults-")));
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

function findPlace(): string {
  try {
    accessSync("/dev/shm", constants.W_OK);
    return "/dev/shm";
  } catch {
    // Not Linux, or a container without it.
    return tmpdir();
  }
}
