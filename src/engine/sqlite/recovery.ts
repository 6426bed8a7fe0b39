/**
 * How what is in a data file becomes what a broker takes back.
 */

import { type KeyRecord, newKey } from "../../core/idempotency.ts";
import type { SavedTask, Snapshot } from "../../core/snapshot.ts";
import { isFinished } from "../../core/task.ts";
import type { Log } from "../../log.ts";
import type { Intake } from "../intake.ts";
import type { RunningClaim } from "./running-file.ts";
import type { KeyRow, SqliteStore, TaskRow } from "./store.ts";

/** After so many tasks the log tells how far it is: starting with a million should not look like hanging. */
const PROGRESS_TASKS = 100_000;

export interface RecoveryOptions {
  readonly journal: SqliteStore;
  /** What ran when the process before ended, by the number of the task. */
  readonly claims: ReadonlyMap<number, RunningClaim>;
  readonly intake: Intake;
  readonly wallMs: number;
  readonly log: Log;
}

export function readSnapshot({ journal, claims, intake, wallMs, log }: RecoveryOptions): Snapshot {
  const keys = new Map(journal.keys().map((row) => [row.seq, keyOf(row)]));
  // Every row brings strings of its own, and a million copies of a queue's name would fill the memory.
  const names = new Map<string, string>();
  const nameOf = (name: string): string => {
    const known = names.get(name);
    if (known !== undefined) return known;
    names.set(name, name);
    return name;
  };

  function savedOf(row: TaskRow): SavedTask {
    const type = nameOf(row.type);
    const rules = intake.rulesOf(type);
    const basis = {
      ...row,
      type,
      queue: nameOf(row.queue),
      payloadBytes: Buffer.byteLength(row.payload),
      lane: rules.lane ?? "loop",
      backoff: intake.backoffOf(rules),
      key: row.keySeq === null ? null : (keys.get(row.keySeq) ?? null),
    };
    const claim = claims.get(row.seq);
    if (claim !== undefined && claim.attempt > row.attempt && !isFinished(row.status)) {
      // How far the attempt was is not known; what is written is of an earlier one.
      return { ...basis, ...claim, status: "running", progress: null, isDueByWall: false };
    }
    const isWaitingForTime = row.status === "scheduled" || row.status === "retrying";
    // What became due while nobody was there is in line by its number, like everything that waited.
    if (isWaitingForTime && (row.runAtMs ?? 0) <= wallMs) {
      return { ...basis, status: "queued", isDueByWall: false };
    }
    return basis;
  }

  function* savedTasks(): Generator<SavedTask> {
    let loaded = 0;
    for (const row of journal.tasks()) {
      yield savedOf(row);
      loaded += 1;
      if (loaded % PROGRESS_TASKS === 0) log.info("journal_loading", { tasks: loaded });
    }
  }

  return { paused: journal.pausedQueues(), keys: keys.values(), tasks: savedTasks() };
}

function keyOf({ key, fingerprint, receipts, seq, finishedAtMs }: KeyRow): KeyRecord {
  // How many of its tasks are unfinished is counted when they come.
  return { ...newKey(key, fingerprint, receipts, seq), unfinished: 0, finishedAtMs };
}
