import { describe, expect, test } from "bun:test";
import { Client, type ClientOptions } from "../../src/client/index.ts";
import { aProblem, claimed, FakeServer, SkippingClock, settled, taskJson } from "./fake-server.ts";

const AT = new Date("2026-11-24T22:55:17.128Z");

function aClient(server: FakeServer, options: ClientOptions = {}): Client {
  return new Client(server.url, { clock: new SkippingClock(), ...options });
}

function aTask(id: string, fields: object = {}): Response {
  return Response.json(taskJson(id, fields));
}

function aReceipt(): Response {
  return Response.json({ id: "i", status: "done", run_at: null });
}

describe("an enqueue", () => {
  test("sends its fields by the names of the API, and the payload as it is", async () => {
    await using server = new FakeServer();
    server.answer("POST /enqueue", Response.json({ id: "1", status: "scheduled" }));

    const receipt = await aClient(server).enqueue(
      {
        type: "t",
        payload: { camelCase: [{ innerName: 1 }], runAt: AT },
        queue: "q",
        tags: ["a"],
        priority: 1,
        maxRetries: 2,
        timeoutMs: 3,
        runAt: AT,
        delayMs: undefined,
      },
      { idempotencyKey: "my-key" },
    );

    expect(receipt).toEqual({ id: "1", status: "scheduled" });
    expect(server.seen[0]?.headers.get("idempotency-key")).toBe("my-key");
    expect(server.seen[0]?.body).toEqual({
      type: "t",
      payload: { camelCase: [{ innerName: 1 }], runAt: AT.toISOString() },
      queue: "q",
      tags: ["a"],
      priority: 1,
      max_retries: 2,
      timeout_ms: 3,
      run_at: AT.toISOString(),
    });
  });

  test("of a batch gives the receipts in their order", async () => {
    await using server = new FakeServer();
    const tasks = [
      { id: "1", status: "queued" },
      { id: "2", status: "scheduled" },
    ];
    server.answer("POST /enqueue/batch", Response.json({ tasks }, { status: 202 }));

    const receipts = await aClient(server).enqueueBatch([
      { type: "a", payload: 1 },
      { type: "b", payload: null, delayMs: 5 },
    ]);

    expect(receipts).toEqual(tasks as typeof receipts);
    expect(server.seen[0]?.headers.get("idempotency-key")).toMatch(/^[0-9a-f]{32}$/);
    expect(server.seen[0]?.body).toEqual({
      tasks: [
        { type: "a", payload: 1 },
        { type: "b", payload: null, delay_ms: 5 },
      ],
    });
  });

  test("has a key of its own each time", async () => {
    await using server = new FakeServer();
    const receipt = Response.json({ id: "1", status: "queued" });
    server.answer("POST /enqueue", receipt, receipt);
    const client = aClient(server);

    await client.enqueue({ type: "t", payload: 1 });
    await client.enqueue({ type: "t", payload: 1 });

    const keys = server.seen.map(({ headers }) => headers.get("idempotency-key"));
    expect(new Set(keys).size).toBe(2);
  });
});

describe("a task", () => {
  test("has Dates, and its values as they are", async () => {
    await using server = new FakeServer();
    const error = { code: "c", message: "m", attempt: 1, at: AT.toISOString() };
    const result = { max_retries: 1, at: AT.toISOString() };
    const claim = { worker: null, lease_ends_at: AT.toISOString() };
    const started_at = AT.toISOString();
    server.answer(
      "GET /tasks/a%2Fb",
      aTask("a/b", { started_at, error, errors: [error], result, claim }),
    );

    const task = await aClient(server).task("a/b");

    expect(task).toEqual({
      id: "a/b",
      type: "t",
      queue: "default",
      status: "queued",
      tags: [],
      priority: 0,
      attempt: 1,
      maxRetries: 3,
      timeoutMs: 60_000,
      enqueuedAt: AT,
      runAt: null,
      startedAt: AT,
      finishedAt: null,
      error: { ...error, at: AT },
      errors: [{ ...error, at: AT }],
      payload: { some_key: AT.toISOString() },
      progress: null,
      result,
      claim: { worker: null, leaseEndsAt: AT },
    });
  });

  test("that does not exist is undefined, and so is such a queue", async () => {
    await using server = new FakeServer();
    const client = aClient(server);
    expect([await client.task("1"), await client.waitFor("1"), await client.queue("q")]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });
});

describe("waiting for a task", () => {
  const DONE = { status: "done", finished_at: AT.toISOString() };

  test("goes on beyond the limit of one request", async () => {
    await using server = new FakeServer();
    const clock = new SkippingClock();
    const late = (): Promise<Response> =>
      new Promise((resolve) => {
        for (let step = 0; step < 5; step += 1)
          clock.after(12_000, () => step === 4 && resolve(aTask("1")));
      });
    server.answer("GET /tasks/1", late, late, aTask("1", DONE));

    const task = await aClient(server, { clock }).waitFor("1");

    expect(task?.status).toBe("done");
    expect(server.seen.map(({ query }) => query)).toEqual(Array(3).fill("?wait_ms=60000"));
    expect(clock.waits).not.toContain(1000);
  });

  test("ends when its time is over, with the task as it is", async () => {
    await using server = new FakeServer();
    const clock = new SkippingClock();
    const late = (): Promise<Response> =>
      new Promise((resolve) => clock.after(5000, () => resolve(aTask("1"))));
    server.answer("GET /tasks/1", late);

    const task = await aClient(server, { clock }).waitFor("1", { waitMs: 5000 });

    expect(task?.status).toBe("queued");
    expect(server.seen.map(({ query }) => query)).toEqual(["?wait_ms=5000"]);
  });

  test("pauses after an early answer, as of a server that stops", async () => {
    await using server = new FakeServer();
    const clock = new SkippingClock();
    server.answer("GET /tasks/1", aTask("1"), aTask("1"), aTask("1", DONE));

    await aClient(server, { clock }).waitFor("1");

    expect(clock.waits).toEqual([1000, 1000]);
  });

  test("can be aborted", async () => {
    await using server = new FakeServer();
    const controller = new AbortController();
    server.answer("GET /tasks/1", () => {
      setImmediate(() => controller.abort("enough"));
      return aTask("1");
    });
    const clock = new SkippingClock(0);

    const waiting = aClient(server, { clock }).waitFor("1", { signal: controller.signal });

    expect(await waiting.catch((reason: unknown) => reason)).toBe("enough");
  });
});

describe("a list", () => {
  test("asks for what the filter says", async () => {
    await using server = new FakeServer();
    server.answer("GET /tasks", Response.json({ tasks: [taskJson("1")], next_cursor: "c" }));

    const page = await aClient(server).list({
      status: "failed",
      tag: "a b",
      limit: 2,
      cursor: "x",
    });

    expect(page).toMatchObject({ tasks: [{ id: "1", enqueuedAt: AT }], nextCursor: "c" });
    expect(server.seen[0]?.query).toBe("?status=failed&tag=a+b&limit=2&cursor=x");
  });

  test("of all tasks goes on to the last page, across empty ones", async () => {
    await using server = new FakeServer();
    server.answer(
      "GET /tasks",
      Response.json({ tasks: [taskJson("3"), taskJson("2")], next_cursor: "a" }),
      Response.json({ tasks: [], next_cursor: "b" }),
      Response.json({ tasks: [taskJson("1")], next_cursor: null }),
    );

    const tasks = await Array.fromAsync(aClient(server).tasks({ queue: "q" }));

    expect(tasks.map(({ id }) => id)).toEqual(["3", "2", "1"]);
    expect(server.seen.map(({ query }) => query)).toEqual([
      "?queue=q",
      "?queue=q&cursor=a",
      "?queue=q&cursor=b",
    ]);
  });
});

test("each command has its route", async () => {
  await using server = new FakeServer();
  const queue = { name: "q", oldest_waiting_ms: 5 };
  server.answer("DELETE /tasks/1", aTask("1", { status: "cancelled" }));
  server.answer("POST /tasks/1/retry", Response.json({ id: "1", status: "queued" }));
  server.answer("GET /queues", Response.json({ queues: [queue] }));
  server.answer("GET /queues/q", Response.json(queue));
  server.answer("POST /queues/q/pause", Response.json({ ...queue, paused: true }));
  server.answer("POST /queues/q/resume", Response.json({ ...queue, paused: false }));
  server.answer("DELETE /queues/q/tasks", Response.json({ cancelled: 7 }));
  const client = aClient(server);

  const answers = [
    (await client.cancel("1")).status,
    await client.retry("1"),
    (await client.queues())[0]?.name,
    (await client.queue("q"))?.oldestWaitingMs,
    (await client.pause("q")).paused,
    (await client.resume("q")).paused,
    await client.purge("q"),
  ];

  const receipt = { id: "1", status: "queued" } as const;
  expect(answers).toEqual(["cancelled", receipt, "q", 5, true, false, 7]);
});

describe("the calls of a worker", () => {
  test("claim tasks", async () => {
    await using server = new FakeServer();
    server.answer("POST /claims", claimed(["1.a"]));

    const claims = await aClient(server).claim({
      queues: ["q"],
      types: ["t"],
      max: 2,
      leaseMs: 3000,
      waitMs: 4000,
      worker: "w",
    });

    expect(claims).toMatchObject([
      { token: "1.a", leaseMs: 9000, leaseEndsAt: AT, task: { enqueuedAt: AT, retriesLeft: 3 } },
    ]);
    expect(server.seen[0]?.body).toEqual({
      queues: ["q"],
      types: ["t"],
      max: 2,
      lease_ms: 3000,
      wait_ms: 4000,
      worker: "w",
    });
  });

  test("extend and settle a claim", async () => {
    await using server = new FakeServer();
    server.answer("POST /claims/:token/done", aReceipt(), aReceipt());
    server.answer("POST /claims/:token/failed", aReceipt());
    server.answer("POST /claims/:token/released", aReceipt());
    const client = aClient(server);

    const lease = await client.extend("1.a", { leaseMs: 5000, progress: { someKey: 1 } });
    const receipt = await client.done("1.a", { someKey: 1 });
    await client.done("1.a");
    await client.failed("1.a", { code: "c", message: "m", retryAfterMs: 5 });
    await client.released("1.a", { delayMs: 5 });

    expect(lease).toEqual({ leaseMs: 9000, leaseEndsAt: AT });
    expect(receipt).toEqual({ id: "i", status: "done", runAt: null });
    expect(server.seen.map(({ path, body }) => [path, body])).toEqual([
      ["/claims/1.a/extend", { lease_ms: 5000, progress: { someKey: 1 } }],
      ["/claims/1.a/done", { result: { someKey: 1 } }],
      ["/claims/1.a/done", {}],
      ["/claims/1.a/failed", { code: "c", message: "m", retry_after_ms: 5 }],
      ["/claims/1.a/released", { delay_ms: 5 }],
    ]);
  });

  test("settle many claims, each on its own", async () => {
    await using server = new FakeServer();
    const problem = { code: "claim_lost", status: 409, title: "Lost", ended: "expired" };
    server.answer("POST /claims/settle", settled({ "2.b": problem }));

    const results = await aClient(server).settle([
      { token: "1.a", outcome: "done", result: { someKey: 1 } },
      { token: "2.b", outcome: "failed", retryAfterMs: 1 },
      { token: "3.c", outcome: "released", delayMs: 2 },
    ]);

    expect(results).toMatchObject([
      { token: "1.a", status: "done", runAt: null },
      { token: "2.b", problem },
      { token: "3.c", status: "done" },
    ]);
    expect(server.settles).toEqual([
      { token: "1.a", outcome: "done", result: { someKey: 1 } },
      { token: "2.b", outcome: "failed", retry_after_ms: 1 },
      { token: "3.c", outcome: "released", delay_ms: 2 },
    ]);
  });

  test("reject when the claim is over", async () => {
    await using server = new FakeServer();
    server.answer("POST /claims/:token/done", aProblem(409, "claim_lost", { ended: "cancelled" }));

    const answer = aClient(server).done("1.a");

    await expect(answer).rejects.toMatchObject({
      code: "claim_lost",
      problem: { ended: "cancelled" },
    });
  });
});
