/** Checks by the compiler: a line below that compiles, or does not, in spite of its comment fails. */

import { expect, test } from "bun:test";
import { type Static, type TSchema, Type } from "@sinclair/typebox";
import {
  type Claim,
  Client,
  type Lease,
  type Problem,
  type Queue,
  type Receipt,
  type SettleReceipt,
  type Task,
  type TaskPage,
  type TaskTypes,
  Worker,
} from "../../src/client/index.ts";
import type { ProblemSchema } from "../../src/http/api/problem.ts";
import type * as schemas from "../../src/http/api/schemas.ts";
import { defineHandlers, type Handlers } from "../../src/index.ts";

const handlers = defineHandlers({
  mail: { schema: Type.Object({ to: Type.String() }), handler: ({ to }) => to },
  resize: (payload: { width: number }) => payload.width,
  default: (payload: number) => payload,
});

const typed = new Client<typeof handlers>("http://127.0.0.1:1");
const named = new Client<TaskTypes<{ mail: { to: string } }>>("http://127.0.0.1:1");
const untyped = new Client("http://127.0.0.1:1");
const unknown = new Client<Handlers>("http://127.0.0.1:1");

/** Only compiled. */
function enqueues(): readonly Promise<unknown>[] {
  return [
    typed.enqueue({ type: "mail", payload: { to: "ada" }, maxRetries: 1 }),
    typed.enqueue({ type: "resize", payload: { width: 1 } }),
    // A task without a type has the type `default`.
    typed.enqueue({ payload: 1 }),
    // @ts-expect-error the payload of another type
    typed.enqueue({ type: "mail", payload: { width: 1 } }),
    // @ts-expect-error the payload of `default` is a number
    typed.enqueue({ payload: "1" }),
    // @ts-expect-error no such type
    typed.enqueue({ type: "male", payload: { to: "ada" } }),
    // @ts-expect-error no such option
    typed.enqueue({ type: "mail", payload: { to: "ada" }, max_retries: 1 }),
    // @ts-expect-error one of them has a wrong payload
    typed.enqueueBatch([{ payload: 1 }, { type: "resize", payload: { width: "1" } }]),
    named.enqueue({ type: "mail", payload: { to: "ada" } }),
    // @ts-expect-error these types have no `default`
    named.enqueue({ payload: { to: "ada" } }),
    untyped.enqueue({ payload: { any: "thing" } }),
    untyped.enqueue({ type: "any", payload: [1], runAt: new Date() }),
    // @ts-expect-error every task has a payload
    untyped.enqueue({ type: "any" }),
    unknown.enqueue({ type: "any", payload: [1] }),
  ];
}

/** Only compiled. */
function workers(): readonly unknown[] {
  return [
    new Worker(typed, {
      handlers: {
        mail: ({ to }, { signal }) => [to.length, signal.aborted],
        resize: { handler: async ({ width }) => width * 2 },
      },
    }),
    // @ts-expect-error no such type
    new Worker(typed, { handlers: { male: () => undefined } }),
    // @ts-expect-error the payload of another type
    new Worker(typed, { handlers: { mail: ({ width }: { width: number }) => width } }),
    new Worker(untyped, {
      handlers: { any: (payload: { a: number }) => payload.a, more: () => 1 },
    }),
  ];
}

test("payloads and handlers have the types of the handlers module", () => {
  expect([enqueues, workers].map((compiled) => typeof compiled)).toEqual(["function", "function"]);
});

/** A name of the wire as the client shows it. */
type CamelCase<Name> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name;

/** A value of the wire as the client shows it. */
type Shown<Wire, Name = ""> = Name extends "payload" | "progress" | "result"
  ? unknown
  : Name extends "at" | `${string}_at`
    ? Date | Extract<Wire, null>
    : Wire extends readonly (infer Entry)[]
      ? readonly Shown<Entry>[]
      : Wire extends object
        ? { readonly [Field in keyof Wire as CamelCase<Field>]: Shown<Wire[Field], Field> }
        : Wire;

type IsSame<A, B> = [A, B] extends [B, A] ? true : false;

type ShownAs<Schema extends TSchema> = Shown<Static<Schema>>;

test("answers have the types of the server's schemas", () => {
  const areSame: [
    IsSame<Task, ShownAs<typeof schemas.TaskJson>>,
    IsSame<TaskPage, ShownAs<typeof schemas.TaskPageJson>>,
    IsSame<Queue, ShownAs<typeof schemas.QueueJson>>,
    IsSame<Receipt, ShownAs<typeof schemas.Receipt>>,
    IsSame<{ readonly claims: readonly Claim[] }, ShownAs<typeof schemas.ClaimsJson>>,
    IsSame<Lease, ShownAs<typeof schemas.LeaseJson>>,
    IsSame<SettleReceipt, ShownAs<typeof schemas.SettleReceiptJson>>,
    IsSame<keyof Problem, keyof Static<typeof ProblemSchema>>,
  ] = [true, true, true, true, true, true, true, true];
  expect(areSame).not.toContain(false as never);
});
