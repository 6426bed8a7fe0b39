/**
 * What the compiler takes and what it refuses: a line that says `@ts-expect-error` fails the type
 * check without one.
 */

import { expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import { defineHandlers, type Handlers, remote } from "ringq";

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

/** The payload of a type, as a client gets it from the handlers. */
type PayloadOf<H, T extends string> =
  H extends Handlers<infer Payloads> ? (T extends keyof Payloads ? Payloads[T] : never) : never;

type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Compiles only if the types are the same. */
function expectSame<A, B>(same: Same<A, B>): void {
  expect<boolean>(same).toBe(true);
}

test("remote types stand beside handlers, and each keeps its payload", () => {
  const handlers = defineHandlers({
    far: remote<{ readonly to: string }>(),
    "far-with-rules": remote<number>({ queue: "q", timeoutMs: 1000 }),
    checked: { isolation: "remote", schema },
    local: (payload: boolean, { log }) => log.info("x", { payload }),
  });

  expectSame<PayloadOf<typeof handlers, "far">, { readonly to: string }>(true);
  expectSame<PayloadOf<typeof handlers, "far-with-rules">, number>(true);
  expectSame<PayloadOf<typeof handlers, "checked">, { url: string }>(true);
  expectSame<PayloadOf<typeof handlers, "local">, boolean>(true);
  expect(handlers.payloads).toBeUndefined();
});

test("a remote type has no handler", () => {
  const define = () =>
    defineHandlers({
      // @ts-expect-error: a remote worker has the handler.
      a: { isolation: "remote", handler: () => 1 },
    });
  expect(define).toThrow("a: a remote type has no handler");
  // @ts-expect-error: a remote worker has the handler.
  expect(() => defineHandlers({ a: remote({ handler: () => 1 }) })).toThrow("no handler");
});

test("other types are remote, or have no handler", () => {
  // @ts-expect-error: there is no other place for them.
  expect(() => defineHandlers({}, { otherTypes: "thread" })).toThrow("otherTypes must be");
});
