import { describe, expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import { LIMITS, type TypeRules } from "../../../src/engine/engine.ts";
import {
  defineHandlers,
  type HandlerOptions,
  type Handlers,
  hasRemoteTypes,
  isHandlers,
  limitsOf,
  NO_HANDLERS,
  queueLimits,
  remote,
  typeRules,
} from "../../../src/worker/handlers/define.ts";

const BACKOFF = { baseMs: 200, jitterMs: 100, maxMs: 300_000 };
const QUEUE = { size: 64, bytes: 1024, concurrency: Number.POSITIVE_INFINITY, claims: 7 };

/** What the faults say of each option. */
const TIMEOUT = `timeoutMs must be ${LIMITS.timeoutMs.allowed}`;
const RETRIES = `maxRetries must be ${LIMITS.maxRetries.allowed}`;
const QUEUE_NAME = `queue must be ${LIMITS.queue.allowed}`;
const BACKOFF_OPTION =
  "backoff must be an object in which baseMs is a whole number of at least 0, " +
  `jitterMs is a whole number of at least 0, maxMs is ${LIMITS.backoffMaxMs.allowed}`;
const SCHEMA = "schema must be a TypeBox schema that can be compiled";
const NO_HANDLER = 'must be a function, an object with a handler, or one with isolation: "remote"';

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

describe("defineHandlers", () => {
  test("makes handlers that isHandlers tells from anything else", () => {
    expect(isHandlers(define({}))).toBe(true);
    for (const other of [null, undefined, {}, handler, "handlers"]) {
      expect(isHandlers(other)).toBe(false);
    }
  });

  test("makes handlers that another copy of the package takes", () => {
    expect(isHandlers({ [Symbol.for("ringq.handlers")]: true })).toBe(true);
  });

  test("takes functions, and functions with options", () => {
    const { types } = define({ "email.send": handler, b: { handler, timeoutMs: 5 } });

    expect([...types]).toEqual([
      ["email.send", { handler }],
      ["b", { handler, timeoutMs: 5 }],
    ]);
  });

  test("takes remote types, with and without options", () => {
    const { types } = define({
      a: { isolation: "remote" },
      b: remote({ timeoutMs: 5, queue: "b", maxRetries: 1, backoff: { baseMs: 1 } }),
      c: { isolation: "remote", schema: Type.String(), handler: undefined },
    });

    expect([...types.values()].map(({ isolation }) => isolation)).toEqual(Array(3).fill("remote"));
    expect(types.get("b")).toMatchObject({ timeoutMs: 5, queue: "b", maxRetries: 1 });
  });

  test("leaves other types to remote workers, or to nobody", () => {
    expect(define({}, { otherTypes: "remote" }).otherTypes).toBe("remote");
    expect(define({}, {}).otherTypes).toBeUndefined();
    expect(define({}).otherTypes).toBeUndefined();
  });

  test("takes every option at its bounds", () => {
    const entries = {
      a: { handler, timeoutMs: 1, maxRetries: 0, backoff: {}, queue: "a", isolation: "thread" },
      b: {
        handler,
        timeoutMs: LIMITS.timeoutMs.max,
        maxRetries: LIMITS.maxRetries.max,
        backoff: { baseMs: 0, jitterMs: 0, maxMs: LIMITS.backoffMaxMs.max },
        queue: "z".repeat(LIMITS.queue.lengthMax),
        schema: Type.Any(),
      },
      ["Z".repeat(LIMITS.type.lengthMax)]: handler,
    };

    expect(() =>
      define(entries, { queues: { a: { size: 1, bytes: 1, concurrency: 1, claims: 1 } } }),
    ).not.toThrow();
  });

  test.each<[string, unknown, string]>([
    ["no function", 7, NO_HANDLER],
    ["null", null, NO_HANDLER],
    ["a list", [handler], NO_HANDLER],
    ["an object without a handler", { timeoutMs: 1 }, NO_HANDLER],
    ["a handler that is none", { handler: "f" }, "handler must be a function"],
    ["an unknown option", { handler, timeout: 1 }, "unknown option timeout"],
    ["an option of every object", { handler, toString: 1 }, "unknown option toString"],
    ["no time", { handler, timeoutMs: 0 }, TIMEOUT],
    ["too much time", { handler, timeoutMs: LIMITS.timeoutMs.max + 1 }, TIMEOUT],
    ["a time in text", { handler, timeoutMs: "5" }, TIMEOUT],
    ["too many retries", { handler, maxRetries: LIMITS.maxRetries.max + 1 }, RETRIES],
    ["half a retry", { handler, maxRetries: 0.5 }, RETRIES],
    ["a queue that is no text", { handler, queue: 5 }, QUEUE_NAME],
    ["a queue with a capital", { handler, queue: "A" }, QUEUE_NAME],
    [
      "an unknown isolation",
      { handler, isolation: "process" },
      'isolation must be "thread" or "remote"',
    ],
    [
      "a handler of a remote type",
      { handler, isolation: "remote" },
      "a remote type has no handler: a remote worker runs its tasks",
    ],
    ["an unknown option of a remote type", { isolation: "remote", x: 1 }, "unknown option x"],
    ["no time for a remote type", { isolation: "remote", timeoutMs: 0 }, TIMEOUT],
    ["an isolation alone", { isolation: "thread" }, NO_HANDLER],
    ["a JSON Schema", { handler, schema: { type: "object" } }, SCHEMA],
    ["a schema that leads nowhere", { handler, schema: Type.Ref("other") }, SCHEMA],
    ["a schema that is none", { handler, schema: null }, SCHEMA],
    ["a wait of no number", { handler, backoff: { baseMs: Number.NaN } }, BACKOFF_OPTION],
    [
      "a wait beyond 30 days",
      { handler, backoff: { maxMs: LIMITS.backoffMaxMs.max + 1 } },
      BACKOFF_OPTION,
    ],
    ["a backoff that is none", { handler, backoff: 200 }, BACKOFF_OPTION],
  ])("refuses %s", (_, entry, fault) => {
    expect(() => define({ a: entry })).toThrow(new TypeError(`invalid handlers: a: ${fault}`));
  });

  test.each(["", "a b", "é", "x".repeat(129)])("refuses the type %p", (type) => {
    expect(() => define({ [type]: handler })).toThrow(
      new TypeError(`invalid handlers: ${type}: the name of a type must be ${LIMITS.type.allowed}`),
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
    ["no claims", { a: { claims: 0 } }, "queue a: claims must be a whole number of at least 1"],
    ["an unknown option", { a: { depth: 1 } }, "queue a: unknown option depth"],
    ["no options", { a: null }, "queue a: must be an object"],
    ["no name", { "": {} }, `queue : the name of a queue must be ${LIMITS.queue.allowed}`],
    [
      "a folded name",
      { "..": {} },
      `queue ..: the name of a queue must be ${LIMITS.queue.allowed}`,
    ],
  ])("refuses a queue with %s", (_, queues, fault) => {
    expect(() => define({}, { queues })).toThrow(new TypeError(`invalid handlers: ${fault}`));
  });

  test.each<[string, Unchecked, string]>([
    ["an unknown option", { otherQueues: "remote" }, "unknown option otherQueues"],
    ["other types that run in threads", { otherTypes: "thread" }, 'otherTypes must be "remote"'],
    ["other types that are null", { otherTypes: null }, 'otherTypes must be "remote"'],
  ])("refuses %s", (_, options, fault) => {
    expect(() => define({}, options)).toThrow(new TypeError(`invalid handlers: ${fault}`));
  });

  test("names every fault at once", () => {
    expect(() =>
      define({ a: 1, b: { handler, timeoutMs: 0, maxRetries: -1 } }, { queues: { c: 1 } }),
    ).toThrow(
      new TypeError(
        `invalid handlers: a: ${NO_HANDLER}; b: ${TIMEOUT}; b: ${RETRIES}; queue c: must be an object`,
      ),
    );
  });
});

describe("typeRules", () => {
  test("gives the options of a type", () => {
    const options = { timeoutMs: 5, maxRetries: 1, queue: "q", isolation: "thread" };

    expect(rulesOf(options)).toMatchObject({
      timeoutMs: 5,
      maxRetries: 1,
      queue: "q",
      lane: "thread",
    });
  });

  test("gives nothing for a type without options", () => {
    expect(Object.values(rulesOf({})).every((rule) => rule === undefined)).toBe(true);
  });

  test("fills in a backoff from the configured one", () => {
    expect(rulesOf({ backoff: { baseMs: 5, maxMs: undefined } }).backoff).toEqual({
      baseMs: 5,
      jitterMs: 100,
      maxMs: 300_000,
    });
  });

  test("finds no fault in a payload that fits the schema", () => {
    const { check } = rulesOf({ schema: Type.Object({ to: Type.String() }) });

    expect(check?.({ to: "a" })).toEqual([]);
  });

  test("gives the path and the fault of a payload that does not fit", () => {
    const { check } = rulesOf({ schema: Type.Object({ "to/cc": Type.Array(Type.String()) }) });

    expect(check?.({ "to/cc": ["a", 7] })).toEqual([
      { path: "/to~1cc/1", message: "Expected string" },
    ]);
  });

  test("gives at most 20 faults of a payload", () => {
    const { check } = rulesOf({ schema: Type.Array(Type.String()) });

    expect(check?.(Array.from({ length: 1000 }, (_, index) => index))).toHaveLength(20);
  });
});

describe("remote types", () => {
  test("have the lane of remote workers, and their rules", () => {
    const handlers = define({ a: remote({ timeoutMs: 5 }), b: { handler } });

    const rules = typeRules(handlers, BACKOFF);

    expect(rules.get("a")).toMatchObject({ lane: "remote", timeoutMs: 5 });
    expect(rules.get("b")?.lane).toBeUndefined();
  });

  test("check their payloads like any other", () => {
    const handlers = define({ a: { isolation: "remote", schema: Type.String() } });

    expect(typeRules(handlers, BACKOFF).get("a")?.check?.(7)).toEqual([
      { path: "", message: "Expected string" },
    ]);
  });

  test.each<[string, Handlers, boolean]>([
    ["no types", define({}), false],
    ["local types", define({ a: handler, b: { handler, isolation: "thread" } }), false],
    ["one that is remote", define({ a: handler, b: remote() }), true],
    ["other types that are remote", define({ a: handler }, { otherTypes: "remote" }), true],
    ["no handlers at all", NO_HANDLERS, true],
  ])("are there, or not: %s", (_, handlers, has) => {
    expect(hasRemoteTypes(handlers)).toBe(has);
  });
});

describe("limitsOf", () => {
  const common = { ...QUEUE, claims: null };

  test("bounds claims by the size of the queue", () => {
    expect(limitsOf(common, {}).claims).toBe(64);
    expect(limitsOf(common, { size: 5 }).claims).toBe(5);
  });

  test("bounds claims by their own limit", () => {
    expect(limitsOf(common, { size: 5, claims: 50 }).claims).toBe(50);
    expect(limitsOf(QUEUE, { size: 5 }).claims).toBe(7);
    expect(limitsOf(QUEUE, { claims: 3 }).claims).toBe(3);
    const unset = define({}, { queues: { a: { claims: undefined } } });
    expect(queueLimits(unset, QUEUE).get("a")?.claims).toBe(7);
  });
});

describe("queueLimits", () => {
  test("fills in the limits of a queue from the configured ones", () => {
    const handlers = define({}, { queues: { a: { size: 1, bytes: undefined }, b: {} } });

    expect([...queueLimits(handlers, QUEUE)]).toEqual([
      ["a", { ...QUEUE, size: 1 }],
      ["b", QUEUE],
    ]);
  });
});
