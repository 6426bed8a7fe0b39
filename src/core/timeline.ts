/**
 * Every known task in order of arrival, for listing newest first. Appending and removing are O(1) amortised: removing
 * leaves a gap, and the gaps are squeezed out once they outnumber the tasks.
 */

import { assert } from "./assert.ts";
import type { Task } from "./task.ts";

/** Fewer gaps than this are not worth a squeeze. */
const GAPS_MIN = 64;

export class Timeline {
  /** A gap keeps the number of the task that left, so that the line stays searchable. */
  readonly #line: (Task | number)[] = [];
  #gaps = 0;

  get size(): number {
    return this.#line.length - this.#gaps;
  }

  append(task: Task): void {
    task.line = this.#line.length;
    this.#line.push(task);
  }

  remove(task: Task): void {
    assert(this.#line[task.line] === task, "only a task of the timeline can be removed from it");
    this.#line[task.line] = task.seq;
    task.line = -1;
    this.#gaps += 1;
    if (this.#gaps > GAPS_MIN && this.#gaps * 2 > this.#line.length) this.#squeeze();
  }

  /** Newest first, from the newest task whose number is below `beforeSeq`. The timeline must not change meanwhile. */
  *newestFirst(beforeSeq: number): Generator<Task> {
    for (let index = this.#indexOf(beforeSeq) - 1; index >= 0; index -= 1) {
      const entry = this.#line[index];
      if (typeof entry === "object") yield entry;
    }
  }

  /** Throws when the timeline contradicts itself. O(n): for tests. */
  check(): void {
    let gaps = 0;
    let lastSeq = 0;
    for (const [index, entry] of this.#line.entries()) {
      assert(seqOf(entry) > lastSeq, "the timeline is in order of arrival");
      lastSeq = seqOf(entry);
      if (typeof entry === "number") gaps += 1;
      else assert(entry.line === index, "a task knows its index in the timeline");
    }
    assert(gaps === this.#gaps, "the timeline counts its gaps");
    assert(gaps <= GAPS_MIN || gaps * 2 <= this.#line.length, "gaps never outnumber tasks");
  }

  /** The index of the first entry whose number is at least `seq`. */
  #indexOf(seq: number): number {
    let low = 0;
    let high = this.#line.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (seqOf(this.#line[middle] as Task | number) < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #squeeze(): void {
    let index = 0;
    for (const entry of this.#line) {
      if (typeof entry === "number") continue;
      entry.line = index;
      this.#line[index] = entry;
      index += 1;
    }
    this.#line.length = index;
    this.#gaps = 0;
  }
}

function seqOf(entry: Task | number): number {
  return typeof entry === "number" ? entry : entry.seq;
}
