import { describe, expect, test } from "bun:test";
import { IdIndex } from "../../src/core/id-index.ts";

interface Member {
  readonly id: string;
  idHash: number;
  nextById: Member | null;
}

function aMember(id: string): Member {
  return { id, idHash: 0, nextById: null };
}

function anIndex(...ids: string[]): { index: IdIndex<Member>; members: Member[] } {
  const index = new IdIndex<Member>();
  const members = ids.map(aMember);
  for (const member of members) index.add(member);
  return { index, members };
}

describe("an id index", () => {
  test("finds every member by its id, and nothing by another", () => {
    const { index, members } = anIndex("", "a", "b", "a longer id than is hashed");

    for (const member of members) expect(index.find(member.id)).toBe(member);
    expect(index.find("c")).toBeUndefined();
    expect(index.find("another longer id than is hashed")).toBeUndefined();
    expect(index.size).toBe(4);
  });

  test("no longer finds what was taken out, and finds it again when it is back", () => {
    const { index, members } = anIndex("a", "b");
    const [a = aMember("a")] = members;

    index.remove(a);
    expect(index.find("a")).toBeUndefined();
    expect(index.size).toBe(1);

    index.add(a);
    expect(index.find("a")).toBe(a);
  });

  test("tells ids apart that share a chain, whichever of them leaves", () => {
    // The same end means the same hash.
    const ids = ["first", "second", "third"].map((start) => `${start}-12345678`);
    for (const leaving of ids) {
      const { index, members } = anIndex(...ids);
      index.remove(members[ids.indexOf(leaving)] as Member);

      for (const [at, id] of ids.entries()) {
        expect(index.find(id)).toBe(id === leaving ? undefined : members[at]);
      }
      index.check();
    }
  });

  test("takes in no id twice", () => {
    const { index, members } = anIndex("a");

    expect(() => index.add(members[0] as Member)).toThrow("an id is in an index once");
    expect(() => index.add(aMember("a"))).toThrow("an id is in an index once");
    index.check();
  });

  test("takes out only its own", () => {
    const { index } = anIndex("a");

    expect(() => index.remove(aMember("a"))).toThrow("member of this index");
    expect(() => index.remove(aMember("b"))).toThrow("member of this index");
  });

  test("grows and shrinks with what it holds", () => {
    const members = Array.from({ length: 10_000 }, () => aMember(Bun.randomUUIDv7()));
    const index = new IdIndex<Member>();
    for (const member of members) index.add(member);
    index.check();
    expect([...index]).toHaveLength(10_000);
    expect(index.capacity).toBe(16_384);

    for (const member of members.splice(100)) index.remove(member);
    index.check();
    expect(index.capacity).toBeLessThan(1000);
    for (const member of members) expect(index.find(member.id)).toBe(member);
  });

  test("spreads ids of one millisecond, and plain numbers, over its buckets", () => {
    const numbers = Array.from({ length: 4096 }, (_, number) => `task-${number}`);
    const uuids = Array.from({ length: 4096 }, () => Bun.randomUUIDv7());
    for (const ids of [numbers, uuids]) {
      const { index } = anIndex(...ids);
      expect(index.longestChain()).toBeLessThan(16);
    }
  });
});
