/**
 * A server that answers as a test tells it, for what a real server does only by chance: lost
 * connections, late answers, refusals. It really listens, on a port that the system picks.
 */

import type { Clock } from "../../src/client/clock.ts";

/** A request as it came. */
export interface Seen {
  readonly route: string;
  readonly path: string;
  readonly query: string;
  readonly headers: Headers;
  readonly body: unknown;
  readonly signal: AbortSignal;
}

type Scripted = (seen: Seen) => Response | Promise<Response>;

type Answer = Response | Scripted;

const TOKEN = /^\/claims\/([^/]+)\//;

export class FakeServer implements AsyncDisposable {
  readonly seen: Seen[] = [];
  readonly #script = new Map<string, Answer[]>();
  readonly #server: Bun.Server<undefined>;
  #onSeen: (() => void)[] = [];

  constructor() {
    this.#server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      idleTimeout: 0,
      fetch: (request) => this.#answer(request),
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}`;
  }

  /** The next answers of a route, such as `POST /claims/:token/extend`, in turn. */
  answer(route: string, ...answers: readonly Answer[]): void {
    this.#script.set(route, [...(this.#script.get(route) ?? []), ...answers]);
  }

  of(route: string): readonly Seen[] {
    return this.seen.filter((seen) => seen.route === route);
  }

  bodies(route: string): readonly unknown[] {
    return this.of(route).map(({ body }) => body);
  }

  /** All settles that came, in their order. */
  get settles(): readonly Record<string, unknown>[] {
    type Body = { readonly settles: readonly Record<string, unknown>[] };
    return this.bodies("POST /claims/settle").flatMap((body) => (body as Body).settles);
  }

  async until(isMet: () => boolean): Promise<void> {
    while (!isMet()) await new Promise<void>((resolve) => this.#onSeen.push(resolve));
  }

  /** The nth request of a route, as soon as it comes. */
  async nth(route: string, n: number): Promise<Seen> {
    await this.until(() => this.of(route).length >= n);
    return this.of(route)[n - 1] as Seen;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    const path = pathname.replace(TOKEN, "/claims/:token/");
    const text = await request.text();
    const seen: Seen = {
      route: `${request.method} ${path}`,
      path: pathname,
      query: search,
      headers: request.headers,
      body: text === "" ? undefined : JSON.parse(text),
      signal: request.signal,
    };
    const answer = this.#script.get(seen.route)?.shift() ?? DEFAULTS[seen.route];
    this.seen.push(seen);
    const onSeen = this.#onSeen;
    this.#onSeen = [];
    for (const tell of onSeen) tell();
    if (answer === undefined) return aProblem(404, "not_found");
    return typeof answer === "function" ? answer(seen) : (answer.clone() as Response);
  }
}

const AT = "2026-11-24T22:55:17.128Z";

/** What a server does that has no task and no trouble. */
const DEFAULTS: Readonly<Record<string, Answer>> = {
  "POST /claims": untilGone,
  "POST /claims/settle": settled(),
  "POST /claims/:token/extend": Response.json({ lease_ms: 9000, lease_ends_at: AT }),
};

/** Answers nothing for as long as the client waits. */
export function untilGone({ signal }: Pick<Seen, "signal">): Promise<Response> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(new Response()));
  });
}

/** Takes every settle, except those with a problem, by token. */
export function settled(problems: Readonly<Record<string, object>> = {}): Scripted {
  return ({ body }) => {
    const { settles } = body as { readonly settles: readonly { readonly token: string }[] };
    const results = settles.map(({ token }) => {
      const problem = problems[token];
      if (problem !== undefined) return { token, problem };
      return { token, id: idOf(token), status: "done", run_at: null };
    });
    return Response.json({ results });
  };
}

export function aProblem(
  status: number,
  code: string,
  fields: object = {},
  headers: Readonly<Record<string, string>> = {},
): Response {
  const body = { type: "about:blank", title: `It is ${code}`, status, code, ...fields };
  return Response.json(body, { status, headers });
}

/** The answer to a claim: a task of type `t` for each token. */
export function claimed(tokens: readonly string[], task: object = {}, leaseMs = 9000): Response {
  const claims = tokens.map((token) => ({
    token,
    lease_ms: leaseMs,
    lease_ends_at: AT,
    task: { ...taskJson(idOf(token)), status: "running", retries_left: 3, ...task },
  }));
  return Response.json({ claims });
}

export function taskJson(id: string, fields: object = {}): object {
  return {
    id,
    type: "t",
    queue: "default",
    status: "queued",
    tags: [],
    priority: 0,
    attempt: 1,
    max_retries: 3,
    timeout_ms: 60_000,
    enqueued_at: AT,
    run_at: null,
    started_at: null,
    finished_at: null,
    error: null,
    errors: [],
    payload: { some_key: AT },
    progress: null,
    result: null,
    claim: null,
    ...fields,
  };
}

function idOf(token: string): string {
  return `id-of-${token}`;
}

/**
 * A clock that skips waits: a timer of at most `skipMs` fires in the next turn, and time moves on by
 * it. Longer timers, such as those of deadlines, never fire.
 */
export class SkippingClock implements Clock {
  /** The skipped waits, in milliseconds. */
  readonly waits: number[] = [];
  readonly #skipMs: number;
  #monoMs = 5000;

  constructor(skipMs = 15_000) {
    this.#skipMs = skipMs;
  }

  now(): { readonly monoMs: number } {
    return { monoMs: this.#monoMs };
  }

  after(delayMs: number, fire: () => void): () => void {
    if (delayMs > this.#skipMs) return () => undefined;
    let isCancelled = false;
    setImmediate(() => {
      if (isCancelled) return;
      this.waits.push(delayMs);
      this.#monoMs += delayMs;
      fire();
    });
    return () => {
      isCancelled = true;
    };
  }
}
