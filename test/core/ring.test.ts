import { describe, expect, test } from "bun:test";
import { InvariantError } from "../../src/core/assert.ts";
import { NOT_LINKED, Ring } from "../../src/core/ring.ts";

interface Bead {
  readonly name: number;
  position: number;
}

function aBead(name: number): Bead {
  return { name, position: NOT_LINKED };
}

/** A ring that holds beads named from 1, in this order. */
function aRing(count: number): { readonly ring: Ring<Bead>; readonly beads: Bead[] } {
  const ring = new Ring<Bead>();
  const beads = Array.from({ length: count }, (_, index) => aBead(index + 1));
  for (const bead of beads) ring.pushBack(bead);
  return { ring, beads };
}

function namesIn(ring: Ring<Bead>): number[] {
  ring.verify();
  return Array.from(ring, ({ name }) => name);
}

function takeFront(ring: Ring<Bead>): Bead {
  const front = ring.front();
  if (front === undefined) throw new Error("the ring is empty");
  ring.remove(front);
  return front;
}

describe("a ring", () => {
  test("is empty at first", () => {
    const ring = new Ring<Bead>();

    expect(ring.size).toBe(0);
    expect(ring.front()).toBeUndefined();
    expect(namesIn(ring)).toEqual([]);
  });

  test("gives back what it got in the same order", () => {
    const { ring } = aRing(100);

    const taken = Array.from({ length: 100 }, () => takeFront(ring).name);

    expect(taken).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
    expect(ring.size).toBe(0);
  });

  test("keeps the order when it wraps around, again and again, at any fill", () => {
    for (let fill = 1; fill <= 40; fill += 1) {
      const { ring } = aRing(fill);
      for (let next = fill + 1; next <= fill + 200; next += 1) {
        expect(takeFront(ring).name).toBe(next - fill);
        ring.pushBack(aBead(next));
      }
      expect(namesIn(ring)).toEqual(Array.from({ length: fill }, (_, index) => index + 201));
    }
  });

  test("puts a bead to the front before all others, even when it is full", () => {
    const { ring } = aRing(0);
    for (let name = 1; name <= 100; name += 1) ring.pushFront(aBead(name));

    expect(namesIn(ring)).toEqual(Array.from({ length: 100 }, (_, index) => 100 - index));
  });

  test("lets a bead leave from the middle and keeps the order of the others", () => {
    const { ring, beads } = aRing(5);

    ring.remove(beads[2] as Bead);

    expect(namesIn(ring)).toEqual([1, 2, 4, 5]);
    expect(beads[2]?.position).toBe(NOT_LINKED);
  });

  test("has a new front once the front and all behind it that left are gone", () => {
    const { ring, beads } = aRing(4);
    for (const index of [1, 2, 0]) ring.remove(beads[index] as Bead);

    expect(ring.front()?.name).toBe(4);
    expect(namesIn(ring)).toEqual([4]);
  });

  test("takes a bead again that has left", () => {
    const { ring, beads } = aRing(2);
    const [first] = beads as [Bead];
    ring.remove(first);

    ring.pushBack(first);

    expect(namesIn(ring)).toEqual([2, 1]);
  });

  test("takes beads at both ends while others leave from its middle", () => {
    const { ring, beads } = aRing(20);
    const expected = beads.map(({ name }) => name);
    for (let name = 21; name <= 120; name += 1) {
      const bead = aBead(name);
      if (name % 3 === 0) {
        ring.pushFront(bead);
        expected.unshift(name);
      } else {
        ring.pushBack(bead);
        expected.push(name);
      }
      const leaving = [...ring][name % ring.size] as Bead;
      ring.remove(leaving);
      expected.splice(expected.indexOf(leaving.name), 1);
      expect(namesIn(ring)).toEqual(expected);
    }
  });
});

describe("a ring's memory", () => {
  test("does not grow by holes: what left from the middle leaves its room to others", () => {
    const { ring } = aRing(8);
    const capacityBefore = ring.capacity;

    for (let name = 9; name <= 1000; name += 1) {
      const bead = aBead(name);
      ring.pushBack(bead);
      ring.remove([...ring][4] as Bead);
    }

    expect(ring.size).toBe(8);
    expect(ring.capacity).toBeLessThanOrEqual(2 * capacityBefore);
  });

  test("shrinks while it empties, and keeps the order", () => {
    const { ring } = aRing(1000);
    const capacityBefore = ring.capacity;

    for (let left = 1000; left > 10; left -= 1) takeFront(ring);

    expect(ring.capacity).toBeLessThan(capacityBefore / 8);
    expect(namesIn(ring)).toEqual(Array.from({ length: 10 }, (_, index) => index + 991));
  });

  test("is given back when a full ring is emptied from its end", () => {
    const { ring, beads } = aRing(1000);
    const empty = new Ring<Bead>();

    for (const bead of beads.reverse()) ring.remove(bead);

    expect(ring.capacity).toBeLessThanOrEqual(4 * empty.capacity);
    expect(namesIn(ring)).toEqual([]);
  });
});

describe("a ring refuses", () => {
  test("a bead that is in it already", () => {
    const { ring, beads } = aRing(1);

    expect(() => ring.pushBack(beads[0] as Bead)).toThrow(InvariantError);
  });

  test("to let go of a bead that is in another one", () => {
    const { ring } = aRing(3);
    const { beads } = aRing(3);

    expect(() => ring.remove(beads[1] as Bead)).toThrow(InvariantError);
    expect(namesIn(ring)).toEqual([1, 2, 3]);
  });

  test("to let go of a bead twice", () => {
    const { ring, beads } = aRing(3);
    ring.remove(beads[1] as Bead);

    expect(() => ring.remove(beads[1] as Bead)).toThrow(InvariantError);
    expect(namesIn(ring)).toEqual([1, 3]);
  });
});

test("a ring's verify finds a bead with a wrong place", () => {
  const { ring, beads } = aRing(3);

  (beads[1] as Bead).position += 1;

  expect(() => ring.verify()).toThrow("a ring's member knows its place");
});
