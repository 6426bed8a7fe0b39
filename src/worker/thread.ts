/**
 * One thread, seen from the process: it loads, runs one attempt at a time, and ends. Once ended it is of no more use.
 */

import type { Outcome } from "../engine/engine.ts";
import type { Log } from "../log.ts";
import type { StopReason } from "./attempt.ts";
import type { AttemptFacts } from "./context.ts";
import { failed } from "./outcome.ts";
import type { FromThread, ToThread } from "./thread-protocol.ts";

export interface ThreadOptions {
  readonly path: string;
  readonly resultBytesMax: number;
  readonly log: Log;
  /** Called once, when the thread has ended by itself or was killed. */
  readonly onEnd: () => void;
}

interface Run {
  readonly facts: AttemptFacts;
  readonly resolve: (outcome: Outcome) => void;
  readonly noteProgress: (text: string) => void;
}

export class Thread {
  /** Resolves when the handlers are loaded: with null, or with what went wrong. */
  readonly loaded: Promise<string | null>;
  readonly #worker: Worker;
  readonly #options: ThreadOptions;
  #settleLoaded: (why: string | null) => void = () => undefined;
  #hasLoaded = false;
  #isAlive = true;
  #run: Run | null = null;
  #endReason: string | null = null;

  constructor(options: ThreadOptions) {
    this.#options = options;
    this.loaded = new Promise((resolve) => {
      this.#settleLoaded = resolve;
    });
    this.#worker = new Worker(new URL("./thread-main.ts", import.meta.url).href);
    this.#worker.addEventListener("message", ({ data }: MessageEvent<FromThread>) =>
      this.#hear(data),
    );
    this.#worker.addEventListener("close", (event) =>
      this.#ended(`it exited with code ${codeOf(event)}`),
    );
    // What the thread could not tell itself. Unhandled here, it would end the process instead.
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#endReason ??= "it failed";
    });
    const { path, resultBytesMax, log } = options;
    this.#say({ kind: "load", path, resultBytesMax, isDebug: log.isDebug });
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  get hasLoaded(): boolean {
    return this.#hasLoaded;
  }

  /** Why it has ended, or null. */
  get endReason(): string | null {
    return this.#endReason;
  }

  /** Runs an attempt. Whatever becomes of the thread, an outcome comes. */
  run(
    facts: AttemptFacts,
    payload: string,
    noteProgress: (text: string) => void,
  ): Promise<Outcome> {
    return new Promise((resolve) => {
      this.#run = { facts, resolve, noteProgress };
      this.#say({ kind: "run", facts, payload });
    });
  }

  /** Aborts the signal of what runs. */
  stop(reason: StopReason): void {
    this.#say({ kind: "stop", reason });
  }

  /** Ends it in the middle of whatever it does. */
  kill(): void {
    if (!this.#isAlive) return;
    this.#worker.terminate();
    this.#ended("it was killed because its handler did not stop");
  }

  /** Ends it for good, after it has loaded: a thread that is terminated while it loads can take the process with it. */
  async end(): Promise<void> {
    await this.loaded;
    if (!this.#isAlive) return;
    this.#worker.terminate();
    this.#ended("the process stops");
  }

  #say(message: ToThread): void {
    this.#worker.postMessage(message);
  }

  #hear(message: FromThread): void {
    switch (message.kind) {
      case "ready":
        this.#hasLoaded = true;
        this.#settleLoaded(null);
        break;
      case "not_loaded":
        this.#settleLoaded(message.why);
        this.#worker.terminate();
        break;
      case "ended":
        this.#finish(message.outcome);
        break;
      case "progress":
        this.#run?.noteProgress(message.text);
        break;
      case "log":
        this.#options.log[message.level](message.event, message.fields);
        break;
      case "fault":
        this.#endReason = message.why;
        break;
      default:
        message satisfies never;
    }
  }

  #finish(outcome: Outcome): void {
    const run = this.#run;
    this.#run = null;
    run?.resolve(outcome);
  }

  #ended(why: string): void {
    if (!this.#isAlive) return;
    this.#isAlive = false;
    this.#endReason ??= why;
    this.#settleLoaded(this.#endReason);
    this.#options.onEnd();
    const message = `the thread of the attempt ended: ${this.#endReason}`;
    this.#finish(failed("thread_crashed", message, { kind: "backoff" }));
  }
}

function codeOf(event: Event): string {
  return "code" in event ? String(event.code) : "unknown";
}
