/**
 * The load of bench/remote.ts: it enqueues tasks in batches of 100, and runs them where they are to run: not at all, or
 * in this process, by the worker of ringq's client, of BullMQ or of bunqueue. It tells in lines of JSON how far it is,
 * and goes on when a line comes in, so that CPU time can be read in between.
 */

import { Client, Worker } from "../../src/client/index.ts";

const BATCH = 100;

/** Two full claims: one runs while the other is fetched. */
const CONCURRENCY = 200;

/** Batches that are under way at once. */
const IN_FLIGHT = 4;

/** The producer waits while so many tasks have not run: a backlog would cost memory, which is not the question. */
const BACKLOG_MAX = 5000;

const PAYLOAD = { to: "ada@example.com", template: "welcome", locale: "en" };

interface Subject {
  enqueue(tasks: number): Promise<unknown>;
  /** The tasks that have run so far. */
  ran(): Promise<number> | number;
  /** The tasks that the server knows to be done, where it can tell. */
  done?(): Promise<number>;
}

const [, , kind = "", address = "", warmUpText = "", tasksText = ""] = process.argv;
const lines = console[Symbol.asyncIterator]();
const subject = await subjectOf(kind, address);
let enqueued = 0;
let ran = 0;

await run(Number(warmUpText));
await say({ event: "warm" });
const startedMs = performance.now();
await run(Number(tasksText));
await say({ event: "ran", ms: performance.now() - startedMs });
process.exit(0);

async function say(line: object): Promise<void> {
  console.log(JSON.stringify(line));
  await lines.next();
}

async function run(tasks: number): Promise<void> {
  const target = enqueued + tasks;
  let left = tasks;
  const produce = async (): Promise<void> => {
    while (left > 0) {
      const size = Math.min(BATCH, left);
      left -= size;
      await untilRan(enqueued - BACKLOG_MAX);
      enqueued += size;
      await subject.enqueue(size);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, produce));
  await untilRan(target);
  while (((await subject.done?.()) ?? target) < target) await Bun.sleep(1);
}

async function untilRan(tasks: number): Promise<void> {
  while (ran < tasks) {
    ran = await subject.ran();
    if (ran < tasks) await Bun.sleep(1);
  }
}

async function subjectOf(name: string, at: string): Promise<Subject> {
  switch (name) {
    case "local":
      return ringq(new Client(at), "noop");
    case "remote":
      return ringqRemote(new Client(at));
    case "bullmq":
      return bullmq(Number(at));
    case "bunqueue":
      return bunqueue(Number(at));
    default:
      throw new Error(`unknown: ${name}`);
  }
}

function ringq(client: Client, type: string): Subject {
  const batches = new Map<number, readonly { type: string; payload: unknown }[]>();
  return {
    enqueue(tasks) {
      const batch = batches.get(tasks) ?? new Array(tasks).fill({ type, payload: PAYLOAD });
      batches.set(tasks, batch);
      return client.enqueueBatch(batch, { idempotencyKey: null });
    },
    async ran() {
      return (await client.queue("default"))?.totals.done ?? 0;
    },
  };
}

function ringqRemote(client: Client): Subject {
  let ran = 0;
  const worker = new Worker(client, {
    handlers: {
      remote: () => {
        ran += 1;
      },
    },
    concurrency: CONCURRENCY,
    signals: false,
  });
  worker.start();
  const server = ringq(client, "remote");
  return { ...server, ran: () => ran, done: async () => server.ran() };
}

async function bullmq(port: number): Promise<Subject> {
  const { Queue, Worker: BullWorker } = await import("bullmq");
  const connection = { host: "127.0.0.1", port, maxRetriesPerRequest: null };
  const queue = new Queue("default", { connection });
  let ran = 0;
  new BullWorker(
    "default",
    async () => {
      ran += 1;
    },
    { connection, concurrency: 100 },
  ).on("error", (error) => console.error(error));
  const opts = { removeOnComplete: 10_000 };
  return {
    enqueue: (tasks) => queue.addBulk(new Array(tasks).fill({ name: "noop", data: PAYLOAD, opts })),
    ran: () => ran,
  };
}

async function bunqueue(port: number): Promise<Subject> {
  const { Queue, Worker: BunWorker } = await import("bunqueue/client");
  const connection = { host: "127.0.0.1", port };
  const queue = new Queue("default", { connection });
  let ran = 0;
  new BunWorker(
    "default",
    async () => {
      ran += 1;
    },
    { connection, concurrency: 100, batchSize: BATCH },
  );
  return {
    enqueue: (tasks) => queue.addBulk(new Array(tasks).fill({ name: "noop", data: PAYLOAD })),
    ran: () => ran,
  };
}
