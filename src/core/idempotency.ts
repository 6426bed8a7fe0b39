/**
 * The idempotency keys: each with the fingerprint of its request and the receipts of its tasks.
 *
 * A key is kept while any of its tasks is unfinished, and then as long as finished tasks are kept
 * at most; a flood of tasks without keys removes none. The number of ids in the finished keys is
 * bounded.
 */

import { assert } from "./assert.ts";
import type { Instant } from "./instant.ts";
import { NOT_LINKED, Ring } from "./ring.ts";

/** The id and status of a task at the time it was accepted. */
export interface Receipt {
  readonly id: string;
  readonly status: "queued" | "scheduled";
}

export interface KeyRecord {
  readonly key: string;
  /** Distinguishes a repeated request from a different one with the same key. */
  readonly fingerprint: string;
  /** The answer to the first request. */
  readonly receipts: readonly Receipt[];
  /** The number of its first task, which is unique to this key. */
  readonly seq: number;
  /** The number of its unfinished tasks. */
  unfinished: number;
  /** Wall-clock time when the last of its tasks finished; null before. */
  finishedAtMs: number | null;
  /** Monotonic time when the key is forgotten, once all its tasks are finished. */
  forgetAtMs: number;
  position: number;
}

/** Receives the changes of keys, at once and in order. */
export interface KeyObserver {
  /** The last unfinished task of a key has finished, or one of them will run again. */
  onKeyChange?(key: KeyRecord): void;
  onKeyForget?(key: KeyRecord): void;
}

/** The record of a key whose tasks are about to be made. The first of them has the number `seq`. */
export function newKey(
  key: string,
  fingerprint: string,
  receipts: readonly Receipt[],
  seq: number,
): KeyRecord {
  return {
    key,
    fingerprint,
    receipts,
    seq,
    unfinished: receipts.length,
    finishedAtMs: null,
    forgetAtMs: 0,
    position: NOT_LINKED,
  };
}

/**
 * The age of something by the wall clock. It is never negative, even if the clock was set back
 * since.
 */
export function ageOf(wallMs: number, now: Instant): number {
  return Math.max(0, now.wallMs - wallMs);
}

export interface KeyLimits {
  /** The largest number of ids in the keys of finished tasks. */
  readonly idsMax: number;
  readonly retainMs: number;
}

export class IdempotencyKeys {
  readonly #limits: KeyLimits;
  readonly #observer: KeyObserver;
  readonly #byKey = new Map<string, KeyRecord>();
  readonly #finished = new Ring<KeyRecord>();
  #finishedIds = 0;

  constructor(limits: KeyLimits, observer: KeyObserver = {}) {
    this.#limits = limits;
    this.#observer = observer;
  }

  get size(): number {
    return this.#byKey.size;
  }

  find(key: string): KeyRecord | undefined {
    return this.#byKey.get(key);
  }

  add(record: KeyRecord): void {
    assert(!this.#byKey.has(record.key), "a key is used for one request at a time");
    this.#byKey.set(record.key, record);
  }

  /** Sorts the restored keys without an unfinished task by the time when they are forgotten. */
  sortRestored(now: Instant): void {
    const finished = [...this.#byKey.values()].filter(({ unfinished }) => unfinished === 0);
    for (const record of finished) {
      if (record.finishedAtMs !== null) continue;
      // Its last task failed just now, for too many crashes. If this time is not stored, the
      // retention of the key starts again after each restart.
      record.finishedAtMs = now.wallMs;
      this.#observer.onKeyChange?.(record);
    }
    finished.sort((a, b) => endOf(a) - endOf(b));
    for (const record of finished) {
      this.#addToFinished(record, now.monoMs - ageOf(endOf(record), now));
    }
    this.#trim();
  }

  /** One of its tasks has finished. */
  finished(record: KeyRecord, now: Instant): void {
    record.unfinished -= 1;
    // If a key was forgotten before its task was retried by hand, it stays forgotten: another task
    // may use it now.
    if (record.unfinished > 0 || this.#byKey.get(record.key) !== record) return;
    record.finishedAtMs = now.wallMs;
    this.#addToFinished(record, now.monoMs);
    this.#observer.onKeyChange?.(record);
    this.#trim();
  }

  /**
   * One of its finished tasks was retried by hand. If the key was already forgotten, it stays
   * forgotten.
   */
  resumed(record: KeyRecord): void {
    record.unfinished += 1;
    if (record.position === NOT_LINKED) return;
    this.#takeFromFinished(record);
    record.finishedAtMs = null;
    this.#observer.onKeyChange?.(record);
  }

  /** Forgets the keys whose retention is over. */
  expire(nowMs: number): void {
    for (let front = this.#finished.front(); front !== undefined && front.forgetAtMs <= nowMs; ) {
      this.#forget(front);
      front = this.#finished.front();
    }
  }

  /** The time when the next key is forgotten, in monotonic milliseconds; Infinity when none is. */
  nextExpiryMs(): number {
    return this.#finished.front()?.forgetAtMs ?? Number.POSITIVE_INFINITY;
  }

  #trim(): void {
    while (this.#finishedIds > this.#limits.idsMax) {
      const front = this.#finished.front();
      if (front === undefined) return;
      this.#forget(front);
    }
  }

  #forget(record: KeyRecord): void {
    this.#takeFromFinished(record);
    this.#byKey.delete(record.key);
    this.#observer.onKeyForget?.(record);
  }

  #addToFinished(record: KeyRecord, sinceMs: number): void {
    record.forgetAtMs = sinceMs + this.#limits.retainMs;
    this.#finished.pushBack(record);
    this.#finishedIds += record.receipts.length;
  }

  #takeFromFinished(record: KeyRecord): void {
    this.#finished.remove(record);
    this.#finishedIds -= record.receipts.length;
  }
}

function endOf({ finishedAtMs }: KeyRecord): number {
  assert(finishedAtMs !== null, "a finished key has an end");
  return finishedAtMs;
}
