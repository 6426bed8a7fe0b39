/**
 * The engine that keeps its tasks in an SQLite file: the broker in memory, and a store that every change is written to
 * before anybody is told of it (group-commit.ts).
 */

import type { Engine } from "../engine.ts";
import { BrokerHost, type HostOptions } from "../host/broker-host.ts";
import { DataFileError, type Durability, openDataFile } from "./data-file.ts";
import { GroupCommit } from "./group-commit.ts";
import { readSnapshot } from "./recovery.ts";
import { RunningFile } from "./running-file.ts";
import { SqliteStore } from "./store.ts";

export interface SqliteEngineOptions extends HostOptions {
  /** Where the data file is, or is to be. */
  readonly path: string;
  readonly durability: Durability;
}

/** Opens the data file, and goes on where it ends. Throws a {@link DataFileError} when that can't be done. */
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

/** Takes back what the data file and the running file hold. */
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
  // How often a task was lost has to be on disk before it may bring the process down again.
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
