/** One attempt at a claimed task, and the handler's view of it. */

import { type Log, withFields } from "./log.ts";
import { jsonTextOf } from "./outcome.ts";

/** The part of a claim that the worker uses, as it comes from the wire. */
export interface ClaimJson {
  readonly token: string;
  readonly lease_ms: number;
  readonly task: {
    readonly id: string;
    readonly type: string;
    readonly queue: string;
    readonly attempt: number;
    readonly max_retries: number;
    readonly timeout_ms: number;
    readonly payload: unknown;
  };
}

/** The reason why an attempt must stop. Its signal aborts with this in the message. */
export type StopReason = "cancelled" | "timeout" | "lease_lost" | "shutdown";

/** The time that a handler has to end after its signal aborted, before its place is free again. */
const ABORT_GRACE_MS = 1000;

/** The shortest time between two extends that show progress. */
const PROGRESS_EVERY_MS = 1000;

/** The shortest time between two extends, however short the lease. */
const EXTEND_EVERY_MS_MIN = 100;

/** Leases that end this close to the timeout need no extend: it would grant nothing. */
const TOLERANCE_MS = 50;

export class Attempt {
  readonly token: string;
  readonly task: ClaimJson["task"];
  /** Monotonic times, in milliseconds. */
  readonly timeoutAtMs: number;
  /** When to extend the lease. */
  extendAtMs: number;
  /** A third of the lease. */
  extendEveryMs: number;
  /** When the place of a stopped attempt is free, even if its handler continues. */
  freeAtMs = Number.POSITIVE_INFINITY;
  isExtending = false;
  stopReason: StopReason | null = null;
  #extendedAtMs: number;
  /** JSON text that the server does not have yet. */
  #progress: string | null = null;
  /** Made only for handlers that ask for it: it costs more than a small task does. */
  #controller: AbortController | null = null;

  constructor({ token, task, lease_ms: leaseMs }: ClaimJson, nowMs: number) {
    this.token = token;
    this.task = task;
    this.timeoutAtMs = nowMs + task.timeout_ms;
    this.extendEveryMs = Math.max(leaseMs / 3, EXTEND_EVERY_MS_MIN);
    this.#extendedAtMs = nowMs;
    this.extendAtMs = nowMs + this.extendEveryMs;
  }

  /** The next time at which the attempt needs attention. */
  get dueMs(): number {
    if (this.stopReason !== null) return this.freeAtMs;
    return this.isExtending ? this.timeoutAtMs : Math.min(this.timeoutAtMs, this.extendAtMs);
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.stopReason !== null) this.#controller.abort(abortError(this.stopReason));
    }
    return this.#controller.signal;
  }

  /** Asks the handler to stop. Its outcome no longer counts. */
  stop(reason: StopReason, nowMs: number): void {
    if (this.stopReason !== null) return;
    this.stopReason = reason;
    this.freeAtMs = nowMs + ABORT_GRACE_MS;
    this.#controller?.abort(abortError(reason));
  }

  /** Notes progress for the next extend, which comes within a second. */
  noteProgress(text: string): void {
    this.#progress = text;
    this.extendAtMs = Math.min(this.extendAtMs, this.#extendedAtMs + PROGRESS_EVERY_MS);
  }

  /** The progress to send; null if the server has the latest. */
  takeProgress(): string | null {
    const progress = this.#progress;
    this.#progress = null;
    return progress;
  }

  /** Notes that the lease was extended. */
  extended(leaseMs: number, nowMs: number): void {
    const isCutByTimeout = nowMs + leaseMs > this.timeoutAtMs - TOLERANCE_MS;
    // A lease that is cut by the timeout gets shorter with each extend, and the intervals must not.
    if (!isCutByTimeout) this.extendEveryMs = Math.max(leaseMs / 3, EXTEND_EVERY_MS_MIN);
    this.#extendedAtMs = nowMs;
    const everyMs = this.#progress === null ? this.extendEveryMs : PROGRESS_EVERY_MS;
    this.extendAtMs = nowMs + Math.min(everyMs, this.extendEveryMs);
  }

  /** Notes that an extend failed for now, and keeps its progress unless there is a later one. */
  notExtended(progress: string | null, nowMs: number): void {
    this.#progress ??= progress;
    this.extendAtMs = nowMs + this.extendEveryMs / 4;
  }
}

/** The handler's view of its attempt, in addition to the payload. */
export interface HandlerContext {
  /**
   * The task's id. It is the same in every attempt, so it is a good idempotency key for other
   * services.
   */
  readonly id: string;
  readonly type: string;
  readonly queue: string;
  /** The number of this attempt, counted from 1. */
  readonly attempt: number;
  /** Attempts after the first, as allowed for the task. */
  readonly maxRetries: number;
  /** Aborts when the attempt has timed out, its task was cancelled, or the worker stops. */
  readonly signal: AbortSignal;
  /** Writes log lines with the id of the task. */
  readonly log: Log;
  /**
   * Shows a JSON value on the task as its `progress`, within about a second. Throws a TypeError for
   * a value that is not JSON. The server ignores a value that is too large.
   */
  progress(value: unknown): void;
}

/** Uses getters, so that a handler pays only for the members that it reads. */
export class Context implements HandlerContext {
  readonly #attempt: Attempt;
  readonly #log: Log;
  readonly #onProgress: (attempt: Attempt) => void;

  constructor(attempt: Attempt, log: Log, onProgress: (attempt: Attempt) => void) {
    this.#attempt = attempt;
    this.#log = log;
    this.#onProgress = onProgress;
  }

  get id(): string {
    return this.#attempt.task.id;
  }

  get type(): string {
    return this.#attempt.task.type;
  }

  get queue(): string {
    return this.#attempt.task.queue;
  }

  get attempt(): number {
    return this.#attempt.task.attempt;
  }

  get maxRetries(): number {
    return this.#attempt.task.max_retries;
  }

  get signal(): AbortSignal {
    return this.#attempt.signal;
  }

  get log(): Log {
    const { id, type, attempt } = this;
    return withFields(this.#log, { id, type, attempt });
  }

  /** A separate function, so that a handler may take it out of the context. */
  get progress(): (value: unknown) => void {
    return (value) => {
      const json = jsonTextOf(value);
      if (json.kind !== "text") throw new TypeError(`the progress is invalid: ${json.why}`);
      this.#attempt.noteProgress(json.text);
      this.#onProgress(this.#attempt);
    };
  }
}

/** The reason with which a signal aborts. */
function abortError(reason: StopReason): DOMException {
  return new DOMException(reason, reason === "timeout" ? "TimeoutError" : "AbortError");
}
