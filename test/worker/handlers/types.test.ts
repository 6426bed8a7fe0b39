/**
 * What the compiler takes and what it refuses: a line that says `@ts-expect-error` fails the type
 * check without one.
 */

import { expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import { defineHandlers } from "ringq";

const schema = Type.Object({ url: Type.String() });

test("handlers that declare their payloads stand beside handlers that do not", () => {
  const { types } = defineHandlers({
    declared: (payload: number, { progress }) => progress(payload * 2),
    "in-options": {
      handler: (payload: string, { attempt }) => payload.repeat(attempt),
      queue: "q",
    },
    undeclared: (_payload, { attempt }) => attempt,
    checked: { schema, handler: ({ url }, { signal }) => fetch(url, { signal }) },
    both: { schema, handler: ({ url }: { url: string }, { signal }) => fetch(url, { signal }) },
    plain: () => 1,
  });
  expect([...types.keys()]).toEqual([
    "declared",
    "in-options",
    "undeclared",
    "checked",
    "both",
    "plain",
  ]);
});

test("a handler is held to the schema of its payload", () => {
  const { types } = defineHandlers({
    // @ts-expect-error: the schema has no such property.
    misread: { schema, handler: ({ uri }) => uri },
    declared: (payload: number, { progress }) => progress(payload),
    undeclared: (_payload, { attempt }) => attempt,
  });
  expect(types.size).toBe(3);
});

test("a handler that declares another payload than its schema is refused", () => {
  const { types } = defineHandlers({
    // @ts-expect-error: the schema says what the payload is, and it is no number.
    mistaken: { schema, handler: (payload: number) => payload },
  });
  expect(types.size).toBe(1);
});

test("an option that does not exist is refused by the compiler too", () => {
  const define = () =>
    defineHandlers({
      // @ts-expect-error: it is called timeoutMs.
      a: { handler: () => 1, timeout: 5 },
    });
  expect(define).toThrow("a: unknown option timeout");
});
