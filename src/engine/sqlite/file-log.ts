/**
 * The write-ahead log beside a data file, with what is not in the file yet.
 *
 * The file says whether it is whole without its log (`identity.in_use`), so that a copy made
 * without the log is noticed:
 *
 * ```
 *   0 ──opened──► 1: the log may have what the file lacks
 *   1 ──log moved into the file, wholly──► 0
 * ```
 *
 * Either is only ever noted while the log is not empty. So a file that says 1 beside an empty log
 * was torn from it.
 */

import { type Database, SQLiteError } from "bun:sqlite";
import { statSync } from "node:fs";

/** The first version that says whether it is in use. */
const IN_USE_VERSION = 2;

/**
 * Only checkpoints flush, the log first and then the file: a commit before one needs no flush of
 * its own.
 */
const CHECKPOINT_FLUSHES = "PRAGMA synchronous = NORMAL";

/** Whether nothing is in the log of this data file, or there is none. */
export function isLogEmpty(path: string): boolean {
  return (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) === 0;
}

/** Whether this says that its log may have what it lacks. */
export function isInUse(db: Database, version: number): boolean {
  if (version < IN_USE_VERSION) return false;
  const [row] = db.query("SELECT in_use FROM identity").values();
  return row?.[0] === 1;
}

/** Notes in a data file that it is whole without a log, or that it is not. */
export function markInUse(db: Database, isInUse: boolean): void {
  db.run(`UPDATE identity SET in_use = ${Number(isInUse)}`);
}

/** Notes in a data file, and on the disk, that it is in use from now on. */
export function markOpened(db: Database): void {
  const [row] = db.query("PRAGMA synchronous").values();
  db.run(CHECKPOINT_FLUSHES);
  markInUse(db, true);
  // Where a reader keeps the mark in the log, that reader has found a log: the file says 1 already.
  checkpoint(db, "PASSIVE");
  db.run(`PRAGMA synchronous = ${row?.[0]}`);
}

/**
 * Moves the log into the data file, and notes there that nothing is missing from it. Says whether
 * that worked: a reader may be in the way, or the disk. Nothing else may be written after it.
 */
export function emptyLog(db: Database): boolean {
  try {
    db.run(CHECKPOINT_FLUSHES);
    // This moves everything but does not empty the log, so that it is not empty while the file
    // still says 1.
    if (!checkpoint(db, "FULL")) return false;
    markInUse(db, false);
    return checkpoint(db, "TRUNCATE");
  } catch (error) {
    if (error instanceof SQLiteError) return false;
    throw error;
  }
}

/** Moves the log into the file, and says, unless it is passive, whether all of it was moved. */
function checkpoint(db: Database, mode: "PASSIVE" | "FULL" | "TRUNCATE"): boolean {
  const [row] = db.query(`PRAGMA wal_checkpoint(${mode})`).values();
  // The first column says whether somebody was in the way. A passive one never says so.
  return row?.[0] === 0;
}
