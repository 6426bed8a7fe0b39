/**
 * Writes tasks, keys and queues to a data file, and reads them at the next start. It only moves
 * rows; the engine decides what is written, and when.
 */

import { type Database, SQLiteError, type Statement } from "bun:sqlite";
import type { KeyRecord, Receipt } from "../../core/idempotency.ts";
import type { Task } from "../../core/task.ts";
import {
  INSERT_TASK,
  PUT_STATE,
  SELECT_TASKS,
  type StateRow,
  specValues,
  stateValues,
  type TaskRow,
  taskRowOf,
} from "./columns.ts";
import { type ClosedDataFile, type DataFile, DataFileError } from "./data-file.ts";

/** A key as it was stored. */
export interface KeyRow {
  readonly seq: number;
  readonly key: string;
  readonly fingerprint: string;
  readonly receipts: readonly Receipt[];
  readonly finishedAtMs: number | null;
}

/** The reason why a transaction wrote nothing. */
export interface StoreFault {
  readonly code: string;
  readonly message: string;
}

/** The number of rows in memory at a time while all are read. */
const PAGE_ROWS = 2000;

export class SqliteStore {
  readonly #file: DataFile;
  readonly #statements: Statements;

  /**
   * Takes over a data file. Throws a {@link DataFileError}, with the file closed, when its tables
   * are not as expected.
   */
  constructor(file: DataFile) {
    this.#file = file;
    try {
      this.#statements = prepare(file.db);
    } catch (error) {
      file.close();
      throw new DataFileError(`${file.path} is damaged: ${String(error)}`, { cause: error });
    }
  }

  get path(): string {
    return this.#file.path;
  }

  /** A number that is unique to this data file. */
  get id(): number {
    const [row] = this.#file.db.query("SELECT id FROM identity").values();
    return Number(row?.[0]);
  }

  /** Commits all that `write` writes. If that fails, writes nothing and returns the reason. */
  transact(write: () => void): StoreFault | null {
    const { begin, commit } = this.#statements;
    try {
      begin.run();
      write();
      commit.run();
      return null;
    } catch (error) {
      this.#rollBack();
      if (!(error instanceof SQLiteError)) throw error;
      return { code: error.code ?? "SQLITE_ERROR", message: error.message };
    }
  }

  /**
   * Writes a harmless change, to test whether the file can be written. After a failed commit, it
   * overwrites what that may have left in the log; otherwise a crash would bring that back.
   */
  touch(): StoreFault | null {
    return this.transact(() => this.#statements.touch.run());
  }

  insertTask(task: Task): void {
    this.#statements.insertTask.run(...specValues(task));
  }

  putState(seq: number, state: StateRow): void {
    this.#statements.putState.run(...stateValues(seq, state));
  }

  /** Deletes the tasks with these numbers. */
  deleteTasks(seqs: readonly number[]): void {
    const { deleteTasks, deleteStates } = this.#statements;
    for (const { first, last } of runsOf(seqs)) {
      deleteTasks.run(first, last);
      deleteStates.run(first, last);
    }
  }

  insertKey({ seq, key, fingerprint, receipts }: KeyRecord): void {
    this.#statements.insertKey.run(seq, key, fingerprint, JSON.stringify(receipts));
  }

  putKeyFinish({ seq, finishedAtMs }: KeyRecord): void {
    this.#statements.putKeyFinish.run(finishedAtMs, seq);
  }

  deleteKey(seq: number): void {
    this.#statements.deleteKey.run(seq);
  }

  setPaused(queue: string, isPaused: boolean): void {
    const { pause, resume } = this.#statements;
    (isPaused ? pause : resume).run(queue);
  }

  pausedQueues(): readonly string[] {
    return this.#file.db
      .query("SELECT name FROM paused_queues ORDER BY name")
      .values()
      .map(([name]) => String(name));
  }

  keys(): readonly KeyRow[] {
    return this.#file.db
      .query<RawKey, []>(
        "SELECT seq, key, fingerprint, receipts, finished_at FROM keys ORDER BY seq",
      )
      .all()
      .map(({ seq, key, fingerprint, receipts, finished_at }) => ({
        seq,
        key,
        fingerprint,
        receipts: JSON.parse(receipts),
        finishedAtMs: finished_at,
      }));
  }

  /** All tasks, in the order of their numbers. */
  *tasks(): Generator<TaskRow> {
    const page = this.#file.db.prepare<unknown, [number, number]>(SELECT_TASKS);
    try {
      let afterSeq = -1;
      while (true) {
        const rows = page.values(afterSeq, PAGE_ROWS).map(taskRowOf);
        yield* rows;
        const last = rows.at(-1);
        if (last === undefined || rows.length < PAGE_ROWS) return;
        afterSeq = last.seq;
      }
    } finally {
      page.finalize();
    }
  }

  /** Moves the log into the file, and closes both. */
  close(): ClosedDataFile {
    for (const statement of Object.values(this.#statements)) statement.finalize();
    return this.#file.close();
  }

  #rollBack(): void {
    // A commit that failed for lack of space was already rolled back.
    if (this.#file.db.inTransaction) this.#statements.rollback.run();
  }
}

interface RawKey {
  readonly seq: number;
  readonly key: string;
  readonly fingerprint: string;
  readonly receipts: string;
  readonly finished_at: number | null;
}

/**
 * The ranges of numbers without a gap: tasks that were enqueued together are mostly forgotten
 * together.
 */
function runsOf(seqs: readonly number[]): { readonly first: number; readonly last: number }[] {
  const runs: { first: number; last: number }[] = [];
  let run: { first: number; last: number } | undefined;
  for (const seq of seqs.toSorted((a, b) => a - b)) {
    if (run !== undefined && run.last + 1 === seq) run.last = seq;
    else {
      run = { first: seq, last: seq };
      runs.push(run);
    }
  }
  return runs;
}

type Statements = Readonly<Record<keyof typeof SQL, Statement>>;

const SQL = {
  begin: "BEGIN IMMEDIATE",
  commit: "COMMIT",
  rollback: "ROLLBACK",
  touch: "UPDATE identity SET touched = 1 - touched",
  insertTask: INSERT_TASK,
  putState: PUT_STATE,
  deleteTasks: "DELETE FROM tasks WHERE seq BETWEEN ? AND ?",
  deleteStates: "DELETE FROM states WHERE seq BETWEEN ? AND ?",
  insertKey: "INSERT INTO keys (seq, key, fingerprint, receipts) VALUES (?, ?, ?, ?)",
  putKeyFinish: "UPDATE keys SET finished_at = ? WHERE seq = ?",
  deleteKey: "DELETE FROM keys WHERE seq = ?",
  pause: "INSERT OR IGNORE INTO paused_queues (name) VALUES (?)",
  resume: "DELETE FROM paused_queues WHERE name = ?",
} as const;

function prepare(db: Database): Statements {
  const prepared: [name: string, statement: Statement][] = [];
  try {
    for (const [name, sql] of Object.entries(SQL)) prepared.push([name, db.prepare(sql)]);
  } catch (error) {
    // A database with an open statement can't be closed.
    for (const [, statement] of prepared) statement.finalize();
    throw error;
  }
  return Object.fromEntries(prepared) as Statements;
}
