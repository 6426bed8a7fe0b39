/**
 * What the core's tests are built from: a task, a queue and a broker with room for everything, where each test says
 * only what matters to it.
 */

import { Broker, type BrokerLimits, type BrokerObserver } from "../../src/core/broker.ts";
import type { KeyRecord } from "../../src/core/idempotency.ts";
import type { Instant } from "../../src/core/instant.ts";
import type { AttemptOutcome, ClaimRequest, SettleOutcome } from "../../src/core/outcomes.ts";
import { Queue, type QueueLimits } from "../../src/core/queue.ts";
import type { SavedTask } from "../../src/core/snapshot.ts";
import {
  INITIAL_STATE,
  type NewTask,
  NO_TAGS,
  settingsOf,
  Task,
  type TaskState,
} from "../../src/core/task.ts";

const UNBOUNDED = Number.POSITIVE_INFINITY;

/** Both readings are arbitrary and far from each other, so that code which takes one for the other is found out. */
const MONO_MS = 5000;
const WALL_MS = Date.UTC(2026, 0, 1);

/** So many milliseconds after the moment at which every test begins. The wall clock may have jumped meanwhile. */
export function at(ms: number, wallJumpMs = 0): Instant {
  return { monoMs: MONO_MS + ms, wallMs: WALL_MS + ms + wallJumpMs };
}

export function someLimits(limits: Partial<QueueLimits> = {}): QueueLimits {
  return { size: 100, bytes: 10_000, concurrency: UNBOUNDED, claims: UNBOUNDED, ...limits };
}

export function aQueue(limits: Partial<QueueLimits> = {}, name = "default"): Queue {
  return new Queue(name, someLimits(limits));
}

export function aNewTask(fresh: Partial<NewTask> = {}): NewTask {
  return {
    id: "t",
    type: "default",
    queue: "default",
    tags: NO_TAGS,
    payload: "null",
    payloadBytes: 4,
    priority: 0,
    maxRetries: 3,
    timeoutMs: 30_000,
    lane: "loop",
    backoff: { baseMs: 200, jitterMs: 100, maxMs: 300_000 },
    when: { kind: "now" },
    ...fresh,
  };
}

export interface TaskOptions extends Partial<Omit<NewTask, "queue">> {
  readonly seq?: number;
  readonly queue?: Queue;
  readonly key?: KeyRecord;
}

/** Tasks are numbered and queued in the same order unless a test queues them otherwise. */
export function aTask({ seq = 1, queue = aQueue(), key, ...fresh }: TaskOptions = {}): Task {
  const spec = aNewTask({ id: `t${seq}`, queue: queue.name, ...fresh });
  const task = new Task(spec, settingsOf(spec, null), seq, queue, key ?? null, WALL_MS);
  task.order = seq;
  return task;
}

/** Tasks numbered from 1. */
export function someTasks(count: number, options: TaskOptions = {}): Task[] {
  const queue = options.queue ?? aQueue();
  return Array.from({ length: count }, (_, index) => aTask({ ...options, queue, seq: index + 1 }));
}

/** Far from every number of an attempt, so that code which takes one for the other is found out. */
export const FIRST_FENCE = 7001;

const DEAF: BrokerObserver = { onStep: () => undefined, onRevoke: () => undefined };

export interface BrokerOptions extends Partial<Omit<BrokerLimits, "queue" | "queues">> {
  readonly queue?: Partial<QueueLimits>;
  /** The queues with limits of their own. */
  readonly queues?: Readonly<Record<string, Partial<QueueLimits>>>;
}

export function aBroker(
  { queue = {}, queues = {}, ...rest }: BrokerOptions = {},
  observer: BrokerObserver = DEAF,
): Broker {
  return new Broker(
    {
      queue: someLimits(queue),
      queues: new Map(Object.entries(queues).map(([name, own]) => [name, someLimits(own)])),
      queuesMax: 10,
      retainTasks: 100,
      retainBytes: 10_000,
      retainMs: 60_000,
      ...rest,
    },
    observer,
    FIRST_FENCE,
  );
}

/** A random source that always gives the least: no jitter. */
export const NO_CHANCE = (): number => 0;

export const DONE: AttemptOutcome = { kind: "done", result: null };
export const RELEASED: AttemptOutcome = { kind: "released" };
export const BROKEN: AttemptOutcome & { readonly kind: "failed" } = {
  kind: "failed",
  code: "broken",
  message: "it broke",
  retry: { kind: "backoff" },
};

/** Enqueues one task, which has to be accepted. */
export function enqueue(
  broker: Broker,
  id: string,
  fresh: Partial<NewTask> = {},
  now = at(0),
): void {
  const outcome = broker.enqueue([aNewTask({ id, ...fresh })], now);
  if (outcome.kind !== "accepted") throw new Error(`not accepted, but ${outcome.kind}`);
}

/** Claims a task, which has to be there: of the loops, unless the request says otherwise. */
export function claim(
  broker: Broker,
  now: Instant = at(0),
  request: Partial<ClaimRequest> = {},
): Task {
  const [task] = broker.claim({ lane: "loop", max: 1, ...request }, now);
  if (task === undefined) throw new Error("there is nothing to claim");
  return task;
}

/** The ids of everything that can be claimed, in turn. */
export function claimAll(broker: Broker, request: Partial<ClaimRequest> = {}): string[] {
  const all = { lane: "loop", max: Number.POSITIVE_INFINITY, ...request } as const;
  return broker.claim(all, at(0)).map(({ id }) => id);
}

/** Settles the claim that holds a task. */
export function settle(
  broker: Broker,
  { id, fence }: Task,
  outcome: AttemptOutcome = DONE,
  now: Instant = at(0),
): SettleOutcome {
  return broker.settle(id, fence, outcome, now, NO_CHANCE);
}

/** A task as an earlier process left it: queued, unless a test says otherwise. */
export function aSavedTask({
  seq,
  ...saved
}: Partial<SavedTask> & { readonly seq: number }): SavedTask {
  const { when: _, ...spec } = aNewTask();
  return {
    ...spec,
    ...INITIAL_STATE,
    id: `t${seq}`,
    seq,
    key: null,
    enqueuedAtMs: at(-1000).wallMs,
    claim: null,
    ...saved,
  };
}

/** The timeout of {@link aRemoteClaim}, and the length of its lease. */
export const TIMEOUT_MS = 100_000;
export const LEASE_MS = 20_000;

/** A broker whose task "a" a remote worker has claimed at the beginning, together with what its observer hears. */
export function aRemoteClaim(
  task: Partial<NewTask> = {},
  request: Partial<ClaimRequest> = {},
  options: BrokerOptions = {},
): { readonly broker: Broker; readonly heard: string[]; readonly task: Task } {
  const heard: string[] = [];
  const broker = aBroker(options, {
    onStep: ({ id, status }, from) => heard.push(`${id}: ${from ?? "new"} → ${status}`),
    onRevoke: ({ id }, fence, reason) => heard.push(`${id}: revoked ${fence}, ${reason}`),
  });
  enqueue(broker, "a", { lane: "remote", timeoutMs: TIMEOUT_MS, ...task });
  const claimed = claimRemote(broker, at(0), request);
  heard.length = 0;
  return { broker, heard, task: claimed };
}

/** Claims a task for a remote worker. */
export function claimRemote(
  broker: Broker,
  now = at(0),
  request: Partial<ClaimRequest> = {},
): Task {
  return claim(broker, now, { lane: "remote", leaseMs: LEASE_MS, worker: "w1", ...request });
}

/** The stored part of a task, by value. */
export function stateOf(task: Task): TaskState {
  return {
    status: task.status,
    attempt: task.attempt,
    failures: task.failures,
    losses: task.losses,
    runAtMs: task.runAtMs,
    isDueByWall: task.isDueByWall,
    startedAtMs: task.startedAtMs,
    finishedAtMs: task.finishedAtMs,
    result: task.result,
    progress: task.progress,
    errors: task.errors,
    settledFence: task.settledFence,
    receipt: task.receipt,
  };
}
