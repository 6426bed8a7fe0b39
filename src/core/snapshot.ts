/** The state from which a broker is restored: everything that is left from an earlier process. */

import type { KeyRecord } from "./idempotency.ts";
import type { TaskSpec, TaskState } from "./task.ts";

export interface Snapshot {
  /** The names of the paused queues. */
  readonly paused: Iterable<string>;
  readonly keys: Iterable<KeyRecord>;
  /** In the order of their numbers. */
  readonly tasks: Iterable<SavedTask>;
}

/** A task in its last state. A `running` one had an attempt when the earlier process ended. */
export interface SavedTask extends TaskSpec, TaskState {
  readonly seq: number;
  readonly key: KeyRecord | null;
  readonly enqueuedAtMs: number;
  /**
   * The remote claim that holds the task, and continues. Null for an attempt in the process, which
   * crashed with it.
   */
  readonly claim: SavedClaim | null;
}

export interface SavedClaim {
  readonly fence: number;
  readonly worker: string | null;
  readonly leaseMs: number;
  /** Wall-clock milliseconds. */
  readonly leaseEndsAtMs: number;
}
