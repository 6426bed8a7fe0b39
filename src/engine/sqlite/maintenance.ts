/**
 * What can be done with a data file from beside, also while an engine has it in use: copy it, and check it.
 */

import type { Database } from "bun:sqlite";
import { existsSync, renameSync, rmSync } from "node:fs";
import { isFinished, TASK_STATUSES, type TaskStatus } from "../../core/task.ts";
import { DataFileError, openForReading, syncFile } from "./data-file.ts";

/** What is in a data file, and what is wrong with it. */
export interface Inspection {
  readonly version: number;
  /** Tasks by status. What runs stands as what it was before. */
  readonly counts: Readonly<Record<TaskStatus, number>>;
  readonly keys: number;
  readonly pausedQueues: number;
  /** One sentence each; none when the file is sound. */
  readonly faults: readonly string[];
}

/** Writes a copy of a data file to a path where nothing is yet. It is as the file was at one moment, and whole or not there. */
export function backUp(from: string, to: string): void {
  if (existsSync(to)) throw new DataFileError(`${to} exists already`);
  const unfinished = `${to}-unfinished`;
  rmSync(unfinished, { force: true });
  const { db } = openForReading(from);
  try {
    db.run("VACUUM INTO ?", [unfinished]);
    syncFile(unfinished);
    renameSync(unfinished, to);
    syncFile(to);
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw new DataFileError(`${from} can't be copied to ${to}: ${String(error)}`, { cause: error });
  } finally {
    db.close();
  }
}

/** Reads a whole data file and says what is in it. Throws a {@link DataFileError} for what is not a data file of ours. */
export function inspect(path: string): Inspection {
  const { db, version } = openForReading(path);
  try {
    // One transaction: all of it is about the same moment.
    db.run("BEGIN");
    const faults = [...structureFaults(db)];
    if (faults.length === 0) faults.push(...contentFaults(db));
    return {
      version,
      counts: countsOf(db),
      keys: countOf(db, "SELECT count(*) FROM keys"),
      pausedQueues: countOf(db, "SELECT count(*) FROM paused_queues"),
      faults,
    };
  } catch (error) {
    throw new DataFileError(`${path} can't be read: ${String(error)}`, { cause: error });
  } finally {
    db.close();
  }
}

function* structureFaults(db: Database): Generator<string> {
  for (const [found] of db.query("PRAGMA integrity_check(20)").values()) {
    if (found !== "ok") yield String(found);
  }
}

/** What no data file has, with how to count it. */
const CONTRADICTIONS = {
  "tasks have an id that another task has too": "SELECT count(*) - count(DISTINCT id) FROM tasks",
  "tasks have a payload that is not JSON":
    "SELECT count(*) FROM tasks WHERE NOT json_valid(payload)",
  "states belong to no task":
    "SELECT count(*) FROM states WHERE seq NOT IN (SELECT seq FROM tasks)",
  "states have a status that does not exist": `SELECT count(*) FROM states WHERE status NOT IN (${TASK_STATUSES.map(quoted).join()})`,
  "tasks are finished without an end, or have one without being finished": `SELECT count(*) FROM states WHERE (finished_at IS NULL) = (status IN (${TASK_STATUSES.filter(isFinished).map(quoted).join()}))`,
  "tasks have errors, a result or a progress that is not JSON":
    "SELECT count(*) FROM states WHERE NOT (json_valid(errors) AND json_valid(ifnull(result, 'null')) AND json_valid(ifnull(progress, 'null')))",
  "keys have receipts that are not JSON":
    "SELECT count(*) FROM keys WHERE NOT json_valid(receipts)",
  "keys are there more than once": "SELECT count(*) - count(DISTINCT key) FROM keys",
} as const;

function* contentFaults(db: Database): Generator<string> {
  for (const [what, sql] of Object.entries(CONTRADICTIONS)) {
    const count = countOf(db, sql);
    if (count > 0) yield `${count} ${what}`;
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
