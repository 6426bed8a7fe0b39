import { describe, expect, test } from "bun:test";
import { aProblem, claimed, FakeServer, type Seen, settled } from "./fake-server.ts";
import { HeldHandler, settleDown, startWorker, until } from "./worker-harness.ts";

const CLAIM = "POST /claims";
const SETTLE = "POST /claims/settle";

/** The tokens of each request to settle. */
function batches(server: FakeServer): readonly (readonly unknown[])[] {
  return server
    .bodies(SETTLE)
    .map((body) => (body as { settles: { token: string }[] }).settles.map(({ token }) => token));
}

describe("batches of settles", () => {
  test("end below the server's limit of a body, and a larger settle goes alone", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a", "b", "c", "d"]));
    const kib: Readonly<Record<string, number>> = { "id-of-c": 900 };

    startWorker(server, { handlers: { t: (_, { id }) => "x".repeat(1024 * (kib[id] ?? 300)) } });
    await server.until(() => server.settles.length === 4);

    expect(batches(server)).toEqual([["a", "b"], ["c"], ["d"]]);
  });

  test("have at most 100 settles", async () => {
    await using server = new FakeServer();
    const held = new HeldHandler();
    const tokens = Array.from({ length: 75 }, (_, index) => `${index}`);
    server.answer(CLAIM, claimed(tokens), claimed(tokens.map((token) => `2${token}`)));
    startWorker(server, { handlers: { t: held.run }, concurrency: 150 });
    await until(() => held.signals.length === 150);

    for (let ended = 0; ended < 150; ended += 1) held.end();
    await server.until(() => server.settles.length === 150);

    expect(batches(server).map(({ length }) => length)).toEqual([100, 50]);
  });

  test("count bytes, not characters", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a", "b"]));

    startWorker(server, { handlers: { t: () => "€".repeat(150 * 1024) } });
    await server.until(() => server.settles.length === 2);

    expect(batches(server)).toEqual([["a"], ["b"]]);
  });

  test("collect what ends while one is under way", async () => {
    await using server = new FakeServer();
    const answer = Promise.withResolvers<void>();
    const late = async (seen: Seen): Promise<Response> => {
      await answer.promise;
      return settled()(seen);
    };
    server.answer(SETTLE, late);
    server.answer(CLAIM, claimed(["a"]), claimed(["b"]), claimed(["c"]));

    startWorker(server, { handlers: { t: () => 1 } });
    await server.nth(CLAIM, 4);
    await settleDown(server);
    expect(batches(server)).toEqual([["a"]]);

    answer.resolve();
    await server.nth(SETTLE, 2);
    expect(batches(server)).toEqual([["a"], ["b", "c"]]);
  });
});

describe("a settle that the server refuses", () => {
  test.each([
    [413, "body_too_large", "result_too_large"],
    [422, "invalid_request", "invalid_result"],
  ])("with %d is found, and its attempt fails", async (status, code, attemptCode) => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a", "b", "c", "d"]));
    const refusing = (seen: Seen) =>
      JSON.stringify(seen.body).includes("too much")
        ? aProblem(status, code, { detail: "It is too much." })
        : settled()(seen);
    server.answer(SETTLE, ...Array(6).fill(refusing));

    startWorker(server, { handlers: { t: (_, { id }) => (id === "id-of-c" ? "too much" : 1) } });
    await server.until(() => server.settles.some(({ outcome }) => outcome === "failed"));

    const last = server.settles.at(-1);
    const message = "the server refused the result: It is too much.";
    expect(last).toEqual({ token: "c", outcome: "failed", code: attemptCode, message });
    const [all, ...halves] = batches(server).slice(0, 3);
    expect(all).toEqual(["a", "b", "c", "d"]);
    expect(halves.sort()).toEqual([
      ["a", "b"],
      ["c", "d"],
    ]);
    expect(server.settles.filter(({ token }) => token === "a")).toHaveLength(2);
  });

  test("on its own is replaced on its own", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a", "b"]));
    const problem = { status: 422, code: "invalid_request", title: "Invalid", detail: "/result" };
    server.answer(SETTLE, settled({ b: problem }));

    startWorker(server, { handlers: { t: () => 1 } });
    await server.nth(SETTLE, 2);

    expect(server.settles.at(-1)).toMatchObject({ token: "b", code: "invalid_result" });
    expect(batches(server)).toEqual([["a", "b"], ["b"]]);
  });

  test("again after that is dropped, with an error in the log", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a.1"]));
    server.answer(SETTLE, aProblem(422, "invalid_request"), aProblem(422, "invalid_request"));

    const { lines } = startWorker(server, { handlers: { t: () => 1 } });
    await until(() => lines.some(({ event }) => event === "settle_refused"));
    await settleDown(server);

    expect(lines.at(-1)).toMatchObject({ level: "error", fields: { id: "a", status: 422 } });
    expect(server.of(SETTLE)).toHaveLength(2);
  });
});

describe("a settle is kept", () => {
  test.each([
    ["the store is away", aProblem(503, "storage_unavailable")],
    ["a proxy answers", new Response("<html>", { status: 502 })],
    ["the key is refused", aProblem(401, "unauthorized")],
    ["the answer misses it", Response.json({ results: [] })],
  ])("while %s", async (_, answer) => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a"]));
    server.answer(SETTLE, answer);

    const { clock, lines } = startWorker(server, { handlers: { t: () => 1 } });
    await until(() => lines.some(({ event }) => event === "requests_fail"));
    await clock.advance(1000);
    await server.nth(SETTLE, 2);
    await until(() => lines.some(({ event }) => event === "requests_succeed"));

    expect(batches(server)).toEqual([["a"], ["a"]]);
    expect(lines.filter(({ event }) => event === "requests_fail")).toHaveLength(1);
  });

  test("while the server says so of it alone", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a", "b"]));
    const problem = { status: 503, code: "storage_unavailable", title: "No", detail: "No disk" };
    server.answer(SETTLE, settled({ b: problem }));

    const { clock, lines } = startWorker(server, { handlers: { t: () => 1 } });
    await until(() => lines.some(({ event }) => event === "requests_fail"));
    await clock.advance(1000);
    await server.nth(SETTLE, 2);

    expect(batches(server)).toEqual([["a", "b"], ["b"]]);
  });

  test("but not when the claim is over", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a.1", "b.1", "c.1"]));
    const lost = { status: 409, code: "claim_lost", title: "Lost", detail: "Over" };
    server.answer(
      SETTLE,
      settled({ "a.1": { ...lost, ended: "expired" }, "b.1": { ...lost, ended: "cancelled" } }),
    );

    const { lines } = startWorker(server, { handlers: { t: () => 1 } });
    await until(() => lines.filter(({ event }) => event === "claim_lost").length === 2);
    await settleDown(server);

    expect(lines.filter(({ event }) => event === "claim_lost")).toMatchObject([
      { level: "warn", fields: { id: "a", ended: "expired" } },
      { level: "debug", fields: { id: "b", ended: "cancelled" } },
    ]);
    expect(server.of(SETTLE)).toHaveLength(1);
  });
});
