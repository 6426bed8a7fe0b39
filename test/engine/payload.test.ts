import { describe, expect, test } from "bun:test";
import { LIMITS } from "../../src/core/limits.ts";
import { encodePayload } from "../../src/engine/payload.ts";

const DEPTH_MAX = LIMITS.payloadDepth.max;

/** An array in an array in an array …, around `innermost`. */
function nestedArrays(levels: number, innermost: unknown = 1): unknown {
  let value = innermost;
  for (let level = 0; level < levels; level += 1) value = [value];
  return value;
}

/** The same with objects. */
function nestedObjects(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level += 1) value = { a: value };
  return value;
}

describe("encodePayload", () => {
  test.each([
    "null",
    "true",
    "false",
    "0",
    "-1.5e-7",
    '"text"',
    "[]",
    "{}",
    '[1,"a",null,{"b":[]}]',
    '{"":{"a":[{}]}}',
  ])("a payload is encoded as the text that it was: %s", (text) => {
    expect(encodePayload(JSON.parse(text))).toEqual({
      kind: "encoded",
      text,
      bytes: text.length,
    });
  });

  test("a payload is encoded with its size in bytes of UTF-8", () => {
    expect(encodePayload("aä€😀")).toEqual({ kind: "encoded", text: '"aä€😀"', bytes: 12 });
  });

  test("a payload is encoded with a lone surrogate escaped, so that every reader can read it", () => {
    expect(encodePayload("\ud800")).toEqual({ kind: "encoded", text: '"\\ud800"', bytes: 8 });
  });

  test("a payload is encoded with __proto__ as a key like any other", () => {
    const text = '{"__proto__":{"a":1},"constructor":{"prototype":2}}';

    expect(encodePayload(JSON.parse(text))).toMatchObject({ text });
  });

  test("a payload is encoded with toJSON as a key like any other", () => {
    const text = '{"toJSON":{"a":1}}';

    expect(encodePayload(JSON.parse(text))).toMatchObject({ text });
  });

  test.each([
    ["arrays", nestedArrays],
    ["objects", nestedObjects],
  ])("a payload is encoded up to as many levels of %s as may be", (_, nested) => {
    expect(encodePayload(nested(DEPTH_MAX)).kind).toBe("encoded");
  });

  test("a payload is encoded however many siblings there are", () => {
    expect(encodePayload(Array.from({ length: 100_000 }, () => [])).kind).toBe("encoded");
  });

  test("a payload is encoded without what a library puts on every object", () => {
    Object.defineProperty(Object.prototype, "each", {
      value: () => undefined,
      enumerable: true,
      configurable: true,
    });
    try {
      expect(encodePayload({ a: [{ b: 1 }] })).toMatchObject({ text: '{"a":[{"b":1}]}' });
    } finally {
      Reflect.deleteProperty(Object.prototype, "each");
    }
  });
});

describe("encodePayload of what can not be encoded", () => {
  test.each([
    ["arrays", nestedArrays, "/0"],
    ["objects", nestedObjects, "/a"],
  ])(
    "a payload is refused for one level of %s too many, with a pointer to it",
    (_, nested, step) => {
      expect(encodePayload(nested(DEPTH_MAX + 1))).toEqual({
        kind: "invalid",
        path: step.repeat(DEPTH_MAX),
        message: "is nested deeper than 64 levels",
      });
    },
  );

  test("a payload is refused for an empty array one level too deep", () => {
    expect(encodePayload(nestedArrays(DEPTH_MAX, [])).kind).toBe("invalid");
  });

  test("a payload is refused for a hundred thousand levels, without overflowing the stack", () => {
    expect(encodePayload(nestedArrays(100_000))).toMatchObject({
      kind: "invalid",
      path: "/0".repeat(DEPTH_MAX),
    });
  });

  test.each(["1e400", "-1e400"])("a payload is refused for %s, which no double holds", (text) => {
    expect(encodePayload(JSON.parse(text))).toEqual({
      kind: "invalid",
      path: "",
      message: "is a number beyond the range of a double",
    });
  });

  test("a payload is refused for NaN", () => {
    expect(encodePayload(Number.NaN).kind).toBe("invalid");
  });

  test.each([
    ["undefined", undefined],
    ["bigint", 1n],
    ["function", () => undefined],
    ["symbol", Symbol("s")],
  ])("a payload is refused for a %s, which JSON does not have", (type, value) => {
    expect(encodePayload({ a: [value] })).toEqual({
      kind: "invalid",
      path: "/a/0",
      message: expect.stringContaining(type),
    });
  });

  test("a payload is refused with the first fault when there are several", () => {
    expect(encodePayload([1, { b: Number.NaN }, Number.NaN])).toMatchObject({ path: "/1/b" });
  });

  test("a payload is refused with a pointer whose keys are escaped", () => {
    expect(encodePayload({ "a/b": { "~1": { "": Number.NaN } } })).toMatchObject({
      path: "/a~1b/~01/",
    });
  });
});
