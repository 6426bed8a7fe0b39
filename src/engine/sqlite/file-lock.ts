/**
 * The lock on a data file: an empty SQLite file beside it, locked for as long as one process has
 * the data file. Beside, and not on it, because a backup reads the file while it is in use. It dies
 * with its process, and the file stays: to remove it would let two processes lock two files of this
 * name.
 */

import { constants, Database } from "bun:sqlite";
import { lstatSync } from "node:fs";
import { makePrivateFile } from "./private-file.ts";

export type LockAnswer =
  | { readonly kind: "locked"; readonly unlock: () => void }
  | { readonly kind: "in_use"; readonly cause: unknown }
  | { readonly kind: "failed"; readonly cause: unknown };

export function lockPathOf(path: string): string {
  return `${path}-lock`;
}

/**
 * Locks the data file at this path, which has no symbolic link left in it. Waits for another
 * process for so long.
 */
export function takeLock(path: string, waitMs: number): LockAnswer {
  const lockPath = lockPathOf(path);
  let db: Database | null = null;
  try {
    prepareFile(lockPath);
    db = new Database(lockPath, constants.SQLITE_OPEN_READWRITE | constants.SQLITE_OPEN_NOFOLLOW);
    db.run(`PRAGMA busy_timeout = ${waitMs}`);
    // Nothing is ever written to it, so nothing is left to roll back.
    db.run("PRAGMA journal_mode = MEMORY");
    db.run("BEGIN EXCLUSIVE");
  } catch (cause) {
    db?.close();
    return { kind: isCode(cause, "SQLITE_BUSY") ? "in_use" : "failed", cause };
  }
  const held = db;
  return { kind: "locked", unlock: () => held.close() };
}

/**
 * Makes the lock file if there is none. One that is there must not be opened: closing it again
 * would free its lock.
 */
function prepareFile(lockPath: string): void {
  const stat = lstatSync(lockPath, { throwIfNoEntry: false });
  if (stat === undefined) {
    try {
      makePrivateFile(lockPath);
    } catch (error) {
      // Two processes start at once, and the other one was faster.
      if (!isCode(error, "EEXIST")) throw error;
    }
  } else if (!stat.isFile()) {
    throw new Error("it is not a file");
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
