import { describe, expect, test } from "bun:test";
import { DAY_MS, LIMITS, type TextLimit, type WholeLimit, whole } from "../../src/core/limits.ts";

const WHOLE: Readonly<Record<string, readonly [limit: WholeLimit, min: number, max: number]>> = {
  priority: [LIMITS.priority, -100, 100],
  maxRetries: [LIMITS.maxRetries, 0, 100],
  timeoutMs: [LIMITS.timeoutMs, 1, 86_400_000],
  delayMs: [LIMITS.delayMs, 0, 2_592_000_000],
  runAtMs: [
    LIMITS.runAtMs,
    Date.parse("0000-01-01T00:00:00.000Z"),
    Date.parse("9999-12-31T23:59:59.999Z"),
  ],
  payloadDepth: [LIMITS.payloadDepth, 0, 64],
  backoffMaxMs: [LIMITS.backoffMaxMs, 0, 2_592_000_000],
  retryAfterMs: [LIMITS.retryAfterMs, 0, 2_592_000_000],
  errorMessageLength: [LIMITS.errorMessageLength, 0, 1000],
  leaseMs: [LIMITS.leaseMs, 1000, 43_200_000],
  claimTasks: [LIMITS.claimTasks, 1, 100],
  claimNames: [LIMITS.claimNames, 1, 32],
  waitMs: [LIMITS.waitMs, 0, 60_000],
  pageTasks: [LIMITS.pageTasks, 1, 500],
};

/** By limit: the longest text, characters that it may hold, and some that it may not. */
const TEXT: Readonly<
  Record<string, readonly [limit: TextLimit, max: number, yes: string, no: string]>
> = {
  tag: [LIMITS.tag, 64, "azAZ09._:/-", " ä\u0000\n"],
  type: [LIMITS.type, 128, "azAZ09._:-", " /äå\u0000\n"],
  queue: [LIMITS.queue, 64, "az09_-", "A:/ ä\u0000\n"],
  idempotencyKey: [LIMITS.idempotencyKey, 255, "!~az09{}", " \u007fä\t\n"],
  errorCode: [LIMITS.errorCode, 64, "azAZ09_.:-", " /ä\u0000\n"],
  worker: [LIMITS.worker, 128, " !~az09", "\u007fä\t\n\u001f"],
};

describe("LIMITS", () => {
  test("every limit is tested here", () => {
    const tested = [...Object.keys(WHOLE), ...Object.keys(TEXT), "tags"];

    expect(tested.sort()).toEqual(Object.keys(LIMITS).sort());
  });

  test("a day has 24 hours", () => {
    expect(DAY_MS).toBe(24 * 60 * 60 * 1000);
  });
});

test("a list of tags has at most eight, each a tag", () => {
  const { allows } = LIMITS.tags;

  expect([[], ["a"], new Array(8).fill("a")].map(allows)).toEqual([true, true, true]);
  expect([new Array(9).fill("a"), ["a b"], [1], "a", null, {}].some(allows)).toBe(false);
});

describe("a limit of whole numbers", () => {
  test.each(Object.entries(WHOLE))(
    "%s allows its bounds and nothing beyond",
    (_, [limit, min, max]) => {
      expect([limit.min, limit.max]).toEqual([min, max]);
      expect([min, max].map(limit.allows)).toEqual([true, true]);
      expect([min - 1, max + 1].map(limit.allows)).toEqual([false, false]);
      expect(limit.allowed).toBe(`a whole number from ${min} to ${max}`);
    },
  );

  test.each(Object.entries(WHOLE))(
    "%s allows nothing that is no whole number",
    (_, [limit, min]) => {
      const wrong = [
        ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, min + 0.5],
        ...[String(min), `${min}`, BigInt(min), [min], { valueOf: () => min }],
        ...[null, undefined, true, false, "", new Date(min)],
      ];

      expect(wrong.filter(limit.allows)).toEqual([]);
    },
  );

  test("zero may have a sign", () => {
    expect(LIMITS.delayMs.allows(-0)).toBe(true);
  });

  test("numbers that a double cannot tell apart are not allowed", () => {
    const unbounded = whole(0, Number.POSITIVE_INFINITY);

    expect(unbounded.allows(Number.MAX_SAFE_INTEGER)).toBe(true);
    expect(unbounded.allows(2 ** 53)).toBe(false);
  });
});

describe("a limit of text", () => {
  test.each(Object.entries(TEXT))("%s allows its lengths and nothing beyond", (_, [limit, max]) => {
    expect(limit.lengthMax).toBe(max);
    expect(["a", "a".repeat(max)].map(limit.allows)).toEqual([true, true]);
    expect(["", "a".repeat(max + 1)].map(limit.allows)).toEqual([false, false]);
  });

  test.each(Object.entries(TEXT))(
    "%s allows its characters and no others",
    (_, [limit, , yes, no]) => {
      for (const character of yes)
        expect([character, limit.allows(`a${character}`)]).toEqual([character, true]);
      for (const character of no) {
        const texts = [`${character}a`, `a${character}a`, `a${character}`];
        expect([character, texts.filter(limit.allows)]).toEqual([character, []]);
      }
    },
  );

  test.each(Object.entries(TEXT))("%s allows nothing but text", (_, [limit]) => {
    const wrong = [7, null, undefined, true, ["a"], { toString: () => "a" }, new String("a")];

    expect(wrong.filter(limit.allows)).toEqual([]);
  });

  test.each(Object.entries(TEXT))(
    "the pattern of %s says the same as the limit",
    (_, [limit, , yes, no]) => {
      const form = new RegExp(limit.pattern);
      for (const character of `${yes}${no}`) {
        for (const text of [character, `a${character}`, `${character}a`]) {
          expect([text, form.test(text)]).toEqual([text, limit.allows(text)]);
        }
      }
    },
  );
});

describe("LIMITS.queue", () => {
  test.each(["...", "....", ".a", "..a", "...a", "a.", "a..b", ".-", "_", "0", "a".repeat(64)])(
    "%p is a queue",
    (name) => {
      expect(LIMITS.queue.allows(name)).toBe(true);
    },
  );

  test.each([".", "..", "", " ", "A", "a b", "a/b", "a\n", "%2e", "../a", "a".repeat(65)])(
    "%p is no queue",
    (name) => {
      expect(LIMITS.queue.allows(name)).toBe(false);
    },
  );
});

describe("LIMITS.type", () => {
  test.each([".", "..", "a:b", "Mail.Send"])("%p is a type", (name) => {
    expect(LIMITS.type.allows(name)).toBe(true);
  });
});
