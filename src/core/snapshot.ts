/**
 * What a broker is restored from: everything that an earlier process left behind.
 */

import type { KeyRecord } from "./idempotency.ts";
import type { TaskSpec, TaskState } from "./task.ts";

export interface Snapshot {
  /** The names of the paused queues. */
  readonly paused: Iterable<string>;
  readonly keys: Iterable<KeyRecord>;
  /** In the order of their numbers. */
  readonly tasks: Iterable<SavedTask>;
}

/** A task as it was. One that is `running` had an attempt when the earlier process ended. */
export interface SavedTask extends TaskSpec, TaskState {
  readonly seq: number;
  readonly key: KeyRecord | null;
  readonly enqueuedAtMs: number;
  /** The remote claim that held it, which goes on; null when it ran in the process, and so has crashed with it. */
  readonly claim: SavedClaim | null;
}

export interface SavedClaim {
  readonly fence: number;
  readonly worker: string | null;
  readonly leaseMs: number;
  /** Wall-clock milliseconds. */
  readonly leaseEndsAtMs: number;
}
