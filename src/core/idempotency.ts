/**
 * Which idempotency keys were used, for what, and which tasks were the answer.
 *
 * A key is kept while any of its tasks is unfinished and then for as long as finished tasks are kept at most; a flood
 * of tasks without keys pushes out none. How many ids the finished keys may hold is bounded.
 */

import { assert } from "./assert.ts";
import type { Instant } from "./instant.ts";
import { NOT_LINKED, Ring } from "./ring.ts";

/** What an accepted task is known by, as it was when it was accepted. */
export interface Receipt {
  readonly id: string;
  readonly status: "queued" | "scheduled";
}

export interface KeyRecord {
  readonly key: string;
  /** Tells a repeated request from another one under the same key. */
  readonly fingerprint: string;
  /** What the first request was answered with. */
  readonly receipts: readonly Receipt[];
  /** The number of its first task, which no other key has. */
  readonly seq: number;
  /** How many of its tasks are not finished. */
  unfinished: number;
  /** Wall-clock time when the last of its tasks finished; null while one is not. */
  finishedAtMs: number | null;
  /** Monotonic time when it is forgotten, once nothing is unfinished. */
  forgetAtMs: number;
  position: number;
}

/** Hears what happens to keys, at once and in order. */
export interface KeyObserver {
  /** The last unfinished task of a key has finished, or one of them is to run again. */
  onKeyChange?(key: KeyRecord): void;
  onKeyForget?(key: KeyRecord): void;
}

/** The record of a key whose tasks are about to be made, the first of them with the number `seq`. */
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

/** How long ago something was by the wall clock. One that was set back since makes nothing younger than new. */
export function ageOf(wallMs: number, now: Instant): number {
  return Math.max(0, now.wallMs - wallMs);
}

export interface KeyLimits {
  /** How many ids the keys of finished tasks may hold in all. */
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

  /** Puts the keys that were added without an unfinished task into the order of their forgetting. */
  sortRestored(now: Instant): void {
    const finished = [...this.#byKey.values()].filter(({ unfinished }) => unfinished === 0);
    for (const record of finished) {
      if (record.finishedAtMs !== null) continue;
      // Its last task has failed just now, for crashing too often. Unless that is kept, its time begins anew each life.
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
    // A key that was forgotten before its task was retried by hand stays forgotten: it may be in use for another task.
    if (record.unfinished > 0 || this.#byKey.get(record.key) !== record) return;
    record.finishedAtMs = now.wallMs;
    this.#addToFinished(record, now.monoMs);
    this.#observer.onKeyChange?.(record);
    this.#trim();
  }

  /** One of its finished tasks was retried by hand. The key may be forgotten already: then it stays so. */
  resumed(record: KeyRecord): void {
    record.unfinished += 1;
    if (record.position === NOT_LINKED) return;
    this.#takeFromFinished(record);
    record.finishedAtMs = null;
    this.#observer.onKeyChange?.(record);
  }

  /** Forgets the keys whose time is up. */
  expire(nowMs: number): void {
    for (let front = this.#finished.front(); front !== undefined && front.forgetAtMs <= nowMs; ) {
      this.#forget(front);
      front = this.#finished.front();
    }
  }

  /** When the next key is to be forgotten, in monotonic milliseconds; Infinity when none is. */
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
