/**
 * An engine on a data file that can come to an end and be opened again: after a stop, or after a crash, when the next one
 * begins with what the files held at that moment.
 */

import { Database } from "bun:sqlite";
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { createSqliteEngine, type SqliteEngineOptions } from "../../src/engine/sqlite/engine.ts";
import type { DataFolder } from "./data-folder.ts";
import { EngineHarness, type EngineOptions, someSettings } from "./engine-harness.ts";
import { ManualClock, turn } from "./manual-clock.ts";

export type SqliteOptions = EngineOptions & Pick<Partial<SqliteEngineOptions>, "log">;

export type SqliteHarness = EngineHarness & DataFileControl;

/** What tests do to an engine's data file. */
interface DataFileControl {
  readonly path: string;
  /** The next engine on the file after this one was stopped. */
  restart(options?: SqliteOptions): Promise<SqliteHarness>;
  /** The next engine after this one has ended at once, as the files are at the end of this tick. */
  crash(options?: SqliteOptions): Promise<SqliteHarness>;
  /** Copies the files as they are now, and gives the path of the copy. */
  copy(): string;
  /** Another engine, on a copy of the files. */
  open(path: string, options?: SqliteOptions): SqliteHarness;
  /** Makes every write to the data file fail, from now on until the returned function is called. */
  breakStorage(): () => void;
  /** How many transactions the log of the data file holds. */
  commits(): number;
}

/** Opens an engine on a data file: a new one, unless a path is given. */
export function openSqlite(
  folder: DataFolder,
  options: SqliteOptions = {},
  path = folder.newFile(),
  clock = new ManualClock(),
): SqliteHarness {
  const { log, ...rest } = options;
  const engine = createSqliteEngine({
    ...someSettings(clock, rest),
    path,
    durability: "full",
    ...(log === undefined ? {} : { log }),
  });
  const harness = new EngineHarness(engine, clock);
  const open = (other: string, more: SqliteOptions = {}): SqliteHarness =>
    openSqlite(folder, { ...rest, ...more }, other, clock);
  const copy = (): string => {
    const to = folder.newFile();
    for (const suffix of ["", "-wal", "-running"]) {
      if (existsSync(path + suffix)) copyFileSync(path + suffix, to + suffix);
    }
    return to;
  };
  return Object.assign(harness, {
    path,
    copy,
    open,
    restart: async (more?: SqliteOptions) => {
      await harness.close();
      return open(path, more);
    },
    crash: async (more?: SqliteOptions) => {
      await turn();
      const copied = copy();
      await harness.close();
      return open(copied, more);
    },
    breakStorage: () => breakStorage(path),
    commits: () => commitsIn(`${path}-wal`),
  });
}

const TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'";

/** Works on the data file from beside, as another program could. */
function breakStorage(path: string): () => void {
  const triggers: string[] = [];
  change(path, (db) => {
    for (const { name } of db.query<{ name: string }, []>(TABLES).all()) {
      for (const event of ["INSERT", "UPDATE", "DELETE"]) {
        const trigger = `broken_${name}_${event}`;
        db.run(
          `CREATE TRIGGER ${trigger} BEFORE ${event} ON ${name}
           BEGIN SELECT RAISE(ABORT, 'broken on purpose'); END`,
        );
        triggers.push(trigger);
      }
    }
  });
  return () =>
    change(path, (db) => {
      for (const trigger of triggers) db.run(`DROP TRIGGER ${trigger}`);
    });
}

function change(path: string, work: (db: Database) => void): void {
  const db = new Database(path);
  try {
    db.transaction(work)(db);
  } finally {
    db.close();
  }
}

const LOG_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;

/** The commits in a write-ahead log (https://sqlite.org/fileformat2.html#walformat): the last frame of each is marked. */
function commitsIn(path: string): number {
  const bytes = readFileSync(path);
  const log = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const frameBytes = FRAME_HEADER_BYTES + log.getUint32(8);
  let commits = 0;
  for (let at = LOG_HEADER_BYTES; at + frameBytes <= log.byteLength; at += frameBytes) {
    // Frames with another salt are left over from before the log began anew.
    if (log.getBigUint64(at + 8) !== log.getBigUint64(16)) break;
    if (log.getUint32(at + 4) > 0) commits += 1;
  }
  return commits;
}
