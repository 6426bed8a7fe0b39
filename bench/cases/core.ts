/**
 * One measurement of a structure in this process: `<structure> <waiting> <retained> <operations>`. It fills the structure
 * with what waits, then lets as much leave as enters, and prints the nanoseconds that one of each takes together.
 */

import { Broker } from "../../src/core/broker.ts";
import { DueHeap } from "../../src/core/due-heap.ts";
import { NOT_LINKED, Ring } from "../../src/core/ring.ts";
import { type NewTask, NO_TAGS } from "../../src/core/task.ts";
import type { Claim, MaybePromise } from "../../src/engine/engine.ts";
import { createMemoryEngine } from "../../src/engine/memory/engine.ts";

interface Size {
  readonly waiting: number;
  readonly retained: number;
}

/** Lets this many leave and enter, and says how many milliseconds that took. */
type Run = (operations: number) => number;

const STRUCTURES: Readonly<Record<string, (size: Size) => Run | Promise<Run>>> = {
  broker: brokerRun,
  engine: engineRun,
  ring: ringRun,
  heap: heapRun,
  flatqueue: flatqueueRun,
  tinyqueue: tinyqueueRun,
};

const PAYLOAD = { to: "ada@example.com", template: "welcome", locale: "en" };
const BACKOFF = { baseMs: 200, jitterMs: 100, maxMs: 300_000 };
const TIMEOUT_MS = 30_000;
const IDS_AT_ONCE = 1000;
const DONE = { kind: "done", result: null } as const;
const CLAIM_REQUEST = { lane: "loop", max: 1 } as const;

/** As an engine draws it: in the middle of the numbers below 2⁵², beyond those that are small to the compiler. */
const FIRST_FENCE = 2 ** 51;

/** In the heaps everything is due within this time; the earliest leaves and comes back up to this much later. */
const SPAN_MS = 60_000;

const [structure = "", waiting, retained, operations] = process.argv.slice(2);
const make = STRUCTURES[structure];
if (make === undefined) throw new Error(`there is no structure ${structure}`);
const run = await make({ waiting: Number(waiting), retained: Number(retained) });
const count = Number(operations);
// Before it counts, the compiler has seen everything and what is retained is full.
run(Math.max(count / 2, 2 * Number(retained)));
Bun.gc(true);
console.log((run(count) * 1_000_000) / count);
// The engine's timer, armed for the leases, would keep the process.
process.exit(0);

/** The core, driven as the engine drives it: tasks are checked and have ids when they arrive, and so do the times. */
function brokerRun(size: Size): Run {
  const observer = { onStep: () => undefined, onRevoke: () => undefined };
  const broker = new Broker(limitsOf(size), observer, FIRST_FENCE);
  const payload = JSON.stringify(PAYLOAD);
  let monoMs = 0;
  const now = () => {
    monoMs += 0.0005;
    return { monoMs, wallMs: 1_700_000_000_000 + monoMs };
  };
  const newTask = (id: string): NewTask => ({
    id,
    type: "noop",
    queue: "default",
    tags: NO_TAGS,
    payload,
    payloadBytes: payload.length,
    priority: 0,
    maxRetries: 3,
    timeoutMs: TIMEOUT_MS,
    lane: "loop",
    backoff: BACKOFF,
    when: { kind: "now" },
  });
  const enqueue = (id: string): void => {
    const outcome = broker.enqueue([newTask(id)], now());
    if (outcome.kind !== "accepted") throw new Error(outcome.kind);
  };
  for (let index = 0; index < size.waiting; index += 1) enqueue(Bun.randomUUIDv7());
  return (operations) => {
    // Making ids is the engine's work, so the clock does not run for it. A few at a time: an id is fresh when it is used.
    let ms = 0;
    for (let left = operations; left > 0; left -= IDS_AT_ONCE) {
      const count = Math.min(left, IDS_AT_ONCE);
      const ids = Array.from({ length: count }, () => Bun.randomUUIDv7());
      ms += timed(() => {
        for (const id of ids) {
          enqueue(id);
          const [task] = broker.claim(CLAIM_REQUEST, now());
          if (task === undefined) throw new Error("there is nothing to claim");
          broker.settle(task.id, task.fence, DONE, now(), Math.random);
        }
      });
    }
    return ms;
  };
}

/** The engine in memory: the core with ids, the payload's text and depth, and the system's clocks. */
function engineRun(size: Size): Run {
  const engine = createMemoryEngine({
    limits: { ...limitsOf(size), claimsWaitingMax: 1 },
    defaults: { maxRetries: 3, timeoutMs: TIMEOUT_MS, backoff: BACKOFF },
  });
  const enqueue = (): void => {
    const { kind } = atOnce(engine.enqueue([{ payload: PAYLOAD, type: "noop" }]));
    if (kind !== "accepted") throw new Error(kind);
  };
  const claim = (): Claim => {
    const answer = atOnce(engine.claim(CLAIM_REQUEST));
    const first = answer.kind === "claimed" ? answer.claims[0] : undefined;
    if (first === undefined) throw new Error("there is nothing to claim");
    return first;
  };
  for (let index = 0; index < size.waiting; index += 1) enqueue();
  return (operations) =>
    timed(() => {
      for (let index = 0; index < operations; index += 1) {
        enqueue();
        const { taskId, fence } = claim();
        atOnce(engine.settle(taskId, fence, { kind: "done", result: null }));
      }
    });
}

/** First in, first out. */
function ringRun({ waiting }: Size): Run {
  const ring = new Ring<{ position: number }>();
  for (let index = 0; index < waiting; index += 1) ring.pushBack({ position: NOT_LINKED });
  return (operations) =>
    timed(() => {
      for (let index = 0; index < operations; index += 1) {
        const member = ring.front();
        if (member === undefined) throw new Error("the ring is empty");
        ring.remove(member);
        ring.pushBack(member);
      }
    });
}

function heapRun({ waiting }: Size): Run {
  const heap = new DueHeap<{ dueAtMs: number; seq: number; position: number }>();
  for (let seq = 0; seq < waiting; seq += 1) {
    heap.push({ dueAtMs: Math.random() * SPAN_MS, seq, position: NOT_LINKED });
  }
  return (operations) =>
    timed(() => {
      for (let index = 0; index < operations; index += 1) {
        const first = heap.first();
        if (first === undefined) throw new Error("the heap is empty");
        heap.remove(first);
        first.dueAtMs += Math.random() * SPAN_MS;
        heap.push(first);
      }
    });
}

async function flatqueueRun({ waiting }: Size): Promise<Run> {
  const { default: FlatQueue } = await import("flatqueue");
  const queue = new FlatQueue<number>();
  for (let id = 0; id < waiting; id += 1) queue.push(id, Math.random() * SPAN_MS);
  return (operations) =>
    timed(() => {
      for (let index = 0; index < operations; index += 1) {
        const dueAtMs = queue.peekValue() ?? 0;
        const first = queue.pop();
        if (first === undefined) throw new Error("the queue is empty");
        queue.push(first, dueAtMs + Math.random() * SPAN_MS);
      }
    });
}

async function tinyqueueRun({ waiting }: Size): Promise<Run> {
  const { default: TinyQueue } = await import("tinyqueue");
  const queue = new TinyQueue<{ dueAtMs: number }>([], (a, b) => a.dueAtMs - b.dueAtMs);
  for (let index = 0; index < waiting; index += 1) {
    queue.push({ dueAtMs: Math.random() * SPAN_MS });
  }
  return (operations) =>
    timed(() => {
      for (let index = 0; index < operations; index += 1) {
        const first = queue.pop();
        if (first === undefined) throw new Error("the queue is empty");
        first.dueAtMs += Math.random() * SPAN_MS;
        queue.push(first);
      }
    });
}

function limitsOf({ waiting, retained }: Size) {
  return {
    queue: {
      size: waiting + 2,
      bytes: 2 ** 40,
      concurrency: Number.POSITIVE_INFINITY,
      claims: Number.POSITIVE_INFINITY,
    },
    queues: new Map(),
    queuesMax: 1000,
    retainTasks: retained,
    retainBytes: 2 ** 26,
    retainMs: 3_600_000,
  };
}

/** An answer of the engine in memory, which has it at once. */
function atOnce<T>(answer: MaybePromise<T>): T {
  if (answer instanceof Promise) throw new Error("the engine in memory makes nobody wait");
  return answer;
}

function timed(work: () => void): number {
  const startedMs = performance.now();
  work();
  return performance.now() - startedMs;
}
