/**
 * Sends the requests of the client: deadlines, retries, and errors. It knows HTTP and nothing about
 * tasks. The API key leaves this file only in the `Authorization` header.
 */

import { backoffMs, type Clock, systemClock } from "./clock.ts";
import { type Problem, RingqError } from "./errors.ts";

/** The part of `fetch` that the client uses. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface ClientOptions {
  /** The API key. It is sent as `Authorization: Bearer`. */
  readonly key?: string | undefined;
  /** Sends the requests. Default: the global `fetch`. */
  readonly fetch?: Fetch | undefined;
  /** The time limit of a call in milliseconds, retries included. Default: 30,000. */
  readonly timeoutMs?: number | undefined;
  /** The time source and the timers; for tests. */
  readonly clock?: Clock | undefined;
}

/** Options of every call. */
export interface CallOptions {
  /** Aborts the call, which then rejects with the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
  /**
   * The time limit of the call in milliseconds, retries included. Default: that of the client. A
   * call that waits on the server has this time in addition.
   */
  readonly timeoutMs?: number | undefined;
}

export interface Request extends CallOptions {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  /** JSON text. */
  readonly body?: string | undefined;
  readonly idempotencyKey?: string | undefined;
  /**
   * `once`: never. `refused`: only if the server said that nothing was changed. `repeatable`: also
   * after a lost connection, because the request has the same effect when it is executed twice.
   */
  readonly retry: "once" | "refused" | "repeatable";
  /** Whether to send the request again while the queue is full. */
  readonly waitsForRoom?: boolean;
  /** The time that the server may wait before it answers. */
  readonly waitMs?: number | undefined;
}

/** Errors that a proxy gives while the server is away. The request may have been executed. */
const PROXY_ERRORS: ReadonlySet<number> = new Set([502, 503, 504]);

export class Http {
  readonly clock: Clock;
  readonly #url: string;
  readonly #key: string | undefined;
  readonly #fetch: Fetch | undefined;
  readonly #timeoutMs: number;

  /** Throws a TypeError for an invalid address or key. */
  constructor(
    url: string | URL,
    { key, fetch, timeoutMs = 30_000, clock = systemClock }: ClientOptions,
  ) {
    // A fetch with a line break in a header throws an error that shows the header.
    if (key !== undefined && !/^[\x21-\x7e]+$/.test(key)) {
      throw new TypeError("the key must be printable ASCII characters without blanks");
    }
    this.#url = baseOf(url);
    this.#key = key;
    this.#fetch = fetch;
    this.#timeoutMs = timeoutMs;
    this.clock = clock;
  }

  /** The body of a 2xx answer. Rejects with a RingqError, or with the reason of the signal. */
  async send<T>(request: Request): Promise<T> {
    const { signal, timeoutMs = this.#timeoutMs, waitMs = 0 } = request;
    const deadlineMs = this.clock.now().monoMs + timeoutMs + waitMs;
    for (let failures = 0; ; failures += 1) {
      signal?.throwIfAborted();
      try {
        return await this.#sendOnce<T>(request, deadlineMs);
      } catch (error) {
        if (!(error instanceof RingqError) || !canRetry(error, request)) throw error;
        const delayMs = Math.max(backoffMs(failures, 200, 5000), error.retryAfterMs ?? 0);
        // The caller learns the reason now: to wait for the deadline would tell nothing more.
        if (this.clock.now().monoMs + delayMs >= deadlineMs) throw error;
        await this.pause(delayMs, signal);
      }
    }
  }

  /** Waits. Rejects with the reason of the signal when that aborts. */
  pause(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        cancel();
        signal?.removeEventListener("abort", end);
        if (signal?.aborted) reject(signal.reason);
        else resolve();
      };
      const cancel = this.clock.after(delayMs, end);
      signal?.addEventListener("abort", end);
    });
  }

  async #sendOnce<T>(request: Request, deadlineMs: number): Promise<T> {
    const { method, path, body, signal } = request;
    const call = `${method} ${path}`;
    // Not AbortSignal.any: some runtimes keep its results for as long as the longest source lives.
    const controller = new AbortController();
    const abort = (): void => controller.abort(signal?.reason);
    signal?.addEventListener("abort", abort);
    const leftMs = Math.max(0, deadlineMs - this.clock.now().monoMs);
    const cancelTimer = this.clock.after(leftMs, () => controller.abort());
    // The global one is looked up at each call. Browsers insist that it is no method of an object.
    const send = this.#fetch ?? globalThis.fetch;
    try {
      const response = await send(this.#url + path, {
        method,
        headers: this.#headers(request),
        ...(body === undefined ? {} : { body }),
        // A redirect would take the key to an address that nobody configured.
        redirect: "manual",
        signal: controller.signal,
      });
      return answerOf<T>(request, response, await response.text());
    } catch (cause) {
      if (cause instanceof RingqError) throw cause;
      signal?.throwIfAborted();
      if (controller.signal.aborted) {
        const message = `${call}: no answer from ${this.#url} in time.`;
        throw new RingqError(message, { status: 0, code: "timeout", cause });
      }
      const message = `${call}: the connection to ${this.#url} failed.`;
      throw new RingqError(message, { status: 0, code: "connection_failed", cause });
    } finally {
      cancelTimer();
      signal?.removeEventListener("abort", abort);
    }
  }

  #headers({ body, idempotencyKey }: Request): Record<string, string> {
    return {
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(idempotencyKey === undefined ? {} : { "idempotency-key": idempotencyKey }),
      ...(this.#key === undefined ? {} : { authorization: `Bearer ${this.#key}` }),
    };
  }
}

/** The address without a slash at its end. It may have a path, for a server behind a proxy. */
function baseOf(url: string | URL): string {
  const base = new URL(url);
  const { protocol, username, password, search, hash, origin, pathname } = base;
  if (!/^https?:$/.test(protocol)) throw new TypeError("the address must be http: or https:");
  if (username + password + search + hash !== "") {
    throw new TypeError("the address must have no user, password, query or fragment");
  }
  return origin + pathname.replace(/\/+$/, "");
}

function canRetry({ status, code, problem }: RingqError, request: Request): boolean {
  if (request.retry === "once") return false;
  if (code === "queue_full") return request.waitsForRoom === true;
  // A 503 of ringq says that nothing was changed; a 429 comes before the request is executed.
  if (status === 429 || (status === 503 && problem !== null)) return true;
  const isLost = code === "connection_failed" || PROXY_ERRORS.has(status);
  return isLost && request.retry === "repeatable";
}

/** The body of an answer. Throws a RingqError for everything but a 2xx with the expected body. */
function answerOf<T>(request: Request, response: Response, text: string): T {
  const { status, ok, type, headers } = response;
  const call = `${request.method} ${request.path}`;
  if (type === "opaqueredirect" || (status >= 300 && status < 400)) {
    const message = `${call}: the server redirects. Configure the address that it redirects to.`;
    throw new RingqError(message, { status, code: "redirected" });
  }
  const body = parsed(text);
  if (ok && body !== undefined) return body as T;
  const problem = !ok && isProblem(body) ? body : null;
  if (problem === null) {
    const message = `${call}: the answer (status ${status}) is not from ringq.`;
    const retryAfterMs = retryAfterOf(headers);
    throw new RingqError(message, { status, code: "unexpected_answer", retryAfterMs });
  }
  const { code, title, detail = title } = problem;
  const message = `${call}: ${status} ${code}: ${detail}`;
  throw new RingqError(message, { status, code, problem, retryAfterMs: retryAfterOf(headers) });
}

/** The value of a JSON text; undefined if it is not JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isProblem(body: unknown): body is Problem {
  return typeof body === "object" && body !== null && "code" in body && "title" in body;
}

/** The delay of `Retry-After` in milliseconds: seconds, or a date (RFC 9110, 10.2.3). */
function retryAfterOf(headers: Headers): number | null {
  const value = headers.get("retry-after");
  if (value === null) return null;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}
