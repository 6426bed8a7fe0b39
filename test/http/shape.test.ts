import { expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import * as schemas from "../../src/http/api/schemas.ts";
import { shapeOf } from "../../src/http/shape.ts";

const TASKS: readonly string[] = [
  '{"payload":1}',
  '{"payload":{"other":{"x":1}},"type":"a","queue":"b","priority":3}',
  '{"payload":1,"other":1}',
  '{"payload":1,"__proto__":{}}',
  '{"payload":1,"constructor":1}',
  '{"payload":1,"toString":null}',
  '{"payload":1,"":1}',
  '{"payload":1,"0":1}',
  '{"payload":1,"max_retries":-1}',
  '{"payload":1,"run_at":"soon"}',
  "{}",
  "[]",
  "null",
  "1",
  '"text"',
];

const BATCHES: readonly string[] = [
  '{"tasks":[]}',
  '{"tasks":null}',
  '{"tasks":{"0":{"payload":1}}}',
  '{"tasks":[{"payload":1}],"other":1}',
  ...TASKS.map((task) => `{"tasks":[{"payload":0},${task}]}`),
];

test.each([
  ["EnqueueBody", schemas.EnqueueBody, [...TASKS, ...BATCHES]],
  ["BatchBody", schemas.BatchBody, [...TASKS, ...BATCHES]],
] as const)("%s fits whatever TypeBox says fits, and nothing else", (_, schema, texts) => {
  const shape = shapeOf(schema);
  const strict = TypeCompiler.Compile(schema);
  const fitting = texts.filter((text) => {
    const value: unknown = JSON.parse(text);
    expect(`${text}: ${shape.fits(value)}`).toBe(`${text}: ${strict.Check(value)}`);
    expect([...shape.errors(value)].length > 0).toBe(!strict.Check(value));
    return strict.Check(value);
  });

  expect(fitting.length).toBeGreaterThan(1);
  expect(fitting.length).toBeLessThan(texts.length);
});

test("a property that is an object of its own is held to its names, one that may be missing too", () => {
  const inner = Type.Object({ a: Type.Optional(Type.Number()) }, { additionalProperties: false });
  const shape = shapeOf(Type.Object({ inner: Type.Optional(inner), list: Type.Array(inner) }));

  expect(shape.fits({ list: [], other: 1 })).toBeTrue();
  expect(shape.fits({ inner: { a: 1 }, list: [{}] })).toBeTrue();
  expect(shape.fits({ inner: { b: 1 }, list: [] })).toBeFalse();
  expect(shape.fits({ list: [{}, { b: 1 }] })).toBeFalse();
});

test("a property that a library puts on every object is no name of any", () => {
  const shape = shapeOf(schemas.BatchBody);
  Object.defineProperty(Object.prototype, "each", {
    value: () => undefined,
    enumerable: true,
    configurable: true,
  });
  try {
    expect(shape.fits(JSON.parse('{"tasks":[{"payload":{"a":1}}]}'))).toBeTrue();
    expect(shape.fits(JSON.parse('{"tasks":[{"payload":1,"each":1}]}'))).toBeFalse();
  } finally {
    Reflect.deleteProperty(Object.prototype, "each");
  }
});
