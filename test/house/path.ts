/**
 * The path of a task without a socket: an engine in memory, loops with a handler that does nothing, and HTTP before them;
 * and the ways to count what it costs. A count is the same on every machine. CPU time is not, but what of it one piece of
 * work takes in relation to another is nearly so, however busy the machine is.
 */

import type { Clock } from "../../src/clock.ts";
import type { Engine, MaybePromise } from "../../src/engine/engine.ts";
import { createMemoryEngine } from "../../src/engine/memory/engine.ts";
import { createApp } from "../../src/http/app.ts";
import { silentLog } from "../../src/log.ts";
import { runOnEventLoop } from "../../src/worker/event-loop.ts";
import { defineHandlers } from "../../src/worker/handlers/define.ts";
import { Pool } from "../../src/worker/pool.ts";
import { someSettings } from "../support/engine-harness.ts";
import { ManualClock } from "../support/manual-clock.ts";

/** More than any test here lets wait. */
const UNBOUNDED = { queueSize: 1_000_000, queueBytes: 2 ** 40 };

const PAYLOAD = { to: "ada@example.com", template: "welcome", locale: "en" };

const BODY = JSON.stringify({ type: "noop", payload: PAYLOAD });
const ID = "019a0000-0000-7000-8000-000000000000";

/** A request for one task. */
export function requestOf(): Request {
  const headers = {
    host: "localhost",
    "content-type": "application/json",
    "content-length": String(BODY.length),
  };
  return new Request("http://localhost/enqueue", { method: "POST", headers, body: BODY });
}

/** What no answer to that request can do without. */
export async function floorAnswer(request: Request): Promise<Response> {
  const { payload } = (await request.json()) as { readonly payload?: unknown };
  if (payload === undefined) return new Response(null, { status: 422 });
  return Response.json(
    { id: ID, status: "queued" },
    { status: 202, headers: { location: `/tasks/${ID}` } },
  );
}

export class TaskPath implements AsyncDisposable {
  readonly engine: Engine;
  readonly #pool: Pool;
  readonly #handle: (request: Request) => Response | Promise<Response>;

  constructor(clock: Clock = new ManualClock()) {
    const engine = createMemoryEngine(someSettings(clock, UNBOUNDED));
    const run = runOnEventLoop({
      engine,
      handlers: defineHandlers({ noop: () => undefined }),
      resultBytesMax: 1000,
      progressBytesMax: 1000,
      log: silentLog,
    });
    const app = createApp({
      engine,
      hasRemoteTypes: false,
      leaseMs: 10_000,
      resultBytesMax: 1000,
      bodyBytesMax: 1_000_000,
      answerBytesTotal: 1_000_000,
      access: { host: "127.0.0.1", allowedHosts: [], corsOrigins: [] },
      version: "0.0.0",
      log: silentLog,
    });
    this.engine = engine;
    this.#pool = new Pool({ engine, lane: "loop", run, loops: 4, clock });
    this.#handle = app.fetch;
  }

  start(): this {
    this.#pool.start();
    return this;
  }

  enqueue(count: number): void {
    for (let index = 0; index < count; index += 1) {
      const { kind } = atOnce(this.engine.enqueue([{ payload: PAYLOAD, type: "noop" }]));
      if (kind !== "accepted") throw new Error(kind);
    }
  }

  /** Claims and settles tasks, without the loops. */
  work(count: number): void {
    for (let index = 0; index < count; index += 1) {
      const answer = atOnce(this.engine.claim({ lane: "loop", max: 1 }));
      const claim = answer.kind === "claimed" ? answer.claims[0] : undefined;
      if (claim === undefined) throw new Error("there is nothing to claim");
      atOnce(this.engine.settle(claim.taskId, claim.fence, { kind: "done", result: null }));
    }
  }

  async answer(request: Request): Promise<Response> {
    return this.#handle(request);
  }

  get done(): number {
    return atOnce(this.engine.queue("default"))?.totals.done ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#pool.stopClaiming();
    await this.engine.close();
  }
}

/** An answer of the engine in memory, which has it at once. */
function atOnce<T>(answer: MaybePromise<T>): T {
  if (answer instanceof Promise) throw new Error("the engine in memory makes nobody wait");
  return answer;
}

/** A clock that counts how often it is asked, and how many timers are set. */
export class CountingClock extends ManualClock {
  readings = 0;
  timers = 0;

  override now() {
    this.readings += 1;
    return super.now();
  }

  override after(delayMs: number, fire: () => void): () => void {
    this.timers += 1;
    return super.after(delayMs, fire);
  }
}

/**
 * How many times the CPU time of `base` `subject` takes: the lowest of some rounds in turn. Whatever disturbs one of them,
 * such as the collector or the compiler, makes it cost more and never less, so the lowest is the least disturbed.
 */
export async function leastRatio(
  subject: () => void | Promise<void>,
  base: () => void | Promise<void>,
  { rounds, warmUps }: { readonly rounds: number; readonly warmUps: number },
): Promise<number> {
  let subjectUs = Number.POSITIVE_INFINITY;
  let baseUs = Number.POSITIVE_INFINITY;
  for (let round = -warmUps; round < rounds; round += 1) {
    const [subjectOfRoundUs, baseOfRoundUs] = [await cpuUsOf(subject), await cpuUsOf(base)];
    if (round < 0) continue;
    subjectUs = Math.min(subjectUs, subjectOfRoundUs);
    baseUs = Math.min(baseUs, baseOfRoundUs);
  }
  return subjectUs / baseUs;
}

/** The CPU time that this work takes, in microseconds, all threads of the process included. */
async function cpuUsOf(work: () => void | Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}
