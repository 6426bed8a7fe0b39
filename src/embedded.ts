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
  Receipt,
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
  | "leaseMs"
  | "claimsMax"
  | "claimsWaitingMax"
  | "allowedHosts"
  | "corsOrigins";

/** The settings of a queue: all but those of HTTP. */
export type QueueOptions = Partial<Omit<Config, "handlers" | HttpSetting>> & {
  /** Receives every event. Default: no log. */
  readonly log?: Log;
};

/** A task with its payload, progress and result as values. */
export interface Task extends Omit<TaskView, "payload" | "progress" | "result"> {
  readonly payload: unknown;
  readonly progress: unknown;
  readonly result: unknown;
}

/** An answer of the engine. If it contains a task, its payload, progress and result are values. */
export type WithTask<Answer> = Answer extends { readonly task: TaskView }
  ? Omit<Answer, "task"> & { readonly task: Task }
  : Answer;

/** The answer to the enqueue of one task: its id and status, or the reason for the refusal. */
export type EnqueueOneAnswer =
  | ({ readonly kind: "accepted" | "repeated" } & Receipt)
  | Exclude<EnqueueAnswer, { readonly kind: "accepted" | "repeated" }>;

/**
 * Starts a queue with these handlers, or with those of the module at this path. Types with
 * `isolation: "thread"` need the path. Rejects with a RangeError for options out of bounds, and
 * with a HandlersError for unusable handlers. Types with `isolation: "remote"` are unusable: only a
 * server has remote workers.
 */
export async function createQueue(
  handlers: Handlers | string,
  { log = silentLog, ...options }: QueueOptions = {},
): Promise<Queue> {
  const path = typeof handlers === "string" ? handlers : null;
  const config = configOf({ ...options, handlers: path });
  const given = typeof handlers === "string" ? null : handlers;
  return new Queue(await startRuntime(config, given, shielded(log), { hasHttp: false }));
}

export class Queue {
  readonly #runtime: Runtime;
  readonly #engine: Engine;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
    this.#engine = runtime.engine;
  }

  /**
   * Enqueues a task. A repeated call with the same `idempotencyKey` gives the first answer again.
   */
  async enqueue(request: EnqueueRequest, idempotencyKey?: string): Promise<EnqueueOneAnswer> {
    return answerOfOne(await this.#engine.enqueue([request], idempotencyKey));
  }

  /** Enqueues all of these tasks, or none. */
  enqueueBatch(
    requests: readonly EnqueueRequest[],
    idempotencyKey?: string,
  ): MaybePromise<EnqueueAnswer> {
    return this.#engine.enqueue(requests, idempotencyKey);
  }

  /**
   * The current state of the task; undefined when it does not exist, or has finished and was
   * forgotten.
   */
  async find(id: string): Promise<Task | undefined> {
    const task = await this.#engine.find(id);
    return task && taskOf(task);
  }

  /** The task once it has finished, or its state when `waitMs` are over or `signal` aborts. */
  async waitFor(
    id: string,
    waitMs: number,
    signal: AbortSignal = NEVER,
  ): Promise<Task | undefined> {
    const task = await this.#engine.waitFor(id, waitMs, signal);
    return task && taskOf(task);
  }

  async cancel(id: string): Promise<WithTask<CancelAnswer>> {
    return withTask(await this.#engine.cancel(id));
  }

  /** Queues a failed or cancelled task again. */
  async retry(id: string): Promise<WithTask<RetryAnswer>> {
    return withTask(await this.#engine.retry(id));
  }

  /** All queues, by name. */
  queues(): MaybePromise<readonly QueueReport[]> {
    return this.#engine.queues();
  }

  pause(name: string): MaybePromise<PauseAnswer> {
    return this.#engine.pause(name);
  }

  resume(name: string): MaybePromise<PauseAnswer> {
    return this.#engine.resume(name);
  }

  /** Stops gracefully, once; every later call gets the same promise. */
  stop(): Promise<StopReport> {
    return this.#runtime.stop();
  }
}

const NEVER = new AbortController().signal;

function withTask<Answer extends CancelAnswer | RetryAnswer>(answer: Answer): WithTask<Answer> {
  const shown = "task" in answer ? { ...answer, task: taskOf(answer.task) } : answer;
  return shown as WithTask<Answer>;
}

function taskOf(view: TaskView): Task {
  return {
    ...view,
    payload: JSON.parse(view.payload),
    progress: JSON.parse(view.progress ?? "null"),
    result: JSON.parse(view.result ?? "null"),
  };
}

function answerOfOne(answer: EnqueueAnswer): EnqueueOneAnswer {
  if (answer.kind !== "accepted" && answer.kind !== "repeated") return answer;
  const [receipt] = answer.receipts;
  if (receipt === undefined) throw new Error("a task that was taken has a receipt");
  return { kind: answer.kind, ...receipt };
}
