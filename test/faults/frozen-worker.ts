/**
 * A remote worker that stands still for longer than its lease lasts: a process that claims one task over HTTP, is stopped
 * by SIGSTOP, and goes on once another worker has its task, or has done it.
 *
 *   bun test/faults/frozen-worker.ts URL QUEUE < a line when it is to settle
 */

import { linesOf } from "./lines.ts";

/** The shortest lease there is. */
const LEASE_MS = 1000;

/** Longer than the lease, and no longer than a request may wait. */
const WAIT_MS = 60_000;

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

interface Claims {
  readonly claims: readonly { readonly token: string }[];
}

/** Whether the other worker is done before the frozen one goes on: whoever is late, the same must come of it. */
type Order = "done before" | "done after";

/** Lets so many workers claim a task and stand still, and gives the fault of each: null when there is none. */
export function faultsOfFreezes(url: string, tries: number): Promise<readonly (string | null)[]> {
  return Promise.all(
    Array.from({ length: tries }, (_, index) =>
      faultOfFreeze(url, `q${index}`, index % 2 === 0 ? "done before" : "done after"),
    ),
  );
}

async function faultOfFreeze(url: string, queue: string, order: Order): Promise<string | null> {
  const task = await post(url, "/enqueue", { payload: null, queue });
  const { id } = task.body as { id: string };
  const worker = Bun.spawn([process.execPath, import.meta.path, url, queue], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  try {
    const lines = linesOf(worker.stdout);
    const { value: token } = await lines.next();
    worker.kill("SIGSTOP");
    // The task is to be had again when the lease has ended.
    const other = await claimOne(url, queue, "other");
    if (other === null) return "no other worker got the task";
    const settle = () => post(url, `/claims/${other}/done`, { result: "of the other" });
    const before = order === "done before" ? await settle() : null;
    worker.stdin.write("settle\n");
    void worker.stdin.flush();
    worker.kill("SIGCONT");
    const { value: told } = await lines.next();
    const done = before ?? (await settle());
    if (done.status !== 200) return `the other worker was told ${JSON.stringify(done)}`;
    if (token === other) return "both have the same token";
    if (told !== "409 claim_lost expired") return `the worker was told ${told}`;
    const { body } = await get(url, `/tasks/${id}`);
    const { status, result, attempt } = body as {
      status: string;
      result: unknown;
      attempt: number;
    };
    const found = `${status}, attempt ${attempt}, ${JSON.stringify(result)}`;
    return found === 'done, attempt 2, "of the other"' ? null : `the task is ${found}`;
  } finally {
    worker.kill("SIGKILL");
    await worker.exited;
  }
}

/** Claims one task and gives its token; null when there was none. */
async function claimOne(url: string, queue: string, worker: string): Promise<string | null> {
  const { body } = await post(url, "/claims", {
    queues: [queue],
    lease_ms: LEASE_MS,
    wait_ms: WAIT_MS,
    worker,
  });
  return (body as Claims).claims[0]?.token ?? null;
}

async function post(url: string, path: string, body: object): Promise<Answer> {
  const response = await fetch(url + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: await response.json() };
}

async function get(url: string, path: string): Promise<Answer> {
  const response = await fetch(url + path);
  return { status: response.status, body: await response.json() };
}

async function work(url: string, queue: string): Promise<void> {
  const token = await claimOne(url, queue, "frozen");
  process.stdout.write(`${token}\n`);
  await linesOf(Bun.stdin.stream()).next();
  const { status, body } = await post(url, `/claims/${token}/done`, { result: "too late" });
  const { code, ended } = body as { code: string; ended: string };
  process.stdout.write(`${status} ${code} ${ended}\n`);
}

if (import.meta.main) {
  const [, , url = "", queue = ""] = process.argv;
  await work(url, queue);
}
