/**
 * Which idempotency keys were used, for what, and which tasks were the answer.
 *
 * A key is kept while any of its tasks is unfinished and then for as long as finished tasks are kept at most; a flood
 * of tasks without keys pushes out none. How many ids the finished keys may hold is bounded.
 */

import { NO_PLACE, Ring } from "./ring.ts";

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
  /** How many of its tasks are not finished. */
  unfinished: number;
  /** Monotonic time when it is forgotten, once nothing is unfinished. */
  forgetAtMs: number;
  place: number;
}

export interface KeyLimits {
  /** How many ids the keys of finished tasks may hold in all. */
  readonly idsMax: number;
  readonly retainMs: number;
}

export class KeyRegister {
  readonly #limits: KeyLimits;
  readonly #byKey = new Map<string, KeyRecord>();
  readonly #finished = new Ring<KeyRecord>();
  #finishedIds = 0;

  constructor(limits: KeyLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#byKey.size;
  }

  find(key: string): KeyRecord | undefined {
    return this.#byKey.get(key);
  }

  add(key: string, fingerprint: string, receipts: readonly Receipt[]): KeyRecord {
    const record = {
      key,
      fingerprint,
      receipts,
      unfinished: receipts.length,
      forgetAtMs: 0,
      place: NO_PLACE,
    };
    this.#byKey.set(key, record);
    return record;
  }

  /** One of its tasks has finished. */
  finished(record: KeyRecord, nowMs: number): void {
    record.unfinished -= 1;
    // A key that was forgotten before its task was retried by hand stays forgotten: it may be in use for another task.
    if (record.unfinished > 0 || this.#byKey.get(record.key) !== record) return;
    record.forgetAtMs = nowMs + this.#limits.retainMs;
    this.#finished.pushBack(record);
    this.#finishedIds += record.receipts.length;
    this.#trim();
  }

  /** One of its finished tasks was retried by hand. The key may be forgotten already: then it stays so. */
  resumed(record: KeyRecord): void {
    record.unfinished += 1;
    if (record.place !== NO_PLACE) this.#takeFromFinished(record);
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
  }

  #takeFromFinished(record: KeyRecord): void {
    this.#finished.remove(record);
    this.#finishedIds -= record.receipts.length;
  }
}
