/**
 * Whether threads leave anything behind: memory and threads of a process that runs many tasks in them, and of one whose
 * threads are ended and replaced again and again.
 */

import { readdirSync } from "node:fs";
import { createQueue, type Queue } from "../src/index.ts";
import { mib, show } from "./kit/figures.ts";
import { planOf, say } from "./kit/plan.ts";
import { rssBytes } from "./kit/process.ts";
import { writeReport } from "./kit/report.ts";

const SAMPLES = 20;
const BATCH = 100;
const THREADS = 2;

const plan = planOf("threads-soak");

interface Part {
  readonly name: string;
  readonly tasks: number;
  /** One task in so many ends its thread. */
  readonly exitEvery: number;
}

const parts: readonly Part[] = [
  { name: "every task returns", tasks: plan.isQuick ? 4000 : 100_000, exitEvery: Infinity },
  { name: "one in 50 ends its thread", tasks: plan.isQuick ? 1000 : 20_000, exitEvery: 50 },
];

interface Sample {
  readonly tasks: number;
  readonly rssMib: number;
  readonly threads: number;
}

// What a first run leaves behind for good, code and pools, is no leak: it is there before anything is counted.
await soak({ name: "warm-up", tasks: 2000, exitEvery: 50 });

const results = [];
for (const part of parts) {
  const before = sample(0);
  const samples = await soak(part);
  const after = await sampleOnceEnded(part.tasks, before.threads);
  results.push({ ...part, before, samples, after });
  say(
    plan,
    `${part.name}: ${show(before.rssMib)} → ${show(after.rssMib)} MiB, ${after.threads} threads`,
  );
}

await writeReport(plan, {
  title: "Threads over many tasks",
  method:
    `One process after a warm-up, ${THREADS} threads, batches of ${BATCH}, ${SAMPLES} samples; threads are all those of the process, ` +
    "Bun's own included. Before: with no queue. After: when the queue has stopped.",
  columns: [
    "tasks",
    "how many",
    "RSS MiB before",
    "first sample",
    "middle",
    "last sample",
    "after",
    "threads before",
    "most",
    "after",
  ],
  rows: results.map(({ name, tasks, before, samples, after }) => [
    name,
    show(tasks),
    ...[before, samples[0], samples[Math.floor(samples.length / 2)], samples.at(-1), after].map(
      (each) => show(each?.rssMib ?? Number.NaN),
    ),
    String(before.threads),
    String(Math.max(...samples.map(({ threads }) => threads))),
    String(after.threads),
  ]),
  data: results,
  chart: {
    title: { text: "Resident memory over tasks run in threads" },
    data: {
      values: results.flatMap(({ name, tasks, samples }) =>
        samples.map((each) => ({ name, share: each.tasks / tasks, rssMib: each.rssMib })),
      ),
    },
    width: 480,
    height: 240,
    mark: "line",
    encoding: {
      x: {
        field: "share",
        type: "quantitative",
        title: "share of the tasks",
        axis: { format: "%" },
      },
      y: { field: "rssMib", type: "quantitative", title: "MiB", scale: { zero: true } },
      color: { field: "name", type: "nominal", title: null },
    },
  },
});

async function soak({ tasks, exitEvery }: Part): Promise<readonly Sample[]> {
  const queue = await createQueue("bench/servers/threads/handlers.ts", { threads: THREADS });
  const samples: Sample[] = [];
  for (let run = 0; run < tasks; run += BATCH) {
    await runBatch(queue, run, exitEvery);
    if ((run / BATCH) % Math.ceil(tasks / BATCH / SAMPLES) === 0) samples.push(sample(run + BATCH));
  }
  const { unfinished } = await queue.stop();
  if (unfinished > 0) throw new Error(`${unfinished} tasks were left`);
  return samples;
}

/** Runs so many tasks that the batch fits into the queue, and checks how each has ended. */
async function runBatch(queue: Queue, first: number, exitEvery: number): Promise<void> {
  for (let half = 0; half < 2; half += 1) {
    const numbers = Array.from(
      { length: BATCH / 2 },
      (_, index) => first + half * (BATCH / 2) + index,
    );
    const answer = await queue.enqueueBatch(
      numbers.map((payload) => ({ type: payload % exitEvery === 1 ? "exit" : "echo", payload })),
    );
    if (answer.kind !== "accepted") throw new Error(`not accepted: ${answer.kind}`);
    for (const [index, { id }] of answer.receipts.entries()) {
      const number = numbers[index] ?? Number.NaN;
      const task = await queue.waitFor(id, 60_000);
      const isRight =
        number % exitEvery === 1
          ? task?.errors[0]?.code === "thread_crashed"
          : task?.status === "done" && task.result === number;
      if (!isRight) throw new Error(`task ${number} is ${JSON.stringify(task)}`);
    }
  }
}

/** A sample when no more threads are left than there were, or with all that are left after a while. */
async function sampleOnceEnded(tasks: number, threads: number): Promise<Sample> {
  // A thread that is terminated ends some moments later.
  for (let tries = 0; tries < 100 && sample(tasks).threads > threads; tries += 1) {
    await Bun.sleep(50);
  }
  return sample(tasks);
}

function sample(tasks: number): Sample {
  Bun.gc(true);
  return {
    tasks,
    rssMib: mib(rssBytes([process.pid])),
    threads: readdirSync("/proc/self/task").length,
  };
}
