import { describe, expect, test } from "bun:test";
import { backoffMs } from "../../src/core/backoff.ts";

const BACKOFF = { baseMs: 200, jitterMs: 100, maxMs: 300_000 };

const NONE = () => 0;
const HALF = () => 0.5;
/** The largest number below 1. */
const ALMOST_ONE = () => 1 - Number.EPSILON / 2;

describe("backoffMs", () => {
  test("the backoff doubles with every retry", () => {
    const delaysMs = [0, 1, 2, 3, 4].map((n) => backoffMs(BACKOFF, n, NONE));

    expect(delaysMs).toEqual([200, 400, 800, 1600, 3200]);
  });

  test("the backoff has at most the whole jitter added", () => {
    expect(backoffMs(BACKOFF, 0, ALMOST_ONE)).toBe(300);
  });

  test("the backoff has half the jitter added for the middle of chance", () => {
    expect(backoffMs(BACKOFF, 1, HALF)).toBe(450);
  });

  test("the backoff draws every whole number of milliseconds in the jitter's range equally often", () => {
    const jitter = { baseMs: 0, jitterMs: 3, maxMs: 1000 };
    const drawn = [0, 0.1, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9].map((r) => backoffMs(jitter, 0, () => r));

    expect(drawn).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
  });

  test("the backoff is never longer than its cap, jitter included", () => {
    expect(backoffMs({ ...BACKOFF, maxMs: 250 }, 0, ALMOST_ONE)).toBe(250);
  });

  test("the backoff is the cap for the hundredth retry", () => {
    expect(backoffMs(BACKOFF, 99, NONE)).toBe(300_000);
  });

  test("the backoff is nothing when it has neither base nor jitter", () => {
    expect(backoffMs({ baseMs: 0, jitterMs: 0, maxMs: 1000 }, 7, ALMOST_ONE)).toBe(0);
  });
});
