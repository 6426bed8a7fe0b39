/**
 * The engine that keeps its tasks in an SQLite file. The broker is in memory, and every change is
 * written to the store before it is shown (group-commit.ts).
 */

import type { Engine } from "../engine.ts";
import { BrokerHost, type HostOptions } from "../host/broker-host.ts";
import { DataFileError, type Durability, openDataFile } from "./data-file.ts";
import { GroupCommit } from "./group-commit.ts";
import { readSnapshot } from "./recovery.ts";
import { RunningFile } from "./running-file.ts";
import { SqliteStore } from "./store.ts";

export interface SqliteEngineOptions extends HostOptions {
  /** The path of the data file, which may not exist yet. */
  readonly path: string;
  readonly durability: Durability;
}

/**
 * Opens the data file, and continues from its state. Throws a {@link DataFileError} when that is
 * not possible.
 */
export function createSqliteEngine({ path, durability, ...options }: SqliteEngineOptions): Engine {
  const file = openDataFile(path, durability);
  if (file.isLogMissing) options.log?.warn("journal_log_missing", { path: `${file.path}-wal` });
  const store = new SqliteStore(file);
  try {
    const running = new RunningFile(`${store.path}-running`, store.id);
    let persistence: GroupCommit | undefined;
    const host = new BrokerHost(options, (own) => {
      const { clock, log } = own;
      persistence = new GroupCommit({ host: own, store, running, clock, log });
      return persistence;
    });
    if (persistence !== undefined) recover(host, persistence, store, running);
    return host;
  } catch (error) {
    store.close();
    if (error instanceof DataFileError) throw error;
    throw new DataFileError(`${path} can't be restored: ${String(error)}`, { cause: error });
  }
}

/** Restores the state from the data file and the running file. */
function recover(
  host: BrokerHost,
  persistence: GroupCommit,
  store: SqliteStore,
  running: RunningFile,
): void {
  const { broker, intake, clock, log } = host;
  const now = clock.now();
  const claims = running.earlierClaims();
  broker.restore(readSnapshot({ store, claims, intake, wallMs: now.wallMs, log }), now);
  // The loss count of a task has to be on disk before the task can crash the process again.
  const fault = persistence.writeRecovered();
  if (fault !== null) throw new DataFileError(`${store.path} can't be written: ${fault.message}`);
  running.restart([...broker.tasks()].filter(({ lease }) => lease !== null));
  host.onStored(now);
  let tasks = 0;
  let waiting = 0;
  for (const queue of broker.queues()) {
    tasks += queue.known;
    waiting += queue.waiting;
  }
  const took_ms = Math.round(clock.now().monoMs - now.monoMs);
  log.info("journal_loaded", { path: store.path, tasks, waiting, took_ms });
}
