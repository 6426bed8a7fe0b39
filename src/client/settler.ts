/**
 * Sends the settles of a worker in batches, and keeps them while the server can't take them. A
 * settle is repeated until the server has it or says that the claim is over.
 */

import { type Problem, RingqError } from "./errors.ts";
import type { Http } from "./http.ts";
import type { Log } from "./log.ts";
import { Outage } from "./outage.ts";
import { type SettleEntry, settleOfFailure } from "./outcome.ts";

/** The server's limit of settles in one request. */
const BATCH_MAX = 100;

/** Well below the default of the server's limit of a body, 1 MiB. */
const BATCH_BYTES_MAX = 768 * 1024;

/** Full batches that are sent at the same time. */
const IN_FLIGHT_MAX = 8;

interface SettlerOptions {
  readonly http: Http;
  readonly log: Log;
  /** Called after each answer: there is room for more settles. */
  readonly onAnswer: () => void;
}

type Result =
  | { readonly token: string; readonly problem: Problem }
  | { readonly token: string; readonly problem?: undefined };

export class Settler {
  readonly #http: Http;
  readonly #log: Log;
  readonly #onAnswer: () => void;
  readonly #outage: Outage;
  readonly #abort = new AbortController();
  #waiting: SettleEntry[] = [];
  /** The settles of the batches that are being sent. */
  #sending = 0;
  #batches = 0;
  #cancelPause: (() => void) | null = null;

  constructor({ http, log, onAnswer }: SettlerOptions) {
    this.#http = http;
    this.#log = log;
    this.#onAnswer = onAnswer;
    this.#outage = new Outage("settle", log);
  }

  /** The settles that the server has not answered yet. */
  get pending(): number {
    return this.#waiting.length + this.#sending;
  }

  push(settle: SettleEntry): void {
    this.#waiting.push(settle);
  }

  /**
   * Sends what waits: full batches at once, the rest when no request is under way. So batches are
   * as large as the load makes them, and a single settle does not wait.
   */
  flush(): void {
    while (this.#waiting.length > 0 && this.#cancelPause === null) {
      const isFull = this.#waiting.length >= BATCH_MAX && this.#batches < IN_FLIGHT_MAX;
      if (this.#batches > 0 && !isFull) return;
      void this.#send(this.#takeBatch());
    }
  }

  /** Ends the wait after a failure, so that the next flush tries again. */
  resume(): void {
    this.#cancelPause?.();
    this.#cancelPause = null;
  }

  /** Gives up what is left, and returns its number. */
  close(): number {
    const left = this.pending;
    this.#cancelPause?.();
    this.#cancelPause = () => undefined;
    this.#abort.abort();
    return left;
  }

  #takeBatch(): readonly SettleEntry[] {
    let count = 0;
    let bytes = 0;
    for (const { text } of this.#waiting) {
      bytes += bytesAtMost(text);
      if (count === BATCH_MAX || (count > 0 && bytes > BATCH_BYTES_MAX)) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #send(batch: readonly SettleEntry[]): Promise<void> {
    this.#batches += 1;
    this.#sending += batch.length;
    try {
      const { results } = await this.#http.send<{ readonly results: readonly Result[] }>({
        method: "POST",
        path: "/claims/settle",
        body: `{"settles":[${batch.map(({ text }) => text).join(",")}]}`,
        retry: "once",
        signal: this.#abort.signal,
      });
      if (results.length !== batch.length) throw new Error("the answer has other settles");
      this.#outage.succeeded();
      for (const [index, settle] of batch.entries()) {
        const problem = results[index]?.problem;
        if (problem !== undefined) this.#refused(settle, problem);
      }
    } catch (error) {
      this.#failed(batch, error);
    }
    this.#batches -= 1;
    this.#sending -= batch.length;
    this.#onAnswer();
  }

  /** A whole request failed. */
  #failed(batch: readonly SettleEntry[], error: unknown): void {
    if (this.#abort.signal.aborted) return;
    if (!(error instanceof RingqError) || (error.status !== 413 && error.status !== 422)) {
      this.#waiting.unshift(...batch);
      this.#pause(error);
      return;
    }
    const [first] = batch;
    if (first === undefined) return;
    if (batch.length === 1) {
      this.#replace(first, error.status, error.problem?.detail ?? error.message);
      return;
    }
    // One of them is at fault: halves find it.
    const half = Math.ceil(batch.length / 2);
    void this.#send(batch.slice(0, half));
    void this.#send(batch.slice(half));
  }

  /** The server refused one settle of a request. */
  #refused(settle: SettleEntry, problem: Problem): void {
    const { code, status, detail = problem.title, ended } = problem;
    if (code === "claim_lost") {
      const isExpected = ended === "cancelled" || ended === "settled";
      this.#log[isExpected ? "debug" : "warn"]("claim_lost", { id: idOf(settle), ended });
    } else if (status === 503) {
      this.#waiting.unshift(settle);
      this.#pause(new RingqError(detail, { status, code, problem }));
    } else {
      this.#replace(settle, status, detail);
    }
  }

  /** The server will never take this settle: the attempt fails instead, with the reason. */
  #replace(settle: SettleEntry, status: number, reason: string): void {
    const { token, isReplacement = false } = settle;
    if (isReplacement) {
      this.#log.error("settle_refused", { id: idOf(settle), status, reason });
      return;
    }
    const code = status === 413 ? "result_too_large" : "invalid_result";
    const message = `the server refused the result: ${reason}`;
    this.#waiting.push({ ...settleOfFailure(token, code, message), isReplacement: true });
  }

  #pause(error: unknown): void {
    if (this.#cancelPause !== null) return;
    this.#cancelPause = this.#http.clock.after(this.#outage.failed(error), () => {
      this.#cancelPause = null;
      this.#onAnswer();
    });
  }
}

/** The id of the task. Tokens stay out of the log, because they give the right to settle. */
function idOf({ token }: SettleEntry): string {
  return token.slice(0, token.lastIndexOf("."));
}

/** An upper bound that costs little for short texts. */
function bytesAtMost(text: string): number {
  return text.length < 4096 ? text.length * 3 : new TextEncoder().encode(text).byteLength;
}
