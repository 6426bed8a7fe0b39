/**
 * What differs between the engines that host the broker: where changes are stored, and when they may be told. The engine
 * in memory stores nothing; the one over a file writes what an event-loop tick brought, as one group.
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
  /** Whether accepted tasks outlive the process. */
  readonly isDurable: boolean;
  /** Whether changes can be stored now. While they can't, nothing is accepted, claimed or commanded. */
  readonly isAvailable: boolean;
  /** Whether memory is ahead of the store: until it is written, nobody is told. */
  readonly isAhead: boolean;

  /** Takes all of these tasks, or none. */
  enqueue(
    specs: readonly NewTask[],
    now: Instant,
    key: IdempotencyKey | undefined,
  ): MaybePromise<EnqueueAnswer>;
  /** Stores and does what a command plans. */
  run<Answer>(command: Command<Answer>, now: Instant): MaybePromise<Answer | StorageUnavailable>;

  /** Notes a claim before its attempt starts. False when that is not possible. */
  noteClaim(task: Task): boolean;
  noteExtend(task: Task): void;
  onStep(task: Task, from: TaskStatus | null): void;
  onForget(task: Task): void;

  /** Null when what memory knows of this task may be shown, else what resolves when it may. */
  untilStored(task: Task): Promise<void> | null;
  /** Reads as soon as all that memory knows may be shown. */
  whenAllStored<T>(read: () => T): MaybePromise<T>;
  /** Stores what there is to store, now. */
  flush(): void;
  /** Stores the rest and lets go of the store. */
  close(): StoreRemains;
}

export interface StoreRemains {
  /** Whether the data file alone has everything. Otherwise its log stays beside it, and belongs to it. */
  readonly isWhole: boolean;
}

/** What a persistence calls. */
export interface PersistenceHost {
  readonly broker: Broker;
  /** What memory was ahead by is stored, and may be told. */
  onStored(now: Instant): void;
  /** The store can't be written any more, or can again. */
  onAvailability(now: Instant): void;
}
