import { describe, expect, test } from "bun:test";
import { inspect } from "node:util";
import { Client, type ClientOptions, type Fetch, RingqError } from "../../src/client/index.ts";
import { aProblem, FakeServer, SkippingClock, taskJson, untilGone } from "./fake-server.ts";

const ACCEPTED = Response.json({ id: "1", status: "queued" }, { status: 202 });

/** A fetch that loses the answers to the first requests: the server has executed them. */
function losing(answers: number): Fetch {
  let left = answers;
  return async (url, init) => {
    const response = await fetch(url, init);
    if (left <= 0) return response;
    left -= 1;
    throw new TypeError("the connection was reset");
  };
}

function aClient(server: FakeServer, options: ClientOptions = {}) {
  const clock = new SkippingClock();
  return { client: new Client(server.url, { clock, ...options }), clock };
}

/** An address where nobody listens. */
async function closedAddress(): Promise<string> {
  await using server = new FakeServer();
  return server.url;
}

async function errorOf(answer: Promise<unknown>): Promise<RingqError> {
  const error = await answer.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(RingqError);
  return error as RingqError;
}

describe("a request is sent again", () => {
  test("after a 503 of ringq, not before its Retry-After", async () => {
    await using server = new FakeServer();
    const busy = aProblem(503, "storage_unavailable", {}, { "retry-after": "3" });
    server.answer("POST /enqueue", busy, busy, ACCEPTED);
    const { client, clock } = aClient(server);

    expect(await client.enqueue({ type: "t", payload: 1 })).toEqual({ id: "1", status: "queued" });

    expect(clock.waits).toEqual([3000, 3000]);
  });

  test("with growing, random waits when the server names none", async () => {
    await using server = new FakeServer();
    const busy = aProblem(503, "overloaded");
    server.answer("GET /queues", busy, busy, busy, Response.json({ queues: [] }));
    const { client, clock } = aClient(server);

    await client.queues();

    const [first = 0, second = 0, third = 0] = clock.waits;
    expect(clock.waits).toHaveLength(3);
    for (const [wait, most] of [
      [first, 200],
      [second, 400],
      [third, 800],
    ] as const) {
      expect(wait).toBeWithin(most / 2, most + 1);
    }
  });

  test("after a lost connection with the same idempotency key", async () => {
    await using server = new FakeServer();
    server.answer("POST /enqueue", ACCEPTED, ACCEPTED);
    const { client } = aClient(server, { fetch: losing(1) });

    await client.enqueue({ type: "t", payload: 1 });

    const keys = server.of("POST /enqueue").map(({ headers }) => headers.get("idempotency-key"));
    expect(keys).toHaveLength(2);
    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(keys[1]).toBe(keys[0] as string);
  });

  test.each([502, 503, 504])("after a %d of a proxy, if that is safe", async (status) => {
    await using server = new FakeServer();
    server.answer("GET /tasks/1", new Response("<html>", { status }), Response.json(taskJson("1")));
    const { client } = aClient(server);

    expect(await client.task("1")).toMatchObject({ id: "1" });
  });

  test("after a 429, whatever it is", async () => {
    await using server = new FakeServer();
    const limited = new Response("slow down", { status: 429, headers: { "retry-after": "2" } });
    server.answer("DELETE /queues/q/tasks", limited, Response.json({ cancelled: 1 }));
    const { client, clock } = aClient(server);

    expect(await client.purge("q")).toBe(1);

    expect(clock.waits).toEqual([2000]);
  });

  test("not before a date that the server names", async () => {
    await using server = new FakeServer();
    const date = new Date(Date.now() + 5000).toUTCString();
    server.answer("GET /queues", aProblem(503, "overloaded", {}, { "retry-after": date }));
    server.answer("GET /queues", Response.json({ queues: [] }));
    const { client, clock } = aClient(server);

    await client.queues();

    expect(clock.waits[0]).toBeWithin(1000, 5001);
  });

  test("while the queue is full, if the caller waits for room", async () => {
    await using server = new FakeServer();
    const full = aProblem(503, "queue_full", {}, { "retry-after": "1" });
    server.answer("POST /enqueue", full, ACCEPTED);
    const { client, clock } = aClient(server);

    await client.enqueue({ type: "t", payload: 1 }, { whenFull: "wait" });

    expect(clock.waits).toEqual([1000]);
  });
});

describe("a request is not sent again", () => {
  test("when the queue is full", async () => {
    await using server = new FakeServer();
    server.answer("POST /enqueue", aProblem(503, "queue_full"), ACCEPTED);
    const { client } = aClient(server);

    const error = await errorOf(client.enqueue({ type: "t", payload: 1 }));

    expect(error).toMatchObject({ status: 503, code: "queue_full" });
    expect(server.seen).toHaveLength(1);
  });

  test.each([
    ["cancel", "DELETE /tasks/1", (client: Client) => client.cancel("1")],
    ["retry", "POST /tasks/1/retry", (client: Client) => client.retry("1")],
    ["purge", "DELETE /queues/q/tasks", (client: Client) => client.purge("q")],
    [
      "an enqueue without a key",
      "POST /enqueue",
      (client: Client) => client.enqueue({ type: "t", payload: 1 }, { idempotencyKey: null }),
    ],
    [
      "a batch of more than 1,000 tasks without a key",
      "POST /enqueue/batch",
      (client: Client) => client.enqueueBatch(Array(1001).fill({ type: "t", payload: 1 })),
    ],
  ] as const)("after a lost connection, if it is %s", async (_, route, call) => {
    await using server = new FakeServer();
    server.answer(route, ACCEPTED);
    const { client } = aClient(server, { fetch: losing(1) });

    const error = await errorOf(call(client));

    expect(error).toMatchObject({ status: 0, code: "connection_failed" });
    expect(error.cause).toBeInstanceOf(Error);
    expect(server.seen).toHaveLength(1);
    expect(server.seen[0]?.headers.has("idempotency-key")).toBe(false);
  });

  test("but a cancel is, when the server says that nothing was changed", async () => {
    await using server = new FakeServer();
    const busy = aProblem(503, "storage_unavailable");
    server.answer("DELETE /tasks/1", busy, Response.json(taskJson("1", { status: "cancelled" })));
    const { client } = aClient(server);

    expect((await client.cancel("1")).status).toBe("cancelled");
  });

  test("after a refusal", async () => {
    await using server = new FakeServer();
    const errors = [{ path: "/payload", message: "Expected string" }];
    const detail = "/payload: Expected string";
    server.answer("POST /enqueue", aProblem(422, "invalid_request", { detail, errors }));
    const { client } = aClient(server);

    const error = await errorOf(client.enqueue({ type: "t", payload: 1 }));

    expect(error.message).toBe(`POST /enqueue: 422 invalid_request: ${detail}`);
    expect(error.problem?.errors).toEqual(errors);
  });

  test("when its deadline would be over before", async () => {
    await using server = new FakeServer();
    const busy = aProblem(503, "shutting_down", {}, { "retry-after": "20" });
    server.answer("GET /queues", busy);
    const { client, clock } = aClient(server, { timeoutMs: 20_000 });

    const error = await errorOf(client.queues());

    expect(clock.waits).toEqual([]);
    expect(error).toMatchObject({ status: 503, code: "shutting_down", retryAfterMs: 20_000 });
    expect(server.seen).toHaveLength(1);
  });
});

describe("a call ends", () => {
  test("when its time is over", async () => {
    await using server = new FakeServer();
    server.answer("GET /queues", untilGone);
    const { client } = aClient(server, { timeoutMs: 100 });

    const error = await errorOf(client.queues());

    expect(error).toMatchObject({ status: 0, code: "timeout" });
  });

  test("with the reason of its signal, while it waits for an answer", async () => {
    await using server = new FakeServer();
    server.answer("GET /queues", untilGone);
    const { client } = aClient(server);
    const controller = new AbortController();
    const answer = client.queues({ signal: controller.signal });
    await server.nth("GET /queues", 1);

    controller.abort("enough");

    expect(await answer.catch((reason: unknown) => reason)).toBe("enough");
  });

  test("with the reason of its signal, while it waits for another try", async () => {
    await using server = new FakeServer();
    server.answer("GET /queues", () => {
      setImmediate(() => controller.abort("enough"));
      return aProblem(503, "overloaded", {}, { "retry-after": "20" });
    });
    const { client } = aClient(server);
    const controller = new AbortController();

    const answer = client.queues({ signal: controller.signal });

    expect(await answer.catch((reason: unknown) => reason)).toBe("enough");
    expect(server.seen).toHaveLength(1);
  });

  test("without a request, if its signal has aborted before", async () => {
    await using server = new FakeServer();
    const { client } = aClient(server);

    const answer = client.queues({ signal: AbortSignal.abort("enough") });

    expect(await answer.catch((reason: unknown) => reason)).toBe("enough");
    expect(server.seen).toHaveLength(0);
  });

  test.each([
    ["a page", new Response("<html>", { status: 200 })],
    ["an empty body", new Response(null, { status: 200 })],
    ["another error", Response.json({ error: "no" }, { status: 404 })],
  ])("with an error, if the answer is %s", async (_, answer) => {
    await using server = new FakeServer();
    server.answer("GET /tasks/1", answer);
    const { client } = aClient(server);

    const error = await errorOf(client.task("1"));

    expect(error).toMatchObject({ status: answer.status, code: "unexpected_answer" });
  });
});

describe("the key", () => {
  const KEY = "rq_abcdefgh_s3cr3t";

  test("is sent as a bearer token", async () => {
    await using server = new FakeServer();
    server.answer("GET /queues", Response.json({ queues: [] }));
    const { client } = aClient(server, { key: KEY });

    await client.queues();

    expect(server.seen[0]?.headers.get("authorization")).toBe(`Bearer ${KEY}`);
  });

  test("does not follow a redirect", async () => {
    await using server = new FakeServer();
    await using other = new FakeServer();
    server.answer("GET /queues", Response.redirect(`${other.url}/queues`, 307));
    const { client } = aClient(server, { key: KEY });

    const error = await errorOf(client.queues());

    expect(error).toMatchObject({ status: 307, code: "redirected" });
    expect(other.seen).toHaveLength(0);
  });

  test("is in no error and in no print of the client", async () => {
    await using server = new FakeServer();
    server.answer("GET /queues", aProblem(401, "unauthorized"), untilGone);
    const { client } = aClient(server, { key: KEY });
    const lost = new Client(await closedAddress(), { key: KEY, clock: new SkippingClock() });

    const errors = [
      await errorOf(client.queues()),
      await errorOf(client.queues({ timeoutMs: 100 })),
      await errorOf(lost.purge("q")),
    ];

    expect(errors.map(({ code }) => code)).toEqual([
      "unauthorized",
      "timeout",
      "connection_failed",
    ]);
    expect(inspect([client, errors], { depth: 9, showHidden: true })).not.toContain("s3cr3t");
    expect(JSON.stringify([client, errors])).not.toContain("s3cr3t");
  });

  test("with a line break is refused, and not shown", () => {
    expect(() => new Client("http://127.0.0.1", { key: `${KEY}\n` })).toThrow(/^(?!.*s3cr3t)/);
  });
});

test.each(["ftp://host", "http://user:secret@host", "http://host/?a=1", "nonsense"])(
  "the address %s is refused",
  (url) => {
    expect(() => new Client(url)).toThrow(TypeError);
  },
);

test("the address may have a path", async () => {
  await using server = new FakeServer();
  server.answer("GET /ringq/queues", Response.json({ queues: [] }));
  await new Client(`${server.url}/ringq/`).queues();
  expect(server.seen).toHaveLength(1);
});
