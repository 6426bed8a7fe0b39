/**
 * The server in a process of its own, started as a user starts it and driven over HTTP. What it logs can be awaited, so
 * that no test has to guess how long something takes.
 */

import { resolve } from "node:path";

const ROOT = resolve(import.meta.dir, "../..");

export interface LogLine {
  readonly event: string;
  readonly level: string;
  readonly [field: string]: unknown;
}

/** A task as HTTP tells it, as far as these tests look at it. */
export interface TaskAnswer {
  readonly id: string;
  readonly type: string;
  readonly queue: string;
  readonly status: string;
  readonly attempt: number;
  readonly max_retries: number;
  readonly timeout_ms: number;
  readonly run_at: string | null;
  readonly progress: unknown;
  readonly result: unknown;
  readonly error: { readonly code: string; readonly message: string; readonly at: string } | null;
  readonly claim: { readonly worker: string | null; readonly lease_ends_at: string } | null;
}

interface Body {
  readonly type: string;
  readonly payload?: unknown;
  readonly [field: string]: unknown;
}

/** How a process ended that never got ready, or was stopped. */
export interface Ending {
  readonly exitCode: number;
  readonly stderr: string;
  readonly lines: readonly LogLine[];
}

type Settings = Readonly<Record<string, string>>;

/** Starts a server and waits until it listens: `await using server = await startServerProcess(…)` ends it with the test. */
export async function startServerProcess(
  handlers: string,
  settings: Settings = {},
): Promise<ServerProcess> {
  const server = new ServerProcess(handlers, settings);
  await server.event("server_listening");
  return server;
}

/** Starts a server that is expected to refuse to start, and waits for its end. */
export async function startInVain(handlers: string, settings: Settings = {}): Promise<Ending> {
  await using server = new ServerProcess(handlers, settings);
  return await server.ended();
}

export class ServerProcess implements AsyncDisposable {
  readonly lines: LogLine[] = [];
  readonly #process: Bun.Subprocess<"ignore", "pipe", "pipe">;
  readonly #reading: Promise<void>;
  readonly #stderr: Promise<string>;
  #url = "";
  #hasEnded = false;
  #wake: () => void = () => undefined;
  #news = this.#nextNews();

  constructor(handlers: string, settings: Settings, main = "src/main.ts") {
    this.#process = Bun.spawn([process.execPath, main], {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "pipe"],
      // Nothing of the environment of the tests but what programs need: a PORT of somebody's shell is not meant for us.
      env: {
        PATH: process.env["PATH"] ?? "",
        HANDLERS: handlers,
        PORT: "0",
        RETRY_BASE_MS: "0",
        RETRY_JITTER_MS: "0",
        THREADS: "1",
        ...settings,
      },
    });
    this.#stderr = new Response(this.#process.stderr).text();
    this.#reading = this.#read();
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Where it listens, once it does. */
  get url(): string {
    return this.#url;
  }

  /** The first line of this event, whether it was written already or is still to come. */
  async event(name: string, matches: (line: LogLine) => boolean = () => true): Promise<LogLine> {
    for (;;) {
      const news = this.#news;
      const found = this.lines.find((line) => line.event === name && matches(line));
      if (found !== undefined) return found;
      if (this.#hasEnded) {
        throw new Error(
          `the process ended without ${name}: ${await this.#stderr}${JSON.stringify(this.lines)}`,
        );
      }
      await news;
    }
  }

  request(path: string, init?: RequestInit): Promise<Response> {
    return fetch(this.#url + path, init);
  }

  post(path: string, body?: object): Promise<Response> {
    return this.request(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body ?? {}),
    });
  }

  /** Enqueues a task that has to be accepted, and gives its id. */
  async enqueue({ payload = null, ...rest }: Body): Promise<string> {
    const response = await this.post("/enqueue", { payload, ...rest });
    if (response.status !== 202) throw new Error(`not accepted: ${await response.text()}`);
    return ((await response.json()) as { id: string }).id;
  }

  async task(id: string): Promise<TaskAnswer> {
    return (await (await this.request(`/tasks/${id}`)).json()) as TaskAnswer;
  }

  /** The task once it has finished. */
  async finished(id: string): Promise<TaskAnswer> {
    for (;;) {
      const response = await this.request(`/tasks/${id}?wait_ms=60000`);
      const task = (await response.json()) as TaskAnswer;
      if (["done", "failed", "cancelled"].includes(task.status)) return task;
    }
  }

  /** Enqueues a task and waits until it has finished. */
  async run(body: Body): Promise<TaskAnswer> {
    return this.finished(await this.enqueue(body));
  }

  /** Reads the task again and again until it is as wanted: for what no event tells. */
  async taskThat(id: string, isAsWanted: (task: TaskAnswer) => boolean): Promise<TaskAnswer> {
    for (;;) {
      const task = await this.task(id);
      if (isAsWanted(task)) return task;
    }
  }

  /** Stops it as a container runtime does, and waits for its end. */
  async stop(): Promise<Ending> {
    this.#process.kill("SIGTERM");
    return this.ended();
  }

  /** Ends it at once, as a crash would. */
  kill(): void {
    this.#process.kill("SIGKILL");
  }

  /** Sends a signal and does not wait. */
  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  async ended(): Promise<Ending> {
    const exitCode = await this.#process.exited;
    await this.#reading;
    return { exitCode, stderr: await this.#stderr, lines: this.lines };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of this.#process.stdout) {
      const texts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = texts.pop() ?? "";
      for (const text of texts) this.#hear(JSON.parse(text) as LogLine);
    }
    this.#hasEnded = true;
    this.#wake();
  }

  #hear(line: LogLine): void {
    this.lines.push(line);
    if (line.event === "server_listening") this.#url = String(line["url"]);
    const wake = this.#wake;
    this.#news = this.#nextNews();
    wake();
  }

  #nextNews(): Promise<void> {
    return new Promise((wake) => {
      this.#wake = wake;
    });
  }
}
