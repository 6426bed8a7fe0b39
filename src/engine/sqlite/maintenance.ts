/** Copies and checks a data file, also while an engine has it in use. */

import { Database } from "bun:sqlite";
import { existsSync, lstatSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { isFinished, TASK_STATUSES, type TaskStatus } from "../../core/status.ts";
import { DataFileError, messageOf, syncFile } from "./data-file.ts";
import { IN_USE_VERSION, markInUse } from "./file-log.ts";
import { finishLog, type ReadableFile, readDataFile } from "./file-reader.ts";
import { makePrivateFile } from "./private-file.ts";

/** The contents of a data file, and its faults. */
export interface Verification {
  readonly version: number;
  /** Tasks by status. A running task is counted in its status before the attempt. */
  readonly counts: Readonly<Record<TaskStatus, number>>;
  readonly keys: number;
  readonly pausedQueues: number;
  /** One sentence per fault; none when the file is sound. */
  readonly faults: readonly string[];
}

/**
 * Copies a data file to a path that does not exist yet. The copy has the state of one moment, and
 * is complete or absent. Throws a {@link DataFileError} when that is not possible.
 */
export function backUp(from: string, to: string): void {
  // A unique name: only our own file may be removed again.
  const unfinished = join(dirname(to), `ringq-unfinished-${crypto.randomUUID()}`);
  try {
    refuseTaken(to);
    readDataFile(from, (file) => copyInto(file, unfinished));
    syncFile(unfinished);
    // The copy may have taken a while, so check again.
    refuseTaken(to);
    renameSync(unfinished, to);
    syncFile(to);
  } catch (error) {
    if (error instanceof DataFileError) throw error;
    const why = messageOf(error);
    throw new DataFileError(`${from} can't be copied to ${to}: ${why}`, { cause: error });
  } finally {
    if (existsSync(unfinished)) rmSync(unfinished);
  }
  finishLog(from);
}

/**
 * Reads a whole data file and reports its contents. Throws a {@link DataFileError} for a file that
 * is not ringq's.
 */
export function verifyDataFile(path: string): Verification {
  try {
    const verification = readDataFile(path, verificationOf);
    // A faulty file is left unchanged.
    if (verification.faults.length === 0) finishLog(path);
    return verification;
  } catch (error) {
    if (error instanceof DataFileError) throw error;
    throw new DataFileError(`${path} can't be read: ${messageOf(error)}`, { cause: error });
  }
}

/** Any entry counts, also a folder or a broken link. */
function refuseTaken(path: string): void {
  const folder = dirname(path);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new DataFileError(`${folder} is not a folder`);
  }
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) {
    throw new DataFileError(`${path} already exists`);
  }
}

function copyInto({ db, version, isLogMissing }: ReadableFile, to: string): void {
  // An earlier attempt may have left a part of the copy.
  rmSync(to, { force: true });
  makePrivateFile(to);
  db.run("VACUUM INTO ?", [to]);
  if (version < IN_USE_VERSION) return;
  const copy = new Database(to, { readwrite: true, strict: true });
  try {
    // It is flushed when it is complete.
    copy.run("PRAGMA synchronous = OFF");
    copy.run("PRAGMA journal_mode = MEMORY");
    // A copy of a file that lacks its log still says so.
    if (!isLogMissing) markInUse(copy, false);
    // Remote claims belong to the original: their workers settle there.
    copy.run("UPDATE states SET status = 'queued', claim = NULL WHERE claim IS NOT NULL");
  } finally {
    copy.close(true);
  }
}

function verificationOf({ path, db, version, isLogMissing }: ReadableFile): Verification {
  // One transaction, so that all results are of the same moment.
  db.run("BEGIN");
  const faults = [...structureFaults(db)];
  if (faults.length === 0) faults.push(...contentFaults(db, version));
  if (isLogMissing) {
    const what = `may have been copied or moved without its log (${path}-wal)`;
    faults.push(`${what}: tasks may be missing. Copy both files`);
  }
  return {
    version,
    counts: countsOf(db),
    keys: countOf(db, "SELECT count(*) FROM keys"),
    pausedQueues: countOf(db, "SELECT count(*) FROM paused_queues"),
    faults,
  };
}

function* structureFaults(db: Database): Generator<string> {
  for (const [found] of db.query("PRAGMA integrity_check(20)").values()) {
    if (found !== "ok") yield String(found);
  }
}

const FINISHED = TASK_STATUSES.filter(isFinished).map(quoted).join();

/** The first version that has tags. */
const TAGS_VERSION = 3;

type Contradictions = Readonly<Record<string, string>>;

/** Contradictions that a sound file never has, with the query that counts each. */
const CONTRADICTIONS: Contradictions = {
  "tasks with a duplicate id": "SELECT count(*) - count(DISTINCT id) FROM tasks",
  "tasks whose payload is not JSON": "SELECT count(*) FROM tasks WHERE NOT json_valid(payload)",
  "states without a task": "SELECT count(*) FROM states WHERE seq NOT IN (SELECT seq FROM tasks)",
  "states with an unknown status": `
    SELECT count(*) FROM states WHERE status NOT IN (${TASK_STATUSES.map(quoted).join()})`,
  "finished tasks without an end time, or unfinished tasks with one": `
    SELECT count(*) FROM states WHERE (finished_at IS NULL) = (status IN (${FINISHED}))`,
  "tasks whose errors, result or progress is not JSON": `
    SELECT count(*) FROM states WHERE NOT (json_valid(errors)
      AND json_valid(ifnull(result, 'null')) AND json_valid(ifnull(progress, 'null')))`,
  "idempotency keys whose receipts are not JSON":
    "SELECT count(*) FROM keys WHERE NOT json_valid(receipts)",
  "duplicate idempotency keys": "SELECT count(*) - count(DISTINCT key) FROM keys",
};

/** The same in columns that older files lack, with the first version that has them. */
const LATER_CONTRADICTIONS: readonly (readonly [version: number, Contradictions])[] = [
  [
    IN_USE_VERSION,
    {
      "tasks whose receipt or claim is not JSON": `
        SELECT count(*) FROM states WHERE NOT (json_valid(ifnull(receipt, 'null'))
          AND json_valid(ifnull(claim, 'null')))`,
    },
  ],
  [
    TAGS_VERSION,
    {
      "tasks whose tags are not JSON":
        "SELECT count(*) FROM tasks WHERE NOT json_valid(ifnull(tags, 'null'))",
    },
  ],
];

function* contentFaults(db: Database, version: number): Generator<string> {
  const later = LATER_CONTRADICTIONS.filter(([since]) => since <= version);
  for (const contradictions of [CONTRADICTIONS, ...later.map(([, each]) => each)]) {
    for (const [what, sql] of Object.entries(contradictions)) {
      const count = countOf(db, sql);
      if (count > 0) yield `${what}: ${count}`;
    }
  }
}

function countsOf(db: Database): Record<TaskStatus, number> {
  const count = (status: TaskStatus): [TaskStatus, number] => [
    status,
    countOf(
      db,
      `SELECT count(*) FROM tasks LEFT JOIN states ON states.seq = tasks.seq
       WHERE ifnull(status, iif(tasks.run_at IS NULL, 'queued', 'scheduled')) = ${quoted(status)}`,
    ),
  ];
  return Object.fromEntries(TASK_STATUSES.map(count)) as Record<TaskStatus, number>;
}

function countOf(db: Database, sql: string): number {
  const [row] = db.query(sql).values();
  return Number(row?.[0]);
}

function quoted(text: string): string {
  return `'${text}'`;
}
