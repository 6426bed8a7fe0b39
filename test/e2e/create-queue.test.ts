import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import {
  createQueue,
  defineHandlers,
  type Handlers,
  HandlersError,
  type Queue,
  remote,
  type Task,
} from "ringq";

setDefaultTimeout(60_000);

let queue: Queue | null = null;
afterEach(async () => {
  await queue?.stop();
  queue = null;
});

async function start(
  handlers: Parameters<typeof createQueue>[0],
  options: Parameters<typeof createQueue>[1] = {},
): Promise<Queue> {
  queue = await createQueue(handlers, { retryBaseMs: 0, retryJitterMs: 0, ...options });
  return queue;
}

/** Enqueues a task that has to be accepted, and gives its id. */
async function enqueue(to: Queue, request: Parameters<Queue["enqueue"]>[0]): Promise<string> {
  const answer = await to.enqueue(request);
  if (answer.kind !== "accepted") throw new Error(`not accepted: ${answer.kind}`);
  return answer.id;
}

async function run(on: Queue, request: Parameters<Queue["enqueue"]>[0]): Promise<Task> {
  const task = await on.waitFor(await enqueue(on, request), 60_000);
  if (task === undefined) throw new Error("the task is gone");
  return task;
}

const handlers = defineHandlers({
  double: (payload: number, { progress }) => {
    progress({ half: payload });
    return payload * 2;
  },
  "second-time": (_payload, { attempt }) => {
    if (attempt === 1) throw new Error("not yet");
    return attempt;
  },
  hang: (_payload, { signal }) =>
    new Promise((resolve) => signal.addEventListener("abort", () => resolve("too late"))),
});

test("a task runs, and its payload, progress and result are values", async () => {
  const task = await run(await start(handlers), { type: "double", payload: 21 });
  expect(task).toMatchObject({ status: "done", payload: 21, progress: { half: 21 }, result: 42 });
});

test("an attempt that failed is retried, and its error stays to be read", async () => {
  const task = await run(await start(handlers), { type: "second-time", payload: null });
  expect(task).toMatchObject({ status: "done", attempt: 2, result: 2 });
  expect(task.errors).toMatchObject([{ code: "handler_error", message: "not yet", attempt: 1 }]);
});

test("a batch is taken whole or not at all", async () => {
  const full = await start(handlers, { queueSize: 2 });
  const tasks = Array.from({ length: 3 }, (_, payload) => ({ type: "double", payload }));
  expect(await full.enqueueBatch(tasks)).toMatchObject({ kind: "refused", bound: "queue_size" });
  expect(await full.enqueueBatch(tasks.slice(1))).toMatchObject({ kind: "accepted" });
});

test("the same key gives the first answer again", async () => {
  const on = await start(handlers);
  const first = await on.enqueue({ type: "double", payload: 1 }, "key");
  const again = await on.enqueue({ type: "double", payload: 1 }, "key");
  expect([first.kind, again.kind]).toEqual(["accepted", "repeated"]);
  expect<unknown>(again).toEqual({ ...first, kind: "repeated" });
});

test("a payload that JSON does not have is refused with its path", async () => {
  const answer = await (await start(handlers)).enqueue({ payload: { deep: [1n] } });
  expect(answer).toEqual({
    kind: "invalid",
    faults: [
      {
        index: 0,
        path: "/payload/deep/0",
        message: "has the type bigint, which JSON can't represent",
      },
    ],
  });
});

test("a running task that is cancelled stays so, and can be retried", async () => {
  const on = await start(handlers);
  const id = await enqueue(on, { type: "hang", payload: [7] });
  const cancelled = await on.cancel(id);
  const retried = await on.retry(id);
  await on.cancel(id);
  expect(cancelled).toMatchObject({ kind: "cancelled", task: { status: "cancelled" } });
  expect(retried).toMatchObject({ kind: "queued", task: { id, status: "queued", payload: [7] } });
});

test("a paused queue keeps its tasks until it goes on", async () => {
  const on = await start(handlers);
  const delayed = await enqueue(on, { type: "double", payload: 0, delayMs: 3_600_000 });
  await on.pause("default");
  const id = await enqueue(on, { type: "double", payload: 1 });
  const [report] = await on.queues();
  await on.resume("default");
  const task = await on.waitFor(id, 60_000);
  await on.cancel(delayed);
  expect(report).toMatchObject({ name: "default", isPaused: true, waiting: 2 });
  expect(task?.result).toBe(2);
});

test("a task that is unknown is undefined", async () => {
  expect(await (await start(handlers)).find("unknown")).toBeUndefined();
});

test("a stopped queue takes nothing more, and says what it left", async () => {
  const on = await start(handlers, { shutdownGraceMs: 0 });
  await enqueue(on, { type: "hang", payload: null });
  const [report, again] = await Promise.all([on.stop(), on.stop()]);
  const answer = await on.enqueue({ payload: 1 });
  expect([report, again, answer.kind]).toEqual([
    { unfinished: 1, areLost: true },
    { unfinished: 1, areLost: true },
    "stopping",
  ]);
});

test("handlers at a path run in threads where they want to", async () => {
  const on = await start("test/fixtures/outcomes.ts", { threads: 2 });
  const task = await run(on, { type: "thread.returns", payload: "p" });
  expect(task.result).toEqual({ got: "p" });
});

test.each<[string, Handlers | string, string]>([
  ["types", defineHandlers({ a: remote(), b: () => 1, c: remote() }), "a, c"],
  ["all other types", defineHandlers({ b: () => 1 }, { otherTypes: "remote" }), "all other types"],
  ["both", defineHandlers({ a: remote() }, { otherTypes: "remote" }), "a, all other types"],
  ["every type", "none", "all other types"],
])("handlers that leave %s to remote workers are refused by name", async (_, given, names) => {
  await expect(createQueue(given)).rejects.toThrow(
    new HandlersError(`${names}: remote workers run these, and they need HTTP; use createServer`),
  );
});

test("handlers that want threads but are in nobody's module are refused", async () => {
  const inThread = defineHandlers({ a: { handler: () => 1, isolation: "thread" } });
  expect(createQueue(inThread)).rejects.toThrow(
    'a has isolation "thread": pass the path of the handlers module',
  );
});

test("options out of bounds are refused, all at once", async () => {
  expect(createQueue(handlers, { workers: 0, queueSize: 1.5 })).rejects.toThrow(
    new RangeError(
      "workers must be a whole number from 1 to 10000, but is 0; queueSize must be a whole number of at least 1, but is 1.5",
    ),
  );
});

test("a log that throws is the program's own fault, and no task's", async () => {
  const program = `
    import { createQueue, defineHandlers } from "ringq";
    process.on("uncaughtException", ({ message }) => console.log("uncaught:", message));
    const fail = () => { throw new Error("the log is broken"); };
    const log = { isDebug: false, debug: fail, info: () => {}, warn: fail, error: fail };
    const handlers = defineHandlers({ fails: () => { throw new Error("x"); }, fine: () => 7 });
    const queue = await createQueue(handlers, { log, maxRetries: 0, workers: 1 });
    const { receipts } = await queue.enqueueBatch(
      ["fails", "fine"].map((type) => ({ type, payload: null })),
    );
    for (const { id } of receipts) console.log((await queue.waitFor(id, 60000)).status);
    await queue.stop();
  `;
  const { stdout, exited } = Bun.spawn([process.execPath, "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = (await new Response(stdout).text()).trim().split("\n");
  expect(lines.toSorted()).toEqual(["done", "failed", "uncaught: the log is broken"]);
  expect(await exited).toBe(0);
});

test("a program that stops its queue ends by itself, threads and all", async () => {
  const program = `
    import { createQueue } from "ringq";
    const queue = await createQueue("test/fixtures/hostile-threads.ts", { threads: 2, workers: 2 });
    const { receipts } = await queue.enqueueBatch([
      { type: "fine", payload: "fine" }, { type: "exits", payload: null, maxRetries: 0 },
    ]);
    for (const { id } of receipts) console.log((await queue.waitFor(id, 60000)).status);
    await queue.stop();
  `;
  const { stdout, exited } = Bun.spawn([process.execPath, "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  expect(await new Response(stdout).text()).toBe("done\nfailed\n");
  expect(await exited).toBe(0);
});
