import { describe, expect, test } from "bun:test";
import { InvariantError } from "../../src/core/assert.ts";
import { DueHeap } from "../../src/core/due-heap.ts";

interface Member {
  readonly seq: number;
  dueAtMs: number;
  position: number;
}

function aMember(dueAtMs: number, seq: number): Member {
  return { dueAtMs, seq, position: -1 };
}

/** A heap of members with these times, numbered from 1. */
function aHeap(times: readonly number[]): {
  readonly heap: DueHeap<Member>;
  readonly members: Member[];
} {
  const heap = new DueHeap<Member>();
  const members = times.map((dueAtMs, index) => aMember(dueAtMs, index + 1));
  for (const member of members) heap.push(member);
  heap.verify();
  return { heap, members };
}

/** Empties the heap from its front. */
function takeAll(heap: DueHeap<Member>): [dueAtMs: number, seq: number][] {
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

describe("DueHeap", () => {
  test("a due heap is empty at first", () => {
    const { heap } = aHeap([]);

    expect(heap.size).toBe(0);
    expect(heap.first()).toBeUndefined();
  });

  test("a due heap gives the earliest first, and equal times in order of arrival", () => {
    const { heap } = aHeap(SHUFFLED);
    const expected = SHUFFLED.map((dueAtMs, index) => [dueAtMs, index + 1] as [number, number]);

    const taken = takeAll(heap);

    expect(taken).toEqual(expected.sort(([a, i], [b, j]) => a - b || i - j));
  });

  test("a due heap lets any member leave and keeps the order of the others", () => {
    for (let leaving = 0; leaving < SHUFFLED.length; leaving += 1) {
      const { heap, members } = aHeap(SHUFFLED);

      heap.remove(members[leaving] as Member);

      heap.verify();
      const expected = members.filter((_, index) => index !== leaving);
      expect(takeAll(heap)).toEqual(
        expected
          .sort((a, b) => a.dueAtMs - b.dueAtMs || a.seq - b.seq)
          .map(({ dueAtMs, seq }) => [dueAtMs, seq]),
      );
    }
  });

  test("a due heap lifts what fills a gap when that is due before what is above the gap", () => {
    // The gap is below 10, and what fills it, the last one, comes from below 2.
    const { heap, members } = aHeap([1, 10, 2, 11, 12, 3, 4]);

    heap.remove(members[3] as Member);

    heap.verify();
    expect(takeAll(heap).map(([dueAtMs]) => dueAtMs)).toEqual([1, 2, 3, 4, 10, 12]);
  });

  test("a due heap holds negative, fractional and never-ending times", () => {
    const { heap } = aHeap([Number.POSITIVE_INFINITY, 0.5, -3, 2 ** 53]);

    expect(takeAll(heap).map(([dueAtMs]) => dueAtMs)).toEqual([
      -3,
      0.5,
      2 ** 53,
      Number.POSITIVE_INFINITY,
    ]);
  });

  test("a due heap takes a member again that has left, at another time", () => {
    const { heap, members } = aHeap([1, 2, 3]);
    const [first] = members as [Member];
    heap.remove(first);
    first.dueAtMs = 9;

    heap.push(first);

    expect(takeAll(heap).map(([, seq]) => seq)).toEqual([2, 3, 1]);
  });
});

describe("DueHeap assertions", () => {
  test("a due heap refuses a member that is in it already", () => {
    const { heap, members } = aHeap([1]);

    expect(() => heap.push(members[0] as Member)).toThrow(InvariantError);
  });

  test("a due heap refuses to let go of what it does not hold", () => {
    const { heap } = aHeap([1, 2, 3]);

    expect(() => heap.remove(aMember(2, 2))).toThrow(InvariantError);
    expect(heap.size).toBe(3);
  });

  test("a due heap refuses to let go of a member of another heap", () => {
    const { heap } = aHeap([1, 2, 3]);
    const { members } = aHeap([1, 2, 3]);

    expect(() => heap.remove(members[1] as Member)).toThrow(InvariantError);
  });
});

describe("DueHeap.verify", () => {
  test("verify finds a member whose time was changed while it was in", () => {
    const { heap, members } = aHeap([1, 2, 3]);

    (members[0] as Member).dueAtMs = 9;

    expect(() => heap.verify()).toThrow("no member is due before its parent");
  });

  test("verify finds a member with a wrong index", () => {
    const { heap, members } = aHeap([1, 2, 3]);

    (members[2] as Member).position = 1;

    expect(() => heap.verify()).toThrow("a heap's member knows its index");
  });
});
