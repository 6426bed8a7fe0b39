/**
 * The queues that exist, which of them are in use, and whose turn it is.
 *
 * A queue is made by its first task. It is in use while a task of it waits or runs, or while it is paused; only so many
 * may be in use at once. One that knows no task any more is idle, and forgotten after a while, or sooner when there are
 * many: names that come and go leave nothing behind.
 */

import { assert } from "./assert.ts";
import type { Refusal } from "./outcomes.ts";
import { Queue, type QueueLimits } from "./queue.ts";
import { LANES, type Lane, type ReadyList } from "./ready-list.ts";
import { NOT_LINKED, Ring, type RingMember } from "./ring.ts";

export interface QueueRegistryLimits {
  /** What a queue gets that has no limits of its own. */
  readonly queue: QueueLimits;
  /** The queues with limits of their own, by name. */
  readonly queues: ReadonlyMap<string, QueueLimits>;
  /** Queues in use at once, and idle ones kept at most. */
  readonly queuesMax: number;
  /** How long an idle queue is kept, with its totals. */
  readonly idleMs: number;
}

/** What a bound needs to know of a task that asks to enter. */
export interface Entrant {
  readonly queue: string;
  readonly payloadBytes: number;
}

export class QueueRegistry {
  readonly #limits: QueueRegistryLimits;
  readonly #byName = new Map<string, Queue>();
  /** The lines with something to claim, by lane. */
  readonly #turns: Readonly<Record<Lane, Ring<ReadyList>>> = {
    loop: new Ring(),
    thread: new Ring(),
  };
  readonly #idle = new Ring<Queue>();
  #inUse = 0;
  /** How many may be in use without a contradiction: more than the limit only after a restore. */
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

  /** Why these tasks may not enter, or null when all of them fit. */
  refusalOf(fresh: readonly Entrant[]): Refusal | null {
    // Most batches go to one queue, as every single task does: no need to group them.
    const queue = fresh[0]?.queue;
    if (queue !== undefined && areFor(queue, fresh)) {
      return this.#refusalOfShare(queue, fresh.length, bytesOf(fresh), 0);
    }
    let comingIntoUse = 0;
    for (const [name, share] of Map.groupBy(fresh, ({ queue }) => queue)) {
      const refusal = this.#refusalOfShare(name, share.length, bytesOf(share), comingIntoUse);
      if (refusal !== null) return refusal;
      if (this.#byName.get(name)?.isInUse !== true) comingIntoUse += 1;
    }
    return null;
  }

  /** Why a queue that is not in use may not come into use. */
  refusalOfUse(name: string): Refusal {
    return { kind: "refused", bound: "queues_max", queue: name, limit: this.#limits.queuesMax };
  }

  /** The queue of this name, made if there is none. */
  findOrMake(name: string): Queue {
    const found = this.#byName.get(name);
    if (found !== undefined) return found;
    const queue = new Queue(name, this.#limitsOf(name));
    this.#byName.set(name, queue);
    return queue;
  }

  /** Whether this queue may come into use, or is in use already. */
  mayBeInUse(queue: Queue | undefined, comingIntoUse = 0): boolean {
    return queue?.isInUse === true || this.#inUse + comingIntoUse < this.#limits.queuesMax;
  }

  /** Whether there is something to claim in this lane. */
  hasTurn(lane: Lane): boolean {
    return this.#turns[lane].size > 0;
  }

  /** The line of this lane whose turn it is, which then goes to the end. Undefined when there is nothing to claim. */
  takeTurn(lane: Lane): ReadyList | undefined {
    const turns = this.#turns[lane];
    const line = turns.front();
    if (line === undefined || turns.size === 1) return line;
    turns.remove(line);
    turns.pushBack(line);
    return line;
  }

  /**
   * Puts a queue where it belongs after it changed. To be called after every change to its load, its lines, its pause or
   * its idleness.
   */
  changed(queue: Queue, nowMs: number): void {
    this.#countUse(queue);
    const { isOpen } = queue;
    keepIf(isOpen && queue.lines.loop.size > 0, queue.lines.loop, this.#turns.loop);
    keepIf(isOpen && queue.lines.thread.size > 0, queue.lines.thread, this.#turns.thread);
    const { isIdle } = queue;
    if (isIdle && queue.place === NOT_LINKED) queue.idleSinceMs = nowMs;
    keepIf(isIdle, queue, this.#idle);
    // At once, not with the next tick: that may be as far away as the time for which idle queues are kept.
    if (isIdle && this.#idle.size > this.#limits.queuesMax) this.#forgetLongestIdle();
  }

  /** Like {@link changed}, after a place in it was given back: a queue that never had a task is gone at once. */
  withdrawn(queue: Queue, nowMs: number): void {
    if (!queue.isIdle || queue.totals.enqueued > 0) {
      this.changed(queue, nowMs);
      return;
    }
    // It goes without having been idle: there it would push out a queue that had tasks.
    this.#countUse(queue);
    this.#byName.delete(queue.name);
  }

  /** Lets as many queues be in use as were restored, should the limit be smaller: their tasks were accepted. */
  allowRestored(): void {
    this.#inUseAllowed = Math.max(this.#inUseAllowed, this.#inUse);
  }

  /** Forgets the idle queues whose time is up. */
  expire(nowMs: number): void {
    while (this.nextExpiryMs() <= nowMs) this.#forgetLongestIdle();
  }

  /** When the next idle queue is to be forgotten, in monotonic milliseconds; Infinity when none is. */
  nextExpiryMs(): number {
    const front = this.#idle.front();
    return front === undefined ? Number.POSITIVE_INFINITY : front.idleSinceMs + this.#limits.idleMs;
  }

  /** Throws when the register contradicts itself. O(n): for tests. */
  check(): void {
    for (const lane of LANES) this.#turns[lane].check();
    this.#idle.check();
    const turns = new Set(LANES.flatMap((lane) => [...this.#turns[lane]]));
    const idle = new Set(this.#idle);
    let inUse = 0;
    for (const queue of this.#byName.values()) {
      queue.check();
      if (queue.isInUse) inUse += 1;
      const hasWork = queue.load > 0 || queue.isPaused;
      assert(queue.isInUse === hasWork, "a queue is in use while it has work or is paused");
      for (const lane of LANES) {
        const line = queue.lines[lane];
        const isClaimable = queue.isOpen && line.size > 0;
        assert(turns.has(line) === isClaimable, "exactly the lines with something to claim turn");
      }
      assert(idle.has(queue) === queue.isIdle, "exactly the queues without tasks are idle");
    }
    assert(inUse === this.#inUse, "the register counts the queues in use");
    assert(inUse <= this.#inUseAllowed, "no more queues are in use than may be");
    assert(idle.size <= this.#limits.queuesMax, "no more idle queues are kept than may be");
    for (const queue of [...Array.from(turns, (line) => line.queue), ...idle]) {
      assert(this.#byName.get(queue.name) === queue, "a forgotten queue is in no ring");
    }
  }

  #countUse(queue: Queue): void {
    const isInUse = queue.load > 0 || queue.isPaused;
    if (isInUse === queue.isInUse) return;
    queue.isInUse = isInUse;
    this.#inUse += isInUse ? 1 : -1;
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
    tasks: number,
    bytes: number,
    comingIntoUse: number,
  ): Refusal | null {
    const queue = this.#byName.get(name);
    if (!this.mayBeInUse(queue, comingIntoUse)) return this.refusalOfUse(name);
    const limits = queue?.limits ?? this.#limitsOf(name);
    const held = queue === undefined ? 0 : queue.waiting + queue.reserved;
    if (held + tasks > limits.size) {
      return { kind: "refused", bound: "queue_size", queue: name, limit: limits.size };
    }
    const heldBytes = queue === undefined ? 0 : queue.waitingBytes + queue.reservedBytes;
    if (heldBytes + bytes > limits.bytes) {
      return { kind: "refused", bound: "queue_bytes", queue: name, limit: limits.bytes };
    }
    return null;
  }
}

function areFor(queue: string, fresh: readonly Entrant[]): boolean {
  for (let index = 1; index < fresh.length; index += 1) {
    if (fresh[index]?.queue !== queue) return false;
  }
  return true;
}

function bytesOf(share: readonly Entrant[]): number {
  let bytes = 0;
  for (let index = 0; index < share.length; index += 1) {
    bytes += (share[index] as Entrant).payloadBytes;
  }
  return bytes;
}

/** Puts a member into its ring, or takes it out. */
function keepIf<T extends RingMember>(isIn: boolean, member: T, ring: Ring<T>): void {
  if (isIn === (member.place !== NOT_LINKED)) return;
  if (isIn) ring.pushBack(member);
  else ring.remove(member);
}
