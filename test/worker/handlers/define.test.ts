import { describe, expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import type { TypeRules } from "../../../src/engine/engine.ts";
import {
  defineHandlers,
  type HandlerOptions,
  type Handlers,
  isHandlers,
  queueLimits,
  typeRules,
} from "../../../src/worker/handlers/define.ts";

const BACKOFF = { baseMs: 200, jitterMs: 100, maxMs: 300_000 };
const LIMITS = { size: 64, bytes: 1024, concurrency: Number.POSITIVE_INFINITY };
const DAY_MS = 24 * 60 * 60 * 1000;

const handler = (): void => undefined;

type Unchecked = Readonly<Record<string, unknown>>;

/** Defines handlers as only a program without a compiler can. */
function define(entries: Unchecked, options?: Unchecked): Handlers {
  return defineHandlers(entries as Readonly<Record<string, HandlerOptions>>, options);
}

/** The rules of a type with these options. */
function rulesOf(options: Unchecked): TypeRules {
  const rules = typeRules(define({ a: { handler, ...options } }), BACKOFF).get("a");
  if (rules === undefined) throw new Error("a type has rules");
  return rules;
}

describe("handlers", () => {
  test("are told from anything else", () => {
    expect(isHandlers(define({}))).toBe(true);
    for (const other of [null, undefined, {}, handler, "handlers"]) {
      expect(isHandlers(other)).toBe(false);
    }
  });

  test("of another copy of the package are handlers", () => {
    expect(isHandlers({ [Symbol.for("ringq.handlers")]: true })).toBe(true);
  });

  test("are functions, or functions with options", () => {
    const { types } = define({ "email.send": handler, b: { handler, timeoutMs: 5 } });

    expect([...types]).toEqual([
      ["email.send", { handler }],
      ["b", { handler, timeoutMs: 5 }],
    ]);
  });

  test("may have every option at its bounds", () => {
    const entries = {
      a: { handler, timeoutMs: 1, maxRetries: 0, backoff: {}, queue: "a", isolation: "thread" },
      b: {
        handler,
        timeoutMs: DAY_MS,
        maxRetries: 100,
        backoff: { baseMs: 0, jitterMs: 0, maxMs: 30 * DAY_MS },
        queue: "z".repeat(64),
        schema: Type.Any(),
      },
      ["Z".repeat(128)]: handler,
    };

    expect(() =>
      define(entries, { queues: { a: { size: 1, bytes: 1, concurrency: 1 } } }),
    ).not.toThrow();
  });

  test.each<[string, unknown, string]>([
    ["no function", 7, "must be a function, or an object with a handler"],
    ["null", null, "must be a function, or an object with a handler"],
    ["a list", [handler], "must be a function, or an object with a handler"],
    [
      "an object without a handler",
      { timeoutMs: 1 },
      "must be a function, or an object with a handler",
    ],
    ["a handler that is none", { handler: "f" }, "handler must be a function"],
    ["an unknown option", { handler, timeout: 1 }, "there is no option timeout"],
    ["an option of every object", { handler, toString: 1 }, "there is no option toString"],
    ["no time", { handler, timeoutMs: 0 }, `timeoutMs must be a whole number from 1 to ${DAY_MS}`],
    [
      "too much time",
      { handler, timeoutMs: DAY_MS + 1 },
      `timeoutMs must be a whole number from 1 to ${DAY_MS}`,
    ],
    [
      "a time in text",
      { handler, timeoutMs: "5" },
      `timeoutMs must be a whole number from 1 to ${DAY_MS}`,
    ],
    [
      "too many retries",
      { handler, maxRetries: 101 },
      "maxRetries must be a whole number from 0 to 100",
    ],
    [
      "half a retry",
      { handler, maxRetries: 0.5 },
      "maxRetries must be a whole number from 0 to 100",
    ],
    ["a queue that is no text", { handler, queue: 5 }, "queue must be 1 to 64 of a–z 0–9 . _ -"],
    ["a queue with a capital", { handler, queue: "A" }, "queue must be 1 to 64 of a–z 0–9 . _ -"],
    ["an unknown isolation", { handler, isolation: "process" }, 'isolation must be "thread"'],
    [
      "a JSON Schema",
      { handler, schema: { type: "object" } },
      "schema must be a TypeBox schema that can be compiled",
    ],
    [
      "a schema that leads nowhere",
      { handler, schema: Type.Ref("other") },
      "schema must be a TypeBox schema that can be compiled",
    ],
    [
      "a schema that is none",
      { handler, schema: null },
      "schema must be a TypeBox schema that can be compiled",
    ],
    [
      "a wait of no number",
      { handler, backoff: { baseMs: Number.NaN } },
      "backoff must be an object of baseMs, jitterMs and maxMs, whole numbers of milliseconds",
    ],
    [
      "a wait beyond 30 days",
      { handler, backoff: { maxMs: 30 * DAY_MS + 1 } },
      "backoff must be an object of baseMs, jitterMs and maxMs, whole numbers of milliseconds",
    ],
    [
      "a backoff that is none",
      { handler, backoff: 200 },
      "backoff must be an object of baseMs, jitterMs and maxMs, whole numbers of milliseconds",
    ],
  ])("can't have %s", (_, entry, fault) => {
    expect(() => define({ a: entry })).toThrow(
      new TypeError(`the handlers are wrong: a: ${fault}`),
    );
  });

  test.each(["", "a b", "é", "x".repeat(129)])("can't be of the type %p", (type) => {
    expect(() => define({ [type]: handler })).toThrow(
      new TypeError(`the handlers are wrong: ${type}: a type is 1 to 128 of A–Z a–z 0–9 . _ : -`),
    );
  });

  test.each<[string, Unchecked, string]>([
    ["no size", { a: { size: 0 } }, "queue a: size must be a whole number of at least 1"],
    ["half a byte", { a: { bytes: 0.5 } }, "queue a: bytes must be a whole number of at least 1"],
    [
      "endless concurrency",
      { a: { concurrency: Number.POSITIVE_INFINITY } },
      "queue a: concurrency must be a whole number of at least 1",
    ],
    ["an unknown option", { a: { depth: 1 } }, "queue a: there is no option depth"],
    ["no options", { a: null }, "queue a: must be an object"],
    ["no name", { "": {} }, "queue : a queue's name is 1 to 64 of a–z 0–9 . _ -"],
  ])("can't give a queue %s", (_, queues, fault) => {
    expect(() => define({}, { queues })).toThrow(new TypeError(`the handlers are wrong: ${fault}`));
  });

  test("are refused with every fault at once", () => {
    expect(() =>
      define({ a: 1, b: { handler, timeoutMs: 0, maxRetries: -1 } }, { queues: { c: 1 } }),
    ).toThrow(
      new TypeError(
        "the handlers are wrong: a: must be a function, or an object with a handler; " +
          `b: timeoutMs must be a whole number from 1 to ${DAY_MS}; ` +
          "b: maxRetries must be a whole number from 0 to 100; queue c: must be an object",
      ),
    );
  });
});

describe("the rules of a type", () => {
  test("are what its options say", () => {
    const options = { timeoutMs: 5, maxRetries: 1, queue: "q", isolation: "thread" };

    expect(rulesOf(options)).toMatchObject({
      timeoutMs: 5,
      maxRetries: 1,
      queue: "q",
      lane: "thread",
    });
  });

  test("say nothing where it has no options", () => {
    expect(Object.values(rulesOf({})).every((rule) => rule === undefined)).toBe(true);
  });

  test("take what its backoff leaves out, or leaves undefined, from the configured one", () => {
    expect(rulesOf({ backoff: { baseMs: 5, maxMs: undefined } }).backoff).toEqual({
      baseMs: 5,
      jitterMs: 100,
      maxMs: 300_000,
    });
  });

  test("find nothing wrong with a payload that its schema takes", () => {
    const { check } = rulesOf({ schema: Type.Object({ to: Type.String() }) });

    expect(check?.({ to: "a" })).toEqual([]);
  });

  test("say where a payload is wrong, and what", () => {
    const { check } = rulesOf({ schema: Type.Object({ "to/cc": Type.Array(Type.String()) }) });

    expect(check?.({ "to/cc": ["a", 7] })).toEqual([
      { path: "/to~1cc/1", message: "Expected string" },
    ]);
  });

  test("tell no more than 20 faults of a payload", () => {
    const { check } = rulesOf({ schema: Type.Array(Type.String()) });

    expect(check?.(Array.from({ length: 1000 }, (_, index) => index))).toHaveLength(20);
  });
});

describe("the limits of a queue", () => {
  test("take what is left out, or left undefined, from the configured ones", () => {
    const handlers = define({}, { queues: { a: { size: 1, bytes: undefined }, b: {} } });

    expect([...queueLimits(handlers, LIMITS)]).toEqual([
      ["a", { ...LIMITS, size: 1 }],
      ["b", LIMITS],
    ]);
  });
});
