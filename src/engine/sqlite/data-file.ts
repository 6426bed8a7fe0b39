/**
 * The file that a durable engine keeps its tasks in: found, locked, checked, made or migrated, and opened. Whatever is
 * not a data file of ours, or is newer than this program, is refused and left as it is.
 *
 * A POSIX lock is gone when its process closes any descriptor of that file. So nothing here opens the data file but
 * SQLite, once the lock is held.
 */

import { Database } from "bun:sqlite";
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { MIGRATIONS } from "./migrations.ts";

/** The data file can't be used. The message says which and why, in words for whoever has to mend it. */
export class DataFileError extends Error {
  override readonly name = "DataFileError";
}

/** How sure a commit is: `full` survives a power cut, `normal` may lose the last moments to one. */
export type Durability = "full" | "normal";

export interface DataFile {
  /** Where it is, with no symbolic link left in it. */
  readonly path: string;
  readonly db: Database;
  /** Closes the file, and lets others have it. */
  close(): void;
}

/** "rngq" as a number, in the header of every data file (https://www.sqlite.org/fileformat.html#application_id). */
const APPLICATION_ID = 0x726e6771;

const SQLITE_MAGIC = "SQLite format 3\0";
const HEADER_BYTES = 100;
const PAGE_BYTES_OFFSET = 16;
const CHANGES_OFFSET = 24;
const PAGES_OFFSET = 28;
const VERSION_OFFSET = 60;
const APPLICATION_ID_OFFSET = 68;
/** For which count of changes the number of pages is right. */
const PAGES_VALID_FOR_OFFSET = 92;

/** Only another tool's write lock is waited for, and that holds up the event loop. */
const BUSY_TIMEOUT_MS = 1000;

/** How large the write-ahead log stays on disk after it was larger for a while. */
const JOURNAL_BYTES_MAX = 64 * 1024 * 1024;

/** Opens the data file at this path for this process alone, and makes it if there is none. */
export function openDataFile(path: string, durability: Durability): DataFile {
  const real = realPathOf(path);
  const unlock = lock(real);
  try {
    if (isMissing(real)) create(real);
    else checkHeader(real);
    const db = new Database(real, { readwrite: true, strict: true });
    try {
      configure(db, real, durability);
      migrate(db, real, MIGRATIONS);
      checkStructure(db, real);
    } catch (error) {
      db.close();
      throw error;
    }
    return { path: real, db, close: () => closeAll(db, unlock) };
  } catch (error) {
    unlock();
    throw error instanceof DataFileError
      ? error
      : new DataFileError(`${real} can't be opened: ${messageOf(error)}`, { cause: error });
  }
}

/** Opens a data file that may be in use, or a copy of one, for reading. */
export function openForReading(path: string): { readonly db: Database; readonly version: number } {
  if (!existsSync(path)) throw new DataFileError(`${path} does not exist`);
  checkHeader(path);
  const db = new Database(path, { readonly: true, strict: true });
  try {
    db.run("PRAGMA trusted_schema = OFF");
    db.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    return { db, version: versionOf(db, path) };
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Makes sure that a file, and its name in its folder, are on disk. */
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

/** Takes a file to the newest version, or not at all. */
export function migrate(db: Database, path: string, migrations: readonly string[]): void {
  const version = versionOf(db, path, migrations.length);
  if (version === migrations.length) return;
  db.transaction(() => {
    for (const migration of migrations.slice(version)) db.run(migration);
    db.run(`PRAGMA user_version = ${migrations.length}`);
  }).immediate();
  // Others read the version from the header before they open the file, so it must not stay in the log.
  db.run("PRAGMA wal_checkpoint(TRUNCATE)");
}

function realPathOf(path: string): string {
  try {
    const isThere = lstatSync(path, { throwIfNoEntry: false }) !== undefined;
    return isThere ? realpathSync(path) : join(realpathSync(dirname(path)), basename(path));
  } catch (error) {
    throw new DataFileError(`${path} can't be found: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * Holds a lock beside the data file for as long as this process lives, and returns what lets go of it. Beside, and not on
 * it, because a backup reads the file while it is in use.
 */
function lock(path: string): () => void {
  const lockPath = `${path}-lock`;
  let db: Database | null = null;
  try {
    db = new Database(lockPath, { create: true, strict: true });
    db.run("PRAGMA busy_timeout = 0");
    // Nothing is ever written to it, so nothing is left to roll back.
    db.run("PRAGMA journal_mode = MEMORY");
    db.run("BEGIN EXCLUSIVE");
  } catch (error) {
    db?.close();
    if (isBusy(error)) {
      throw new DataFileError(`${path} is in use by another process`, { cause: error });
    }
    throw new DataFileError(`${lockPath} can't be locked: ${messageOf(error)}`, { cause: error });
  }
  const held = db;
  return () => held.close();
}

/** Whether there is no data file yet: none at all, or an empty one. */
function isMissing(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat !== undefined) {
    if (!stat.isFile()) throw new DataFileError(`${path} is not a file`);
    // Under another name it would get another lock and another log, and be torn between the two.
    if (stat.nlink > 1) throw new DataFileError(`${path} has a second name (a hard link)`);
    if (stat.size > 0) return false;
  }
  if (!isLogEmpty(path)) {
    throw new DataFileError(
      `${path} is ${stat === undefined ? "missing" : "empty"}, but ${path}-wal is not: they belong together`,
    );
  }
  return true;
}

/** Makes a new data file under another name first, so that whatever happens meanwhile leaves none, or a whole one. */
function create(path: string): void {
  const unfinished = `${path}-new`;
  const remove = (): void => {
    for (const suffix of ["", "-wal", "-shm", "-journal"])
      rmSync(unfinished + suffix, { force: true });
  };
  remove();
  const db = new Database(unfinished, { create: true, strict: true });
  try {
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

/** Reads whose file this is without SQLite, which might write to it. */
function checkHeader(path: string): void {
  const header = Buffer.alloc(HEADER_BYTES);
  const descriptor = openSync(path, "r");
  let bytes: number;
  try {
    readSync(descriptor, header, 0, HEADER_BYTES, 0);
    bytes = fstatSync(descriptor).size;
  } finally {
    closeSync(descriptor);
  }
  if (header.toString("latin1", 0, SQLITE_MAGIC.length) !== SQLITE_MAGIC) {
    throw new DataFileError(`${path} is not a data file of ringq`);
  }
  if (header.readUInt32BE(APPLICATION_ID_OFFSET) !== APPLICATION_ID) {
    throw new DataFileError(`${path} is a data file of another program`);
  }
  checkVersion(header.readUInt32BE(VERSION_OFFSET), path, MIGRATIONS.length);
  // With a log beside it a file may be shorter than it says: a checkpoint was cut off, and will be made again.
  if (isLogEmpty(path)) checkLength(path, header, bytes);
}

/** SQLite takes what is missing of a file's last page for zeros, and would not notice. */
function checkLength(path: string, header: Buffer, bytes: number): void {
  if (header.readUInt32BE(CHANGES_OFFSET) !== header.readUInt32BE(PAGES_VALID_FOR_OFFSET)) return;
  const rawPageBytes = header.readUInt16BE(PAGE_BYTES_OFFSET);
  // 64 KiB does not fit into two bytes, and is written as 1.
  const pageBytes = rawPageBytes === 1 ? 65_536 : rawPageBytes;
  const expected = header.readUInt32BE(PAGES_OFFSET) * pageBytes;
  if (bytes >= expected) return;
  throw new DataFileError(`${path} is damaged: it has ${bytes} of ${expected} bytes`);
}

function isLogEmpty(path: string): boolean {
  return (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) === 0;
}

function versionOf(db: Database, path: string, newest = MIGRATIONS.length): number {
  const version = Number(pragmaOf(db, "user_version"));
  checkVersion(version, path, newest);
  return version;
}

function checkVersion(version: number, path: string, newest: number): void {
  if (version <= newest) return;
  throw new DataFileError(
    `${path} has version ${version}, and this ringq knows versions up to ${newest}: use a newer one`,
  );
}

function configure(db: Database, path: string, durability: Durability): void {
  // macOS calls it done when the drive has it in its cache, unless it is told otherwise.
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
      throw new DataFileError(`${path}: SQLite has ${name} = ${actual} where ${readBack} was set`);
    }
  }
}

/** Finds out about damage before anything is written on top of it. */
function checkStructure(db: Database, path: string): void {
  const found = pragmaOf(db, "quick_check(1)");
  if (found !== "ok") throw new DataFileError(`${path} is damaged: ${found}`);
}

function pragmaOf(db: Database, pragma: string): unknown {
  const [row] = db.query(`PRAGMA ${pragma}`).values();
  return row?.[0];
}

function closeAll(db: Database, unlock: () => void): void {
  // Throws while a statement is still open: then the log would stay behind.
  try {
    db.close(true);
  } finally {
    unlock();
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "SQLITE_BUSY";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
