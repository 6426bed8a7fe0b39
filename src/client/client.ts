/** The client: each call of the HTTP API as a method. */

import { RingqError } from "./errors.ts";
import { type CallOptions, type ClientOptions, Http, type Request } from "./http.ts";
import type {
  Claim,
  ClaimRequest,
  EnqueueOptions,
  EnqueueRequest,
  Failure,
  Lease,
  ListOptions,
  PayloadsOf,
  Queue,
  Receipt,
  Settle,
  SettleReceipt,
  SettleResult,
  Task,
  TaskFilter,
  TaskPage,
  TaskTypes,
  WaitOptions,
} from "./types.ts";
import { fromWire, toWire } from "./wire.ts";

/** The longest wait of one request. */
const WAIT_MS_MAX = 60_000;

/**
 * The largest batch that gets an idempotency key of its own. A server that remembers fewer tasks
 * than a batch has (`RETAIN_TASKS`) refuses the key.
 */
const KEYED_TASKS_MAX = 1000;

/** The way from a client to its requests, for the worker. */
export const HTTP = Symbol("http");

/**
 * A client of one ringq server.
 *
 * Names are those of the HTTP API in camelCase, times are Dates. A call that fails rejects with a
 * {@link RingqError}. The client sends a request again, with exponential backoff and the server's
 * `Retry-After`, until `timeoutMs`:
 *
 * - after a 503 of ringq, since nothing was changed, but not after `queue_full` (see `whenFull`);
 *   and after a 429;
 * - after a lost connection or a 502, 503 or 504 of a proxy, if the call has the same effect when
 *   it is executed twice. `cancel`, `retry` and `purge` do not.
 */
export class Client<Types extends TaskTypes<unknown> = TaskTypes> {
  readonly [HTTP]: Http;

  /** Throws a TypeError for an invalid address or key. */
  constructor(url: string | URL, options: ClientOptions = {}) {
    this[HTTP] = new Http(url, options);
  }

  /**
   * Enqueues a task. A 2xx means that the server has accepted it: see its guarantees. Rejects with
   * `queue_full` when the queue has no room.
   */
  enqueue(
    request: EnqueueRequest<PayloadsOf<Types>>,
    options: EnqueueOptions = {},
  ): Promise<Receipt> {
    return this.#enqueue("/enqueue", request, 1, options);
  }

  /**
   * Enqueues all of these tasks, or none. The receipts are in the order of the tasks. A batch of
   * more than 1,000 tasks gets no idempotency key of its own, so the client does not send it again
   * after a lost connection; give a key if the server's `RETAIN_TASKS` allows it.
   */
  async enqueueBatch(
    requests: readonly EnqueueRequest<PayloadsOf<Types>>[],
    options: EnqueueOptions = {},
  ): Promise<readonly Receipt[]> {
    const body = { tasks: requests };
    type Answer = { readonly tasks: readonly Receipt[] };
    const { tasks } = await this.#enqueue<Answer>("/enqueue/batch", body, requests.length, options);
    return tasks;
  }

  /** A task; undefined when it does not exist, or has finished and was forgotten. */
  task(id: string, options: CallOptions = {}): Promise<Task | undefined> {
    return orUndefined(this.#call<Task>("GET", taskPath(id), options));
  }

  /**
   * The task once it has finished, or as it is when `waitMs` are over; undefined as for `task`. The
   * wait may be longer than the server's limit of 60 s, and survives a restart of the server that
   * takes less than `timeoutMs`. Each wait holds a connection, and runtimes bound their number: Bun
   * sends 256 requests at once, a browser 6.
   */
  async waitFor(id: string, options: WaitOptions = {}): Promise<Task | undefined> {
    const { waitMs = Number.POSITIVE_INFINITY, signal } = options;
    const { clock } = this[HTTP];
    const endMs = clock.now().monoMs + waitMs;
    while (true) {
      const startedMs = clock.now().monoMs;
      const stepMs = Math.max(0, Math.min(WAIT_MS_MAX, Math.round(endMs - startedMs)));
      const path = `${taskPath(id)}?wait_ms=${stepMs}`;
      const task = await orUndefined(this.#call<Task>("GET", path, options, { waitMs: stepMs }));
      const nowMs = clock.now().monoMs;
      if (task === undefined || task.finishedAt !== null || nowMs >= endMs) return task;
      // A server that is stopping answers at once.
      const isEarly = nowMs - startedMs < stepMs / 2;
      if (isEarly) await this[HTTP].pause(Math.min(1000, endMs - nowMs), signal);
    }
  }

  /** One page of the tasks that match, newest first. */
  list({ signal, timeoutMs, ...filter }: ListOptions = {}): Promise<TaskPage> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(filter)) {
      if (value !== undefined) query.set(name, String(value));
    }
    return this.#call("GET", `/tasks?${query}`, { signal, timeoutMs });
  }

  /** All tasks that match, newest first, page by page. */
  async *tasks(filter: TaskFilter & CallOptions = {}): AsyncGenerator<Task, void, undefined> {
    let cursor: string | undefined;
    do {
      const page: TaskPage = await this.list({ ...filter, cursor });
      yield* page.tasks;
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
  }

  /**
   * Cancels a task, and returns it. The signal of a running handler aborts. Rejects with
   * `not_found`, or with `conflict` if the task has finished.
   */
  cancel(id: string, options: CallOptions = {}): Promise<Task> {
    return this.#call("DELETE", taskPath(id), options, { retry: "refused" });
  }

  /**
   * Queues a failed or cancelled task again, with all its retries. Rejects with `not_found`,
   * `conflict` or `queue_full`.
   */
  retry(id: string, options: CallOptions = {}): Promise<Receipt> {
    return this.#call("POST", `${taskPath(id)}/retry`, options, { retry: "refused" });
  }

  /** All queues. */
  async queues(options: CallOptions = {}): Promise<readonly Queue[]> {
    type Answer = { readonly queues: readonly Queue[] };
    return (await this.#call<Answer>("GET", "/queues", options)).queues;
  }

  /** A queue; undefined when it does not exist or was forgotten. */
  queue(name: string, options: CallOptions = {}): Promise<Queue | undefined> {
    return orUndefined(this.#call<Queue>("GET", queuePath(name), options));
  }

  /** Pauses a queue: it starts no more tasks. Rejects with `not_found`. */
  pause(name: string, options: CallOptions = {}): Promise<Queue> {
    return this.#call("POST", `${queuePath(name)}/pause`, options);
  }

  /** Resumes a paused queue. Rejects with `not_found`. */
  resume(name: string, options: CallOptions = {}): Promise<Queue> {
    return this.#call("POST", `${queuePath(name)}/resume`, options);
  }

  /** Cancels the waiting tasks of a queue, and returns their number. Rejects with `not_found`. */
  async purge(name: string, options: CallOptions = {}): Promise<number> {
    type Answer = { readonly cancelled: number };
    const path = `${queuePath(name)}/tasks`;
    const { cancelled } = await this.#call<Answer>("DELETE", path, options, { retry: "refused" });
    return cancelled;
  }

  /**
   * Claims up to `max` tasks for a worker; none if nothing came within `waitMs`. The
   * {@link Worker} does this and everything after it.
   *
   * If the connection is lost, the client claims again. Tasks of an answer that was lost run again
   * when their leases end.
   */
  async claim(request: ClaimRequest = {}, options: CallOptions = {}): Promise<readonly Claim[]> {
    type Answer = { readonly claims: readonly Claim[] };
    const more = { json: request, waitMs: request.waitMs };
    return (await this.#call<Answer>("POST", "/claims", options, more)).claims;
  }

  /**
   * Extends a claim by `leaseMs` from now, but not beyond the timeout of the task, and shows
   * `progress` on the task. Rejects with `claim_lost` when the claim is over: stop the attempt.
   */
  extend(
    token: string,
    {
      signal,
      timeoutMs,
      ...json
    }: CallOptions & { readonly leaseMs?: number; readonly progress?: unknown } = {},
  ): Promise<Lease> {
    return this.#call("POST", claimPath(token, "extend"), { signal, timeoutMs }, { json });
  }

  /** Reports that the attempt is done. Rejects with `claim_lost` when the claim is over. */
  done(token: string, result?: unknown, options: CallOptions = {}): Promise<SettleReceipt> {
    return this.#call("POST", claimPath(token, "done"), options, { json: { result } });
  }

  /** Reports that the attempt failed. Rejects with `claim_lost` when the claim is over. */
  failed(token: string, failure: Failure = {}, options: CallOptions = {}): Promise<SettleReceipt> {
    return this.#call("POST", claimPath(token, "failed"), options, { json: failure });
  }

  /**
   * Gives the task back; this costs no retry. With `delayMs`, it waits for that time. Rejects with
   * `claim_lost` when the claim is over.
   */
  released(
    token: string,
    { delayMs, ...options }: CallOptions & { readonly delayMs?: number } = {},
  ): Promise<SettleReceipt> {
    return this.#call("POST", claimPath(token, "released"), options, { json: { delayMs } });
  }

  /**
   * Reports the ends of up to 100 attempts. The results are in the order of the settles. A settle
   * that is sent again gets the same answer, so settles are safe to repeat.
   */
  async settle(
    settles: readonly Settle[],
    options: CallOptions = {},
  ): Promise<readonly SettleResult[]> {
    type Answer = { readonly results: readonly SettleResult[] };
    const more = { json: { settles } };
    return (await this.#call<Answer>("POST", "/claims/settle", options, more)).results;
  }

  #enqueue<T>(
    path: string,
    json: object,
    tasks: number,
    { idempotencyKey, whenFull, ...options }: EnqueueOptions,
  ): Promise<T> {
    const ownKey = tasks <= KEYED_TASKS_MAX ? randomKey() : null;
    const key = idempotencyKey === undefined ? ownKey : idempotencyKey;
    return this.#call<T>("POST", path, options, {
      json,
      idempotencyKey: key ?? undefined,
      retry: key === null ? "refused" : "repeatable",
      waitsForRoom: whenFull === "wait",
    });
  }

  /** Sends a request. Most are safe to repeat. `json` is a body in the names of the client. */
  async #call<T>(
    method: Request["method"],
    path: string,
    { signal, timeoutMs }: CallOptions,
    { json, ...more }: Partial<Request> & { readonly json?: object } = {},
  ): Promise<T> {
    const body = json && JSON.stringify(toWire(json));
    const call = { method, path, signal, timeoutMs, body, retry: "repeatable", ...more } as const;
    return fromWire(await this[HTTP].send(call)) as T;
  }
}

/** Not crypto.randomUUID: browsers do not have it on pages without TLS. */
function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function taskPath(id: string): string {
  return `/tasks/${encodeURIComponent(id)}`;
}

function queuePath(name: string): string {
  return `/queues/${encodeURIComponent(name)}`;
}

function claimPath(token: string, action: string): string {
  return `/claims/${encodeURIComponent(token)}/${action}`;
}

/** The answer; undefined for a `not_found` of ringq. Another 404 has another code. */
async function orUndefined<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof RingqError && error.code === "not_found") return undefined;
    throw error;
  }
}
