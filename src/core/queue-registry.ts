/**
 * The registry of queues: which exist, which are in use, and which is next.
 *
 * The first task of a queue creates it. A queue is in use while one of its tasks waits or runs, or
 * while it is paused; the number of queues in use is bounded. A queue without tasks is idle. It is
 * forgotten after a while, or sooner when there are many, so that short-lived names do not fill the
 * memory.
 */

import { assert } from "./assert.ts";
import { LANES, type Lane } from "./lane.ts";
import type { Refusal } from "./outcomes.ts";
import { Queue, type QueueLimits } from "./queue.ts";
import type { ReadyList } from "./ready-list.ts";
import { NOT_LINKED, Ring, type RingMember } from "./ring.ts";
import { boundPassed } from "./rules.ts";
import type { TaskSpec } from "./task.ts";

export interface QueueRegistryLimits {
  /** The limits of a queue without its own limits. */
  readonly queue: QueueLimits;
  /** The queues with their own limits, by name. */
  readonly queues: ReadonlyMap<string, QueueLimits>;
  /** The largest number of queues in use at once, and of idle queues that are kept. */
  readonly queuesMax: number;
  /** The time for which an idle queue is kept, with its totals. */
  readonly idleMs: number;
}

/** The part of a new task that the bounds need. */
export type Entrant = Pick<TaskSpec, "queue" | "payloadBytes">;

export class QueueRegistry {
  readonly #limits: QueueRegistryLimits;
  readonly #byName = new Map<string, Queue>();
  /** The lists with claimable tasks, by lane. They take turns. */
  readonly #ready: Readonly<Record<Lane, Ring<ReadyList>>> = {
    loop: new Ring(),
    thread: new Ring(),
    remote: new Ring(),
  };
  readonly #idle = new Ring<Queue>();
  #inUse = 0;
  /** The number of queues that may be in use. It exceeds the limit only after a restore. */
  #inUseAllowed: number;

  constructor(limits: QueueRegistryLimits) {
    this.#limits = limits;
    this.#inUseAllowed = limits.queuesMax;
  }

  get size(): number {
    return this.#byName.size;
  }

  find(name: string): Queue | undefined {
    return this.#byName.get(name);
  }

  all(): Iterable<Queue> {
    return this.#byName.values();
  }

  /** The refusal of these tasks, or null when all of them fit. */
  refusalOf(entrants: readonly Entrant[]): Refusal | null {
    // Most batches go to one queue, like every single task: these need no grouping.
    const queue = entrants[0]?.queue;
    if (queue !== undefined && areFor(queue, entrants)) {
      return this.#refusalOfShare(queue, entrants, 0);
    }
    let comingIntoUse = 0;
    for (const [name, share] of Map.groupBy(entrants, ({ queue }) => queue)) {
      const refusal = this.#refusalOfShare(name, share, comingIntoUse);
      if (refusal !== null) return refusal;
      if (this.#byName.get(name)?.isInUse !== true) comingIntoUse += 1;
    }
    return null;
  }

  /** The queue with this name; created if it does not exist. */
  findOrMake(name: string): Queue {
    const found = this.#byName.get(name);
    if (found !== undefined) return found;
    const queue = new Queue(name, this.#limitsOf(name));
    this.#byName.set(name, queue);
    return queue;
  }

  /** Whether this queue is in use, or may come into use. */
  mayBeInUse(queue: Queue | undefined, comingIntoUse = 0): boolean {
    return queue?.isInUse === true || this.#inUse + comingIntoUse < this.#limits.queuesMax;
  }

  /** The refusal of one more queue in use. */
  queuesRefusal(queue: string): Refusal {
    return { kind: "refused", bound: "queues_max", limit: this.#limits.queuesMax, queue };
  }

  /** Whether this lane has a claimable task. */
  hasReady(lane: Lane): boolean {
    return this.#ready[lane].size > 0;
  }

  /**
   * The next list of this lane, which then goes to the end. Undefined when nothing is claimable.
   */
  nextReady(lane: Lane): ReadyList | undefined {
    const ring = this.#ready[lane];
    const list = ring.front();
    if (list !== undefined) this.moveToBack(list);
    return list;
  }

  /**
   * The lists of this lane with claimable tasks, the next one first. They must not change during
   * the iteration.
   */
  readyLists(lane: Lane): Iterable<ReadyList> {
    return this.#ready[lane];
  }

  /** Moves a list behind all others of its lane. */
  moveToBack(list: ReadyList): void {
    const ring = this.#ready[list.lane];
    if (ring.size === 1) return;
    ring.remove(list);
    ring.pushBack(list);
  }

  /**
   * Moves a queue to the structures of its new state. Call it after every change to its counts, its
   * ready lists, its pause or its idleness. If only the ready list of one lane may have changed,
   * name that lane.
   */
  changed(queue: Queue, nowMs: number, lane?: Lane): void {
    this.#countUse(queue);
    const {
      isOpen,
      ready: { loop, thread, remote },
    } = queue;
    if (lane === undefined || isOpen !== queue.wasOpen) {
      keepIf(isOpen && loop.size > 0, loop, this.#ready.loop);
      keepIf(isOpen && thread.size > 0, thread, this.#ready.thread);
      queue.wasOpen = isOpen;
    } else if (lane !== "remote") {
      const list = queue.ready[lane];
      keepIf(isOpen && list.size > 0, list, this.#ready[lane]);
    }
    // Always: the end of a remote claim may let remote tasks start although the task of the claim
    // has another lane now.
    keepIf(remote.size > 0 && queue.isOpenTo("remote"), remote, this.#ready.remote);
    const { isIdle } = queue;
    if (isIdle && queue.position === NOT_LINKED) queue.idleSinceMs = nowMs;
    keepIf(isIdle, queue, this.#idle);
    // At once, not with the next tick: that may come only after the retention time of idle queues.
    if (isIdle && this.#idle.size > this.#limits.queuesMax) this.#forgetLongestIdle();
  }

  /**
   * Like {@link changed}, after a reservation was withdrawn: a queue that never had a task is
   * forgotten at once.
   */
  withdrawn(queue: Queue, nowMs: number): void {
    if (!queue.isIdle || queue.totals.enqueued > 0) {
      this.changed(queue, nowMs);
      return;
    }
    // It is forgotten without being idle: as an idle queue, it would displace one that had tasks.
    this.#countUse(queue);
    this.#byName.delete(queue.name);
  }

  /**
   * Allows the restored numbers of queues in use and of running tasks, even if the limits are
   * smaller now: the tasks were accepted, and remote claims continue.
   */
  allowRestored(): void {
    this.#inUseAllowed = Math.max(this.#inUseAllowed, this.#inUse);
    for (const queue of this.#byName.values()) {
      queue.runningAllowed = Math.max(queue.runningAllowed, queue.counts.running);
      queue.claimsAllowed = Math.max(queue.claimsAllowed, queue.claims);
    }
  }

  /** Forgets the idle queues whose time is over. */
  expire(nowMs: number): void {
    while (this.nextExpiryMs() <= nowMs) this.#forgetLongestIdle();
  }

  /**
   * The time when the next idle queue is forgotten, in monotonic milliseconds; Infinity when none
   * is.
   */
  nextExpiryMs(): number {
    const front = this.#idle.front();
    return front === undefined ? Number.POSITIVE_INFINITY : front.idleSinceMs + this.#limits.idleMs;
  }

  /** Throws when the registry is inconsistent. O(n): for tests. */
  verify(): void {
    for (const lane of LANES) this.#ready[lane].verify();
    this.#idle.verify();
    const ready = new Set(LANES.flatMap((lane) => [...this.#ready[lane]]));
    const idle = new Set(this.#idle);
    let inUse = 0;
    for (const queue of this.#byName.values()) {
      queue.verify();
      if (queue.isInUse) inUse += 1;
      assert(queue.isInUse === queue.hasUse, "a queue is in use while it has work or is paused");
      for (const lane of LANES) {
        const list = queue.ready[lane];
        const isClaimable = queue.isOpenTo(lane) && list.size > 0;
        assert(ready.has(list) === isClaimable, "exactly the claimable lists take turns");
      }
      assert(idle.has(queue) === queue.isIdle, "exactly the queues without tasks are idle");
    }
    assert(inUse === this.#inUse, "the registry counts the queues in use");
    assert(inUse <= this.#inUseAllowed, "no more queues are in use than may be");
    assert(idle.size <= this.#limits.queuesMax, "no more idle queues are kept than may be");
    for (const queue of [...Array.from(ready, (list) => list.queue), ...idle]) {
      assert(this.#byName.get(queue.name) === queue, "a forgotten queue is in no ring");
    }
  }

  #countUse(queue: Queue): void {
    const { hasUse } = queue;
    if (hasUse === queue.isInUse) return;
    queue.isInUse = hasUse;
    this.#inUse += hasUse ? 1 : -1;
  }

  #forgetLongestIdle(): void {
    const front = this.#idle.front();
    assert(front !== undefined, "only an idle queue is forgotten");
    this.#idle.remove(front);
    this.#byName.delete(front.name);
  }

  #limitsOf(name: string): QueueLimits {
    return this.#limits.queues.get(name) ?? this.#limits.queue;
  }

  #refusalOfShare(
    name: string,
    entrants: readonly Entrant[],
    comingIntoUse: number,
  ): Refusal | null {
    const queue = this.#byName.get(name);
    if (!this.mayBeInUse(queue, comingIntoUse)) return this.queuesRefusal(name);
    const limits = queue?.limits ?? this.#limitsOf(name);
    const heldTasks = queue === undefined ? 0 : queue.waiting + queue.reserved;
    const heldBytes = queue === undefined ? 0 : queue.waitingBytes + queue.reservedBytes;
    const bound = boundPassed(limits, heldTasks, heldBytes, entrants.length, bytesOf(entrants));
    if (bound === null) return null;
    const limit = bound === "queue_size" ? limits.size : limits.bytes;
    return { kind: "refused", bound, limit, queue: name };
  }
}

function areFor(queue: string, entrants: readonly Entrant[]): boolean {
  for (let index = 1; index < entrants.length; index += 1) {
    if (entrants[index]?.queue !== queue) return false;
  }
  return true;
}

function bytesOf(entrants: readonly Entrant[]): number {
  let bytes = 0;
  for (let index = 0; index < entrants.length; index += 1) {
    bytes += (entrants[index] as Entrant).payloadBytes;
  }
  return bytes;
}

/** Adds a member to its ring, or removes it. */
function keepIf<T extends RingMember>(isIn: boolean, member: T, ring: Ring<T>): void {
  if (isIn === (member.position !== NOT_LINKED)) return;
  if (isIn) ring.pushBack(member);
  else ring.remove(member);
}
