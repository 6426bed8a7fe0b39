/**
 * The write-ahead log beside a data file, with the changes that are not in the file yet.
 *
 * The file records whether it is complete without its log (`identity.in_use`), so that a copy
 * without the log is detected:
 *
 * ```
 *   0 ──opened──► 1: the log may have changes that the file lacks
 *   1 ──log moved into the file, completely──► 0
 * ```
 *
 * Either value is only written while the log is not empty. So a file that says 1 beside an empty
 * log was separated from its log.
 */

import { type Database, SQLiteError } from "bun:sqlite";
import { statSync } from "node:fs";

/** The first version that records whether it is in use, and has remote claims. */
export const IN_USE_VERSION = 2;

/**
 * Only checkpoints flush, the log first and then the file: a commit before a checkpoint needs no
 * flush.
 */
const CHECKPOINT_FLUSHES = "PRAGMA synchronous = NORMAL";

/** Whether the log of this data file is empty or missing. */
export function isLogEmpty(path: string): boolean {
  return (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) === 0;
}

/** Whether the file says that its log may have changes that the file lacks. */
export function isInUse(db: Database, version: number): boolean {
  if (version < IN_USE_VERSION) return false;
  const [row] = db.query("SELECT in_use FROM identity").values();
  return row?.[0] === 1;
}

/** Records in a data file whether it is complete without a log. */
export function markInUse(db: Database, isInUse: boolean): void {
  db.run(`UPDATE identity SET in_use = ${Number(isInUse)}`);
}

/** Records in a data file, on disk, that it is in use. */
export function markOpened(db: Database): void {
  const [row] = db.query("PRAGMA synchronous").values();
  db.run(CHECKPOINT_FLUSHES);
  markInUse(db, true);
  // If a reader keeps the mark in the log, that reader has found a log, and the file already says
  // 1.
  checkpoint(db, "PASSIVE");
  db.run(`PRAGMA synchronous = ${row?.[0]}`);
}

/**
 * Moves the log into the data file, and records there that nothing is missing from it. Returns
 * whether that worked: a reader or a disk error may prevent it. Nothing may be written after it.
 */
export function emptyLog(db: Database): boolean {
  try {
    db.run(CHECKPOINT_FLUSHES);
    // This moves everything but does not empty the log, so the log is not empty while the file
    // still says 1.
    if (!checkpoint(db, "FULL")) return false;
    markInUse(db, false);
    return checkpoint(db, "TRUNCATE");
  } catch (error) {
    if (error instanceof SQLiteError) return false;
    throw error;
  }
}

/** Moves the log into the file. Unless it is passive, returns whether all of it was moved. */
function checkpoint(db: Database, mode: "PASSIVE" | "FULL" | "TRUNCATE"): boolean {
  const [row] = db.query(`PRAGMA wal_checkpoint(${mode})`).values();
  // The first column says whether another connection prevented it. A passive checkpoint never says
  // so.
  return row?.[0] === 0;
}
