/**
 * A growable ring buffer. Every member knows its position, so it can be removed from the middle in
 * O(1).
 *
 * Positions are absolute: the front is `#head`, the next push goes to `#tail`, and a position is in
 * the array at `position & mask`. A removal leaves a hole; holes are skipped at the front, and
 * removed when the array is full. So every operation is O(1) amortised, and the array never has
 * more than four times as many slots as members.
 */

import { assert } from "./assert.ts";

/** A member of a ring: an object with a field for its position. It is in one ring at a time. */
export interface RingMember {
  /** The position in the ring, or {@link NOT_LINKED}. Only the ring writes it. */
  position: number;
}

/** The position of an object that is in no ring. */
export const NOT_LINKED = -1;

/**
 * The first position: far from 0, so that pushes to the front stay positive, and still a small
 * integer in the JavaScript engine.
 */
const ORIGIN = 2 ** 30;

/** Small enough that a thousand idle queues cost almost nothing. */
const CAPACITY_MIN = 16;

export class Ring<T extends RingMember> {
  #slots: (T | undefined)[] = new Array(CAPACITY_MIN).fill(undefined);
  #mask = CAPACITY_MIN - 1;
  #head = ORIGIN;
  #tail = ORIGIN;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The number of reserved slots, including holes and free slots. */
  get capacity(): number {
    return this.#mask + 1;
  }

  pushBack(member: T): void {
    if (this.#tail - this.#head > this.#mask) this.#makeRoom();
    this.#put(this.#tail, member);
    this.#tail += 1;
    this.#size += 1;
  }

  /** The member at the front. It stays in the ring. */
  front(): T | undefined {
    return this.#size === 0 ? undefined : this.#slots[this.#head & this.#mask];
  }

  /** Removes a member of this ring, at any position. */
  remove(member: T): void {
    const slot = member.position & this.#mask;
    assert(this.#slots[slot] === member, "only a member of this ring can be removed from it");
    this.#slots[slot] = undefined;
    member.position = NOT_LINKED;
    this.#size -= 1;
    if (this.#size === 0) this.#reset();
    else {
      // The front is never a hole, so that front() needs no search.
      while (this.#slots[this.#head & this.#mask] === undefined) this.#head += 1;
      if (this.#size * 8 < this.#mask) this.#resize((this.#mask + 1) / 2);
    }
  }

  /** Front to back. The ring must not change during the iteration. */
  *[Symbol.iterator](): Generator<T> {
    for (let position = this.#head; position < this.#tail; position += 1) {
      const member = this.#slots[position & this.#mask];
      if (member !== undefined) yield member;
    }
  }

  /** Throws when the ring is inconsistent. O(capacity): for tests. */
  verify(): void {
    let live = 0;
    for (let position = this.#head; position < this.#tail; position += 1) {
      const member = this.#slots[position & this.#mask];
      if (member === undefined) continue;
      assert(member.position === position, "a ring's member knows its position");
      live += 1;
    }
    assert(live === this.#size, "a ring's size counts its members");
    assert(this.#slots.length === this.#mask + 1, "a ring's mask fits its array");
    assert(
      this.#slots.filter((slot) => slot !== undefined).length === live,
      "no member hides outside the window",
    );
    assert(this.#size > 0 || this.#head === this.#tail, "an empty ring has an empty window");
    assert(this.#size === 0 || this.front() !== undefined, "the front of a ring is not a hole");
  }

  #put(position: number, member: T): void {
    assert(member.position === NOT_LINKED, "a member enters one ring at a time");
    this.#slots[position & this.#mask] = member;
    member.position = position;
  }

  #makeRoom(): void {
    const capacity = this.#mask + 1;
    // If half of the slots are holes, their removal frees enough slots.
    this.#resize(this.#size * 2 > capacity ? capacity * 2 : capacity);
  }

  /** Moves the members to a new array, without holes. */
  #resize(capacity: number): void {
    const slots: (T | undefined)[] = new Array(capacity).fill(undefined);
    let tail = ORIGIN;
    // Not by the iterator: for a million members that is several times slower.
    for (let position = this.#head; position < this.#tail; position += 1) {
      const member = this.#slots[position & this.#mask];
      if (member === undefined) continue;
      slots[tail & (capacity - 1)] = member;
      member.position = tail;
      tail += 1;
    }
    this.#slots = slots;
    this.#mask = capacity - 1;
    this.#head = ORIGIN;
    this.#tail = tail;
  }

  #reset(): void {
    if (this.#mask + 1 > CAPACITY_MIN * 4) {
      this.#slots = new Array(CAPACITY_MIN).fill(undefined);
      this.#mask = CAPACITY_MIN - 1;
    }
    this.#head = ORIGIN;
    this.#tail = ORIGIN;
  }
}
