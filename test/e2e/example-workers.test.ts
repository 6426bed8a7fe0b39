/** The examples of remote workers, and of a page that enqueues: each runs as a user would run it. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Gate } from "../support/gate.ts";
import { findNode } from "../support/node.ts";
import { type ServerProcess, startServerProcess } from "../support/server-process.ts";

setDefaultTimeout(60_000);

/** Finds a program; without it, its tests are skipped, and one line says so. */
function find(what: string, names: readonly (string | undefined)[]): string | null {
  for (const name of names) {
    const path = name === undefined || name === "" ? null : Bun.which(name);
    if (path !== null) return path;
  }
  return skipped(what, names.findLast(Boolean));
}

function skipped(what: string, missing: string | undefined): null {
  process.stderr.write(`${what} is not tested: there is no ${missing}.\n`);
  return null;
}

const PYTHON = find("examples/worker.py", ["python3"]);
const CURL = find("examples/worker.sh", ["curl"]);
const NODE = findNode() ?? skipped("examples/worker.ts on Node", "Node 20 or newer");
const CHROME = find("examples/producer.html", [
  process.env["CHROME"],
  "chromium-headless-shell",
  "google-chrome",
  "chromium-browser",
  "chromium",
]);

const startRemote = (settings: Readonly<Record<string, string>> = {}): Promise<ServerProcess> =>
  startServerProcess("none", settings);

/** The exit code of a process that ended by SIGTERM: 128 and its number. */
const SIGTERM_CODE = 143;

interface Ending {
  readonly exitCode: number;
  readonly output: string;
  readonly errors: string;
}

/** An example that runs as a program. It is killed with the test. */
class Program implements AsyncDisposable {
  readonly #process: Bun.Subprocess<"ignore", "pipe", "pipe">;

  constructor(command: readonly string[], url: string, env: Readonly<Record<string, string>> = {}) {
    this.#process = Bun.spawn([...command], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: process.env["PATH"] ?? "", RINGQ_URL: url, ...env },
    });
  }

  /** Stops it as a container runtime does, and waits for its end. */
  stop(): Promise<Ending> {
    this.#process.kill("SIGTERM");
    return this.ended();
  }

  async ended(): Promise<Ending> {
    const { stdout, stderr, exited } = this.#process;
    const texts = [stdout, stderr].map((stream) => new Response(stream).text());
    const [output = "", errors = ""] = await Promise.all(texts);
    return { exitCode: await exited, output, errors };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
  }
}

/** Waits until a worker extends its lease: it has read its claim and runs the task. */
async function inHand(server: ServerProcess, id: string): Promise<void> {
  const { claim } = await server.taskThat(id, ({ status }) => status === "running");
  await server.taskThat(id, (task) => task.claim?.lease_ends_at !== claim?.lease_ends_at);
}

/** Waits until as many claims wait in the server. */
async function waitingClaims(server: ServerProcess, count: number): Promise<void> {
  for (;;) {
    const response = await server.request("/queues/default");
    const { claims } = (await response.json()) as { claims: { waiting: number } };
    if (claims.waiting === count) return;
  }
}

describe.skipIf(PYTHON === null)("worker.py", () => {
  const work = (url: string, env: Readonly<Record<string, string>> = {}): Program =>
    new Program([PYTHON ?? "", "examples/worker.py"], url, env);

  test("runs tasks, and reports results and failures", async () => {
    await using server = await startRemote();
    await using _worker = work(server.url);

    const counted = await server.run({ type: "count", payload: "one two" });
    const failed = await server.run({ type: "count", payload: 5, max_retries: 1 });

    expect(counted).toMatchObject({ status: "done", attempt: 1, result: { words: 2 } });
    expect(failed).toMatchObject({
      status: "failed",
      attempt: 2,
      error: { code: "AttributeError", message: "'int' object has no attribute 'split'" },
    });
  });

  test("extends the lease of a task that takes longer", async () => {
    await using server = await startRemote();
    await using _worker = work(server.url, { LEASE_MS: "1000" });

    const task = await server.run({ type: "nap", payload: { seconds: 2.5 } });

    expect(task).toMatchObject({ status: "done", attempt: 1 });
  });

  test("notices that its claim is lost, and runs the next task", async () => {
    await using server = await startRemote();
    await using worker = work(server.url, { LEASE_MS: "1000" });
    const id = await server.enqueue({ type: "nap", payload: { seconds: 50 } });
    await inHand(server, id);

    await server.request(`/tasks/${id}`, { method: "DELETE" });

    const next = await server.run({ type: "count", payload: "one" });
    const { output } = await worker.stop();
    expect(output).toBe(`${id} claim lost\n${next.id} done\n`);
  });

  test("finishes the task in hand after SIGTERM, and leaves the others", async () => {
    await using server = await startRemote();
    await using worker = work(server.url, { LEASE_MS: "1000" });
    const id = await server.enqueue({ type: "nap", payload: { seconds: 2 } });
    await inHand(server, id);
    const next = await server.enqueue({ type: "count", payload: "one" });

    const ending = await worker.stop();

    expect(ending).toEqual({ exitCode: 0, output: `${id} done\n`, errors: "" });
    expect((await server.task(id)).status).toBe("done");
    expect(await server.task(next)).toMatchObject({ status: "queued", attempt: 0 });
  });

  test("settles its task with a server that crashed and came back meanwhile", async () => {
    const folder = mkdtempSync(join(tmpdir(), "ringq-"));
    const settings = { DATA_FILE: join(folder, "ringq.db") };
    try {
      await using first = await startRemote(settings);
      await using _worker = work(first.url, { LEASE_MS: "1000" });
      const id = await first.enqueue({ type: "nap", payload: { seconds: 1 } });
      await inHand(first, id);

      first.kill();
      await first.ended();
      await using second = await startRemote({ ...settings, PORT: new URL(first.url).port });

      expect(await second.finished(id)).toMatchObject({ status: "done", attempt: 1 });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("ends when no type is remote", async () => {
    await using server = await startServerProcess("");
    await using worker = work(server.url);

    const { exitCode, errors } = await worker.ended();
    expect({ exitCode, errors }).toEqual({
      exitCode: 1,
      errors: expect.stringContaining("no_remote_types"),
    });
  });
});

describe.skipIf(CURL === null)("worker.sh", () => {
  const work = (url: string): Program => new Program(["sh", "examples/worker.sh"], url);

  test("runs tasks, reports results and failures, and stops after SIGTERM", async () => {
    await using server = await startRemote();
    await using worker = work(server.url);

    const summed = await server.run({ type: "text.sum", payload: "tea, $(false) 'n' `more`" });
    const failed = await server.run({ type: "text.sum", payload: ['"'], max_retries: 0 });
    const { exitCode } = await worker.stop();

    expect(summed).toMatchObject({ status: "done", attempt: 1, result: 1_633_761_646 });
    expect(failed.error).toMatchObject({
      code: "handler_error",
      message: 'The payload must be a text without "quotes".',
    });
    expect(exitCode).toBe(0);
  });
});

describe.each([
  ["Bun", process.execPath],
  ["Node", NODE],
] as const)("worker.ts on %s", (_, runtime) => {
  const testHere = test.skipIf(runtime === null);
  let folder: string;
  let program = "examples/worker.ts";

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "ringq-"));
    if (runtime !== NODE || NODE === null) return;
    program = join(folder, "worker.js");
    const build = ["build", "examples/worker.ts", "--target=node", `--outfile=${program}`];
    await Bun.spawn([process.execPath, ...build], { stdio: ["ignore", "ignore", "inherit"] })
      .exited;
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const work = (url: string): Program => new Program([runtime ?? "", program], url);

  /** Answers each request with the next of these. */
  const serve = (...answers: readonly Response[]): Bun.Server<undefined> => {
    const left = [...answers];
    const fetch = () => left.shift() ?? new Response();
    return Bun.serve({ port: 0, hostname: "127.0.0.1", fetch });
  };

  const measure = (urls: readonly string[]) => ({ type: "pages.measure", payload: { urls } });

  testHere("runs tasks, and reports results", async () => {
    await using pages = serve(new Response("four"), new Response("three"));
    await using server = await startRemote();
    await using _worker = work(server.url);

    const counted = await server.run({ type: "words.count", payload: { text: " one two " } });
    const measured = await server.run(measure([`${pages.url}a`, `${pages.url}b`]));

    expect(counted).toMatchObject({ status: "done", attempt: 1, result: { words: 2 } });
    expect(measured).toMatchObject({ status: "done", attempt: 1, result: { bytes: 9 } });
  });

  testHere("shows progress while a task runs", async () => {
    await using gate = new Gate();
    await using pages = serve(new Response("four"));
    await using server = await startRemote();
    await using _worker = work(server.url);

    const id = await server.enqueue(measure([pages.url.href, `${gate.url}/page`]));
    const { progress } = await server.taskThat(id, (task) => task.progress !== null);

    expect(progress).toEqual({ pages: 1, of: 2 });
  });

  testHere(
    "a page that is busy or broken is measured again, one that is missing is not",
    async () => {
      const busy = new Response(null, { status: 429, headers: { "retry-after": "0" } });
      const broken = new Response(null, { status: 500 });
      const missing = new Response(null, { status: 404 });
      await using pages = serve(busy, broken, new Response("four"), missing);
      await using server = await startRemote();
      await using _worker = work(server.url);

      const measured = await server.run(measure([pages.url.href]));
      const failed = await server.run(measure([pages.url.href]));

      expect(measured).toMatchObject({
        status: "done",
        attempt: 3,
        errors: [
          { message: `${pages.url} answers 429`, attempt: 1 },
          { message: `${pages.url} answers 500`, attempt: 2 },
        ],
      });
      expect(failed).toMatchObject({ status: "failed", attempt: 1 });
      expect(failed.error?.message).toBe(`${pages.url} answers 404`);
    },
  );

  testHere("finishes the task in hand after SIGTERM, and leaves the others", async () => {
    await using gate = new Gate();
    await using server = await startRemote();
    await using worker = work(server.url);
    const id = await server.enqueue(measure([`${gate.url}/page`]));
    const { release } = await gate.visit("page");
    await waitingClaims(server, 1);

    const stopping = worker.stop();
    await waitingClaims(server, 0);
    const next = await server.enqueue({ type: "words.count", payload: { text: "one" } });
    release();
    const { exitCode, output } = await stopping;

    const events = output
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(exitCode).toBe(SIGTERM_CODE);
    expect(events).toMatchObject([
      { event: "worker_started" },
      { event: "worker_stopped", released: 0, unsettled: 0 },
    ]);
    expect(await server.task(id)).toMatchObject({ status: "done", result: { bytes: 0 } });
    expect(await server.task(next)).toMatchObject({ status: "queued", attempt: 0 });
  });
});

describe.skipIf(CHROME === null)("producer.html", () => {
  afterAll(() => Bun.WebView.closeAll());

  /** Serves the page under an origin of its own, opens it, and sends its form. */
  class Page implements Disposable {
    readonly #web = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () => new Response(Bun.file("examples/producer.html")),
    });
    readonly #view = new Bun.WebView({
      backend: { type: "chrome", path: CHROME ?? "", argv: ["--no-sandbox"] },
    });

    get origin(): string {
      return this.#web.url.origin;
    }

    async send(server: string): Promise<void> {
      await this.#view.navigate(`${this.origin}/producer.html?server=${server}`);
      await this.#view.click("button");
    }

    /** The text that the page shows, once it is as wanted. */
    async shown(pattern: RegExp): Promise<string> {
      for (;;) {
        const text = await this.#view.evaluate<string>("document.querySelector('output').value");
        if (pattern.test(text)) return text;
      }
    }

    [Symbol.dispose](): void {
      this.#view.close();
      this.#web.stop(true);
    }
  }

  test("of an allowed origin enqueues a task, and shows its result", async () => {
    using page = new Page();
    await using server = await startRemote({ CORS_ORIGINS: page.origin });

    await page.send(server.url);
    await page.shown(/Waiting/);
    const answer = await server.post("/claims", { wait_ms: 30_000 });
    const { claims } = (await answer.json()) as { claims: { token: string; task: object }[] };
    await server.post(`/claims/${claims[0]?.token}/done`, { result: { words: 3 } });

    expect(claims[0]?.task).toMatchObject({ type: "count", payload: "one two three" });
    expect(await page.shown(/words/)).toBe("3 words");
  });

  test("of another origin can't enqueue", async () => {
    using page = new Page();
    await using server = await startRemote();

    await page.send(server.url);

    expect(await page.shown(/./)).toBe("Error: Failed to fetch");
    expect(await (await server.request("/queues")).json()).toEqual({ queues: [] });
  });
});
