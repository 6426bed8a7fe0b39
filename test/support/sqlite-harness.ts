/**
 * A scene on disk that can come to an end and begin again: by a stop, or by a crash, after which the next life begins
 * with what the files held at that moment.
 */

import { Database } from "bun:sqlite";
import { copyFileSync, existsSync } from "node:fs";
import { SqliteEngine, type SqliteEngineOptions } from "../../src/engine/sqlite/engine.ts";
import type { DataFolder } from "./data-folder.ts";
import { Scene, type SceneOptions, someSettings } from "./engine-harness.ts";
import { ManualClock, turn } from "./manual-clock.ts";

export type LifeOptions = SceneOptions & Pick<Partial<SqliteEngineOptions>, "log">;

/** Opens an engine on a data file: a new one, unless a path is given. */
export function openLife(
  folder: DataFolder,
  { log, ...options }: LifeOptions = {},
  path = folder.newFile(),
  clock = new ManualClock(),
): Life {
  const settings = someSettings(clock, options);
  const engine = new SqliteEngine({
    ...settings,
    path,
    durability: "full",
    ...(log === undefined ? {} : { log }),
  });
  return new Life(folder, path, engine, clock, options);
}

export class Life extends Scene {
  readonly path: string;
  readonly #folder: DataFolder;
  readonly #options: SceneOptions;

  constructor(
    folder: DataFolder,
    path: string,
    engine: SqliteEngine,
    clock: ManualClock,
    options: SceneOptions,
  ) {
    super(engine, clock);
    this.#folder = folder;
    this.path = path;
    this.#options = options;
  }

  /** The next life after this one was stopped. */
  async restart(options: LifeOptions = {}): Promise<Life> {
    await this.close();
    return openLife(this.#folder, { ...this.#options, ...options }, this.path, this.clock);
  }

  /** The next life after this one has ended at once, as the files are at the end of this turn. */
  async crash(options: LifeOptions = {}): Promise<Life> {
    await turn();
    const path = this.#folder.newFile();
    for (const suffix of ["", "-wal", "-running"]) {
      if (existsSync(this.path + suffix)) copyFileSync(this.path + suffix, path + suffix);
    }
    await this.close();
    return openLife(this.#folder, { ...this.#options, ...options }, path, this.clock);
  }

  /** Makes every write to the data file fail, from now on until the returned function is called. */
  breakStorage(): () => void {
    const triggers = ["tasks", "states"].map((table) => [table, "INSERT"]);
    triggers.push(["identity", "UPDATE"], ["paused_queues", "INSERT"], ["paused_queues", "DELETE"]);
    this.#outside((db) => {
      for (const [table, event] of triggers) {
        db.run(
          `CREATE TRIGGER broken_${table}_${event} BEFORE ${event} ON ${table}
           BEGIN SELECT RAISE(ABORT, 'broken on purpose'); END`,
        );
      }
    });
    return () =>
      this.#outside((db) => {
        for (const [table, event] of triggers) db.run(`DROP TRIGGER broken_${table}_${event}`);
      });
  }

  /** Works on the data file from beside, as another program could. */
  #outside(work: (db: Database) => void): void {
    const db = new Database(this.path);
    try {
      work(db);
    } finally {
      db.close();
    }
  }
}
