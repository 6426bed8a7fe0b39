/**
 * The index of all known tasks: in order of arrival, to list the newest first, and by id. Adding
 * and removing are O(1) amortised, finding is O(1) expected: a removal leaves a gap, and the gaps
 * are removed once they outnumber the tasks.
 *
 * A hash table with open addressing (Knuth, volume 3, 6.4, algorithm L) finds the ids. It contains
 * only numbers: positions and hashes. So an entry allocates nothing, the garbage collector has
 * nothing to scan, and a removal needs no look-up: the task's position becomes a gap.
 * docs/DECISIONS.md has the figures. The engine draws the ids, so a client can't choose ids that
 * collide.
 */

import { assert } from "./assert.ts";
import { NOT_LINKED } from "./ring.ts";
import type { Task } from "./task.ts";

/** Fewer gaps than this are not worth removing. */
const GAPS_MIN = 64;

/** A power of two, as every capacity is. */
const CAPACITY_MIN = 64;

/** The value of a table slot without a position. */
const FREE = 0;

/** An id ends with its random part (RFC 9562); this many characters fill the 32 bits of a hash. */
const HASHED_LENGTH = 8;

export class TaskIndex {
  /** A gap keeps the number of the removed task, so that binary search still works. */
  readonly #entries: (Task | number)[] = [];
  #gaps = 0;
  /** By position: the hash of the id of the task there, or of the removed task. */
  #hashes = new Int32Array(CAPACITY_MIN);
  /**
   * The table: each position plus one is in the first slot, from its hash on, that was free. At
   * least half of the slots are always free.
   */
  #slots = new Int32Array(CAPACITY_MIN * 2);

  get size(): number {
    return this.#entries.length - this.#gaps;
  }

  /** The number of reserved positions, including gaps and free ones. */
  get capacity(): number {
    return this.#hashes.length;
  }

  /** The task with this id. An id comes from outside and may be any value. */
  find(id: unknown): Task | undefined {
    return typeof id === "string" ? this.#find(id, hashOf(id)) : undefined;
  }

  /** Adds a task. The index must contain neither the task nor another one with its id. */
  append(task: Task): void {
    const hash = hashOf(task.id);
    assert(this.#find(task.id, hash) === undefined, "an id is indexed once");
    const position = this.#entries.length;
    if (position === this.capacity) this.#fill(emptyTable(position * 2));
    task.indexPosition = position;
    this.#entries.push(task);
    this.#hashes[position] = hash;
    this.#link(position);
  }

  remove(task: Task): void {
    assert(this.#entries[task.indexPosition] === task, "only an indexed task can be removed");
    this.#entries[task.indexPosition] = task.seq;
    task.indexPosition = NOT_LINKED;
    this.#gaps += 1;
    if (this.#gaps > GAPS_MIN && this.#gaps * 2 > this.#entries.length) this.#squeeze();
  }

  /**
   * Newest first, from the newest task whose number is below `beforeSeq`. The index must not change
   * during the iteration.
   */
  *newestFirst(beforeSeq: number): Generator<Task> {
    for (let index = this.#indexOf(beforeSeq) - 1; index >= 0; index -= 1) {
      const entry = this.#entries[index];
      if (typeof entry === "object") yield entry;
    }
  }

  /** The number of slots in the longest search for a position. O(n): for tests. */
  longestSearch(): number {
    let longest = 0;
    for (const [slot, value] of this.#slots.entries()) {
      if (value === FREE) continue;
      const steps = (slot - (this.#hashes[value - 1] as number)) & (this.#slots.length - 1);
      longest = Math.max(longest, steps + 1);
    }
    return longest;
  }

  /** Throws when the index is inconsistent. O(n): for tests. */
  verify(): void {
    let gaps = 0;
    let lastSeq = 0;
    for (const [index, entry] of this.#entries.entries()) {
      assert(seqOf(entry) > lastSeq, "the index is in order of arrival");
      lastSeq = seqOf(entry);
      if (typeof entry === "number") {
        gaps += 1;
        continue;
      }
      assert(entry.indexPosition === index, "a task knows its position in the index");
      assert(this.find(entry.id) === entry, "a task is found by its id");
    }
    assert(gaps === this.#gaps, "the index counts its gaps");
    assert(gaps <= GAPS_MIN || gaps * 2 <= this.#entries.length, "gaps never outnumber tasks");
    assert(this.#slots.length === this.capacity * 2, "half of the slots are free");
    const taken = this.#slots.reduce((count, value) => count + (value === FREE ? 0 : 1), 0);
    assert(taken === this.#entries.length, "each position is in the table once");
  }

  #find(id: string, hash: number): Task | undefined {
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const value = this.#slots[slot] as number;
      if (value === FREE) return undefined;
      // Only tasks with this hash are read: the memory of any other task may no longer be in the
      // processor's cache.
      if (this.#hashes[value - 1] !== hash) continue;
      const entry = this.#entries[value - 1];
      if (typeof entry === "object" && entry.id === id) return entry;
    }
  }

  /** Adds a position to the table. */
  #link(position: number): void {
    const mask = this.#slots.length - 1;
    let slot = (this.#hashes[position] as number) & mask;
    while (this.#slots[slot] !== FREE) slot = (slot + 1) & mask;
    this.#slots[slot] = position + 1;
  }

  /** Adds every position to a new table, which replaces the old one. */
  #fill({ hashes, slots }: Table): void {
    const { length } = this.#entries;
    hashes.set(this.#hashes.subarray(0, length));
    this.#hashes = hashes;
    this.#slots = slots;
    for (let position = 0; position < length; position += 1) this.#link(position);
  }

  /** The index of the first entry whose number is at least `seq`. */
  #indexOf(seq: number): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (seqOf(this.#entries[middle] as Task | number) < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #squeeze(): void {
    let capacity = CAPACITY_MIN;
    while (capacity < this.size * 2) capacity *= 2;
    // Most often the table has the right size, and a new one would be memory for the garbage collector.
    const table =
      capacity === this.capacity
        ? { hashes: this.#hashes, slots: this.#slots.fill(FREE) }
        : emptyTable(capacity);
    let index = 0;
    for (let from = 0; from < this.#entries.length; from += 1) {
      const entry = this.#entries[from] as Task | number;
      if (typeof entry === "number") continue;
      entry.indexPosition = index;
      this.#entries[index] = entry;
      this.#hashes[index] = this.#hashes[from] as number;
      index += 1;
    }
    this.#entries.length = index;
    this.#gaps = 0;
    this.#fill(table);
  }
}

interface Table {
  readonly hashes: Int32Array<ArrayBuffer>;
  readonly slots: Int32Array<ArrayBuffer>;
}

/**
 * A table for this many positions. It is allocated before anything moves: if there is no memory for
 * it, nothing has changed.
 */
function emptyTable(capacity: number): Table {
  return { hashes: new Int32Array(capacity), slots: new Int32Array(capacity * 2) };
}

function seqOf(entry: Task | number): number {
  return typeof entry === "number" ? entry : entry.seq;
}

function hashOf(id: string): number {
  let hash = 0;
  for (let index = Math.max(0, id.length - HASHED_LENGTH); index < id.length; index += 1) {
    hash = Math.imul(hash ^ id.charCodeAt(index), 0x9e3779b1);
  }
  // The low bits of a product depend only on the low bits of its factors.
  return hash ^ (hash >>> 15);
}
