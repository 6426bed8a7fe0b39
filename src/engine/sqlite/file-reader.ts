/**
 * Reads a data file that another process may have in use, a stopped one, or a copy. Never writes to
 * a file that a process has in use.
 */

import { Database, SQLiteError } from "bun:sqlite";
import { existsSync, statSync } from "node:fs";
import {
  BUSY_TIMEOUT_MS,
  checkHeader,
  configure,
  DataFileError,
  openReadonly,
  realPathOf,
  versionOf,
} from "./data-file.ts";
import { takeLock } from "./file-lock.ts";
import { emptyLog, isInUse, isLogEmpty } from "./file-log.ts";

/** A data file that is open for reading. */
export interface ReadableFile {
  readonly path: string;
  readonly db: Database;
  readonly version: number;
  /** Whether it has a log. Without a log, it is read as a file that never changes. */
  readonly hasLog: boolean;
  /** As in {@link DataFile}. */
  readonly isLogMissing: boolean;
}

/**
 * Reads a data file with `read`, and once more if a process began to write to a file that was not
 * in use.
 */
export function readDataFile<T>(path: string, read: (file: ReadableFile) => T): T {
  for (;;) {
    const before = stampOf(path);
    const file = openForReading(path);
    const isOneMoment = (): boolean => file.hasLog || stampOf(path) === before;
    try {
      const result = read(file);
      if (isOneMoment()) return result;
    } catch (error) {
      if (isOneMoment()) throw error;
    } finally {
      file.db.close();
    }
  }
}

/**
 * Moves a remaining log into its data file, unless a process has them in use. For a file that was
 * just read and is sound. If it fails nothing is lost: the log stays.
 */
export function finishLog(path: string): void {
  const real = realPathOf(path);
  if (!existsSync(`${real}-wal`)) return;
  const lock = takeLock(real, 0);
  if (lock.kind !== "locked") return;
  try {
    const hasLog = !isLogEmpty(real);
    const db = new Database(real, { readwrite: true, strict: true });
    try {
      configure(db, real, "full");
      // Fails for a file of version 1, which has no in-use mark: then closing it moves the log.
      if (hasLog) emptyLog(db);
    } finally {
      db.close(true);
    }
  } catch (error) {
    if (!(error instanceof SQLiteError)) throw error;
  } finally {
    lock.unlock();
  }
}

/**
 * Opens a data file, or a copy of one, for reading; it may be in use. A file with an empty log is
 * read as one that never changes: without a lock and without files beside it, so a read-only folder
 * is enough. The caller has to check whether the file did change.
 */
function openForReading(path: string): ReadableFile {
  if (!existsSync(path)) throw new DataFileError(`${path} does not exist`);
  const real = realPathOf(path);
  if (!statSync(real).isFile()) throw new DataFileError(`${path} is not a file`);
  checkHeader(real);
  const hasLog = !isLogEmpty(real);
  const db = openReadonly(real, hasLog);
  try {
    db.run("PRAGMA trusted_schema = OFF");
    db.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    const version = versionOf(db, real);
    return { path: real, db, version, hasLog, isLogMissing: !hasLog && isInUse(db, version) };
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Changes with every write to the file. */
function stampOf(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? "" : `${stat.ino} ${stat.size} ${stat.mtimeNs}`;
}
