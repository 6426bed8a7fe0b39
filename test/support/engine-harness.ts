/**
 * What a contract test stands on: an engine with a manual clock, random numbers of the test's choice and a worker that
 * writes down what it hears. Every answer is awaited, since an engine may take its time.
 */

import { expect } from "bun:test";
import type { Clock } from "../../src/clock.ts";
import type { Instant, Random } from "../../src/core/instant.ts";
import type {
  AttemptOutcome,
  Backoff,
  Claim,
  ClaimAnswer,
  ClaimRequest,
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
  SettleAnswer,
  TaskStatus,
  TaskView,
  TooManyWaiting,
  TypeRules,
} from "../../src/engine/engine.ts";
import { ManualClock } from "./manual-clock.ts";

/** What every engine can be told. */
export interface EngineSettings<AnyClock extends Clock = ManualClock> {
  readonly limits: EngineLimits;
  readonly defaults: TaskDefaults;
  readonly types: ReadonlyMap<string, TypeRules>;
  readonly otherTypes: TypeRules;
  readonly clock: AnyClock;
  readonly random: Random;
}

/** What an engine may hold. */
interface EngineLimits {
  readonly queue: QueueLimits;
  /** By name, the queues with limits of their own. */
  readonly queues: ReadonlyMap<string, QueueLimits>;
  readonly queuesMax: number;
  readonly retainTasks: number;
  readonly retainBytes: number;
  readonly retainMs: number;
  readonly claimsWaitingMax: number;
}

interface TaskDefaults {
  readonly maxRetries: number;
  readonly timeoutMs: number;
  readonly backoff: Backoff;
}

export interface EngineOptions {
  readonly queueSize?: number;
  readonly queueBytes?: number;
  readonly queuesMax?: number;
  readonly retainTasks?: number;
  readonly retainMs?: number;
  readonly claimsWaitingMax?: number;
  readonly retryMaxMs?: number;
  readonly maxRetries?: number;
  readonly timeoutMs?: number;
  /** Rules by type. */
  readonly types?: Readonly<Record<string, TypeRules>>;
  readonly otherTypes?: TypeRules;
  /** Limits by queue, for those that have some of their own. */
  readonly queues?: Readonly<Record<string, Partial<QueueLimits>>>;
  readonly random?: Random;
}

export interface Revocation {
  readonly taskId: string;
  readonly fence: number;
  readonly reason: RevokeReason;
}

/** What tests ask of an engine's time. A manual clock is that, too. */
interface EngineTime {
  /** Lets so much time go by for the engine, and the event loop turn. */
  advance(ms: number): Promise<void>;
  now(): Pick<Instant, "wallMs">;
}

/** An engine and the time that it goes by. */
interface EngineUnderTest extends EngineTime {
  readonly engine: Engine;
}

/** Makes an engine. One that has no clock of its own goes by the manual clock in the settings. */
export type MakeEngine = (settings: EngineSettings) => MaybePromise<EngineUnderTest>;

/** An engine that goes by a manual clock. */
export function onManualClock(engine: Engine, clock: ManualClock): EngineUnderTest {
  return { engine, advance: (ms) => clock.advance(ms), now: () => clock.now() };
}

/** The ids of the tasks in the answer to a claim. */
export function idsOf(answer: ClaimAnswer | TooManyWaiting): string[] {
  if (answer.kind !== "claimed") throw new Error(`not claimed, but ${answer.kind}`);
  return answer.claims.map(({ taskId }) => taskId);
}

/** Opens an engine with its harness: `await using harness = await openEngine(makeEngine)`. */
export async function openEngine(
  makeEngine: MakeEngine,
  options: EngineOptions = {},
): Promise<EngineHarness> {
  const clock = new ManualClock();
  const { engine, ...time } = await makeEngine(someSettings(clock, options));
  return new EngineHarness(engine, clock, time);
}

export function someSettings<AnyClock extends Clock>(
  clock: AnyClock,
  options: EngineOptions = {},
): EngineSettings<AnyClock> {
  const queue: QueueLimits = {
    size: options.queueSize ?? 10,
    bytes: options.queueBytes ?? 10_000,
    concurrency: Number.POSITIVE_INFINITY,
    claims: Number.POSITIVE_INFINITY,
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
      claimsWaitingMax: options.claimsWaitingMax ?? 100,
    },
    defaults: {
      maxRetries: options.maxRetries ?? 3,
      timeoutMs: options.timeoutMs ?? 30_000,
      backoff: { baseMs: 200, jitterMs: 100, maxMs: options.retryMaxMs ?? 300_000 },
    },
    types: new Map(Object.entries(options.types ?? {})),
    otherTypes: options.otherTypes ?? {},
    clock,
    random: options.random ?? (() => 0),
  };
}

/** What a remote worker says of itself when it claims. */
export const REMOTE = { lane: "remote", leaseMs: 10_000, worker: "w1" } as const;

/** A type whose tasks run elsewhere, for the settings of an engine. */
export const REMOTE_TYPES: Readonly<Record<string, TypeRules>> = { remote: { lane: "remote" } };

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

export class EngineHarness implements AsyncDisposable {
  readonly engine: Engine;
  /** For tests of engines that go by a clock that they are given. */
  readonly clock: ManualClock;
  /** Hears what concerns the tasks of the event loop. */
  readonly worker = new RecordingWorker();
  readonly #time: EngineTime;
  #remains: Promise<EngineRemains> | null = null;

  constructor(engine: Engine, clock: ManualClock, time: EngineTime = clock) {
    this.engine = engine;
    this.clock = clock;
    this.#time = time;
    engine.attach("loop", this.worker);
  }

  /** The wall clock of the engine. */
  get wallMs(): number {
    return this.#time.now().wallMs;
  }

  /** Lets so much time go by for the engine. */
  advance(ms: number): Promise<void> {
    return this.#time.advance(ms);
  }

  /** A worker of another lane that writes down what it hears. */
  attach(lane: Lane): RecordingWorker {
    const worker = new RecordingWorker();
    this.engine.attach(lane, worker);
    return worker;
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

  /** Enqueues a task that runs elsewhere. The engine has to know {@link REMOTE_TYPES}. */
  enqueueRemote(request: Partial<EnqueueRequest> = {}): Promise<string> {
    return this.enqueue({ type: "remote", ...request });
  }

  /** Claims a task that has to be there: on the event loop, unless the request says otherwise. */
  async claim(request: Partial<ClaimRequest> = {}): Promise<Claim> {
    const [claim] = await this.claims({ max: 1, ...request });
    if (claim === undefined) throw new Error("there is nothing to claim");
    return claim;
  }

  /** Claims a remote task that has to be there, as a worker elsewhere does. */
  claimRemote(request: Partial<ClaimRequest> = {}): Promise<Claim> {
    return this.claim({ ...REMOTE, ...request });
  }

  /** The claims of one call, as many as there are up to `max`. */
  async claims(request: Partial<ClaimRequest> = {}): Promise<readonly Claim[]> {
    const answer = await this.engine.claim({ lane: "loop", max: 100, ...request });
    if (answer.kind !== "claimed") throw new Error(`not claimed, but ${answer.kind}`);
    return answer.claims;
  }

  /** The ids of all that can be claimed one by one, in turn. */
  async claimAll(request: Partial<ClaimRequest> = {}): Promise<readonly string[]> {
    const ids: string[] = [];
    while (true) {
      const [claim] = await this.claims({ ...request, max: 1 });
      if (claim === undefined) return ids;
      ids.push(claim.taskId);
    }
  }

  /** A claim of a remote worker that waits for up to `waitMs`. */
  async waitToClaim(
    request: Partial<ClaimRequest> = {},
    waitMs = 60_000,
    signal = new AbortController().signal,
  ): Promise<ClaimAnswer | TooManyWaiting> {
    return this.engine.claimOrWait({ ...REMOTE, max: 1, ...request }, waitMs, signal);
  }

  async settle(
    { taskId, fence }: Pick<Claim, "taskId" | "fence">,
    outcome: AttemptOutcome,
  ): Promise<SettleAnswer> {
    return this.engine.settle(taskId, fence, outcome);
  }

  settleDone(claim: Claim, result: string | null = null): Promise<SettleAnswer> {
    return this.settle(claim, { kind: "done", result });
  }

  settleFailed(claim: Claim, retry: Retry = { kind: "backoff" }): Promise<SettleAnswer> {
    return this.settle(claim, { kind: "failed", code: "broken", message: "it broke", retry });
  }

  /** Gives a task back, at once or after a delay. */
  release(claim: Claim, delayMs?: number): Promise<SettleAnswer> {
    const released = { kind: "released" } as const;
    return this.settle(claim, delayMs === undefined ? released : { ...released, delayMs });
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
    expect(claim.taskId).toBe(id);
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
