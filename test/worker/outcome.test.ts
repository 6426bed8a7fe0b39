import { heapStats } from "bun:jsc";
import { describe, expect, test } from "bun:test";
import type { AttemptOutcome } from "../../src/engine/engine.ts";
import { failed, jsonTextOf, messageOf, outcomeOfResult } from "../../src/engine/outcome.ts";
import {
  NonRetryableError,
  RETRY_MARK,
  RetryAfterError,
} from "../../src/worker/handlers/errors.ts";
import { outcomeOfThrow } from "../../src/worker/outcome.ts";

const BYTES_MAX = 100;
const DAY_MS = 24 * 60 * 60 * 1000;

function fail(): never {
  throw new Error("do not look");
}

/** An object that throws at whoever looks at it. */
function hurtful(): object {
  return new Proxy({}, { get: fail, has: fail, ownKeys: fail, getPrototypeOf: fail });
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

function cyclic(): object {
  const value: Record<string, unknown> = {};
  value["self"] = value;
  return value;
}

type Failed = AttemptOutcome & { kind: "failed" };

/** How an attempt failed that had to. */
function failureOf(outcome: AttemptOutcome): Failed {
  if (outcome.kind !== "failed") throw new Error(`not failed, but ${outcome.kind}`);
  return outcome;
}

function thrown(value: unknown): Failed {
  return failureOf(outcomeOfThrow(value));
}

function returned(value: unknown, bytesMax = BYTES_MAX): AttemptOutcome {
  return outcomeOfResult(value, bytesMax);
}

describe("outcomeOfResult", () => {
  test.each<[string, unknown, string | null]>([
    ["nothing", undefined, null],
    ["null", null, "null"],
    ["false", false, "false"],
    ["an empty text", "", '""'],
    ["a number that JSON does not have", Number.NaN, "null"],
    ["an object", { a: [1, "é"], b: undefined }, '{"a":[1,"é"]}'],
    ["a date", new Date(0), '"1970-01-01T00:00:00.000Z"'],
    ["half of a surrogate pair", "\ud800", '"\\ud800"'],
    ["what says itself what it is in JSON", { toJSON: () => [1] }, "[1]"],
  ])("takes %s as the result, as JSON", (_, value, result) => {
    expect(returned(value)).toEqual({ kind: "done", result });
  });

  test.each<[string, unknown]>([
    ["a cycle", cyclic()],
    ["a BigInt", 10n],
    ["a function", () => 1],
    ["a symbol", Symbol("result")],
    ["a toJSON that throws", { toJSON: fail }],
    ["a toJSON that throws null", { toJSON: throwNull }],
    ["a toJSON that gives nothing", { toJSON: () => undefined }],
    ["a getter that throws", Object.defineProperty({}, "a", { get: fail, enumerable: true })],
    ["a proxy that throws", hurtful()],
    ["a revoked proxy", revoked()],
    ["what nests deeper than the stack", nested(100_000)],
  ])("fails the attempt for %s, and lets it be retried", (_, value) => {
    expect(returned(value, 10_000_000)).toEqual({
      kind: "failed",
      code: "invalid_result",
      message: expect.stringMatching(/^the result can't be written as JSON: ./),
      retry: { kind: "backoff" },
    });
  });

  test("takes a result of just as many bytes as allowed", () => {
    expect(returned("é".repeat(4), 10)).toEqual({ kind: "done", result: '"éééé"' });
  });

  test("fails the attempt for one byte more, and says how many there were", () => {
    expect(returned("é".repeat(4), 9)).toEqual({
      kind: "failed",
      code: "result_too_large",
      message: "the result is too large: it has 10 bytes; the limit is 9",
      retry: { kind: "backoff" },
    });
  });
});

describe("outcomeOfThrow", () => {
  test.each<[string, unknown, string]>([
    ["a string", "it broke", "it broke"],
    ["an empty string", "", ""],
    ["null", null, "null"],
    ["undefined", undefined, "undefined"],
    ["a number", 7, "7"],
    ["a BigInt", 7n, "7"],
    ["a symbol", Symbol("odd"), "Symbol(odd)"],
    ["an error", new Error("it broke"), "it broke"],
    ["an error without a message", new TypeError(), "TypeError"],
    ["an error with a cause", new Error("it broke", { cause: cyclic() }), "it broke"],
    ["an object with a message", { message: "it broke" }, "it broke"],
    ["an object whose message is no text", { message: 7, toString: () => "odd" }, "odd"],
    ["a cycle", cyclic(), "[object Object]"],
    ["half of a surrogate pair", "a\ud800b", "a\ufffdb"],
  ])("gives the message of %s", (_, value, message) => {
    expect(thrown(value)).toEqual({
      kind: "failed",
      code: "handler_error",
      message,
      retry: { kind: "backoff" },
    });
  });

  test.each<[string, unknown]>([
    ["a getter that throws", Object.defineProperty({}, "message", { get: fail })],
    ["a toString that throws", { toString: fail }],
    ["no prototype", Object.create(null)],
    ["a proxy that throws", hurtful()],
    ["a revoked proxy", revoked()],
  ])("says of an object with %s that it can't be described", (_, value) => {
    expect(thrown(value).message).toBe("the handler threw something that can't be described");
  });

  test("takes the code of an error that has one", () => {
    expect(thrown(Object.assign(new Error("x"), { code: "ECONNREFUSED" })).code).toBe(
      "ECONNREFUSED",
    );
  });

  test.each<[string, unknown]>([
    ["a number", 20],
    ["empty", ""],
    ["more than a word", "not a code"],
    ["long", "x".repeat(65)],
    ["made of lines", "a\nb"],
  ])("gives handler_error when the code of the error is %s", (_, code) => {
    expect(thrown({ code }).code).toBe("handler_error");
  });

  test("cuts a message at 1000 characters, none of them in half", () => {
    const { message } = thrown(new Error("😀".repeat(600)));

    expect(message).toBe(`${"😀".repeat(499)}\ufffd…`);
  });

  test("keeps only the shown part of a long message in memory", () => {
    const kept: string[] = [];
    const beforeBytes = liveBytes();

    for (let index = 0; index < 100; index += 1) {
      kept.push(thrown(new Error(`${index}${"x".repeat(1_000_000)}`)).message);
    }

    expect(liveBytes() - beforeBytes).toBeLessThan(20_000_000);
    expect(kept).toHaveLength(100);
  });
});

describe("the retry of a thrown error", () => {
  test("is never for a NonRetryableError", () => {
    expect(thrown(new NonRetryableError("gone")).retry).toEqual({ kind: "never" });
  });

  test("is after the given milliseconds for a RetryAfterError", () => {
    expect(thrown(new RetryAfterError(1500)).retry).toEqual({ kind: "after", ms: 1500 });
  });

  test("is recognized by its mark, so that an error of another copy of the package counts", () => {
    expect(thrown({ [RETRY_MARK]: { kind: "never" } }).retry).toEqual({ kind: "never" });
    expect(thrown({ [Symbol.for("ringq.retry")]: { kind: "after", ms: 5 } }).retry).toEqual({
      kind: "after",
      ms: 5,
    });
  });

  test.each<[string, unknown]>([
    ["no object", "never"],
    ["null", null],
    ["of no kind", {}],
    ["of an unknown kind", { kind: "sometimes" }],
    ["after no time", { kind: "after" }],
    ["after text", { kind: "after", ms: "5" }],
    ["after less than nothing", { kind: "after", ms: -1 }],
    ["after what is no number", { kind: "after", ms: Number.NaN }],
    ["after for ever", { kind: "after", ms: Number.POSITIVE_INFINITY }],
    ["after more than 30 days", { kind: "after", ms: 30 * DAY_MS + 1 }],
  ])("is the usual backoff when its mark is %s", (_, mark) => {
    expect(thrown({ [RETRY_MARK]: mark }).retry).toEqual({ kind: "backoff" });
  });

  test("is read once, into a value of our own", () => {
    const mark = { kind: "after", ms: 5 };
    const { retry } = thrown({ [RETRY_MARK]: mark });

    mark.ms = Number.NaN;

    expect(retry).toEqual({ kind: "after", ms: 5 });
  });
});

describe("jsonTextOf", () => {
  test("gives null for undefined", () => {
    expect(jsonTextOf(undefined, BYTES_MAX)).toEqual({ kind: "text", text: "null" });
  });

  test("names the type of a value that JSON does not have", () => {
    expect(jsonTextOf(Symbol(""), BYTES_MAX)).toEqual({
      kind: "not_json",
      why: "a symbol is not a JSON value",
    });
  });
});

test("messageOf and failed cut a long message", () => {
  const long = "x".repeat(2000);

  expect(messageOf(new Error(long))).toHaveLength(1000);
  expect(failureOf(failed("odd", long, { kind: "never" })).message).toHaveLength(1000);
});

function throwNull(): never {
  // biome-ignore lint/style/useThrowOnlyError: handlers throw whatever they like.
  throw null;
}

/** So many arrays, each in the one before. */
function nested(levels: number): unknown {
  let value: unknown = null;
  for (let level = 0; level < levels; level += 1) value = [value];
  return value;
}

function liveBytes(): number {
  Bun.gc(true);
  const { heapSize, extraMemorySize } = heapStats();
  return heapSize + extraMemorySize;
}
