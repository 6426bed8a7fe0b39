/**
 * The interface between the host and its persistence: where changes are stored, and when they may
 * be shown. The engine in memory stores nothing; the one over a file writes the changes of one
 * event-loop tick as one group.
 */

import type { Broker } from "../../core/broker.ts";
import type { KeyObserver } from "../../core/idempotency.ts";
import type { Instant } from "../../core/instant.ts";
import type { IdempotencyKey } from "../../core/outcomes.ts";
import type { TaskStatus } from "../../core/status.ts";
import type { NewTask, Task } from "../../core/task.ts";
import type { EnqueueAnswer, MaybePromise, StorageUnavailable } from "../engine.ts";
import type { Command } from "./commands.ts";

export interface Persistence extends KeyObserver {
  /** Whether accepted tasks survive the process. */
  readonly isDurable: boolean;
  /** Whether changes can be stored now. If not, nothing is accepted, claimed or commanded. */
  readonly isAvailable: boolean;
  /** Whether memory is ahead of the store: until it is written, events are held. */
  readonly isAhead: boolean;

  /** Enqueues all of these tasks, or none. */
  enqueue(
    specs: readonly NewTask[],
    now: Instant,
    key: IdempotencyKey | undefined,
  ): MaybePromise<EnqueueAnswer>;
  /** Stores and applies the plan of a command. */
  run<Answer>(command: Command<Answer>, now: Instant): MaybePromise<Answer | StorageUnavailable>;

  /** Records a claim before its attempt starts. False when that is not possible. */
  noteClaim(task: Task): boolean;
  noteExtend(task: Task): void;
  onStep(task: Task, from: TaskStatus | null): void;
  onForget(task: Task): void;

  /**
   * Null when the state of this task in memory may be shown; otherwise a promise that resolves when
   * it may.
   */
  untilStored(task: Task): Promise<void> | null;
  /** Reads once all of the state in memory may be shown. */
  whenAllStored<T>(read: () => T): MaybePromise<T>;
  /** Stores all pending changes now. */
  flush(): void;
  /** Stores the rest and closes the store. */
  close(): StoreRemains;
}

export interface StoreRemains {
  /**
   * Whether the data file alone is complete. Otherwise its log stays beside it, and belongs to it.
   */
  readonly isWhole: boolean;
}

/** The callbacks of a persistence. */
export interface PersistenceHost {
  readonly broker: Broker;
  /** The pending changes are stored, and may be shown. */
  onStored(now: Instant): void;
  /** The store became unavailable, or available again. */
  onAvailability(now: Instant): void;
}
