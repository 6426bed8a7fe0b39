import { describe, expect, test } from "bun:test";
import type { HandlerContext } from "../../src/client/index.ts";
import type { ManualClock } from "../support/manual-clock.ts";
import { aProblem, claimed, FakeServer } from "./fake-server.ts";
import { HeldHandler, settleDown, startWorker, until } from "./worker-harness.ts";

const CLAIM = "POST /claims";
const EXTEND = "POST /claims/:token/extend";
const SETTLE = "POST /claims/settle";

function granted(leaseMs: number): Response {
  return Response.json({ lease_ms: leaseMs, lease_ends_at: "2026-11-24T22:55:17.128Z" });
}

function lost(ended: string): Response {
  return aProblem(409, "claim_lost", { detail: "Over", ended });
}

/**
 * Waits for the answer to the nth extend. After it two timers are armed: the deadline of the waiting
 * claim, and the timer of the leases.
 */
async function answered(server: FakeServer, clock: ManualClock, n: number): Promise<void> {
  await server.nth(EXTEND, n);
  await until(() => clock.armed === 2);
}

/** A worker that holds these tasks. */
async function holding(server: FakeServer, tokens: readonly string[], task = {}, leaseMs = 9000) {
  const held = new HeldHandler();
  server.answer(CLAIM, claimed(tokens, task, leaseMs));
  const scene = startWorker(server, { handlers: { t: held.run }, concurrency: 100, leaseMs: 9000 });
  const { clock } = scene;
  await until(() => held.signals.length === tokens.length && clock.armed === 2);
  return { ...scene, held };
}

describe("a lease is extended", () => {
  test("after a third of what was granted, each time", async () => {
    await using server = new FakeServer();
    server.answer(EXTEND, granted(6000));
    const { clock } = await holding(server, ["a"]);

    await clock.advance(2999);
    await settleDown(server);
    expect(server.of(EXTEND)).toHaveLength(0);

    await clock.advance(1);
    expect(await server.nth(EXTEND, 1)).toMatchObject({
      path: "/claims/a/extend",
      body: { lease_ms: 9000 },
    });
    await answered(server, clock, 1);

    await clock.advance(1999);
    await settleDown(server);
    expect(server.of(EXTEND)).toHaveLength(1);

    await clock.advance(1);
    await server.nth(EXTEND, 2);
  });

  test("with one timer for all attempts, and not for those that have ended", async () => {
    await using server = new FakeServer();
    const tokens = Array.from({ length: 50 }, (_, index) => `t${index}`);
    const { clock, held } = await holding(server, tokens);
    // The other one is the deadline of the waiting claim.
    expect(clock.armed).toBe(2);

    for (let ended = 0; ended < 20; ended += 1) held.end();
    await server.until(() => server.settles.length === 20);
    await clock.advance(3000);
    await answered(server, clock, 30);

    const extended = server.of(EXTEND).map(({ path }) => path.split("/")[2] ?? "");
    expect(extended.sort()).toEqual(tokens.slice(20).sort());
  });

  test("of the attempt that needs it first", async () => {
    await using server = new FakeServer();
    const held = new HeldHandler();
    server.answer(CLAIM, claimed(["a"], {}, 3000), claimed(["b"], {}, 9000));
    const { clock } = startWorker(server, { handlers: { t: held.run } });
    await until(() => held.signals.length === 2 && clock.armed === 2);

    await clock.advance(1000);

    expect((await server.nth(EXTEND, 1)).path).toBe("/claims/a/extend");
  });

  test("by at most 16 requests at the same time", async () => {
    await using server = new FakeServer();
    const answers = Promise.withResolvers<void>();
    const late = async (): Promise<Response> => {
      await answers.promise;
      return granted(9000);
    };
    server.answer(EXTEND, ...Array(20).fill(late));
    const tokens = Array.from({ length: 20 }, (_, index) => `t${index}`);
    const { clock } = await holding(server, tokens);

    await clock.advance(3000);
    await server.nth(EXTEND, 16);
    await settleDown(server);
    expect(server.of(EXTEND)).toHaveLength(16);

    answers.resolve();
    await server.nth(EXTEND, 20);
  });

  test("again soon, when that fails, and the attempt goes on", async () => {
    await using server = new FakeServer();
    const page = new Response("<html>", { status: 404 });
    server.answer(EXTEND, aProblem(503, "storage_unavailable"), page, Response.json({}));
    const { clock, held, lines } = await holding(server, ["a"]);

    await clock.advance(3000);
    await answered(server, clock, 1);
    await clock.advance(750);
    await answered(server, clock, 2);
    await clock.advance(750);
    await answered(server, clock, 3);
    await clock.advance(750);
    await answered(server, clock, 4);

    expect(held.signals[0]?.aborted).toBe(false);
    expect(lines.map(({ event }) => event)).toEqual([
      "worker_started",
      "requests_fail",
      "requests_fail",
      "requests_succeed",
    ]);
  });

  test("at most ten times a second, however short it is", async () => {
    await using server = new FakeServer();
    server.answer(EXTEND, granted(0));
    const { clock } = await holding(server, ["a"], {}, 30);

    await clock.advance(99);
    await settleDown(server);
    expect(server.of(EXTEND)).toHaveLength(0);

    await clock.advance(1);
    await answered(server, clock, 1);
    await clock.advance(99);
    await settleDown(server);
    expect(server.of(EXTEND)).toHaveLength(1);

    await clock.advance(1);
    await server.nth(EXTEND, 2);
  });

  test("at the same rate, although the timeout of the task cuts it", async () => {
    await using server = new FakeServer();
    server.answer(EXTEND, granted(9000), granted(9000), granted(3000), granted(1000));
    const { clock } = await holding(server, ["a"], { timeout_ms: 12_000 });

    for (const extend of [1, 2, 3]) {
      await clock.advance(3000);
      await answered(server, clock, extend);
    }
    await clock.advance(2900);
    await settleDown(server);

    expect(server.of(EXTEND)).toHaveLength(3);
  });
});

describe("progress is shown", () => {
  /** A worker with a handler that can be told to report progress. */
  async function reporting(server: FakeServer) {
    const started = Promise.withResolvers<HandlerContext["progress"]>();
    server.answer(CLAIM, claimed(["a"]));
    const scene = startWorker(server, {
      handlers: {
        t: (_, { progress }) => {
          started.resolve(progress);
          return new Promise(() => undefined);
        },
      },
    });
    const progress = await started.promise;
    await until(() => scene.clock.armed === 2);
    return { ...scene, progress };
  }

  test("within a second, the latest only", async () => {
    await using server = new FakeServer();
    const { clock, progress } = await reporting(server);

    progress(1);
    progress({ aB: 2 });
    await clock.advance(1000);
    await answered(server, clock, 1);
    await clock.advance(3000);
    await server.nth(EXTEND, 2);

    expect(server.bodies(EXTEND)).toEqual([{ progress: { aB: 2 } }, {}]);
  });

  test("within a second after an extend that was under way", async () => {
    await using server = new FakeServer();
    const { clock, progress } = await reporting(server);
    server.answer(EXTEND, () => {
      progress("later");
      return granted(9000);
    });

    await clock.advance(3000);
    await answered(server, clock, 1);
    await clock.advance(1000);
    await server.nth(EXTEND, 2);

    expect(server.bodies(EXTEND)).toEqual([{}, { progress: "later" }]);
  });

  test("although an extend failed", async () => {
    await using server = new FakeServer();
    server.answer(EXTEND, aProblem(503, "overloaded"));
    const { clock, progress } = await reporting(server);

    progress(1);
    await clock.advance(1000);
    await answered(server, clock, 1);
    await clock.advance(1000);
    await server.nth(EXTEND, 2);

    expect(server.bodies(EXTEND)).toEqual([{ progress: 1 }, { progress: 1 }]);
  });

  test("unless the server refuses it: then the lease is extended without it", async () => {
    await using server = new FakeServer();
    server.answer(EXTEND, aProblem(422, "invalid_request", { detail: "too large" }));
    const { clock, progress, lines } = await reporting(server);

    progress("x".repeat(100));
    await clock.advance(1000);
    await answered(server, clock, 1);
    await clock.advance(0);
    await server.nth(EXTEND, 2);

    expect(server.bodies(EXTEND)).toEqual([{ progress: "x".repeat(100) }, {}]);
    expect(lines.at(-1)).toMatchObject({ event: "progress_refused", fields: { id: "id-of-a" } });
  });

  test("only if it is JSON", async () => {
    await using server = new FakeServer();
    const { progress } = await reporting(server);
    expect(() => progress(10n)).toThrow(TypeError);
  });
});

describe("an attempt is stopped", () => {
  test.each([
    ["cancelled", "cancelled", 0],
    ["expired", "lease_lost", 1],
    ["unknown", "lease_lost", 1],
    ["settled", "lease_lost", 1],
  ])("when its claim is %s, and its outcome is dropped", async (ended, reason, warnings) => {
    await using server = new FakeServer();
    server.answer(EXTEND, lost(ended));
    const { clock, held, lines } = await holding(server, ["a"]);

    await clock.advance(3000);
    await until(() => held.signals[0]?.aborted === true);
    held.end();
    await settleDown(server);

    expect(held.signals[0]?.reason).toMatchObject({ name: "AbortError", message: reason });
    expect(server.of(SETTLE)).toHaveLength(0);
    expect(lines.filter(({ level }) => level === "warn")).toHaveLength(warnings);
  });

  test("at its timeout, which fails it", async () => {
    await using server = new FakeServer();
    const { clock, held } = await holding(server, ["a"], { timeout_ms: 2000 });

    await clock.advance(1999);
    expect(held.signals[0]?.aborted).toBe(false);
    await clock.advance(1);
    await server.nth(SETTLE, 1);
    held.end();
    await settleDown(server);

    expect(held.signals[0]?.reason).toMatchObject({ name: "TimeoutError", message: "timeout" });
    expect(server.settles).toEqual([
      {
        token: "a",
        outcome: "failed",
        code: "timeout",
        message: "the attempt took longer than 2000 ms",
      },
    ]);
  });

  test("and its place is free a second later, although its handler goes on", async () => {
    await using server = new FakeServer();
    server.answer(EXTEND, lost("cancelled"));
    const held = new HeldHandler();
    server.answer(CLAIM, claimed(["a"]), claimed(["b"]));
    const { clock } = startWorker(server, { handlers: { t: held.run }, concurrency: 1 });
    await until(() => held.signals.length === 1 && clock.armed === 1);

    await clock.advance(3000);
    await until(() => held.signals[0]?.aborted === true);
    await clock.advance(999);
    await settleDown(server);
    expect(server.of(CLAIM)).toHaveLength(1);

    await clock.advance(1);
    await until(() => held.signals.length === 2);
    held.end();
    await settleDown(server);
    expect(server.of(SETTLE)).toHaveLength(0);
  });

  test("at once, if it is asked for its signal later", async () => {
    await using server = new FakeServer();
    server.answer(EXTEND, lost("cancelled"));
    server.answer(CLAIM, claimed(["a"]));
    const started = Promise.withResolvers<HandlerContext>();
    const { clock } = startWorker(server, {
      handlers: {
        t: (_, context) => {
          started.resolve(context);
          return new Promise(() => undefined);
        },
      },
    });
    const context = await started.promise;
    await until(() => clock.armed === 2);

    await clock.advance(3000);
    await answered(server, clock, 1);

    expect(context.signal.aborted).toBe(true);
  });
});
