import { describe, expect, test } from "bun:test";
import {
  IdempotencyKeys,
  type KeyRecord,
  newKey,
  type Receipt,
} from "../../src/core/idempotency.ts";
import { at } from "../support/builders.ts";

function aRegister({ idsMax = 100, retainMs = 1000 } = {}): IdempotencyKeys {
  return new IdempotencyKeys({ idsMax, retainMs });
}

function receiptsOf(count: number): Receipt[] {
  return Array.from({ length: count }, (_, index) => ({ id: `t${index}`, status: "queued" }));
}

function add(register: IdempotencyKeys, key: string, count = 1): KeyRecord {
  const record = newKey(key, `fingerprint of ${key}`, receiptsOf(count), 1);
  register.add(record);
  return record;
}

/** Adds a key whose tasks have all finished by then. */
function addFinished(register: IdempotencyKeys, key: string, nowMs: number, count = 1): KeyRecord {
  const record = add(register, key, count);
  for (let left = count; left > 0; left -= 1) register.finished(record, at(nowMs));
  return record;
}

describe("a key", () => {
  test("is unknown before it is used", () => {
    expect(aRegister().find("k")).toBeUndefined();
  });

  test("is known with what it was used for and what the answer was", () => {
    const register = aRegister();

    add(register, "k", 2);

    expect(register.find("k")).toMatchObject({
      fingerprint: "fingerprint of k",
      receipts: receiptsOf(2),
    });
  });

  test("is kept for ever while its task is unfinished", () => {
    const register = aRegister();
    const record = add(register, "k");

    register.expire(1e12);

    expect(register.find("k")).toBe(record);
    expect(register.nextExpiryMs()).toBe(Number.POSITIVE_INFINITY);
  });

  test("is kept while one task of its batch is unfinished", () => {
    const register = aRegister();
    const record = add(register, "k", 2);
    register.finished(record, at(0));

    register.expire(1e12);

    expect(register.find("k")).toBe(record);
  });

  test("is forgotten once its time after the finish is up, and not before", () => {
    const register = aRegister({ retainMs: 1000 });
    const record = addFinished(register, "k", 500);

    register.expire(at(1499).monoMs);
    const before = register.find("k");
    register.expire(at(1500).monoMs);

    expect(before).toBe(record);
    expect(register.find("k")).toBeUndefined();
    expect(register.size).toBe(0);
  });

  test("says when its time is up", () => {
    const register = aRegister({ retainMs: 1000 });

    addFinished(register, "k", 500);

    expect(register.nextExpiryMs()).toBe(at(1500).monoMs);
  });

  test("is free for another use once it is forgotten", () => {
    const register = aRegister();
    addFinished(register, "k", 0);
    register.expire(at(1000).monoMs);

    const record = add(register, "k");

    expect(register.find("k")).toBe(record);
  });

  test("is kept again while its task, retried by hand, is unfinished", () => {
    const register = aRegister();
    const record = addFinished(register, "k", 0);

    register.resumed(record);
    register.expire(1e12);

    expect(register.find("k")).toBe(record);
  });

  test("gets its whole time again after a retry by hand", () => {
    const register = aRegister({ retainMs: 1000 });
    const record = addFinished(register, "k", 0);
    register.resumed(record);

    register.finished(record, at(700));

    expect(register.nextExpiryMs()).toBe(at(1700).monoMs);
  });

  test("that was forgotten stays so when its task is retried and finishes again", () => {
    const register = aRegister();
    const record = addFinished(register, "k", 0);
    register.expire(at(1000).monoMs);
    const other = add(register, "k");

    register.resumed(record);
    register.finished(record, at(2000));

    expect(register.find("k")).toBe(other);
    expect(register.nextExpiryMs()).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("the ids of finished keys", () => {
  test("may be as many as are allowed", () => {
    const register = aRegister({ idsMax: 4 });
    for (const key of ["a", "b"]) addFinished(register, key, 0, 2);

    expect(register.size).toBe(2);
  });

  test("that are too many push out the keys that finished first", () => {
    const register = aRegister({ idsMax: 4 });
    for (const key of ["a", "b", "c"]) addFinished(register, key, 0, 2);

    expect(["a", "b", "c"].map((key) => register.find(key)?.key)).toEqual([undefined, "b", "c"]);
  });

  test("push out no key that is unfinished", () => {
    const register = aRegister({ idsMax: 1 });
    add(register, "open", 5);
    for (const key of ["a", "b"]) addFinished(register, key, 0);

    expect(["open", "a", "b"].map((key) => register.find(key)?.key)).toEqual([
      "open",
      undefined,
      "b",
    ]);
  });

  test("count no longer once their key is forgotten", () => {
    const register = aRegister({ idsMax: 2, retainMs: 1000 });
    addFinished(register, "a", 0, 2);
    register.expire(at(1000).monoMs);

    for (const key of ["b", "c"]) addFinished(register, key, 1000);

    expect(register.size).toBe(2);
  });

  test("of a batch larger than all that is kept are not kept", () => {
    const register = aRegister({ idsMax: 2 });

    addFinished(register, "a", 0, 3);

    expect(register.size).toBe(0);
  });
});
