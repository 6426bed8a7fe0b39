/**
 * What operators ask for: cancel, retry, pause, resume, purge. Each is written first and done only when it is on disk, so
 * that one which can't be written leaves no trace. They wait here for the end of the turn.
 *
 * What a command would write depends on what was done before it, so each has a transaction of its own; only cancels of
 * different tasks, of which there may be many at a time, share one.
 */

import type { Broker } from "../../core/broker.ts";
import type { Instant } from "../../core/instant.ts";
import type { Queue } from "../../core/queue.ts";
import { isFinished, type Task } from "../../core/task.ts";
import type {
  CancelAnswer,
  PauseAnswer,
  PurgeAnswer,
  RetryAnswer,
  StorageUnavailable,
} from "../engine.ts";
import { reportOf } from "../host/views.ts";
import type { PendingWrites } from "./pending-writes.ts";
import type { SqliteStore, StoreFault, TaskState } from "./store.ts";

const STORAGE_UNAVAILABLE: StorageUnavailable = { kind: "storage_unavailable" };

/** How a command is done, once it is known that it can be. */
interface Plan {
  readonly write: () => void;
  /** Does in memory what was written, and answers. */
  readonly apply: () => void;
}

interface Command {
  /** The one task that it cancels; null for whatever wants a transaction of its own. */
  readonly cancels: string | null;
  /** Answers what needs no writing, and says how to do the rest. */
  readonly plan: (now: Instant) => Plan | null;
  readonly refuse: () => void;
}

export interface OperatorCommandsOptions {
  readonly broker: Broker;
  readonly journal: SqliteStore;
  readonly pending: PendingWrites;
  /** Called with a queue that was resumed. */
  readonly onResume: (queue: Queue) => void;
}

export class OperatorCommands {
  readonly #broker: Broker;
  readonly #store: SqliteStore;
  readonly #pending: PendingWrites;
  readonly #onResume: (queue: Queue) => void;
  #waiting: Command[] = [];

  constructor({ broker, journal, pending, onResume }: OperatorCommandsOptions) {
    this.#broker = broker;
    this.#store = journal;
    this.#pending = pending;
    this.#onResume = onResume;
  }

  cancel(id: string): Promise<CancelAnswer> {
    return this.#ask<CancelAnswer>(id, (now, answer) => {
      const task = this.#broker.find(id);
      if (task === undefined) return answer({ kind: "unknown" });
      if (isFinished(task.status)) return answer({ kind: "finished", task });
      return {
        write: () => this.#store.putState(cancelled(task, now)),
        apply: () => {
          const outcome = this.#broker.cancel(id, now);
          this.#pending.remove(task);
          answer(outcome);
        },
      };
    });
  }

  retry(id: string): Promise<RetryAnswer> {
    return this.#ask<RetryAnswer>(null, (now, answer) => {
      const refusal = this.#broker.retryRefusal(id);
      if (refusal !== null) return answer(refusal);
      const task = this.#broker.find(id) as Task;
      return {
        write: () => this.#store.putState(retried(task)),
        apply: () => {
          const outcome = this.#broker.retry(id, now);
          this.#pending.remove(task);
          answer(outcome);
        },
      };
    });
  }

  setPaused(name: string, isPaused: boolean): Promise<PauseAnswer> {
    return this.#ask<PauseAnswer>(null, (now, answer) => {
      const refusal = this.#broker.pauseRefusal(name, isPaused);
      if (refusal !== null) return answer(refusal);
      return {
        write: () => this.#store.setPaused(name, isPaused),
        apply: () => {
          const outcome = this.#broker.setPaused(name, isPaused, now);
          if (outcome.kind !== "set") return answer(outcome);
          // What waited behind the pause took no step just now, so the workers have not heard of it.
          if (!isPaused) this.#onResume(outcome.queue);
          return answer({ kind: "set", queue: reportOf(outcome.queue, now.monoMs) });
        },
      };
    });
  }

  purge(name: string): Promise<PurgeAnswer> {
    return this.#ask<PurgeAnswer>(null, (now, answer) => {
      const tasks = this.#broker.waitingIn(name);
      if (tasks === undefined) return answer({ kind: "unknown" });
      return {
        write: () => {
          for (const task of tasks) this.#store.putState(cancelled(task, now));
        },
        apply: () => {
          this.#broker.purge(name, now);
          for (const task of tasks) this.#pending.remove(task);
          answer({ kind: "purged", cancelled: tasks.length });
        },
      };
    });
  }

  /** Does everything that was asked for. Says why when something could not be written. */
  run(now: Instant): StoreFault | null {
    let fault: StoreFault | null = null;
    while (this.#waiting.length > 0) {
      const batch = this.#takeBatch();
      const planned = batch.flatMap((command) => {
        const plan = command.plan(now);
        return plan === null ? [] : [{ command, plan }];
      });
      if (planned.length === 0) continue;
      fault ??= this.#store.transact(() => {
        for (const { plan } of planned) plan.write();
      });
      for (const { command, plan } of planned) (fault === null ? plan.apply : command.refuse)();
    }
    return fault;
  }

  /** Answers everything that was asked for without doing anything that would have to be written. */
  refuse(now: Instant): void {
    for (const { plan, refuse } of this.#waiting.splice(0)) if (plan(now) !== null) refuse();
  }

  #ask<Answer>(
    cancels: string | null,
    plan: (now: Instant, answer: (answer: Answer) => null) => Plan | null,
  ): Promise<Answer | StorageUnavailable> {
    return new Promise((resolve) => {
      const answer = (value: Answer): null => {
        resolve(value);
        return null;
      };
      this.#waiting.push({
        cancels,
        plan: (now) => plan(now, answer),
        refuse: () => resolve(STORAGE_UNAVAILABLE),
      });
    });
  }

  /** The commands that go into the next transaction: cancels of different tasks, or one of any other kind. */
  #takeBatch(): Command[] {
    const tasks = new Set<string>();
    let length = 0;
    for (const { cancels } of this.#waiting) {
      if (cancels === null || tasks.has(cancels)) break;
      tasks.add(cancels);
      length += 1;
    }
    return this.#waiting.splice(0, Math.max(1, length));
  }
}

/** What is written of a task that is cancelled now. */
function cancelled(task: Task, now: Instant): TaskState {
  return { ...stateOf(task), status: "cancelled", finishedAtMs: now.wallMs };
}

/** What is written of a task that is queued again by hand. */
function retried(task: Task): TaskState {
  return {
    ...stateOf(task),
    status: "queued",
    failures: 0,
    crashes: 0,
    runAtMs: null,
    finishedAtMs: null,
  };
}

function stateOf(task: Task): TaskState {
  const { seq, status, attempt, failures, crashes, runAtMs, startedAtMs, finishedAtMs } = task;
  const { result, progress, errors } = task;
  return {
    seq,
    status,
    attempt,
    failures,
    crashes,
    runAtMs,
    startedAtMs,
    finishedAtMs,
    result,
    progress,
    errors,
  };
}
