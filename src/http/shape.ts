/**
 * Checks values against schemas, and lists the faults of a value that does not fit.
 *
 * The code that TypeBox compiles from a schema is fast with one exception: to find unknown
 * properties, it lists all names of every object. This file does that check itself;
 * docs/DECISIONS.md has the figures.
 */

import type { Static, TSchema } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";

/** One fault in a request. */
export interface Fault {
  /** A JSON Pointer into the body (RFC 6901), or the name of a query parameter or header. */
  readonly path: string;
  readonly message: string;
}

export interface Shape<T extends TSchema> {
  fits(value: unknown): value is Static<T>;
  /** The faults of a value that does not fit. */
  errors(value: unknown): Iterable<Fault>;
}

export function shapeOf<T extends TSchema>(schema: T): Shape<T> {
  const strict = TypeCompiler.Compile(schema);
  const open = TypeCompiler.Compile(openOf(schema));
  const hasNoOther = namesOf(schema) ?? (() => true);
  return {
    fits: (value): value is Static<T> => open.Check(value) && hasNoOther(value),
    *errors(value) {
      for (const { path, message } of strict.Errors(value)) yield { path, message };
    },
  };
}

/** The same schema, but it allows unknown properties. */
function openOf(schema: TSchema): TSchema {
  if (schema["type"] === "array") return { ...schema, items: openOf(schema["items"]) };
  if (schema["type"] !== "object") return schema;
  const properties = Object.entries<TSchema>(schema["properties"]);
  return {
    ...schema,
    additionalProperties: true,
    properties: Object.fromEntries(properties.map(([name, each]) => [name, openOf(each)])),
  };
}

/**
 * Checks that a value that fits the open schema has no unknown property; null where any name is
 * allowed.
 */
function namesOf(schema: TSchema): ((value: unknown) => boolean) | null {
  if (schema["type"] === "array") {
    const item = namesOf(schema["items"]);
    return item === null ? null : (value) => (value as readonly unknown[]).every(item);
  }
  if (schema["type"] !== "object") return null;
  const properties = Object.entries<TSchema>(schema["properties"]);
  const names = new Set(properties.map(([name]) => name));
  const inner = properties.flatMap(([name, each]) => {
    const check = namesOf(each);
    return check === null ? [] : [{ name, check }];
  });
  const isStrict = schema["additionalProperties"] === false;
  return (value) => {
    const object = value as Readonly<Record<string, unknown>>;
    if (isStrict) {
      // A library may have put an enumerable property on Object.prototype. It does not belong to
      // this object.
      for (const name in object) if (!names.has(name) && Object.hasOwn(object, name)) return false;
    }
    for (const { name, check } of inner) {
      if (object[name] !== undefined && !check(object[name])) return false;
    }
    return true;
  };
}
