import { describe, expect, test } from "bun:test";
import { InvariantError } from "../../src/core/assert.ts";
import { DueHeap } from "../../src/core/due-heap.ts";

interface WakeTimer {
  readonly seq: number;
  dueAtMs: number;
  position: number;
}

function anAlarm(dueAtMs: number, seq: number): WakeTimer {
  return { dueAtMs, seq, position: -1 };
}

/** A heap of alarms with these times, numbered from 1. */
function aHeap(times: readonly number[]): {
  readonly heap: DueHeap<WakeTimer>;
  readonly alarms: WakeTimer[];
} {
  const heap = new DueHeap<WakeTimer>();
  const alarms = times.map((dueAtMs, index) => anAlarm(dueAtMs, index + 1));
  for (const alarm of alarms) heap.push(alarm);
  heap.verify();
  return { heap, alarms };
}

/** Empties the heap from its front. */
function takeAll(heap: DueHeap<WakeTimer>): [dueAtMs: number, seq: number][] {
  const taken: [number, number][] = [];
  for (let first = heap.first(); first !== undefined; first = heap.first()) {
    heap.remove(first);
    heap.verify();
    taken.push([first.dueAtMs, first.seq]);
  }
  return taken;
}

/** Times in no order, with many twins: a walk through a prime's residues. */
const SHUFFLED = Array.from({ length: 97 }, (_, index) => ((index * 53) % 97) >> 1);

describe("a due heap", () => {
  test("is empty at first", () => {
    const { heap } = aHeap([]);

    expect(heap.size).toBe(0);
    expect(heap.first()).toBeUndefined();
  });

  test("gives the earliest first, and equal times in order of arrival", () => {
    const { heap } = aHeap(SHUFFLED);
    const expected = SHUFFLED.map((dueAtMs, index) => [dueAtMs, index + 1] as [number, number]);

    const taken = takeAll(heap);

    expect(taken).toEqual(expected.sort(([a, i], [b, j]) => a - b || i - j));
  });

  test("lets any member leave and keeps the order of the others", () => {
    for (let leaving = 0; leaving < SHUFFLED.length; leaving += 1) {
      const { heap, alarms } = aHeap(SHUFFLED);

      heap.remove(alarms[leaving] as WakeTimer);

      heap.verify();
      const expected = alarms.filter((_, index) => index !== leaving);
      expect(takeAll(heap)).toEqual(
        expected
          .sort((a, b) => a.dueAtMs - b.dueAtMs || a.seq - b.seq)
          .map(({ dueAtMs, seq }) => [dueAtMs, seq]),
      );
    }
  });

  test("lifts what fills a gap when that is due before what is above the gap", () => {
    // The gap is below 10, and what fills it, the last one, comes from below 2.
    const { heap, alarms } = aHeap([1, 10, 2, 11, 12, 3, 4]);

    heap.remove(alarms[3] as WakeTimer);

    heap.verify();
    expect(takeAll(heap).map(([dueAtMs]) => dueAtMs)).toEqual([1, 2, 3, 4, 10, 12]);
  });

  test("holds negative, fractional and never-ending times", () => {
    const { heap } = aHeap([Number.POSITIVE_INFINITY, 0.5, -3, 2 ** 53]);

    expect(takeAll(heap).map(([dueAtMs]) => dueAtMs)).toEqual([
      -3,
      0.5,
      2 ** 53,
      Number.POSITIVE_INFINITY,
    ]);
  });

  test("takes a member again that has left, at another time", () => {
    const { heap, alarms } = aHeap([1, 2, 3]);
    const [first] = alarms as [WakeTimer];
    heap.remove(first);
    first.dueAtMs = 9;

    heap.push(first);

    expect(takeAll(heap).map(([, seq]) => seq)).toEqual([2, 3, 1]);
  });
});

describe("a due heap refuses", () => {
  test("a member that is in it already", () => {
    const { heap, alarms } = aHeap([1]);

    expect(() => heap.push(alarms[0] as WakeTimer)).toThrow(InvariantError);
  });

  test("to let go of what it does not hold", () => {
    const { heap } = aHeap([1, 2, 3]);

    expect(() => heap.remove(anAlarm(2, 2))).toThrow(InvariantError);
    expect(heap.size).toBe(3);
  });

  test("to let go of a member of another heap", () => {
    const { heap } = aHeap([1, 2, 3]);
    const { alarms } = aHeap([1, 2, 3]);

    expect(() => heap.remove(alarms[1] as WakeTimer)).toThrow(InvariantError);
  });
});

describe("a due heap's verify finds", () => {
  test("a member whose time was changed while it was in", () => {
    const { heap, alarms } = aHeap([1, 2, 3]);

    (alarms[0] as WakeTimer).dueAtMs = 9;

    expect(() => heap.verify()).toThrow("no member is due before its parent");
  });

  test("a member with a wrong index", () => {
    const { heap, alarms } = aHeap([1, 2, 3]);

    (alarms[2] as WakeTimer).position = 1;

    expect(() => heap.verify()).toThrow("a heap's member knows its index");
  });
});
