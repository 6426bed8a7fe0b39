/**
 * What a history is played with, drawn from its seed: tight bounds, so that everything is full soon, and a mix of
 * operations of its own, so that some histories only fill, some only fail, and some never look at the clock.
 */

import type { Backoff } from "../../src/core/backoff.ts";
import type { BrokerLimits } from "../../src/core/broker.ts";
import type { Lane } from "../../src/core/lane.ts";
import type { QueueLimits } from "../../src/core/queue.ts";
import type { Prng } from "./prng.ts";

const DRAWS = [
  "enqueue",
  "enqueueWithKey",
  "batch",
  "publish",
  "withdraw",
  "restart",
  "claim",
  "settle",
  "settleStale",
  "settleAgain",
  "extend",
  "extendStale",
  "progress",
  "suspendRemote",
  "resumeRemote",
  "cancel",
  "retry",
  "pause",
  "resume",
  "purge",
  "advance",
  "stall",
  "jumpWall",
  "tick",
  "list",
] as const;

/** A kind of operation to draw, finer than the operations themselves. */
type DrawKind = (typeof DRAWS)[number];

export interface Setup {
  readonly limits: BrokerLimits;
  readonly queues: readonly string[];
  readonly priorities: readonly number[];
  readonly backoff: Backoff;
  readonly maxRetriesMax: number;
  readonly payloadBytesMax: number;
  readonly timeoutMsMax: number;
  readonly delayMsMax: number;
  readonly leaseMsMax: number;
  readonly lanes: readonly Lane[];
  /** The fence of the first claim. */
  readonly firstFence: number;
  /** Whether tasks are reserved before they are published, and the process may end and start again. */
  readonly hasJournal: boolean;
  /** So many tasks come at once at the beginning, so that a search by type does not see all of them; most often none. */
  readonly floodTasks: number;
  /** An operation stands here as often as it weighs. */
  readonly mix: readonly DrawKind[];
}

const QUEUES = ["a", "b", "c", "d", "e"];
const FOREVER_MS = 1e9;

/** So large that a history gives no fence of an earlier one again, and small enough to be read. */
export const FENCE_MAX = 1e9;

/** How often an operation is drawn in the average history. */
const WEIGHTS: Readonly<Record<DrawKind, number>> = {
  enqueue: 9,
  enqueueWithKey: 3,
  batch: 3,
  publish: 10,
  withdraw: 2,
  restart: 0.5,
  claim: 10,
  settle: 8,
  settleStale: 1,
  settleAgain: 1,
  extend: 2,
  extendStale: 0.5,
  progress: 1,
  suspendRemote: 0.3,
  resumeRemote: 0.5,
  cancel: 3,
  retry: 3,
  pause: 1,
  resume: 2,
  purge: 0.3,
  advance: 5,
  stall: 0.7,
  jumpWall: 1,
  tick: 5,
  list: 0.3,
};

/** What means something only with a journal. */
const FOR_JOURNALS: readonly DrawKind[] = ["publish", "withdraw", "restart"];

/** What means something only with remote workers. */
const FOR_REMOTE: readonly DrawKind[] = [
  "extend",
  "extendStale",
  "suspendRemote",
  "resumeRemote",
  "stall",
];

const LANES_USED: readonly (readonly Lane[])[] = [
  ["loop"],
  ["loop"],
  ["loop", "thread"],
  ["remote"],
  ["remote"],
  ["loop", "remote"],
  ["loop", "thread", "remote"],
];

/** Without these nothing would happen. */
const ALWAYS: readonly DrawKind[] = ["enqueue", "publish"];

export function drawSetup(prng: Prng): Setup {
  // Now and then a large queue, for the rings and the heaps to grow, wrap around and shrink.
  const sizeMax = prng.oneIn(24) ? 40 : 8;
  const floodTasks = prng.oneIn(1000) ? prng.whole(1005, 1020) : 0;
  const hasJournal = prng.oneIn(3);
  const queues = QUEUES.slice(0, prng.whole(1, QUEUES.length));
  const lanes = prng.pick(LANES_USED);
  return {
    limits: {
      queue: floodTasks > 0 ? FLOODED : drawQueueLimits(prng, sizeMax),
      queues: new Map(
        queues.filter(() => prng.oneIn(5)).map((name) => [name, drawQueueLimits(prng, sizeMax)]),
      ),
      queuesMax: prng.whole(1, 4),
      retainTasks: prng.whole(0, 6),
      retainBytes: prng.oneIn(2) ? FOREVER_MS : prng.whole(0, 120),
      retainMs: prng.pick([0, 50, 1000, 5000, FOREVER_MS]),
    },
    queues,
    priorities: prng.pick([[0], [0, 0, 0, 1], [-1, 0, 5], [-100, -1, 0, 1, 100]]),
    backoff: {
      baseMs: prng.pick([0, 1, 200]),
      jitterMs: prng.pick([0, 100]),
      maxMs: prng.pick([0, 250, 300_000]),
    },
    maxRetriesMax: prng.pick([0, 2, 2, 9]),
    payloadBytesMax: prng.whole(0, 12),
    timeoutMsMax: prng.pick([20, 1000, 40_000, FOREVER_MS]),
    delayMsMax: prng.pick([1, 100, 2000]),
    // Around the ten seconds that a lease has left after a start.
    leaseMsMax: prng.pick([20, 2000, 30_000]),
    lanes,
    firstFence: prng.whole(1, FENCE_MAX),
    hasJournal,
    floodTasks,
    mix: drawMix(prng, hasJournal, lanes.includes("remote")),
  };
}

const FLOODED: QueueLimits = {
  size: 2000,
  bytes: FOREVER_MS,
  concurrency: Number.POSITIVE_INFINITY,
  claims: Number.POSITIVE_INFINITY,
};

function drawQueueLimits(prng: Prng, sizeMax: number): QueueLimits {
  return {
    size: prng.whole(1, sizeMax),
    bytes: prng.oneIn(2) ? FOREVER_MS : prng.whole(0, 6 * sizeMax),
    concurrency: prng.oneIn(4) ? prng.whole(1, 3) : Number.POSITIVE_INFINITY,
    claims: prng.oneIn(3) ? prng.whole(1, 2) : Number.POSITIVE_INFINITY,
  };
}

/** Some operations come much more often than in the average history, and some not at all. */
function drawMix(prng: Prng, hasJournal: boolean, hasRemote: boolean): DrawKind[] {
  return DRAWS.flatMap((draw) => {
    if (!hasJournal && FOR_JOURNALS.includes(draw)) return [];
    if (!hasRemote && FOR_REMOTE.includes(draw)) return [];
    const share = ALWAYS.includes(draw) ? 10 : prng.pick([0, 3, 10, 10, 30]);
    return new Array<DrawKind>(Math.ceil(WEIGHTS[draw] * share)).fill(draw);
  });
}
