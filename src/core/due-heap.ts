/**
 * A binary heap of members with a due time: earliest first, and equal times in order of arrival.
 * Every member knows its index, so a cancelled one is removed at once, in O(log n), and the heap
 * never keeps dead members.
 */

import { assert } from "./assert.ts";
import { NOT_LINKED } from "./ring.ts";

/** A member of a due heap. It is in one heap at a time. */
export interface DueMember {
  /**
   * The due time, in milliseconds of the heap's clock. Must not change while the member is in the
   * heap.
   */
  dueAtMs: number;
  /** Breaks ties: the member with the smaller number entered ringq first. */
  readonly seq: number;
  /** The position in the heap, or {@link NOT_LINKED}. Only the heap writes it. */
  position: number;
}

export class DueHeap<T extends DueMember> {
  readonly #members: T[] = [];

  get size(): number {
    return this.#members.length;
  }

  /** The member with the earliest due time. It stays in the heap. */
  first(): T | undefined {
    return this.#members[0];
  }

  push(member: T): void {
    assert(member.position === NOT_LINKED, "a member enters one heap at a time");
    this.#members.push(member);
    this.#siftUp(member, this.#members.length - 1);
  }

  /** Removes a member of this heap, at any position. */
  remove(member: T): void {
    const index = member.position;
    assert(this.#members[index] === member, "only a member of this heap can be removed from it");
    member.position = NOT_LINKED;
    const last = this.#members.pop();
    if (last === undefined || last === member) return;
    // The last member fills the gap and moves to its level: at most one of the two calls moves it.
    this.#siftDown(last, index);
    this.#siftUp(last, last.position);
  }

  /** Throws when the heap is inconsistent. O(n): for tests. */
  verify(): void {
    for (const [index, member] of this.#members.entries()) {
      assert(member.position === index, "a heap's member knows its index");
      const parent = this.#members[(index - 1) >> 1];
      assert(
        index === 0 || (parent !== undefined && !isBefore(member, parent)),
        "no member is due before its parent",
      );
    }
  }

  #siftUp(member: T, from: number): void {
    let index = from;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = this.#members[parentIndex] as T;
      if (!isBefore(member, parent)) break;
      this.#put(parent, index);
      index = parentIndex;
    }
    this.#put(member, index);
  }

  #siftDown(member: T, from: number): void {
    const size = this.#members.length;
    let index = from;
    for (;;) {
      const left = 2 * index + 1;
      if (left >= size) break;
      const right = left + 1;
      const leftChild = this.#members[left] as T;
      const rightChild = this.#members[right];
      const isRightFirst = rightChild !== undefined && isBefore(rightChild, leftChild);
      const child = isRightFirst ? rightChild : leftChild;
      if (!isBefore(child, member)) break;
      this.#put(child, index);
      index = isRightFirst ? right : left;
    }
    this.#put(member, index);
  }

  #put(member: T, index: number): void {
    this.#members[index] = member;
    member.position = index;
  }
}

function isBefore(a: DueMember, b: DueMember): boolean {
  return a.dueAtMs < b.dueAtMs || (a.dueAtMs === b.dueAtMs && a.seq < b.seq);
}
