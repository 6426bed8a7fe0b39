/** Client and worker against a real server. */

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer, defineHandlers, type ServerOptions } from "ringq";
import { Client, type HandlerContext, Worker, type WorkerOptions } from "ringq/client";
import { aLog, HeldHandler, until } from "./worker-harness.ts";

setDefaultTimeout(30_000);

/** A server without handlers, and a client of it. */
async function open(options: ServerOptions = {}) {
  const server = await createServer({ port: 0, handlers: "none", shutdownGraceMs: 0, ...options });
  const client = new Client(server.url);
  return { client, url: server.url, [Symbol.asyncDispose]: async () => void (await server.stop()) };
}

function start(client: Client, options: WorkerOptions) {
  const { log, lines } = aLog();
  const worker = new Worker(client, { signals: false, log, ...options });
  worker.start();
  const stop = async (): Promise<void> => void (await worker.stop({ graceMs: 0 }));
  return { worker, lines, [Symbol.asyncDispose]: stop };
}

test("a task runs in a worker, and its result is read", async () => {
  await using scene = await open();
  await using _ = start(scene.client, {
    handlers: { greet: ({ name }: { name: string }) => `Hello, ${name}!` },
  });

  const { id, status } = await scene.client.enqueue({ type: "greet", payload: { name: "Ada" } });
  const task = await scene.client.waitFor(id);

  expect(status).toBe("queued");
  expect(task).toMatchObject({ status: "done", result: "Hello, Ada!", attempt: 1, claim: null });
});

test("a thousand tasks are done once each", async () => {
  await using scene = await open({ queueSize: 1000 });
  const runs = new Map<string, number>();
  const payloads = Array.from({ length: 1000 }, (_, index) => ({ index }));
  await scene.client.enqueueBatch(payloads.map((payload) => ({ type: "count", payload })));
  const count = async (_: unknown, { id }: HandlerContext): Promise<void> => {
    runs.set(id, (runs.get(id) ?? 0) + 1);
  };

  {
    await using _ = start(scene.client, { handlers: { count }, concurrency: 250 });
    let done = 0;
    while (done < 1000) done = (await scene.client.queue("default"))?.totals.done ?? 0;
  }

  const queue = await scene.client.queue("default");
  expect(queue?.totals).toMatchObject({ done: 1000, failed: 0, interrupted: 0 });
  expect(new Set(runs.values())).toEqual(new Set([1]));
});

test("a handler learns that its task was cancelled, and shows progress", async () => {
  await using scene = await open();
  const aborted = Promise.withResolvers<unknown>();
  await using _ = start(scene.client, {
    leaseMs: 1000,
    handlers: {
      long: (_payload, { signal, progress }) => {
        progress({ half: 1 });
        signal.addEventListener("abort", () => aborted.resolve(signal.reason.message));
        return aborted.promise;
      },
    },
    name: "w-1",
  });
  const { id } = await scene.client.enqueue({ type: "long", payload: 0 });

  let task = await scene.client.task(id);
  while (task?.progress === null) task = await scene.client.task(id);
  const { status } = await scene.client.cancel(id);

  expect(task).toMatchObject({
    status: "running",
    progress: { half: 1 },
    claim: { worker: "w-1" },
  });
  expect(status).toBe("cancelled");
  expect(await aborted.promise).toBe("cancelled");
});

test("a result that the server does not keep fails the attempt", async () => {
  await using scene = await open({ maxBodyBytes: 4096, resultBytesMax: 1024 });
  const sizes = [10, 2000, 10_000];
  await using _ = start(scene.client, { handlers: { big: (size: number) => "x".repeat(size) } });

  const receipts = await scene.client.enqueueBatch(
    sizes.map((payload) => ({ type: "big", payload, maxRetries: 0 })),
  );
  const tasks = await Promise.all(receipts.map(({ id }) => scene.client.waitFor(id)));

  expect(tasks.map((task) => task?.error?.code ?? task?.status)).toEqual([
    "done",
    "result_too_large",
    "result_too_large",
  ]);
});

test("a worker works through a restart of a durable server", async () => {
  const folder = await mkdtemp(join(tmpdir(), "ringq-client-"));
  const options: ServerOptions = { handlers: "none", dataFile: join(folder, "tasks.db") };
  const first = await createServer({ ...options, port: 0, shutdownGraceMs: 0 });
  const port = Number(new URL(first.url).port);
  const client = new Client(first.url);
  const held = new HeldHandler();
  const { id } = await client.enqueue({ type: "hold", payload: null });
  const { worker, lines } = start(client, { handlers: { hold: held.run } });
  await until(() => held.signals.length === 1);

  await first.stop();
  held.end();
  await until(() => lines.some(({ event }) => event === "requests_fail"));
  const second = await createServer({ ...options, port });
  const task = await client.waitFor(id);
  await worker.stop();
  await second.stop();
  await rm(folder, { recursive: true });

  expect(task).toMatchObject({ status: "done", attempt: 1 });
});

describe("the client", () => {
  test("reads and changes queues", async () => {
    await using scene = await open();
    const { client } = scene;
    await client.enqueue({ payload: 1, queue: "q", tags: ["a"], delayMs: 60_000 });
    await client.enqueue({ payload: 2, queue: "q", runAt: new Date(Date.now() + 60_000) });

    expect(await client.pause("q")).toMatchObject({ paused: true, waiting: { tasks: 2 } });
    expect(await client.resume("q")).toMatchObject({ paused: false });
    expect((await client.list({ tag: "a" })).tasks).toMatchObject([{ payload: 1 }]);
    expect(await client.purge("q")).toBe(2);
    const tasks = await Array.fromAsync(client.tasks({ status: "cancelled", limit: 1 }));
    expect(tasks.map(({ payload }) => payload)).toEqual([2, 1]);
    expect(await client.retry(tasks[0]?.id ?? "")).toMatchObject({ status: "queued" });
    expect((await client.queues()).map(({ name }) => name)).toEqual(["q"]);
    await expect(client.cancel(tasks[1]?.id ?? "")).rejects.toMatchObject({ code: "conflict" });
  });

  test("claims and settles by hand", async () => {
    await using scene = await open();
    const { client } = scene;
    const payloads = [1, 2, 3, 4, 5];
    await client.enqueueBatch(payloads.map((payload) => ({ payload, maxRetries: 1 })));

    const claims = await client.claim({ max: 5, worker: "me", leaseMs: 60_000 });
    const [a = "", b = "", c = "", d = "", e = ""] = claims.map(({ token }) => token);
    const lease = await client.extend(a, { leaseMs: 5000, progress: 1 });
    const receipts = [
      await client.done(a, "ok"),
      await client.failed(b, { code: "no", message: "No.", retry: "never" }),
      await client.released(c, { delayMs: 60_000 }),
    ];
    const results = await client.settle([
      { token: a, outcome: "done" },
      { token: a, outcome: "released" },
      { token: d, outcome: "failed", retryAfterMs: 60_000 },
      { token: e, outcome: "done", result: { some_key: 1 } },
    ]);

    expect(claims[0]?.task).toMatchObject({ payload: 1, retriesLeft: 1, attempt: 1 });
    expect(lease.leaseMs).toBeWithin(4990, 5001);
    expect(receipts.map(({ status }) => status)).toEqual(["done", "failed", "retrying"]);
    expect(receipts[2]?.runAt).toBeInstanceOf(Date);
    expect(results).toMatchObject([
      { token: a, status: "done", runAt: null },
      { token: a, problem: { code: "claim_lost", ended: "settled" } },
      { token: d, status: "retrying" },
      { token: e, status: "done" },
    ]);
    await expect(client.done(a.replace(/\.\w+$/, ".1"))).rejects.toMatchObject({
      code: "claim_lost",
    });
  });

  test("is refused by a full queue, and waits for room if told to", async () => {
    await using scene = await open({ queueSize: 1 });
    const { client } = scene;
    const { id } = await client.enqueue({ payload: 1 });

    const refused = await client.enqueue({ payload: 2 }).catch(({ code }) => code);
    const waiting = client.enqueue({ payload: 2 }, { whenFull: "wait" });
    await client.cancel(id);

    expect(refused).toBe("queue_full");
    expect(await waiting).toMatchObject({ status: "queued" });
  });

  test("enqueues once, although the first answer was lost", async () => {
    await using scene = await open();
    let isLost = false;
    const client = new Client(scene.url, {
      fetch: async (url, init) => {
        const response = await fetch(url, init);
        if (isLost) return response;
        isLost = true;
        throw new TypeError("the connection was reset");
      },
    });

    await client.enqueue({ payload: 1 });

    expect((await client.queue("default"))?.totals.enqueued).toBe(1);
  });

  test("knows the types of a server with local and remote handlers", async () => {
    const handlers = defineHandlers({
      local: (payload: number) => payload * 2,
      away: (payload: string) => payload.length,
    });
    await using scene = await open({ handlers });
    const client = new Client<typeof handlers>(scene.url);
    const { id } = await client.enqueue({ type: "local", payload: 21 });
    expect((await client.waitFor(id))?.result).toBe(42);
  });
});
