/**
 * What workers in other processes cost, and how soon they start: against the same server with a handler of its own,
 * against BullMQ on Redis, and against bunqueue with its workers.
 */

import { sharedMs } from "./kit/clock.ts";
import { quantile, type Spread, show, showSpread, spreadOf } from "./kit/figures.ts";
import { planOf, say } from "./kit/plan.ts";
import { cpuUs, pinned, rssBytes } from "./kit/process.ts";
import { writeReport } from "./kit/report.ts";
import {
  available,
  bunqueueServer,
  type Running,
  redis,
  ringq,
  startListening,
  type Target,
} from "./kit/targets.ts";
import { interleave } from "./kit/trial.ts";

const plan = planOf("remote");
const rounds = plan.isQuick ? 1 : 5;
const scale = plan.isQuick ? 0.05 : 1;

interface Subject {
  readonly name: string;
  readonly kind: "local" | "remote" | "bullmq" | "bunqueue";
  readonly target: Target;
  readonly warmUp: number;
  readonly tasks: number;
}

const memory = ringq();
const local: Subject = {
  name: "ringq, handler in the process",
  kind: "local",
  target: memory,
  warmUp: 200_000,
  tasks: 600_000,
};
const remote: Subject = {
  ...local,
  name: "ringq, remote worker",
  kind: "remote",
  tasks: 400_000,
};
const subjects: readonly Subject[] = [
  local,
  remote,
  { name: "BullMQ, worker", kind: "bullmq", target: redis(), warmUp: 5000, tasks: 30_000 },
  {
    name: "bunqueue, remote worker",
    kind: "bunqueue",
    target: bunqueueServer(),
    warmUp: 5000,
    tasks: 30_000,
  },
];
const names = new Set(
  available(
    subjects.map(({ name, target }) => ({ ...target, name })),
    (text) => say(plan, text),
  ).map(({ name }) => name),
);

interface Throughput {
  readonly perSecond: number;
  readonly cpuUsPerTask: number;
}

const trials = await interleave(
  subjects.filter(({ name }) => names.has(name)),
  rounds,
  async (subject, round): Promise<Throughput> => {
    const running = await subject.target.start();
    try {
      const trial = await measure(subject, running);
      say(
        plan,
        `round ${round + 1}/${rounds}, ${subject.name}: ${show(trial.perSecond)} tasks/s, ${show(trial.cpuUsPerTask)} µs of the server's CPU each`,
      );
      return trial;
    } finally {
      await running.stop();
    }
  },
);

/** Runs the load in a process on the other core. It waits for a line after its warm-up, and at its end. */
async function measure({ kind, warmUp, tasks }: Subject, running: Running): Promise<Throughput> {
  const count = Math.ceil((tasks * scale) / 100) * 100;
  const counts = [Math.ceil((warmUp * scale) / 100) * 100, count].map(String);
  const command = [process.execPath, "bench/servers/remote-load.ts", kind, running.url, ...counts];
  const child = Bun.spawn(pinned("load", command), {
    env: { ...process.env, NODE_ENV: "production" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  let cpuBeforeUs = 0;
  for await (const line of linesOf(child.stdout)) {
    const { event, ms = 0 } = JSON.parse(line) as { readonly event: string; readonly ms?: number };
    const cpuNowUs = cpuUs(running.pids);
    child.stdin.write("\n");
    await child.stdin.flush();
    if (event === "ran") {
      await child.exited;
      return { perSecond: (count / ms) * 1000, cpuUsPerTask: (cpuNowUs - cpuBeforeUs) / count };
    }
    cpuBeforeUs = cpuNowUs;
  }
  throw new Error(`the load of ${kind} ended early`);
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

/** How soon a waiting worker starts a task. */
const DELAY_PER_SECOND = 1000;
const DELAY_SECONDS = plan.isQuick ? 1 : 10;

/** A bare echo that is slower than this says that the machine was busy with something else. */
const ECHO_P99_MAX_MS = 5;

/** Rounds that are thrown away at most. */
const RETRIES = 20;

interface Delay {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const delays: Delay[] = [];
let thrownAway = 0;
while (delays.length < rounds) {
  const { delay, echoP99Ms } = await measureDelay();
  say(
    plan,
    `start delay: p50 ${show(delay.p50Ms)} ms, p99 ${show(delay.p99Ms)} ms; echo p99 ${show(echoP99Ms)} ms`,
  );
  if (echoP99Ms <= ECHO_P99_MAX_MS || thrownAway === RETRIES) delays.push(delay);
  else thrownAway += 1;
}

/** From the moment an enqueue is due until the handler of a waiting worker is called, in another process. */
async function measureDelay(): Promise<{ readonly delay: Delay; readonly echoP99Ms: number }> {
  const running = await memory.start();
  const echo = await startListening(["bench/servers/floor.ts"], {});
  const worker = await startListening(["bench/servers/remote-probe.ts", running.url], {}, "load");
  try {
    const dueMs = sharedMs() + 500;
    const count = DELAY_PER_SECOND * DELAY_SECONDS;
    const echoes: Promise<number>[] = [];
    const sent: Promise<unknown>[] = [];
    for (let index = 0; index < count; index += 1) {
      const nextMs = dueMs + (index * 1000) / DELAY_PER_SECOND;
      const waitMs = nextMs - sharedMs();
      if (waitMs > 0) await Bun.sleep(waitMs);
      // A timer may fire a fraction of a millisecond early: then this is the moment.
      const atMs = Math.min(nextMs, sharedMs());
      sent.push(post(`${running.url}/enqueue`, { type: "remote", payload: { atMs } }));
      if (index % 5 === 0) echoes.push(timed(post(`${echo.url}/enqueue`, { payload: 1 })));
    }
    await Promise.all(sent);
    const { ms } = (await (await fetch(`${worker.url}/delays?count=${count}`)).json()) as {
      readonly ms: readonly number[];
    };
    const delay = { p50Ms: quantile(ms, 0.5), p99Ms: quantile(ms, 0.99) };
    return { delay, echoP99Ms: quantile(await Promise.all(echoes), 0.99) };
  } finally {
    await worker.stop();
    await echo.stop();
    await running.stop();
  }
}

async function timed(answering: Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await answering;
  return performance.now() - startedMs;
}

async function post(url: string, body: unknown): Promise<void> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (response.status !== 202) throw new Error(`${url} answered ${response.status}`);
  await response.arrayBuffer();
}

/** What claims cost that only wait. */
const WAITING = plan.isQuick ? 1000 : 10_000;
const IDLE_SECONDS = plan.isQuick ? 2 : 20;

const waiting = await measureWaiting();
say(
  plan,
  `${WAITING} waiting claims: ${show(waiting.bytesEach / 1024)} KiB each, ${show(waiting.cpuShare * 100)} % of a core`,
);

async function measureWaiting(): Promise<{
  readonly bytesEach: number;
  readonly cpuShare: number;
}> {
  const running = await memory.start();
  const sockets: Bun.Socket[] = [];
  try {
    const { hostname, port } = new URL(running.url);
    const body = JSON.stringify({ wait_ms: 60_000, worker: "w", types: ["remote"] });
    const request = `POST /claims HTTP/1.1\r\nHost: ${hostname}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const rssBefore = rssBytes(running.pids);
    for (let count = 0; count < WAITING; count += 1) {
      const socket = await Bun.connect({
        hostname,
        port: Number(port),
        socket: { data: () => undefined },
      });
      socket.write(request);
      sockets.push(socket);
    }
    await Bun.sleep(1000);
    const bytesEach = (rssBytes(running.pids) - rssBefore) / WAITING;
    const cpuBeforeUs = cpuUs(running.pids);
    await Bun.sleep(IDLE_SECONDS * 1000);
    const cpuShare = (cpuUs(running.pids) - cpuBeforeUs) / (IDLE_SECONDS * 1_000_000);
    return { bytesEach, cpuShare };
  } finally {
    for (const socket of sockets) socket.end();
    await running.stop();
  }
}

const base = trials.get(local) ?? [];
const results = Array.from(trials, ([{ name }, each]) => ({
  name,
  perSecond: spreadOf(each.map(({ perSecond }) => perSecond)),
  cpuUsPerTask: spreadOf(each.map(({ cpuUsPerTask }) => cpuUsPerTask)),
  rateToBase: ratios(each, ({ perSecond }) => perSecond),
  cpuToBase: ratios(each, ({ cpuUsPerTask }) => cpuUsPerTask),
}));

function ratios(each: readonly Throughput[], of: (trial: Throughput) => number): Spread {
  return spreadOf(
    each.map((trial, round) => of(trial) / of(base[round] ?? { perSecond: 0, cpuUsPerTask: 0 })),
  );
}

const p50 = spreadOf(delays.map(({ p50Ms }) => p50Ms));
const p99 = spreadOf(delays.map(({ p99Ms }) => p99Ms));

await writeReport(plan, {
  title: "Remote workers",
  method:
    `${rounds} interleaved rounds, a fresh server per round; tasks are enqueued in batches of 100 and run by a no-op handler, end to end. ` +
    "The producer and the remote worker share one process on the other core. Remote workers: ringq's client, 200 tasks at once; BullMQ and bunqueue, 100. CPU time is that of the server (for BullMQ: Redis); median [min, max] of the rounds.",
  columns: [
    "who runs the tasks",
    "tasks/s",
    "server CPU µs/task",
    "rate ÷ in process",
    "CPU ÷ in process",
  ],
  rows: results.map((each) => [
    each.name,
    showSpread(each.perSecond),
    showSpread(each.cpuUsPerTask),
    showSpread(each.rateToBase),
    showSpread(each.cpuToBase),
  ]),
  notes: [
    `Start delay of a waiting worker at ${show(DELAY_PER_SECOND)} tasks/s, from the moment the enqueue was due until the handler was called: p50 ${showSpread(p50)} ms, p99 ${showSpread(p99)} ms over ${rounds} rounds; ${thrownAway} rounds thrown away, in which a bare \`Bun.serve\` echo had a p99 above ${ECHO_P99_MAX_MS} ms.`,
    `${show(WAITING)} waiting claims take ${show(waiting.bytesEach / 1024)} KiB each and ${show(waiting.cpuShare * 100)} % of a core.`,
  ],
  data: { results, delays, thrownAway, waiting: { claims: WAITING, ...waiting } },
  chart: {
    title: {
      text: "Tasks per second, by who runs them",
      subtitle: "Enqueued in batches of 100 and run, end to end. More is better.",
    },
    data: { values: results.map(({ name, perSecond }) => ({ name, ...perSecond })) },
    width: 480,
    height: { step: 26 },
    encoding: { y: { field: "name", type: "nominal", sort: null, title: null } },
    layer: [
      {
        mark: { type: "bar", color: "#3b6ea5" },
        encoding: { x: { field: "median", type: "quantitative", title: "tasks per second" } },
      },
      {
        mark: { type: "rule", color: "#222" },
        encoding: { x: { field: "min", type: "quantitative" }, x2: { field: "max" } },
      },
      {
        mark: { type: "text", align: "left", dx: 6, color: "#222" },
        encoding: {
          x: { field: "max", type: "quantitative" },
          text: { field: "median", format: ",.0f" },
        },
      },
    ],
  },
  peers: ["bullmq", "bunqueue"],
});
