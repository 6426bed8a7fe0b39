import { describe, expect, test } from "bun:test";
import { LIMITS } from "../../../src/engine/engine.ts";
import {
  NonRetryableError,
  RETRY_MARK,
  RetryAfterError,
} from "../../../src/worker/handlers/errors.ts";

const MONTH_MS = LIMITS.retryAfterMs.max;

test("a NonRetryableError is an error with a name, a message and a cause", () => {
  const cause = new Error("no such customer");

  const error = new NonRetryableError("gone", { cause });

  expect(error).toBeInstanceOf(Error);
  expect(error).toMatchObject({ name: "NonRetryableError", message: "gone", cause });
});

describe("a RetryAfterError", () => {
  test("is an error with a name, a message and a cause", () => {
    const cause = new Error("503");

    const error = new RetryAfterError(5, "busy", { cause });

    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: "RetryAfterError", message: "busy", cause });
  });

  test("has a message of its own when it is given none", () => {
    expect(new RetryAfterError(1500).message).toBe("try again after 1500 ms");
  });

  test.each([0, 0.5, MONTH_MS])("takes %p ms", (ms) => {
    expect(new RetryAfterError(ms)[RETRY_MARK]).toEqual({ kind: "after", ms });
  });

  test.each([-1, MONTH_MS + 1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    "refuses %p ms",
    (ms) => {
      expect(() => new RetryAfterError(ms)).toThrow(
        new RangeError(`the ms of RetryAfterError must be from 0 to ${MONTH_MS}, but is ${ms}`),
      );
    },
  );
});
