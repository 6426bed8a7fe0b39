/** Builds the snapshot from which a broker is restored, from the data file and the running file. */

import { type KeyRecord, newKey } from "../../core/idempotency.ts";
import type { SavedTask, Snapshot } from "../../core/snapshot.ts";
import { holderOf, isFinished, isWaiting } from "../../core/status.ts";
import type { Log } from "../../log.ts";
import type { Intake } from "../intake.ts";
import type { TaskRow } from "./columns.ts";
import type { RunningClaim } from "./running-file.ts";
import type { KeyRow, SqliteStore } from "./store.ts";

/**
 * The log reports progress after this many tasks: a start with a million tasks should not look like
 * a hang.
 */
const PROGRESS_TASKS = 100_000;

export interface RecoveryOptions {
  readonly store: SqliteStore;
  /** The attempts that ran when the earlier process ended, by task number. */
  readonly claims: ReadonlyMap<number, RunningClaim>;
  readonly intake: Intake;
  readonly wallMs: number;
  readonly log: Log;
}

export function readSnapshot({ store, claims, intake, wallMs, log }: RecoveryOptions): Snapshot {
  const keys = new Map(store.keys().map((row) => [row.seq, keyOf(row)]));
  // Every row brings its own strings, and a million copies of a queue's name would fill the memory.
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
    const saved = {
      ...row,
      type,
      queue: nameOf(row.queue),
      payloadBytes: Buffer.byteLength(row.payload),
      lane: rules.lane ?? "loop",
      backoff: intake.backoffOf(rules),
      key: row.keySeq === null ? null : (keys.get(row.keySeq) ?? null),
    };
    const running = claims.get(row.seq);
    if (running !== undefined && isNewer(running, row)) {
      const { attempt, startedAtMs, claim } = running;
      // The stored progress is from an earlier attempt.
      const progress = row.status === "running" ? row.progress : null;
      return {
        ...saved,
        status: "running",
        attempt,
        startedAtMs,
        claim,
        progress,
        isDueByWall: false,
      };
    }
    const isDue =
      isWaiting(row.status) && holderOf(row.status) === "schedule" && (row.runAtMs ?? 0) <= wallMs;
    // A task that became due while no process ran is ready in the order of its number, like all
    // waiting tasks.
    return isDue ? { ...saved, status: "queued", isDueByWall: false } : saved;
  }

  function* savedTasks(): Generator<SavedTask> {
    let loaded = 0;
    for (const row of store.tasks()) {
      yield savedOf(row);
      loaded += 1;
      if (loaded % PROGRESS_TASKS === 0) log.info("journal_loading", { tasks: loaded });
    }
  }

  return { paused: store.pausedQueues(), keys: keys.values(), tasks: savedTasks() };
}

/**
 * Whether the running file has a newer state of the task than its row: a later attempt, or the same
 * claim with an extended lease.
 */
function isNewer({ attempt, claim }: RunningClaim, row: TaskRow): boolean {
  if (isFinished(row.status)) return false;
  return attempt > row.attempt || (row.claim !== null && row.claim.fence === claim?.fence);
}

function keyOf({ key, fingerprint, receipts, seq, finishedAtMs }: KeyRow): KeyRecord {
  // Its unfinished tasks are counted when they are restored.
  return { ...newKey(key, fingerprint, receipts, seq), unfinished: 0, finishedAtMs };
}
