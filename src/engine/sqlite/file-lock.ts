/**
 * The lock on a data file: an empty SQLite file beside it, locked for as long as one process has
 * the data file. It is a separate file because a backup reads the data file while it is in use. The
 * lock ends with its process, and the lock file stays: if it were removed, two processes could lock
 * two files of this name.
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
 * Locks the data file at this path, which has no symbolic links. Waits at most `waitMs` for another
 * process.
 */
export function takeLock(path: string, waitMs: number): LockAnswer {
  const lockPath = lockPathOf(path);
  let db: Database | null = null;
  try {
    prepareFile(lockPath);
    db = new Database(lockPath, constants.SQLITE_OPEN_READWRITE | constants.SQLITE_OPEN_NOFOLLOW);
    db.run(`PRAGMA busy_timeout = ${waitMs}`);
    // Nothing is ever written to it, so there is nothing to roll back.
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
 * Creates the lock file if it does not exist. An existing one must not be opened: closing it would
 * release its lock.
 */
function prepareFile(lockPath: string): void {
  const stat = lstatSync(lockPath, { throwIfNoEntry: false });
  if (stat === undefined) {
    try {
      makePrivateFile(lockPath);
    } catch (error) {
      // Two processes started at once, and the other one was first.
      if (!isCode(error, "EEXIST")) throw error;
    }
  } else if (!stat.isFile()) {
    throw new Error("it is not a file");
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
