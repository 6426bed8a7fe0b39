import { describe, expect, test } from "bun:test";
import {
  Client,
  type HandlerContext,
  NonRetryableError,
  RetryAfterError,
  Worker,
} from "../../src/client/index.ts";
import * as inProcess from "../../src/index.ts";
import { aProblem, claimed, FakeServer } from "./fake-server.ts";
import { HeldHandler, settleDown, startWorker, until } from "./worker-harness.ts";

const CLAIM = "POST /claims";

function tokens(count: number, prefix = "t"): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`);
}

describe("a worker claims", () => {
  test("for its handlers, as its options say", async () => {
    await using server = new FakeServer();
    startWorker(server, {
      handlers: { a: () => 1, b: { handler: () => 2 } },
      queues: ["q"],
      leaseMs: 5000,
      waitMs: 7000,
      name: "w",
      concurrency: 4,
    });
    expect((await server.nth(CLAIM, 1)).body).toEqual({
      queues: ["q"],
      types: ["a", "b"],
      lease_ms: 5000,
      worker: "w",
      max: 4,
      wait_ms: 7000,
    });
  });

  test("tasks of every type if there are too many handlers to name", async () => {
    await using server = new FakeServer();
    const many = Object.fromEntries(tokens(33).map((type) => [type, () => undefined]));
    startWorker(server, { handlers: many });
    expect((await server.nth(CLAIM, 1)).body).not.toHaveProperty("types");
  });

  test("never more than it has free places", async () => {
    await using server = new FakeServer();
    const held = new HeldHandler();
    server.answer(CLAIM, claimed(tokens(2)), claimed(["u"]));

    startWorker(server, { handlers: { t: held.run }, concurrency: 3 });
    await until(() => held.signals.length === 3);
    await settleDown(server);
    expect(server.bodies(CLAIM)).toMatchObject([{ max: 3 }, { max: 1 }]);

    held.end();
    held.end();
    expect((await server.nth(CLAIM, 3)).body).toMatchObject({ max: 2 });
  });

  test("with one request that waits, and further ones for a backlog in full batches", async () => {
    await using server = new FakeServer();
    const held = new HeldHandler();
    server.answer(CLAIM, claimed(tokens(100)));

    startWorker(server, { handlers: { t: held.run }, concurrency: 350 });
    await server.nth(CLAIM, 3);
    await settleDown(server);

    const [first, ...further] = server.bodies(CLAIM) as readonly { readonly wait_ms: number }[];
    expect(first).toMatchObject({ max: 100, wait_ms: 20_000 });
    // Requests of one moment may overtake each other.
    expect(further.sort((a, b) => a.wait_ms - b.wait_ms)).toMatchObject([
      { max: 100, wait_ms: 0 },
      { max: 100, wait_ms: 20_000 },
    ]);
  });

  test("no more than twice its places while the server takes no settles", async () => {
    await using server = new FakeServer();
    const refusals = Array.from({ length: 20 }, () => aProblem(503, "storage_unavailable"));
    server.answer("POST /claims/settle", ...refusals);
    server.answer(CLAIM, claimed(tokens(4)), claimed(tokens(4, "u")), claimed(tokens(4, "v")));

    startWorker(server, { handlers: { t: () => 1 }, concurrency: 4 });
    await server.nth(CLAIM, 2);
    await settleDown(server);

    expect(server.of(CLAIM)).toHaveLength(2);
  });

  test("again after a while, when the server is away", async () => {
    await using server = new FakeServer();
    server.answer(
      CLAIM,
      aProblem(503, "shutting_down"),
      aProblem(503, "shutting_down"),
      aProblem(401, "unauthorized"),
      claimed(["a"]),
    );

    const { clock, lines } = startWorker(server, { handlers: { t: () => 1 } });
    for (const refusals of [1, 2, 3]) {
      await server.nth(CLAIM, refusals);
      await settleDown(server);
      await clock.advance(1000);
    }
    await server.nth("POST /claims/settle", 1);

    expect(lines).toMatchObject([
      { event: "worker_started" },
      { level: "warn", event: "requests_fail", fields: { call: "claim", code: "shutting_down" } },
      { level: "error", event: "requests_fail", fields: { call: "claim", code: "unauthorized" } },
      { level: "info", event: "requests_succeed", fields: { call: "claim" } },
    ]);
  });

  test("not before the time that the server names", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, aProblem(503, "overloaded", {}, { "retry-after": "4" }));
    const { clock } = startWorker(server, { handlers: { t: () => 1 } });
    await server.nth(CLAIM, 1);
    await settleDown(server);

    await clock.advance(3999);
    await settleDown(server);
    expect(server.of(CLAIM)).toHaveLength(1);

    await clock.advance(1);
    await server.nth(CLAIM, 2);
  });

  test("again after an answer that is not one", async () => {
    await using server = new FakeServer();
    const broken = [{}, { claims: [{ token: "a" }] }, []].map((body) => Response.json(body));
    server.answer(CLAIM, ...broken, claimed(["a"]));
    const { clock, lines } = startWorker(server, { handlers: { t: () => 1 } });

    for (const claims of [1, 2, 3]) {
      await server.nth(CLAIM, claims);
      await settleDown(server);
      await clock.advance(1000);
    }
    await server.nth("POST /claims/settle", 1);

    expect(lines.filter(({ event }) => event === "requests_fail")).toMatchObject([
      { level: "warn", fields: { call: "claim", code: "unexpected_answer" } },
    ]);
  });

  test("once a second from a server that does not wait", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed([]), claimed([]));
    const { clock } = startWorker(server, { handlers: { t: () => 1 } });
    await server.nth(CLAIM, 1);
    await settleDown(server);

    await clock.advance(999);
    await settleDown(server);
    expect(server.of(CLAIM)).toHaveLength(1);

    await clock.advance(1);
    await server.nth(CLAIM, 2);
  });
});

describe("a worker settles", () => {
  test("all tasks of a batch with one request", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(tokens(100)));

    const handlers = { t: async (_: unknown, { id }: HandlerContext) => id };
    startWorker(server, { handlers, concurrency: 100 });
    await server.nth("POST /claims/settle", 1);

    expect(server.settles).toEqual(
      tokens(100).map((token) => ({ token, outcome: "done", result: `id-of-${token}` })),
    );
    expect(server.of("POST /claims/settle")).toHaveLength(1);
  });

  const twin = { [Symbol.for("ringq.retry")]: { kind: "after", ms: 12.5 }, message: "a twin" };
  test.each<[string, () => unknown, object]>([
    ["nothing", () => undefined, { outcome: "done" }],
    ["null", () => null, { outcome: "done", result: null }],
    ["a value", () => ({ aB: [1] }), { outcome: "done", result: { aB: [1] } }],
    ["a promise", async () => "p", { outcome: "done", result: "p" }],
    [
      "a value that is not JSON",
      () => 10n,
      {
        outcome: "failed",
        code: "invalid_result",
        message: expect.stringContaining("the result can't be written as JSON"),
      },
    ],
    [
      "a function",
      () => () => 1,
      {
        outcome: "failed",
        code: "invalid_result",
        message: "the result can't be written as JSON: a function is not a JSON value",
      },
    ],
    [
      "an error",
      () => {
        throw new Error("broken");
      },
      { outcome: "failed", code: "handler_error", message: "broken" },
    ],
    [
      "a rejection with a code",
      () => Promise.reject(Object.assign(new Error("gone"), { code: "ECONNRESET" })),
      { outcome: "failed", code: "ECONNRESET", message: "gone" },
    ],
    [
      "an error with a code that is none",
      () => Promise.reject({ code: "no code", message: "" }),
      { outcome: "failed", code: "handler_error", message: "[object Object]" },
    ],
    [
      "an error with a getter that throws",
      () =>
        Promise.reject({
          get code() {
            throw new Error("trap");
          },
        }),
      {
        outcome: "failed",
        code: "handler_error",
        message: "the handler threw something that can't be described",
      },
    ],
    [
      "a text",
      () => Promise.reject("just text"),
      { outcome: "failed", code: "handler_error", message: "just text" },
    ],
    [
      "a NonRetryableError",
      () => Promise.reject(new NonRetryableError("never")),
      { outcome: "failed", code: "handler_error", message: "never", retry: "never" },
    ],
    [
      "the NonRetryableError of the server's package",
      () => Promise.reject(new inProcess.NonRetryableError("never")),
      { outcome: "failed", code: "handler_error", message: "never", retry: "never" },
    ],
    [
      "a RetryAfterError",
      () => Promise.reject(new RetryAfterError(60_000, "later")),
      { outcome: "failed", code: "handler_error", message: "later", retry_after_ms: 60_000 },
    ],
    [
      "an error with the mark of another copy",
      () => Promise.reject(twin),
      { outcome: "failed", code: "handler_error", message: "a twin", retry_after_ms: 13 },
    ],
    [
      "a long message",
      () => Promise.reject(new Error("x".repeat(5000))),
      { outcome: "failed", code: "handler_error", message: `${"x".repeat(999)}…` },
    ],
  ])("%s", async (_, handler, settle) => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a"]));
    startWorker(server, { handlers: { t: handler } });
    await server.nth("POST /claims/settle", 1);
    expect(server.settles).toEqual([{ token: "a", ...settle }]);
  });

  test("by giving back a task without a handler for a while, with one warning a type", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a", "b"], { type: "other" }));

    const { lines } = startWorker(server, { handlers: { t: () => 1 } });
    await server.nth("POST /claims/settle", 1);

    expect(server.settles).toEqual([
      { token: "a", outcome: "released", delay_ms: 30_000 },
      { token: "b", outcome: "released", delay_ms: 30_000 },
    ]);
    expect(lines.filter(({ level }) => level === "warn")).toMatchObject([
      { event: "no_handler", fields: { type: "other" } },
    ]);
  });
});

describe("a handler", () => {
  test("gets the payload, and sees its task", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a"], { attempt: 2, queue: "q" }));
    const seen: unknown[] = [];

    startWorker(server, {
      handlers: {
        t: (payload, { id, type, queue, attempt, maxRetries, signal }) => {
          seen.push([payload, { id, type, queue, attempt, maxRetries, isAborted: signal.aborted }]);
        },
      },
    });
    await server.nth("POST /claims/settle", 1);

    const task = { id: "id-of-a", type: "t", queue: "q", attempt: 2, maxRetries: 3 };
    const payload = { some_key: "2026-11-24T22:55:17.128Z" };
    expect(seen).toEqual([[payload, { ...task, isAborted: false }]]);
  });

  test("has a log that names the task, whatever it calls its fields", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a"]));

    const { lines } = startWorker(server, {
      handlers: { t: (_, { log }) => log.warn("sent", { to: 7, id: "forged" }) },
    });
    await server.nth("POST /claims/settle", 1);

    expect(lines.at(-1)).toEqual({
      level: "warn",
      event: "sent",
      fields: { to: 7, id: "id-of-a", type: "t", attempt: 1 },
    });
  });

  test("is not called for a task that was lost while others blocked", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a", "b"], { timeout_ms: 2000 }));
    let blockedMs = 0;
    const started: string[] = [];
    const block = (_: unknown, { id }: HandlerContext): void => {
      started.push(id);
      blockedMs = 3000;
      setImmediate(() => void clock.advance(2000));
    };
    const { clock } = startWorker(server, { handlers: { t: block } }, (manual) => ({
      now: () => ({ monoMs: manual.now().monoMs + blockedMs }),
      after: (delayMs, fire) => manual.after(delayMs, fire),
    }));
    await server.until(() => server.settles.length === 2);

    expect(started).toEqual(["id-of-a"]);
    expect(server.settles.find(({ token }) => token === "b")).toMatchObject({ code: "timeout" });
  });

  test("that blocks does not keep the leases of the others from being extended", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a", "b"]));
    let blockedMs = 0;
    const block = (_: unknown, { id }: HandlerContext): void => {
      if (id !== "id-of-a") return;
      // Timers are late by this time.
      blockedMs = 4000;
      setImmediate(() => void clock.advance(3000));
    };
    const { clock } = startWorker(server, { handlers: { t: block } }, (manual) => ({
      now: () => ({ monoMs: manual.now().monoMs + blockedMs }),
      after: (delayMs, fire) => manual.after(delayMs, fire),
    }));
    const extend = await server.nth("POST /claims/:token/extend", 1);
    expect(extend.path).toBe("/claims/b/extend");
  });
});

describe("a worker refuses", () => {
  const client = new Client("http://127.0.0.1:1");
  const handlers = { t: () => 1 };
  test.each([
    [{ concurrency: 0 }, "concurrency must be a whole number from 1 to 10000, but is 0"],
    [{ concurrency: 1.5 }, "concurrency must"],
    [{ leaseMs: 999 }, "leaseMs must"],
    [{ waitMs: 60_001 }, "waitMs must"],
    [{ queues: [] }, "number of queues must"],
  ])("the options %j", (options, message) => {
    expect(() => new Worker(client, { handlers, ...options })).toThrow(RangeError);
    expect(() => new Worker(client, { handlers, ...options })).toThrow(message);
  });

  test.each([{}, { t: 7 }, { t: {} }, { t: { handler: "text" } }])("the handlers %j", (given) => {
    expect(() => new Worker(client, { handlers: given as never })).toThrow(TypeError);
  });
});

test("the errors of handlers are checked as in the process", () => {
  expect(() => new RetryAfterError(-1)).toThrow(RangeError);
  expect(new RetryAfterError(5)).toMatchObject({
    message: "try again after 5 ms",
    name: "RetryAfterError",
  });
});
