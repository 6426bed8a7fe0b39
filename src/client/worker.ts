/**
 * The remote worker: claims tasks in batches, runs their handlers, and settles the outcomes in
 * batches. It holds few promises and no timer per task, because small tasks cost less than those.
 *
 * Once per turn of the event loop, if anything has changed, it sends what has ended and claims for
 * the places that are free. A *place* is taken from the claim until the handler has ended.
 */

import { Attempt, type ClaimJson, Context } from "./attempt.ts";
import { type Client, HTTP } from "./client.ts";
import { inNextTurn } from "./clock.ts";
import type { Http } from "./http.ts";
import { Leases } from "./leases.ts";
import { consoleLog, type Log, withFields } from "./log.ts";
import { Outage } from "./outage.ts";
import {
  type SettleEntry,
  settleOfFailure,
  settleOfRelease,
  settleOfReturn,
  settleOfThrow,
} from "./outcome.ts";
import { Settler } from "./settler.ts";
import { onStopSignal } from "./signals.ts";
import type { TaskTypes } from "./types.ts";
import {
  checkOptions,
  functionsOf,
  type HandlerFunction,
  NAMES_MAX,
  type WorkerOptions,
} from "./worker-options.ts";

export interface WorkerStopReport {
  /** Tasks that were given back because their handlers took longer than the grace. */
  readonly released: number;
  /** Ends of attempts that the server did not take in time: these tasks run again. */
  readonly unsettled: number;
}

/** The server's limit of tasks in one claim. */
const CLAIM_MAX = 100;

/** Full claims that are sent at the same time, while there is a backlog. */
const CLAIMS_IN_FLIGHT_MAX = 8;

const GRACE_MS = 8000;

/** The time to deliver the last settles at a stop. */
const LAST_SETTLES_MS = 5000;

/** How long a task waits that came to a worker without a handler for it. */
const NO_HANDLER_DELAY_MS = 30_000;

/** Handlers that block are started with pauses, in which leases are extended. */
const YIELD_EVERY_MS = 10;

/** An answer to a claim that was sent less than this ago may be under way. */
const ANSWER_MS = 100;

interface ClaimUnderWay {
  readonly sentAtMs: number;
  readonly abort: AbortController;
}

/**
 * Runs tasks of the server's remote types.
 *
 * - An attempt is settled when its handler ends. If the server is away, the worker keeps the
 *   outcomes and settles later, as long as the claims are valid.
 * - The handler's signal aborts when its task is cancelled, has timed out, or was lost to another
 *   worker. The outcome no longer counts, and a second later the place is free.
 * - A worker that gets no answer, or an error, tries again with backoff, without an end. It logs
 *   `requests_fail` when this begins: as an error if a person must act, as for a wrong key.
 */
export class Worker<Types extends TaskTypes<unknown> = TaskTypes> {
  readonly #http: Http;
  readonly #options: WorkerOptions<Types>;
  readonly #concurrency: number;
  readonly #handlers: ReadonlyMap<string, HandlerFunction>;
  readonly #request: Readonly<Record<string, unknown>>;
  readonly #waitMs: number;
  readonly #log: Log;
  readonly #leases: Leases;
  readonly #settler: Settler;
  readonly #outage: Outage;
  readonly #unknownTypes = new Set<string>();
  readonly #claims = new Set<ClaimUnderWay>();
  readonly #onProgress = (attempt: Attempt): void => this.#leases.arm(attempt);
  /** The places that the claims under way have asked for. */
  #asked = 0;
  /** Whether the last claim got all that it asked for, so that there is probably more. */
  #isBacklog = false;
  #state: "new" | "running" | "stopping" = "new";
  #isTurnPlanned = false;
  #cancelPause: (() => void) | null = null;
  /** What a stop waits for. */
  #awaited: { readonly isMet: () => boolean; readonly resolve: () => void } | null = null;
  #stopping: Promise<WorkerStopReport> | null = null;
  #ignoreSignals = (): void => undefined;

  /** Throws a TypeError for an invalid handler, and a RangeError for an option out of bounds. */
  constructor(client: Client<Types>, options: WorkerOptions<Types>) {
    checkOptions(options);
    const { concurrency = 10, leaseMs, waitMs = 20_000, name, queues } = options;
    this.#http = client[HTTP];
    this.#options = options;
    this.#concurrency = concurrency;
    this.#waitMs = waitMs;
    this.#handlers = functionsOf(options.handlers);
    const types = this.#handlers.size <= NAMES_MAX ? [...this.#handlers.keys()] : undefined;
    this.#request = { queues, types, lease_ms: leaseMs, worker: name };
    this.#log = withFields(options.log ?? consoleLog);
    this.#outage = new Outage("claim", this.#log);
    const onChange = (): void => this.#planTurn();
    this.#settler = new Settler({ http: this.#http, log: this.#log, onAnswer: onChange });
    this.#leases = new Leases({
      http: this.#http,
      log: this.#log,
      leaseMs,
      onFree: onChange,
      onTimeout: ({ token, task }) => {
        const message = `the attempt took longer than ${task.timeout_ms} ms`;
        this.#settle(settleOfFailure(token, "timeout", message));
      },
    });
  }

  /** Starts to claim tasks. Throws an Error after a stop. */
  start(): void {
    if (this.#state === "running") return;
    if (this.#state !== "new") throw new Error("a worker that was stopped can't start again");
    this.#state = "running";
    const { signals = true, graceMs } = this.#options;
    if (signals) this.#ignoreSignals = onStopSignal(() => this.stop({ graceMs }));
    this.#log.info("worker_started", { concurrency: this.#concurrency });
    this.#planTurn();
  }

  /**
   * Stops gracefully, once; every later call gets the same promise. The worker claims no more
   * tasks. Running handlers have `graceMs` (default: 8,000) to end; then their signals abort and
   * their tasks are released. Then the last outcomes are settled, for at most 5 s. Never rejects.
   */
  stop({ graceMs = this.#options.graceMs ?? GRACE_MS } = {}): Promise<WorkerStopReport> {
    this.#stopping ??= this.#stop(graceMs);
    return this.#stopping;
  }

  async #stop(graceMs: number): Promise<WorkerStopReport> {
    this.#state = "stopping";
    this.#cancelPause?.();
    this.#settler.resume();
    this.#ignoreSignals();
    const { clock } = this.#http;
    const nowMs = clock.now().monoMs;
    for (const { sentAtMs, abort } of this.#claims) {
      clock.after(Math.max(0, sentAtMs + ANSWER_MS - nowMs), () => abort.abort());
    }
    await this.#until(() => this.#leases.size === 0 && this.#claims.size === 0, graceMs);
    // A claim that still waits would get the tasks that are given back now.
    for (const { abort } of this.#claims) abort.abort();
    await this.#until(() => this.#claims.size === 0, ANSWER_MS);
    const running = this.#leases.close();
    for (const attempt of running) {
      attempt.stop("shutdown", clock.now().monoMs);
      this.#settler.push(settleOfRelease(attempt.token));
    }
    const isSettled = (): boolean => this.#settler.pending === 0 && this.#claims.size === 0;
    await this.#until(isSettled, LAST_SETTLES_MS);
    const report = { released: running.length, unsettled: this.#settler.close() };
    this.#log.info("worker_stopped", report);
    return report;
  }

  /** Resolves when the condition is met, or when the time is over. */
  #until(isMet: () => boolean, withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#http.clock.after(withinMs, () => this.#awaited?.resolve());
      this.#awaited = {
        isMet,
        resolve: () => {
          this.#awaited = null;
          cancel();
          resolve();
        },
      };
      this.#planTurn();
    });
  }

  #planTurn(): void {
    if (this.#isTurnPlanned) return;
    this.#isTurnPlanned = true;
    inNextTurn(() => {
      this.#isTurnPlanned = false;
      this.#settler.flush();
      this.#claimMore();
      if (this.#awaited?.isMet() === true) this.#awaited.resolve();
    });
  }

  #claimMore(): void {
    while (this.#state === "running" && this.#cancelPause === null) {
      const running = this.#leases.size + this.#asked;
      // While the server takes no settles, the outcomes must not pile up.
      const unsettled = running + this.#settler.pending - this.#concurrency;
      const free = this.#concurrency - Math.max(running, unsettled);
      const max = Math.min(free, CLAIM_MAX);
      if (max <= 0) return;
      // One request waits for tasks. More of them only fetch a backlog, in full batches.
      const underWay = this.#claims.size;
      const isUseful = this.#isBacklog && max === CLAIM_MAX && underWay < CLAIMS_IN_FLIGHT_MAX;
      if (underWay > 0 && !isUseful) return;
      void this.#claim(max, underWay === 0 ? this.#waitMs : 0);
    }
  }

  async #claim(max: number, waitMs: number): Promise<void> {
    const { clock } = this.#http;
    const sentAtMs = clock.now().monoMs;
    const underWay = { sentAtMs, abort: new AbortController() };
    this.#claims.add(underWay);
    this.#asked += max;
    let attempts: readonly Attempt[] = [];
    try {
      const { claims } = await this.#http.send<{ readonly claims: readonly ClaimJson[] }>({
        method: "POST",
        path: "/claims",
        body: JSON.stringify({ ...this.#request, max, wait_ms: waitMs }),
        retry: "once",
        waitMs,
        signal: underWay.abort.signal,
      });
      attempts = claims.map((claim) => new Attempt(claim, clock.now().monoMs));
      this.#outage.succeeded();
      this.#isBacklog = claims.length === max;
      const isEarly = waitMs > 0 && clock.now().monoMs - sentAtMs < waitMs / 2;
      // A server that does not wait must not be asked in a tight loop.
      if (claims.length === 0 && isEarly) this.#pause(1000);
    } catch (error) {
      this.#isBacklog = false;
      if (this.#state === "running") this.#pause(this.#outage.failed(error));
    }
    this.#asked -= max;
    this.#claims.delete(underWay);
    this.#planTurn();
    await this.#startAll(attempts);
  }

  #pause(delayMs: number): void {
    if (this.#cancelPause !== null) return;
    this.#cancelPause = this.#http.clock.after(delayMs, () => {
      this.#cancelPause = null;
      this.#planTurn();
    });
  }

  async #startAll(attempts: readonly Attempt[]): Promise<void> {
    const { clock } = this.#http;
    let turnAtMs = clock.now().monoMs;
    for (const attempt of attempts) this.#leases.add(attempt);
    for (const attempt of attempts) {
      this.#start(attempt);
      if (clock.now().monoMs - turnAtMs < YIELD_EVERY_MS) continue;
      await new Promise<void>(inNextTurn);
      turnAtMs = clock.now().monoMs;
    }
  }

  /** Calls the handler. Never throws. */
  #start(attempt: Attempt): void {
    const { token, task, stopReason } = attempt;
    // It was stopped while handlers before it blocked the event loop.
    if (stopReason !== null) {
      this.#leases.delete(attempt);
      return;
    }
    if (this.#state !== "running") {
      this.#end(attempt, settleOfRelease(token));
      return;
    }
    const handler = this.#handlers.get(task.type);
    if (handler === undefined) {
      this.#noteUnknown(task.type);
      this.#end(attempt, settleOfRelease(token, NO_HANDLER_DELAY_MS));
      return;
    }
    try {
      const returned = handler(task.payload, new Context(attempt, this.#log, this.#onProgress));
      if (isThenable(returned)) void this.#follow(attempt, returned);
      else this.#end(attempt, settleOfReturn(token, returned));
    } catch (thrown) {
      this.#end(attempt, settleOfThrow(token, thrown));
    }
  }

  async #follow(attempt: Attempt, returned: PromiseLike<unknown>): Promise<void> {
    const { token } = attempt;
    let settle: SettleEntry;
    try {
      settle = settleOfReturn(token, await returned);
    } catch (thrown) {
      settle = settleOfThrow(token, thrown);
    }
    this.#end(attempt, settle);
  }

  /** The handler has ended. The outcome of a stopped attempt does not count. */
  #end(attempt: Attempt, settle: SettleEntry): void {
    if (!this.#leases.delete(attempt)) return;
    if (attempt.stopReason === null) this.#settle(settle);
    else this.#planTurn();
  }

  #settle(settle: SettleEntry): void {
    this.#settler.push(settle);
    this.#planTurn();
  }

  #noteUnknown(type: string): void {
    if (this.#unknownTypes.has(type)) return;
    // Types come from the server's clients: they must not fill the memory.
    if (this.#unknownTypes.size < 1000) this.#unknownTypes.add(type);
    this.#log.warn("no_handler", { type, release_ms: NO_HANDLER_DELAY_MS });
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  if (value instanceof Promise) return true;
  const isObject = typeof value === "object" && value !== null;
  return isObject && "then" in value && typeof value.then === "function";
}
