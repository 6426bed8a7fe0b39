/**
 * Every known task by its id: a hash table with chains that run through the tasks themselves, so that one enters and
 * leaves without anything being made or searched. Both are O(1) amortised.
 *
 * A Map does the same for more time and memory; docs/DECISIONS.md has the figures. Ids are drawn by the engine, so nobody
 * can choose them to share a chain.
 */

import { assert } from "./assert.ts";

/** What the index can hold. A member is in one index at a time. */
export interface IndexMember<Self> {
  readonly id: string;
  /** The hash of the id. Kept, since a member that leaves or moves has not been looked at for long. */
  idHash: number;
  /** The next one of its chain. Only the index writes it. */
  nextById: Self | null;
}

const BUCKETS_MIN = 64;

/** The end of an id is its random part (RFC 9562); so much of it fills the 32 bits of a hash. */
const HASHED_LENGTH = 8;

export class IdIndex<T extends IndexMember<T>> {
  #buckets: (T | null)[] = new Array(BUCKETS_MIN).fill(null);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The number of chains. */
  get capacity(): number {
    return this.#buckets.length;
  }

  find(id: string): T | undefined {
    return this.#find(id, hashOf(id));
  }

  /** Takes in a member. Neither it nor another with its id may be in here. */
  add(member: T): void {
    member.idHash = hashOf(member.id);
    assert(this.#find(member.id, member.idHash) === undefined, "an id is in an index once");
    this.#size += 1;
    if (this.#size > this.#buckets.length) this.#resize(this.#buckets.length * 2);
    this.#link(member);
  }

  /** Takes out a member of this index. */
  remove(member: T): void {
    const bucket = this.#bucketOf(member.idHash);
    const first = this.#buckets[bucket] ?? null;
    if (first === member) this.#buckets[bucket] = member.nextById;
    else {
      let before = first;
      while (before !== null && before.nextById !== member) before = before.nextById;
      assert(before !== null, "only a member of this index can be removed from it");
      before.nextById = member.nextById;
    }
    member.nextById = null;
    this.#size -= 1;
    const { length } = this.#buckets;
    if (this.#size * 8 < length && length > BUCKETS_MIN) this.#resize(length / 2);
  }

  *[Symbol.iterator](): Generator<T> {
    for (const first of this.#buckets) {
      for (let member = first; member !== null; member = member.nextById) yield member;
    }
  }

  /** How many members the longest chain has. O(n): for tests. */
  longestChain(): number {
    return this.#buckets.reduce((longest, first) => Math.max(longest, lengthOf(first)), 0);
  }

  /** Throws when the index contradicts itself. O(n): for tests. */
  check(): void {
    let size = 0;
    for (const member of this) {
      assert(this.find(member.id) === member, "a member is found by its id");
      size += 1;
    }
    assert(size === this.#size, "the index counts its members");
    assert(size <= this.#buckets.length, "the chains stay short");
  }

  #find(id: string, hash: number): T | undefined {
    let member = this.#buckets[this.#bucketOf(hash)] ?? null;
    while (member !== null && member.id !== id) member = member.nextById;
    return member ?? undefined;
  }

  #link(member: T): void {
    const bucket = this.#bucketOf(member.idHash);
    member.nextById = this.#buckets[bucket] ?? null;
    this.#buckets[bucket] = member;
  }

  #bucketOf(hash: number): number {
    return hash & (this.#buckets.length - 1);
  }

  #resize(length: number): void {
    const buckets = this.#buckets;
    this.#buckets = new Array(length).fill(null);
    for (const first of buckets) {
      for (let member = first; member !== null; ) {
        const next = member.nextById;
        this.#link(member);
        member = next;
      }
    }
  }
}

function hashOf(id: string): number {
  let hash = 0;
  for (let index = Math.max(0, id.length - HASHED_LENGTH); index < id.length; index += 1) {
    hash = Math.imul(hash ^ id.charCodeAt(index), 0x9e3779b1);
  }
  // The low bits of a product know only the low bits of its factors.
  return hash ^ (hash >>> 15);
}

function lengthOf<T extends IndexMember<T>>(chain: T | null): number {
  let length = 0;
  for (let member = chain; member !== null; member = member.nextById) length += 1;
  return length;
}
