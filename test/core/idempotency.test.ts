import { describe, expect, test } from "bun:test";
import {
  IdempotencyKeys,
  type KeyRecord,
  newKey,
  type Receipt,
} from "../../src/core/idempotency.ts";
import { at } from "../support/builders.ts";

function aRegistry({ idsMax = 100, retainMs = 1000 } = {}): IdempotencyKeys {
  return new IdempotencyKeys({ idsMax, retainMs });
}

function receiptsOf(count: number): Receipt[] {
  return Array.from({ length: count }, (_, index) => ({ id: `t${index}`, status: "queued" }));
}

function add(registry: IdempotencyKeys, key: string, count = 1): KeyRecord {
  const record = newKey(key, `fingerprint of ${key}`, receiptsOf(count), 1);
  registry.add(record);
  return record;
}

/** Adds a key whose tasks have all finished by then. */
function addFinished(registry: IdempotencyKeys, key: string, nowMs: number, count = 1): KeyRecord {
  const record = add(registry, key, count);
  for (let left = count; left > 0; left -= 1) registry.finished(record, at(nowMs));
  return record;
}

describe("IdempotencyKeys", () => {
  test("a key is unknown before it is used", () => {
    expect(aRegistry().find("k")).toBeUndefined();
  });

  test("a key is known with what it was used for and what the answer was", () => {
    const registry = aRegistry();

    add(registry, "k", 2);

    expect(registry.find("k")).toMatchObject({
      fingerprint: "fingerprint of k",
      receipts: receiptsOf(2),
    });
  });

  test("a key is kept for ever while its task is unfinished", () => {
    const registry = aRegistry();
    const record = add(registry, "k");

    registry.expire(1e12);

    expect(registry.find("k")).toBe(record);
    expect(registry.nextExpiryMs()).toBe(Number.POSITIVE_INFINITY);
  });

  test("a key is kept while one task of its batch is unfinished", () => {
    const registry = aRegistry();
    const record = add(registry, "k", 2);
    registry.finished(record, at(0));

    registry.expire(1e12);

    expect(registry.find("k")).toBe(record);
  });

  test("a key is forgotten once its time after the finish is up, and not before", () => {
    const registry = aRegistry({ retainMs: 1000 });
    const record = addFinished(registry, "k", 500);

    registry.expire(at(1499).monoMs);
    const before = registry.find("k");
    registry.expire(at(1500).monoMs);

    expect(before).toBe(record);
    expect(registry.find("k")).toBeUndefined();
    expect(registry.size).toBe(0);
  });

  test("a key says when its time is up", () => {
    const registry = aRegistry({ retainMs: 1000 });

    addFinished(registry, "k", 500);

    expect(registry.nextExpiryMs()).toBe(at(1500).monoMs);
  });

  test("a key is free for another use once it is forgotten", () => {
    const registry = aRegistry();
    addFinished(registry, "k", 0);
    registry.expire(at(1000).monoMs);

    const record = add(registry, "k");

    expect(registry.find("k")).toBe(record);
  });

  test("a key is kept again while its task, retried by hand, is unfinished", () => {
    const registry = aRegistry();
    const record = addFinished(registry, "k", 0);

    registry.resumed(record);
    registry.expire(1e12);

    expect(registry.find("k")).toBe(record);
  });

  test("a key gets its whole time again after a retry by hand", () => {
    const registry = aRegistry({ retainMs: 1000 });
    const record = addFinished(registry, "k", 0);
    registry.resumed(record);

    registry.finished(record, at(700));

    expect(registry.nextExpiryMs()).toBe(at(1700).monoMs);
  });

  test("a key that was forgotten stays so when its task is retried and finishes again", () => {
    const registry = aRegistry();
    const record = addFinished(registry, "k", 0);
    registry.expire(at(1000).monoMs);
    const other = add(registry, "k");

    registry.resumed(record);
    registry.finished(record, at(2000));

    expect(registry.find("k")).toBe(other);
    expect(registry.nextExpiryMs()).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("IdempotencyKeys limits", () => {
  test("the ids of finished keys may be as many as are allowed", () => {
    const registry = aRegistry({ idsMax: 4 });
    for (const key of ["a", "b"]) addFinished(registry, key, 0, 2);

    expect(registry.size).toBe(2);
  });

  test("the ids of finished keys that are too many push out the keys that finished first", () => {
    const registry = aRegistry({ idsMax: 4 });
    for (const key of ["a", "b", "c"]) addFinished(registry, key, 0, 2);

    expect(["a", "b", "c"].map((key) => registry.find(key)?.key)).toEqual([undefined, "b", "c"]);
  });

  test("the ids of finished keys push out no key that is unfinished", () => {
    const registry = aRegistry({ idsMax: 1 });
    add(registry, "open", 5);
    for (const key of ["a", "b"]) addFinished(registry, key, 0);

    expect(["open", "a", "b"].map((key) => registry.find(key)?.key)).toEqual([
      "open",
      undefined,
      "b",
    ]);
  });

  test("the ids of finished keys count no longer once their key is forgotten", () => {
    const registry = aRegistry({ idsMax: 2, retainMs: 1000 });
    addFinished(registry, "a", 0, 2);
    registry.expire(at(1000).monoMs);

    for (const key of ["b", "c"]) addFinished(registry, key, 1000);

    expect(registry.size).toBe(2);
  });

  test("the ids of a batch that is larger than all that is kept are not kept", () => {
    const registry = aRegistry({ idsMax: 2 });

    addFinished(registry, "a", 0, 3);

    expect(registry.size).toBe(0);
  });
});
