/**
 * What a broker can be given back of an earlier life.
 */

import type { KeyRecord } from "./idempotency.ts";
import type { TaskBasis, TaskError, TaskStatus } from "./task.ts";

export interface Snapshot {
  /** The names of the paused queues. */
  readonly paused: Iterable<string>;
  readonly keys: Iterable<KeyRecord>;
  /** In the order of their numbers. */
  readonly tasks: Iterable<SavedTask>;
}

/** A task as it was. One that is `running` had an attempt when that life ended. */
export interface SavedTask extends TaskBasis {
  readonly seq: number;
  readonly key: KeyRecord | null;
  readonly enqueuedAtMs: number;
  readonly status: TaskStatus;
  readonly attempt: number;
  readonly failures: number;
  readonly crashes: number;
  readonly runAtMs: number | null;
  /** Whether it waits for a time on the wall clock. */
  readonly isDueByWall: boolean;
  readonly startedAtMs: number | null;
  readonly finishedAtMs: number | null;
  readonly result: string | null;
  readonly progress: string | null;
  readonly errors: readonly TaskError[];
}
