/**
 * The queue inside a program, without HTTP: the same engine and the same workers, called directly.
 */

import { type Config, configOf } from "./config.ts";
import type {
  CancelAnswer,
  Engine,
  EnqueueAnswer,
  EnqueueRequest,
  MaybePromise,
  PauseAnswer,
  QueueReport,
  RetryAnswer,
  TaskView,
} from "./engine/engine.ts";
import { type Log, shielded, silentLog } from "./log.ts";
import { type Runtime, type StopReport, startRuntime } from "./runtime.ts";
import type { Handlers } from "./worker/handlers/define.ts";

/** The settings of HTTP. */
type HttpSetting =
  | "port"
  | "host"
  | "maxBodyBytes"
  | "answerBytesTotal"
  | "allowedHosts"
  | "corsOrigins";

/** What can be configured of a queue: all but what HTTP needs. */
export type QueueOptions = Partial<Omit<Config, "handlers" | HttpSetting>> & {
  /** Hears every event. Without it there is silence. */
  readonly log?: Log;
};

/** A task with its payload, progress and result as values. */
export interface TaskSnapshot extends Omit<TaskView, "payload" | "progress" | "result"> {
  readonly payload: unknown;
  readonly progress: unknown;
  readonly result: unknown;
}

/** What an engine answers, with the task that it is about, if there is one, as a snapshot. */
export type WithSnapshot<Answer> = Answer extends { readonly task: TaskView }
  ? Omit<Answer, "task"> & { readonly task: TaskSnapshot }
  : Answer;

/**
 * Starts a queue that works with these handlers, or with those of the module at this path; types with
 * `isolation: "thread"` need the path. Rejects with a RangeError for options out of bounds, and with a HandlersError for
 * handlers that can't be used.
 */
export async function createQueue(
  handlers: Handlers | string,
  { log = silentLog, ...options }: QueueOptions = {},
): Promise<Queue> {
  const path = typeof handlers === "string" ? handlers : null;
  const config = configOf({ ...options, handlers: path });
  const given = typeof handlers === "string" ? null : handlers;
  return new Queue(await startRuntime(config, given, shielded(log)));
}

export class Queue {
  readonly #runtime: Runtime;
  readonly #engine: Engine;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
    this.#engine = runtime.engine;
  }

  /** Takes a task. Repeating it under the same `idempotencyKey` gives the first answer again. */
  enqueue(request: EnqueueRequest, idempotencyKey?: string): MaybePromise<EnqueueAnswer> {
    return this.#engine.enqueue([request], idempotencyKey);
  }

  /** Takes all of these tasks, or none. */
  enqueueBatch(
    requests: readonly EnqueueRequest[],
    idempotencyKey?: string,
  ): MaybePromise<EnqueueAnswer> {
    return this.#engine.enqueue(requests, idempotencyKey);
  }

  /** The task as it is now; undefined when there is none, or when it has finished and was forgotten. */
  async find(id: string): Promise<TaskSnapshot | undefined> {
    const task = await this.#engine.find(id);
    return task && snapshotOf(task);
  }

  /** The task once it has finished, or as it is when `waitMs` are over or `signal` aborts. */
  async waitFor(
    id: string,
    waitMs: number,
    signal: AbortSignal = NEVER,
  ): Promise<TaskSnapshot | undefined> {
    const task = await this.#engine.waitFor(id, waitMs, signal);
    return task && snapshotOf(task);
  }

  async cancel(id: string): Promise<WithSnapshot<CancelAnswer>> {
    return withSnapshot(await this.#engine.cancel(id));
  }

  /** Queues a failed or cancelled task again. */
  async retry(id: string): Promise<WithSnapshot<RetryAnswer>> {
    return withSnapshot(await this.#engine.retry(id));
  }

  /** Every queue that there is, by name. */
  queues(): MaybePromise<readonly QueueReport[]> {
    return this.#engine.queues();
  }

  pause(name: string): MaybePromise<PauseAnswer> {
    return this.#engine.setPaused(name, true);
  }

  resume(name: string): MaybePromise<PauseAnswer> {
    return this.#engine.setPaused(name, false);
  }

  /** Stops gracefully, once; every later call gets the same promise. */
  stop(): Promise<StopReport> {
    return this.#runtime.stop();
  }
}

const NEVER = new AbortController().signal;

function withSnapshot<Answer extends CancelAnswer | RetryAnswer>(
  answer: Answer,
): WithSnapshot<Answer> {
  const shown = "task" in answer ? { ...answer, task: snapshotOf(answer.task) } : answer;
  return shown as WithSnapshot<Answer>;
}

function snapshotOf(task: TaskView): TaskSnapshot {
  return {
    id: task.id,
    type: task.type,
    queue: task.queue,
    status: task.status,
    payload: JSON.parse(task.payload),
    progress: JSON.parse(task.progress ?? "null"),
    result: JSON.parse(task.result ?? "null"),
    priority: task.priority,
    attempt: task.attempt,
    maxRetries: task.maxRetries,
    timeoutMs: task.timeoutMs,
    enqueuedAtMs: task.enqueuedAtMs,
    runAtMs: task.runAtMs,
    startedAtMs: task.startedAtMs,
    finishedAtMs: task.finishedAtMs,
    errors: task.errors,
  };
}
