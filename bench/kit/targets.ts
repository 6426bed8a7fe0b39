/**
 * What is measured: ringq, the floor below it and its peers. Each starts fresh for every round, so that no round
 * inherits the memory or the compiled code of the one before.
 */

import { peerVersion } from "./machine.ts";
import { type Core, freePort, start } from "./process.ts";

export interface Target {
  readonly name: string;
  /** Where a task is posted, with what, and what a success answers. */
  readonly path: string;
  readonly body: string;
  readonly status: number;
  /** Why it can't run here, or null when it can. */
  readonly missing: string | null;
  start(): Promise<Running>;
}

export interface Running {
  readonly url: string;
  /** Every process that works for it: what these cost is what it costs. */
  readonly pids: readonly number[];
  /** Resolves when every one of the tasks that were accepted has run. Throws when it knows of another number of them. */
  drained(accepted: number): Promise<void>;
  stop(): Promise<void>;
}

const BUN = process.execPath;
const PAYLOAD = { to: "ada@example.com", template: "welcome", locale: "en" };

/** One task for ringq, the floor and the BullMQ route. */
export const TASK = { type: "noop", payload: PAYLOAD };

/** Enough for whatever a round can pile up: a refusal would be no measurement of accepting. */
const UNBOUNDED = { QUEUE_SIZE: "100000000", QUEUE_BYTES: String(2 ** 40) };

/** The ringq of this folder, or of another one that holds a checkout of it. */
export function ringq(
  name = "ringq",
  env: Readonly<Record<string, string>> = {},
  folder = ".",
): Target {
  return {
    name,
    path: "/enqueue",
    body: JSON.stringify(TASK),
    status: 202,
    missing: null,
    async start() {
      const { url, pid, stop } = await startListening([`${folder}/src/main.ts`], {
        ...ringqEnv(folder),
        ...UNBOUNDED,
        ...env,
      });
      return { url, pids: [pid], stop, drained: (accepted) => ringqDrained(url, accepted) };
    },
  };
}

/** What every measured ringq is told; all else is as a user has it who sets nothing. */
export function ringqEnv(folder = "."): Readonly<Record<string, string>> {
  return { PORT: "0", HANDLERS: `${folder}/bench/servers/handlers.ts` };
}

export function floor(name = "floor", env: Readonly<Record<string, string>> = {}): Target {
  return {
    name,
    path: "/enqueue",
    body: JSON.stringify(TASK),
    status: 202,
    missing: null,
    async start() {
      const { url, pid, stop } = await startListening(["bench/servers/floor.ts"], env);
      return { url, pids: [pid], stop, drained: () => Promise.resolve() };
    },
  };
}

/** The floor with what no queue can leave out: an id, the payload as text, and the finished tasks that ringq keeps. */
export function keeper(): Target {
  return floor("floor that keeps", { KEEP: "10000" });
}

/** It only stores: its workers are other processes, and none is started, which is in its favour. */
export function bunqueue(
  name = "bunqueue",
  env: Readonly<Record<string, string>> = {},
  options: Readonly<Record<string, unknown>> = {},
): Target {
  return {
    name,
    path: "/queues/default/jobs",
    body: JSON.stringify({ name: "noop", data: PAYLOAD, ...options }),
    status: 200,
    missing: peerVersion("bunqueue") === null ? "bunqueue is not installed" : null,
    start: () => startBunqueue(env),
  };
}

/** The server of bunqueue for its own workers. Its address is the port of its protocol. */
export function bunqueueServer(): Target {
  const target = bunqueue();
  return {
    ...target,
    async start() {
      const port = String(freePort());
      return { ...(await startBunqueue({ TCP_PORT: port })), url: port };
    },
  };
}

async function startBunqueue(env: Readonly<Record<string, string>>): Promise<Running> {
  const port = freePort();
  const url = `http://127.0.0.1:${port}`;
  const { pid, stop, failure } = startWatched(["bench/node_modules/bunqueue/dist/main.js"], {
    HOST: "127.0.0.1",
    HTTP_PORT: String(port),
    TCP_PORT: "0",
    // Its limiter counts requests in a window. One of a millisecond never fills and keeps nothing.
    RATE_LIMIT_WINDOW_MS: "1",
    RATE_LIMIT_MAX_REQUESTS: "1000000000",
    ...env,
  });
  await Promise.race([answers(`${url}/healthz`), failure]);
  return { url, pids: [pid], stop, drained: () => Promise.resolve() };
}

export function bullmq(): Target {
  return {
    name: "Elysia + BullMQ",
    path: "/enqueue",
    body: JSON.stringify(TASK),
    status: 202,
    missing: bullmqMissing(),
    async start() {
      const database = await startRedis();
      const server = await startListening(["bench/servers/bullmq.ts"], {
        REDIS_PORT: database.url,
      });
      return {
        url: server.url,
        pids: [server.pid, ...database.pids],
        drained: () => bullmqDrained(server.url),
        async stop() {
          await server.stop();
          await database.stop();
        },
      };
    },
  };
}

/** The server of BullMQ alone. Its address is the port. */
export function redis(): Target {
  const none = { path: "", body: "", status: 0 };
  return { name: "Redis", ...none, missing: bullmqMissing(), start: startRedis };
}

async function startRedis(): Promise<Running> {
  const port = String(freePort());
  const { pid, lines, failure, stop } = startWatched(
    ["redis-server", "--port", port, "--bind", "127.0.0.1"].concat(
      ["--save", "", "--appendonly", "no"],
      // What BullMQ asks for.
      ["--maxmemory-policy", "noeviction"],
    ),
    {},
    "as it is",
  );
  await Promise.race([line(lines, (text) => text.includes("Ready to accept")), failure]);
  return { url: port, pids: [pid], drained: () => Promise.resolve(), stop };
}

function bullmqMissing(): string | null {
  if (peerVersion("bullmq") === null) return "bullmq is not installed";
  return Bun.which("redis-server") === null ? "redis-server is not installed" : null;
}

/** Those that can run here. The others are named, and left out. */
export function available(targets: readonly Target[], tell: (text: string) => void): Target[] {
  for (const { name, missing } of targets) {
    if (missing !== null) tell(`SKIPPED ${name}: ${missing}; see bench/README.md`);
  }
  return targets.filter(({ missing }) => missing === null);
}

interface Watched {
  readonly pid: number;
  readonly lines: AsyncIterable<string>;
  /** Rejects when it ends before it is stopped. */
  readonly failure: Promise<never>;
  stop(): Promise<void>;
}

function startWatched(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  form: "with bun" | "as it is" = "with bun",
  core: Core = "server",
): Watched {
  const { promise: failure, reject } = Promise.withResolvers<never>();
  // It is looked at while the process starts. What fails later shows in the answers.
  failure.catch(() => undefined);
  const whole = form === "with bun" ? [BUN, ...command] : command;
  const onExit = (text: string): void => reject(new Error(`${command.join(" ")}: ${text}`));
  const { pid, lines, stop } = start(whole, env, onExit, core);
  return { pid, lines, failure, stop };
}

/** Starts a program of ours, which says in a line of JSON where it listens. */
export async function startListening(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  core: Core = "server",
): Promise<Watched & { readonly url: string }> {
  const watched = startWatched(command, env, "with bun", core);
  const listening = line(watched.lines, (text) => text.includes('"server_listening"'));
  const { url } = JSON.parse(await Promise.race([listening, watched.failure])) as { url: string };
  return { ...watched, url };
}

/** The first line that fits. The rest is read as well, so that the process never waits for its reader. */
function line(lines: AsyncIterable<string>, fits: (text: string) => boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    const read = async (): Promise<void> => {
      for await (const text of lines) if (fits(text)) resolve(text);
    };
    read().then(() => reject(new Error("it ended before it was ready")), reject);
  });
}

/** Resolves when this address answers. */
async function answers(url: string): Promise<void> {
  for (let tries = 0; tries < 1000; tries += 1) {
    const response = await fetch(url).catch(() => null);
    if (response?.ok === true) return;
    await Bun.sleep(10);
  }
  throw new Error(`${url} does not answer`);
}

/** How long a backlog may take. */
const DRAIN_TRIES = 3000;
const DRAIN_PAUSE_MS = 20;

async function ringqDrained(url: string, accepted: number): Promise<void> {
  for (let tries = 0; tries < DRAIN_TRIES; tries += 1) {
    const response = await fetch(`${url}/queues/default`);
    const { totals } = (await response.json()) as {
      readonly totals: { readonly enqueued: number; readonly done: number };
    };
    if (totals.enqueued !== accepted) {
      throw new Error(`${accepted} tasks were accepted, but ringq counts ${totals.enqueued}`);
    }
    if (totals.done === accepted) return;
    await Bun.sleep(DRAIN_PAUSE_MS);
  }
  throw new Error("ringq did not run every task that it accepted");
}

async function bullmqDrained(url: string): Promise<void> {
  for (let tries = 0; tries < DRAIN_TRIES; tries += 1) {
    if ((await (await fetch(`${url}/waiting`)).text()) === "0") return;
    await Bun.sleep(DRAIN_PAUSE_MS);
  }
  throw new Error("BullMQ did not run every task that it accepted");
}
