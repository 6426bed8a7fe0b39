/**
 * What a waiting task takes of memory, and whether memory stays level however many tasks go through.
 */

import { median, mib, show } from "./kit/figures.ts";
import { planOf, say } from "./kit/plan.ts";
import { rssBytes } from "./kit/process.ts";
import { writeReport } from "./kit/report.ts";
import { ringq, TASK } from "./kit/targets.ts";

const BATCH = 1000;
const BODY = JSON.stringify({ tasks: new Array(BATCH).fill(TASK) });

/** How many batches are on their way at once. */
const LANES = 4;
/** How long one that found the queue full waits. */
const REFUSED_PAUSE_MS = 5;

const plan = planOf("memory");
const rounds = plan.isQuick ? 1 : 3;
const waitingMax = plan.isQuick ? 100_000 : 1_000_000;
const throughTasks = plan.isQuick ? 500_000 : 10_000_000;
const samples = 50;

interface Sample {
  readonly tasks: number;
  readonly rssMib: number;
}

const waitingRounds = [];
for (let round = 1; round <= rounds; round += 1) {
  const measured = await measureWaiting();
  say(plan, `round ${round}/${rounds}: ${show(measured.bytesPerTask)} bytes per waiting task`);
  waitingRounds.push(measured);
}
const through = await measureThrough();
const bytesPerTask = waitingRounds.map((each) => each.bytesPerTask);
const afterFirst = through.filter(({ tasks }) => tasks >= throughTasks / 10);
const afterFirstMib = afterFirst.map(({ rssMib }) => rssMib);
const [first = 0] = afterFirstMib;
const last = afterFirstMib.at(-1) ?? 0;

await writeReport(plan, {
  title: "Memory",
  method:
    `Resident memory from /proc, through HTTP in batches of ${BATCH.toLocaleString("en-US")}, payload ${JSON.stringify(TASK.payload).length} bytes of JSON. Waiting: a paused queue is filled, and the memory ` +
    `it then holds when it has come to rest, less what it held before, is divided by the tasks; median [min, max] of ${rounds} rounds. ` +
    "Through: a queue of 10,000 that is never empty, sampled while tasks run.",
  columns: ["what", "figure"],
  rows: [
    [
      `bytes per waiting task, at ${waitingMax.toLocaleString("en-US")}`,
      `${show(median(bytesPerTask))} [${show(Math.min(...bytesPerTask))}, ${show(Math.max(...bytesPerTask))}]`,
    ],
    [
      `RSS after the first ${(throughTasks / 10).toLocaleString("en-US")} tasks`,
      `${show(first)} MiB`,
    ],
    [`RSS after ${throughTasks.toLocaleString("en-US")} tasks`, `${show(last)} MiB`],
    [
      "lowest and highest in between",
      `${show(Math.min(...afterFirstMib))} – ${show(Math.max(...afterFirstMib))} MiB`,
    ],
  ],
  data: { waiting: waitingRounds, through },
  chart: {
    title: {
      text: "Resident memory while tasks go through a bounded queue",
      subtitle: `${throughTasks.toLocaleString("en-US")} tasks; the queue holds up to 10,000, and as many finished ones are kept.`,
    },
    data: { values: [{ tasks: 0, rssMib: through[0]?.rssMib ?? 0 }, ...through] },
    width: 520,
    height: 240,
    mark: { type: "line" },
    encoding: {
      x: { field: "tasks", type: "quantitative", axis: { format: "~s" }, title: "tasks run" },
      y: { field: "rssMib", type: "quantitative", title: "RSS, MiB", scale: { zero: true } },
    },
  },
});

async function measureWaiting() {
  const running = await ringq().start();
  try {
    await enqueueAll(running.url, BATCH);
    await running.drained(BATCH);
    await post(`${running.url}/queues/default/pause`);
    const before = await restingRssBytes(running.pids);
    await enqueueAll(running.url, waitingMax);
    const full = await restingRssBytes(running.pids);
    const response = await fetch(`${running.url}/queues/default`);
    const { waiting } = (await response.json()) as { readonly waiting: { readonly tasks: number } };
    if (waiting.tasks !== waitingMax) throw new Error(`${waiting.tasks} wait, not ${waitingMax}`);
    return { before, full, bytesPerTask: (full - before) / waitingMax };
  } finally {
    await running.stop();
  }
}

async function measureThrough(): Promise<readonly Sample[]> {
  const running = await ringq("ringq", { QUEUE_SIZE: "10000" }).start();
  try {
    const taken: Sample[] = [];
    const step = throughTasks / samples;
    for (let index = 1; index <= samples; index += 1) {
      await enqueueAll(running.url, step);
      const sample = { tasks: index * step, rssMib: mib(rssBytes(running.pids)) };
      taken.push(sample);
      if (index % 10 === 0) {
        say(plan, `${sample.tasks.toLocaleString("en-US")} tasks: ${show(sample.rssMib)} MiB`);
      }
    }
    await running.drained(throughTasks);
    return taken;
  } finally {
    await running.stop();
  }
}

/** Enqueues so many tasks, and repeats what a full queue refuses. */
async function enqueueAll(url: string, tasks: number): Promise<void> {
  let left = tasks / BATCH;
  const lane = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      while ((await post(`${url}/enqueue/batch`, BODY)) === 503) await Bun.sleep(REFUSED_PAUSE_MS);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

async function post(url: string, body?: string): Promise<number> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(url, { method: "POST", headers, body: body ?? null });
  await response.arrayBuffer();
  if (response.status > 299 && response.status !== 503) {
    throw new Error(`${url} answers ${response.status}`);
  }
  return response.status;
}

/** What a process still holds once its collector has had the time to give back what it can. */
async function restingRssBytes(pids: readonly number[]): Promise<number> {
  let lowest = rssBytes(pids);
  for (let unchanged = 0; unchanged < 4; unchanged += 1) {
    await Bun.sleep(1000);
    const now = rssBytes(pids);
    if (now < lowest * 0.99) unchanged = 0;
    lowest = Math.min(lowest, now);
  }
  return lowest;
}
