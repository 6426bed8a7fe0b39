import { describe, expect, test } from "bun:test";
import { InvariantError } from "../../src/core/assert.ts";
import { NOT_LINKED, Ring } from "../../src/core/ring.ts";

interface Member {
  readonly name: number;
  position: number;
}

function aMember(name: number): Member {
  return { name, position: NOT_LINKED };
}

/** A ring that holds members named from 1, in this order. */
function aRing(count: number): { readonly ring: Ring<Member>; readonly members: Member[] } {
  const ring = new Ring<Member>();
  const members = Array.from({ length: count }, (_, index) => aMember(index + 1));
  for (const member of members) ring.pushBack(member);
  return { ring, members };
}

function namesIn(ring: Ring<Member>): number[] {
  ring.verify();
  return Array.from(ring, ({ name }) => name);
}

function takeFront(ring: Ring<Member>): Member {
  const front = ring.front();
  if (front === undefined) throw new Error("the ring is empty");
  ring.remove(front);
  return front;
}

describe("Ring", () => {
  test("a ring is empty at first", () => {
    const ring = new Ring<Member>();

    expect(ring.size).toBe(0);
    expect(ring.front()).toBeUndefined();
    expect(namesIn(ring)).toEqual([]);
  });

  test("a ring gives back what it got in the same order", () => {
    const { ring } = aRing(100);

    const taken = Array.from({ length: 100 }, () => takeFront(ring).name);

    expect(taken).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
    expect(ring.size).toBe(0);
  });

  test("a ring keeps the order when it wraps around, again and again, at any fill", () => {
    for (let fill = 1; fill <= 40; fill += 1) {
      const { ring } = aRing(fill);
      for (let next = fill + 1; next <= fill + 200; next += 1) {
        expect(takeFront(ring).name).toBe(next - fill);
        ring.pushBack(aMember(next));
      }
      expect(namesIn(ring)).toEqual(Array.from({ length: fill }, (_, index) => index + 201));
    }
  });

  test("a ring lets a member leave from the middle and keeps the order of the others", () => {
    const { ring, members } = aRing(5);

    ring.remove(members[2] as Member);

    expect(namesIn(ring)).toEqual([1, 2, 4, 5]);
    expect(members[2]?.position).toBe(NOT_LINKED);
  });

  test("a ring has a new front once the front and all behind it that left are gone", () => {
    const { ring, members } = aRing(4);
    for (const index of [1, 2, 0]) ring.remove(members[index] as Member);

    expect(ring.front()?.name).toBe(4);
    expect(namesIn(ring)).toEqual([4]);
  });

  test("a ring takes a member again that has left", () => {
    const { ring, members } = aRing(2);
    const [first] = members as [Member];
    ring.remove(first);

    ring.pushBack(first);

    expect(namesIn(ring)).toEqual([2, 1]);
  });

  test("a ring takes members at its end while others leave from its middle", () => {
    const { ring, members } = aRing(20);
    const expected = members.map(({ name }) => name);
    for (let name = 21; name <= 120; name += 1) {
      const member = aMember(name);
      ring.pushBack(member);
      expected.push(name);
      const leaving = [...ring][name % ring.size] as Member;
      ring.remove(leaving);
      expected.splice(expected.indexOf(leaving.name), 1);
      expect(namesIn(ring)).toEqual(expected);
    }
  });
});

describe("Ring.capacity", () => {
  test("a ring's memory does not grow by holes: what left from the middle leaves its room to others", () => {
    const { ring } = aRing(8);
    const capacityBefore = ring.capacity;

    for (let name = 9; name <= 1000; name += 1) {
      const member = aMember(name);
      ring.pushBack(member);
      ring.remove([...ring][4] as Member);
    }

    expect(ring.size).toBe(8);
    expect(ring.capacity).toBeLessThanOrEqual(2 * capacityBefore);
  });

  test("a ring's memory shrinks while it empties, and keeps the order", () => {
    const { ring } = aRing(1000);
    const capacityBefore = ring.capacity;

    for (let left = 1000; left > 10; left -= 1) takeFront(ring);

    expect(ring.capacity).toBeLessThan(capacityBefore / 8);
    expect(namesIn(ring)).toEqual(Array.from({ length: 10 }, (_, index) => index + 991));
  });

  test("a ring's memory is given back when a full ring is emptied from its end", () => {
    const { ring, members } = aRing(1000);
    const empty = new Ring<Member>();

    for (const member of members.reverse()) ring.remove(member);

    expect(ring.capacity).toBeLessThanOrEqual(4 * empty.capacity);
    expect(namesIn(ring)).toEqual([]);
  });
});

describe("Ring assertions", () => {
  test("a ring refuses a member that is in it already", () => {
    const { ring, members } = aRing(1);

    expect(() => ring.pushBack(members[0] as Member)).toThrow(InvariantError);
  });

  test("a ring refuses to let go of a member that is in another one", () => {
    const { ring } = aRing(3);
    const { members } = aRing(3);

    expect(() => ring.remove(members[1] as Member)).toThrow(InvariantError);
    expect(namesIn(ring)).toEqual([1, 2, 3]);
  });

  test("a ring refuses to let go of a member twice", () => {
    const { ring, members } = aRing(3);
    ring.remove(members[1] as Member);

    expect(() => ring.remove(members[1] as Member)).toThrow(InvariantError);
    expect(namesIn(ring)).toEqual([1, 3]);
  });
});

test("verify finds a member with a wrong position", () => {
  const { ring, members } = aRing(3);

  (members[1] as Member).position += 1;

  expect(() => ring.verify()).toThrow("a ring's member knows its position");
});
