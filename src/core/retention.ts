/**
 * The finished tasks that are kept for reading, in the order in which they finished, and the rule
 * for forgetting them: by number, by bytes and by age, the oldest first.
 */

import { assert } from "./assert.ts";
import { Ring } from "./ring.ts";
import type { Task } from "./task.ts";

export interface RetentionLimits {
  readonly tasks: number;
  /**
   * Payload and result bytes. Without this bound, many large finished tasks would use more memory
   * than all waiting ones.
   */
  readonly bytes: number;
  readonly ageMs: number;
}

export class Retention {
  readonly #limits: RetentionLimits;
  readonly #finished = new Ring<Task>();
  #bytes = 0;

  constructor(limits: RetentionLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#finished.size;
  }

  add(task: Task, nowMs: number): void {
    task.dueAtMs = nowMs + this.#limits.ageMs;
    this.#finished.pushBack(task);
    this.#bytes += task.retainedBytes;
  }

  remove(task: Task): void {
    this.#finished.remove(task);
    this.#bytes -= task.retainedBytes;
  }

  /** The next task to forget now, if any. It stays until it is removed. */
  nextToForget(nowMs: number): Task | undefined {
    const oldest = this.#finished.front();
    if (oldest === undefined) return undefined;
    const isOver = this.#finished.size > this.#limits.tasks || this.#bytes > this.#limits.bytes;
    return isOver || oldest.dueAtMs <= nowMs ? oldest : undefined;
  }

  /**
   * The time when the next task is forgotten for its age, in monotonic milliseconds; Infinity when
   * none is.
   */
  nextExpiryMs(): number {
    return this.#finished.front()?.dueAtMs ?? Number.POSITIVE_INFINITY;
  }

  /** Throws when the retention is inconsistent. O(n): for tests. */
  verify(): void {
    this.#finished.verify();
    let bytes = 0;
    for (const task of this.#finished) bytes += task.retainedBytes;
    assert(bytes === this.#bytes, "retention counts its bytes");
    assert(this.#finished.size <= this.#limits.tasks, "retention keeps no more tasks than it may");
    assert(bytes <= this.#limits.bytes, "retention keeps no more bytes than it may");
  }
}
