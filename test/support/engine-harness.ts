/**
 * What a contract test stands on: an engine with a manual clock, random numbers of the test's choice and a worker that
 * writes down what it hears. Every answer is awaited, since an engine may take its time.
 */

import { expect } from "bun:test";
import type { Clock } from "../../src/clock.ts";
import type { BrokerLimits } from "../../src/core/broker.ts";
import type { Random } from "../../src/core/instant.ts";
import type {
  Backoff,
  Claim,
  Engine,
  EngineRemains,
  EngineWorker,
  EnqueueRequest,
  Lane,
  ListRequest,
  MaybePromise,
  QueueLimits,
  QueueReport,
  Retry,
  RevokeReason,
  TaskStatus,
  TaskView,
  TypeRules,
} from "../../src/engine/engine.ts";
import { ManualClock } from "./manual-clock.ts";

/** What every engine can be told. */
export interface EngineSettings {
  readonly limits: BrokerLimits;
  readonly defaults: TaskDefaults;
  readonly types: ReadonlyMap<string, TypeRules>;
  readonly clock: Clock;
  readonly random: Random;
}

interface TaskDefaults {
  readonly maxRetries: number;
  readonly timeoutMs: number;
  readonly backoff: Backoff;
}

export type MakeEngine = (settings: EngineSettings) => MaybePromise<Engine>;

export interface SceneOptions {
  readonly queueSize?: number;
  readonly queueBytes?: number;
  readonly queuesMax?: number;
  readonly retainTasks?: number;
  readonly retainMs?: number;
  readonly retryMaxMs?: number;
  readonly maxRetries?: number;
  readonly timeoutMs?: number;
  /** Rules by type. */
  readonly types?: Readonly<Record<string, TypeRules>>;
  /** Limits by queue, for those that have some of their own. */
  readonly queues?: Readonly<Record<string, Partial<QueueLimits>>>;
  readonly random?: Random;
}

export interface Revocation {
  readonly taskId: string;
  readonly fence: number;
  readonly reason: RevokeReason;
}

/** Opens a scene: `await using scene = await openScene(makeEngine)`. */
export async function openScene(
  makeEngine: MakeEngine,
  options: SceneOptions = {},
): Promise<Scene> {
  const clock = new ManualClock();
  const engine = await makeEngine(someSettings(clock, options));
  return new Scene(engine, clock);
}

export function someSettings(clock: Clock, options: SceneOptions = {}): EngineSettings {
  const queue: QueueLimits = {
    size: options.queueSize ?? 10,
    bytes: options.queueBytes ?? 10_000,
    concurrency: Number.POSITIVE_INFINITY,
  };
  return {
    limits: {
      queue,
      queues: new Map(
        Object.entries(options.queues ?? {}).map(([name, own]) => [name, { ...queue, ...own }]),
      ),
      queuesMax: options.queuesMax ?? 10,
      retainTasks: options.retainTasks ?? 1000,
      retainBytes: 1_000_000,
      retainMs: options.retainMs ?? 3_600_000,
    },
    defaults: {
      maxRetries: options.maxRetries ?? 3,
      timeoutMs: options.timeoutMs ?? 30_000,
      backoff: { baseMs: 200, jitterMs: 100, maxMs: options.retryMaxMs ?? 300_000 },
    },
    types: new Map(Object.entries(options.types ?? {})),
    clock,
    random: options.random ?? (() => 0),
  };
}

export function aRequest(request: Partial<EnqueueRequest> = {}): EnqueueRequest {
  return { payload: null, ...request };
}

export class RecordingWorker implements EngineWorker {
  /** How many tasks it was told of so far. */
  ready = 0;
  readonly #revocations: Revocation[] = [];
  #onNews = Promise.withResolvers<void>();

  onReady(count: number): void {
    this.ready += count;
    this.#tell();
  }

  onRevoke(taskId: string, fence: number, reason: RevokeReason): void {
    this.#revocations.push({ taskId, fence, reason });
    this.#tell();
  }

  /** Resolves once it was told of so many tasks. */
  async hearsOf(count: number): Promise<void> {
    while (this.ready < count) await this.#onNews.promise;
  }

  /** The next revocation that no one has taken yet. */
  async revocation(): Promise<Revocation> {
    while (true) {
      const revocation = this.#revocations.shift();
      if (revocation !== undefined) return revocation;
      await this.#onNews.promise;
    }
  }

  get hasRevocations(): boolean {
    return this.#revocations.length > 0;
  }

  #tell(): void {
    this.#onNews.resolve();
    this.#onNews = Promise.withResolvers<void>();
  }
}

export class Scene implements AsyncDisposable {
  readonly engine: Engine;
  readonly clock: ManualClock;
  readonly worker = new RecordingWorker();
  #remains: Promise<EngineRemains> | null = null;

  constructor(engine: Engine, clock: ManualClock) {
    this.engine = engine;
    this.clock = clock;
    engine.attach("loop", this.worker);
  }

  /** Enqueues a task that has to be accepted, and gives its id. */
  async enqueue(request: Partial<EnqueueRequest> = {}): Promise<string> {
    const [id] = await this.enqueueAll([request]);
    if (id === undefined) throw new Error("an accepted task has an id");
    return id;
  }

  async enqueueAll(requests: readonly Partial<EnqueueRequest>[]): Promise<readonly string[]> {
    const answer = await this.engine.enqueue(requests.map(aRequest));
    if (answer.kind !== "accepted") throw new Error(`not accepted, but ${answer.kind}`);
    return answer.receipts.map(({ id }) => id);
  }

  /** Claims a task that has to be there. */
  async claim(lane: Lane = "loop"): Promise<Claim> {
    const claim = await this.engine.claim(lane);
    if (claim === undefined) throw new Error("there is nothing to claim");
    return claim;
  }

  /** The ids of all that can be claimed, in turn. */
  async claimAll(lane: Lane = "loop"): Promise<readonly string[]> {
    const ids: string[] = [];
    while (true) {
      const claim = await this.engine.claim(lane);
      if (claim === undefined) return ids;
      ids.push(claim.task.id);
    }
  }

  async settleDone(claim: Claim, result: string | null = null): Promise<void> {
    await this.engine.settle(claim, { kind: "done", result });
  }

  async settleFailed(claim: Claim, retry: Retry = { kind: "backoff" }): Promise<void> {
    await this.engine.settle(claim, { kind: "failed", code: "broken", message: "it broke", retry });
  }

  /** Enqueues a task and brings it to a status. The queue must be empty, so that it is its turn. */
  async enqueueIn(status: TaskStatus, request: Partial<EnqueueRequest> = {}): Promise<string> {
    if (status === "scheduled") return this.enqueue({ delayMs: 60_000, ...request });
    const id = await this.enqueue(request);
    if (status === "queued") return id;
    if (status === "cancelled") {
      await this.engine.cancel(id);
      return id;
    }
    const claim = await this.claim();
    expect(claim.task.id).toBe(id);
    if (status === "done") await this.settleDone(claim);
    if (status === "retrying") await this.settleFailed(claim);
    if (status === "failed") await this.settleFailed(claim, { kind: "never" });
    return id;
  }

  /** A task that has to be known. */
  async task(id: string): Promise<TaskView> {
    const task = await this.engine.find(id);
    if (task === undefined) throw new Error(`task ${id} is unknown`);
    return task;
  }

  async statusOf(id: string): Promise<TaskStatus> {
    return (await this.task(id)).status;
  }

  /** A queue that has to exist. */
  async queue(name = "default"): Promise<QueueReport> {
    const queue = await this.engine.queue(name);
    if (queue === undefined) throw new Error(`queue ${name} is unknown`);
    return queue;
  }

  /** The ids of all tasks that a list gives, page by page. */
  async listAll(request: Partial<ListRequest> = {}): Promise<readonly string[]> {
    const ids: string[] = [];
    let cursor: string | null | undefined;
    while (cursor !== null) {
      const answer = await this.engine.list({ limit: 500, ...request, cursor });
      if (answer.kind !== "page") throw new Error(`not a page, but ${answer.kind}`);
      ids.push(...answer.tasks.map(({ id }) => id));
      cursor = answer.nextCursor;
    }
    return ids;
  }

  /** A long poll that nothing but the engine ends before `waitMs` are over. */
  poll(id: string, waitMs = 60_000): Promise<TaskView | undefined> {
    return this.engine.waitFor(id, waitMs, new AbortController().signal);
  }

  close(): Promise<EngineRemains> {
    this.#remains ??= this.engine.close();
    return this.#remains;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
