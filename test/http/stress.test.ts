/**
 * Many clients at once, each with a connection of its own, who put in, read, cancel and retry
 * without regard for each other. What is left in the end has to add up.
 */

import { heapStats } from "bun:jsc";
import { expect, setDefaultTimeout, test } from "bun:test";
import { defineHandlers } from "../../src/index.ts";
import {
  openScene,
  type PageBody,
  type QueueBody,
  type Scene,
  type TaskBody,
} from "../support/http-harness.ts";
import { type Answer, RawSocket, requestText } from "../support/socket.ts";

setDefaultTimeout(120_000);

const CLIENTS = 1000;
const ROUNDS = 5;
const TYPES = ["default", "turn", "fail", "throw"];
const QUEUES = ["a", "b", "c"];
const FINAL = ["done", "failed", "cancelled"];

const handlers = defineHandlers({
  default: () => undefined,
  turn: () => new Promise<void>((resolve) => setImmediate(resolve)),
  fail: () => Promise.reject(new Error("it broke")),
  throw: () => {
    throw new Error("it broke");
  },
});

function openBusyScene(): Promise<Scene> {
  return openScene({
    handlers,
    workers: 16,
    queueSize: 400,
    maxRetries: 1,
    retryBaseMs: 1,
    retryJitterMs: 1,
    retainTasks: CLIENTS * ROUNDS,
  });
}

interface Tally {
  readonly accepted: Set<string>;
  refused: number;
}

async function ask(
  socket: RawSocket,
  method: string,
  path: string,
  body?: string,
): Promise<Answer> {
  socket.send(requestText(method, path, {}, body));
  return socket.answer();
}

/** One client: in every round a task goes in, and then something is done to it, or looked at. */
async function runClient(scene: Scene, client: number, tally: Tally): Promise<void> {
  using socket = await RawSocket.open(scene.port);
  for (let round = 0; round < ROUNDS; round += 1) {
    const turn = client + round;
    const type = TYPES[turn % TYPES.length];
    const queue = QUEUES[turn % QUEUES.length];
    const body = JSON.stringify({ payload: { client, round }, type, queue, priority: turn % 3 });
    const answer = await ask(socket, "POST", "/enqueue", body);
    if (answer.status === 503) {
      tally.refused += 1;
      continue;
    }
    expect(answer.status).toBe(202);
    const { id } = JSON.parse(answer.body) as { id: string };
    tally.accepted.add(id);
    await disturb(socket, turn, id);
  }
}

async function disturb(socket: RawSocket, turn: number, id: string): Promise<void> {
  switch (turn % 5) {
    case 0:
      expect([200, 409]).toContain((await ask(socket, "DELETE", `/tasks/${id}`)).status);
      expect([202, 409, 503]).toContain((await ask(socket, "POST", `/tasks/${id}/retry`)).status);
      break;
    case 1:
      expect([200, 409]).toContain((await ask(socket, "DELETE", `/tasks/${id}`)).status);
      break;
    case 2:
      expect((await ask(socket, "GET", `/tasks/${id}?wait_ms=5`)).status).toBe(200);
      break;
    case 3:
      expect((await ask(socket, "GET", "/tasks?status=failed&limit=5")).status).toBe(200);
      break;
    default:
      expect((await ask(socket, "GET", "/queues")).status).toBe(200);
  }
}

async function runClients(scene: Scene): Promise<Tally> {
  const tally: Tally = { accepted: new Set(), refused: 0 };
  await Promise.all(
    Array.from({ length: CLIENTS }, (_, client) => runClient(scene, client, tally)),
  );
  return tally;
}

async function queuesOf(scene: Scene): Promise<readonly QueueBody[]> {
  return ((await (await scene.get("/queues")).json()) as { queues: QueueBody[] }).queues;
}

async function untilIdle(scene: Scene): Promise<readonly QueueBody[]> {
  while (true) {
    const queues = await queuesOf(scene);
    if (queues.every(({ waiting, depth }) => waiting.tasks + depth.running === 0)) return queues;
  }
}

async function listAll(scene: Scene): Promise<readonly TaskBody[]> {
  const tasks: TaskBody[] = [];
  let page: PageBody | null = null;
  while (page === null || page.next_cursor !== null) {
    page = await scene.page(`?limit=500${page === null ? "" : `&cursor=${page.next_cursor}`}`);
    tasks.push(...page.tasks);
  }
  return tasks;
}

test("a thousand clients leave every accepted task finished, and counters that equal the list", async () => {
  await using scene = await openBusyScene();

  const { accepted, refused } = await runClients(scene);

  expect(accepted.size + refused).toBe(CLIENTS * ROUNDS);
  expect(accepted.size).toBeGreaterThan(CLIENTS);
  const queues = await untilIdle(scene);
  const tasks = await listAll(scene);
  expect(new Set(tasks.map(({ id }) => id))).toEqual(accepted);
  expect(tasks).toHaveLength(accepted.size);
  for (const { name, depth, waiting, totals } of queues) {
    const own = tasks.filter(({ queue }) => queue === name);
    const counts = FINAL.map((status) => own.filter((task) => task.status === status).length);
    expect([depth.done, depth.failed, depth.cancelled]).toEqual(counts);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(own.length);
    expect(totals.enqueued).toBe(own.length);
    expect(waiting).toEqual({ tasks: 0, bytes: 0 });
  }
});

test("a thousand clients who come again leave the memory as they found it", async () => {
  await using scene = await openBusyScene();
  // The first come to fill what may be kept, and to warm up what only grows once.
  await runClients(scene);
  await untilIdle(scene);
  const before = heapBytes();

  for (let wave = 0; wave < 3; wave += 1) await runClients(scene);

  await untilIdle(scene);
  // A leak of what three waves put in would be as much again as there was three times over.
  expect(heapBytes() - before).toBeLessThan(8 * 1024 * 1024);
});

function heapBytes(): number {
  Bun.gc(true);
  return heapStats().heapSize;
}
