/**
 * A growable ring buffer in which every member knows its position, so that one may leave from the middle in O(1).
 *
 * Positions are absolute: the front is `#head`, the next push goes to `#tail`, and a position lives in the array at
 * `position & mask`. Leaving makes a hole; holes are passed over at the front and squeezed out when the array is full.
 * So every operation is O(1) amortised and the array never holds more than four times what the ring holds.
 */

import { assert } from "./assert.ts";

/** What a ring can hold: something with a field for its place. A member is in one ring at a time. */
export interface RingMember {
  /** The position in the ring, or {@link NOT_LINKED}. Only the ring writes it. */
  position: number;
}

/** The position of something that is in no ring. */
export const NOT_LINKED = -1;

/** Where positions start: far from 0, so that pushes to the front stay positive, and still a small integer to the engine. */
const ORIGIN = 2 ** 30;

/** Small enough that a thousand idle queues cost nothing worth counting. */
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

  /** The number of slots reserved, holes and free ones included. */
  get capacity(): number {
    return this.#mask + 1;
  }

  pushBack(member: T): void {
    if (this.#tail - this.#head > this.#mask) this.#makeRoom();
    this.#put(this.#tail, member);
    this.#tail += 1;
    this.#size += 1;
  }

  pushFront(member: T): void {
    if (this.#tail - this.#head > this.#mask) this.#makeRoom();
    this.#head -= 1;
    this.#put(this.#head, member);
    this.#size += 1;
  }

  /** The member at the front, which stays. */
  front(): T | undefined {
    return this.#size === 0 ? undefined : this.#slots[this.#head & this.#mask];
  }

  /** Takes out a member of this ring, wherever it is. */
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

  /** Front to back. The ring must not change meanwhile. */
  *[Symbol.iterator](): Generator<T> {
    for (let position = this.#head; position < this.#tail; position += 1) {
      const member = this.#slots[position & this.#mask];
      if (member !== undefined) yield member;
    }
  }

  /** Throws when the ring contradicts itself. O(capacity): for tests. */
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
    // With half of it holes, squeezing them out is room enough.
    this.#resize(this.#size * 2 > capacity ? capacity * 2 : capacity);
  }

  /** Lays the members out anew, without holes. */
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
