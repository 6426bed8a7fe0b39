/**
 * The data file of a durable engine: it is found, locked, checked, created or migrated, and opened
 * here. A file that is not ringq's, or is newer than this program, is refused and left unchanged.
 *
 * A POSIX lock is released when its process closes any descriptor of that file. So once the lock is
 * held, only SQLite opens the data file here.
 */

import { constants, Database } from "bun:sqlite";
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { APPLICATION_ID, headerFault, versionFault } from "./file-header.ts";
import { lockPathOf, takeLock } from "./file-lock.ts";
import { emptyLog, isInUse, isLogEmpty, markOpened } from "./file-log.ts";
import { MIGRATIONS } from "./migrations.ts";
import { PRIVATE_MODE } from "./private-file.ts";

/** The data file can't be used. The message names the file and the reason, for the operator. */
export class DataFileError extends Error {
  override readonly name = "DataFileError";
}

/**
 * How durable a commit is: `full` survives a power cut, `normal` may lose the last moments to one.
 */
export type Durability = "full" | "normal";

export interface DataFile {
  /** The path of the file, without symbolic links. */
  readonly path: string;
  readonly db: Database;
  /**
   * Whether the file seems to have been copied or moved without its log, so that tasks may be
   * missing.
   */
  readonly isLogMissing: boolean;
  /** Moves the log into the file, closes both, and unlocks the file. */
  close(): ClosedDataFile;
}

export interface ClosedDataFile {
  /** Whether the file alone is complete. Otherwise the log stays beside it, and belongs to it. */
  readonly isLogEmpty: boolean;
}

/** Only another tool's lock can cause a wait, and the wait blocks the event loop. */
export const BUSY_TIMEOUT_MS = 1000;

/**
 * A `verify` or `backup` holds the lock for a moment while it moves a remaining log into the file.
 */
const LOCK_TIMEOUT_MS = 250;

/** The size to which the write-ahead log on disk is cut after it was larger. */
const JOURNAL_BYTES_MAX = 64 * 1024 * 1024;

/** Opens the data file at this path for this process alone. Creates it if it does not exist. */
export function openDataFile(path: string, durability: Durability): DataFile {
  const real = realPathOf(path);
  try {
    // Do not create a lock for a file that is not ringq's. If there is a lock, another process may
    // hold it, and the file must not be opened.
    if (!existsSync(lockPathOf(real))) isThere(real);
    return openLocked(real, durability, lock(real));
  } catch (error) {
    throw error instanceof DataFileError
      ? error
      : new DataFileError(`${real} can't be opened: ${messageOf(error)}`, { cause: error });
  }
}

/** Syncs a file, and its name in its folder, to disk. */
export function syncFile(path: string): void {
  for (const each of [path, dirname(path)]) {
    const descriptor = openSync(each, "r");
    try {
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  }
}

/** Migrates a file to the newest version in one transaction. */
export function migrate(db: Database, path: string, migrations: readonly string[]): void {
  const version = versionOf(db, path, migrations.length);
  if (version === migrations.length) return;
  db.transaction(() => {
    for (const migration of migrations.slice(version)) db.run(migration);
    db.run(`PRAGMA user_version = ${migrations.length}`);
  }).immediate();
  // Other processes read the version from the header before they open the file, so it must not stay
  // in the log.
  db.run("PRAGMA wal_checkpoint(TRUNCATE)");
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function openLocked(path: string, durability: Durability, unlock: () => void): DataFile {
  let db: Database | null = null;
  try {
    if (!isThere(path)) create(path);
    const hasLog = !isLogEmpty(path);
    checkStructure(path, hasLog);
    db = new Database(path, { readwrite: true, strict: true });
    configure(db, path, durability);
    const isLogMissing = !hasLog && isInUse(db, versionOf(db, path));
    migrate(db, path, MIGRATIONS);
    markOpened(db);
    const opened = db;
    return { path, db, isLogMissing, close: () => closeAll(opened, unlock) };
  } catch (error) {
    db?.close();
    unlock();
    throw error;
  }
}

export function realPathOf(path: string): string {
  try {
    const isThere = lstatSync(path, { throwIfNoEntry: false }) !== undefined;
    return isThere ? realpathSync(path) : join(realpathSync(dirname(path)), basename(path));
  } catch (error) {
    throw new DataFileError(`${path} can't be found: ${messageOf(error)}`, { cause: error });
  }
}

/** Locks the data file for the life of this process. Returns the function that unlocks it. */
function lock(path: string): () => void {
  const answer = takeLock(path, LOCK_TIMEOUT_MS);
  if (answer.kind === "locked") return answer.unlock;
  const { cause } = answer;
  throw new DataFileError(
    answer.kind === "in_use"
      ? `${path} is in use by another process`
      : `${lockPathOf(path)} can't be locked: ${messageOf(cause)}`,
    { cause },
  );
}

/**
 * Whether there is a data file: false for a missing or empty one. Refuses a file that is not
 * ringq's.
 */
function isThere(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat !== undefined) {
    if (!stat.isFile()) throw new DataFileError(`${path} is not a file`);
    // Under another name the file would get another lock and another log, and two processes could
    // damage it.
    if (stat.nlink > 1) throw new DataFileError(`${path} has a second hard link; remove that link`);
    if (stat.size > 0) {
      checkHeader(path);
      return true;
    }
  }
  if (!isLogEmpty(path)) {
    throw new DataFileError(
      `${path} is ${stat === undefined ? "missing" : "empty"}, but ${path}-wal is not. Restore both together`,
    );
  }
  return false;
}

/**
 * Creates a new data file under another name first, so that a failure leaves no file or a complete
 * one.
 */
function create(path: string): void {
  const unfinished = `${path}-new`;
  const remove = (): void => {
    for (const suffix of ["", "-wal", "-shm", "-journal"])
      rmSync(unfinished + suffix, { force: true });
  };
  remove();
  const { SQLITE_OPEN_READWRITE, SQLITE_OPEN_CREATE, SQLITE_OPEN_NOFOLLOW } = constants;
  const db = new Database(
    unfinished,
    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW,
  );
  try {
    // Before the file has any content. The log and its index get the mode of the file.
    chmodSync(unfinished, PRIVATE_MODE);
    db.run(`PRAGMA application_id = ${APPLICATION_ID}`);
    migrate(db, unfinished, MIGRATIONS);
    db.run("PRAGMA journal_mode = WAL");
  } catch (error) {
    db.close();
    remove();
    throw error;
  }
  db.close();
  syncFile(unfinished);
  for (const suffix of ["-wal", "-shm"]) rmSync(path + suffix, { force: true });
  renameSync(unfinished, path);
  syncFile(path);
}

export function checkHeader(path: string): void {
  const fault = headerFault(path, MIGRATIONS.length);
  if (fault !== null) throw new DataFileError(fault);
}

export function versionOf(db: Database, path: string, newest = MIGRATIONS.length): number {
  const version = Number(pragmaOf(db, "user_version"));
  const fault = versionFault(version, path, newest);
  if (fault !== null) throw new DataFileError(fault);
  return version;
}

/** Opens a file and never writes to it, not even when it is closed. */
export function openReadonly(path: string, hasLog: boolean): Database {
  if (hasLog) return new Database(path, { readonly: true, strict: true });
  const { SQLITE_OPEN_READONLY, SQLITE_OPEN_URI } = constants;
  const url = `${pathToFileURL(path).href}?immutable=1`;
  return new Database(url, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
}

export function configure(db: Database, path: string, durability: Durability): void {
  // Without this, macOS reports success when data is only in the drive's cache.
  const isFull = durability === "full" ? 1 : 0;
  const settings: readonly (readonly [name: string, value: string | number, readBack?: number])[] =
    [
      ["busy_timeout", BUSY_TIMEOUT_MS],
      ["trusted_schema", 0],
      ["journal_mode", "wal"],
      ["synchronous", durability, isFull === 1 ? 2 : 1],
      ["fullfsync", isFull],
      ["checkpoint_fullfsync", isFull],
      ["journal_size_limit", JOURNAL_BYTES_MAX],
      ["cell_size_check", 1],
      ["temp_store", 2],
    ];
  for (const [name, value, readBack = value] of settings) {
    db.query(`PRAGMA ${name} = ${value}`).all();
    const actual = pragmaOf(db, name);
    if (actual !== readBack) {
      throw new DataFileError(
        `${path}: SQLite did not accept ${name} = ${readBack} (it has ${actual})`,
      );
    }
  }
}

/** Checks for damage before anything is written. */
function checkStructure(path: string, hasLog: boolean): void {
  const db = openReadonly(path, hasLog);
  try {
    db.run("PRAGMA trusted_schema = OFF");
    db.run("PRAGMA cell_size_check = ON");
    const found = pragmaOf(db, "quick_check(1)");
    if (found !== "ok") throw new DataFileError(`${path} is damaged: ${found}`);
  } finally {
    db.close();
  }
}

function pragmaOf(db: Database, pragma: string): unknown {
  const [row] = db.query(`PRAGMA ${pragma}`).values();
  return row?.[0];
}

function closeAll(db: Database, unlock: () => void): ClosedDataFile {
  try {
    const isEmpty = emptyLog(db);
    // Throws while a statement is still open: then the log would stay.
    db.close(true);
    return { isLogEmpty: isEmpty };
  } finally {
    unlock();
  }
}
