/**
 * The code inside a thread: it loads the handlers once, then runs one attempt at a time. It knows
 * nothing of the engine.
 */

import type { AttemptOutcome } from "../../engine/engine.ts";
import { messageOf, outcomeOfResult } from "../../engine/outcome.ts";
import { atEveryLevel, type Log, type LogFields } from "../../log.ts";
import { abortError } from "../attempt.ts";
import { Context, type ContextOptions } from "../context.ts";
import type { HandlerFunction, Handlers } from "../handlers/define.ts";
import { loadHandlers } from "../handlers/load.ts";
import { outcomeOfThrow } from "../outcome.ts";
import { LogRoom } from "./log-room.ts";
import type { FromThread, Load, ToThread } from "./protocol.ts";

declare const self: Worker;

self.onmessage = ({ data }: MessageEvent<Load>) => {
  self.onmessage = null;
  void load(data);
};

async function load({ port, path, resultBytesMax, isDebug, logRoom }: Load): Promise<void> {
  const say: Say = (message) => port.postMessage(message);
  // After an uncaught error of a handler, the state of the thread is unknown.
  for (const event of ["uncaughtException", "unhandledRejection"]) {
    process.on(event, (thrown: unknown) => say({ kind: "fault", why: messageOf(thrown) }));
  }
  const log = logToProcess(say, isDebug, new LogRoom(logRoom));
  const loaded = await loadHandlers(path, () => log.warn("handlers_slow_to_load", { path }));
  if (loaded.kind === "failed") return say({ kind: "not_loaded", why: loaded.why });
  const attempts = new Attempts(say, loaded.handlers, { log, progressBytesMax: resultBytesMax });
  port.onmessage = ({ data }: { readonly data: ToThread }) => attempts.hear(data);
  say({ kind: "ready" });
}

type Say = (message: FromThread) => void;

/** The attempts of this thread, one after the other. */
class Attempts {
  readonly #say: Say;
  readonly #handlers: Handlers;
  readonly #options: ContextOptions;
  #controller = new AbortController();

  constructor(say: Say, handlers: Handlers, options: ContextOptions) {
    this.#say = say;
    this.#handlers = handlers;
    this.#options = options;
  }

  hear(message: ToThread): void {
    switch (message.kind) {
      case "run":
        void this.#run(message);
        break;
      case "stop":
        this.#controller.abort(abortError(message.reason));
        break;
      default:
        message satisfies never;
    }
  }

  async #run({ task, payload }: ToThread & { kind: "run" }): Promise<void> {
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    const progress = new ProgressPost(this.#say);
    let outcome: AttemptOutcome;
    try {
      const source = { task, signal };
      const context = new Context(source, this.#options, (text) => progress.post(text));
      const value = await this.#handlerOf(task.type)(JSON.parse(payload), context);
      outcome = outcomeOfResult(value, this.#options.progressBytesMax);
    } catch (thrown) {
      outcome = outcomeOfThrow(thrown);
    }
    progress.end();
    this.#say({ kind: "ended", outcome });
  }

  #handlerOf(type: string): HandlerFunction {
    const handler = this.#handlers.types.get(type)?.handler;
    if (handler === undefined) throw new Error(`the thread has no handler for type ${type}`);
    return handler;
  }
}

/**
 * Limits the rate of progress messages: a handler in a tight loop must not fill the process with
 * them.
 */
class ProgressPost {
  static readonly #intervalMs = 20;
  readonly #say: Say;
  #postedAtMs = Number.NEGATIVE_INFINITY;
  #held: string | null = null;
  #timer: Timer | null = null;
  #isOver = false;

  constructor(say: Say) {
    this.#say = say;
  }

  post(text: string): void {
    // A handler may continue after its end, when the thread already runs another task.
    if (this.#isOver) return;
    this.#held = text;
    const waitMs = this.#postedAtMs + ProgressPost.#intervalMs - performance.now();
    if (waitMs <= 0) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), waitMs);
  }

  end(): void {
    this.#flush();
    this.#isOver = true;
  }

  #flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#held === null) return;
    this.#say({ kind: "progress", text: this.#held });
    this.#held = null;
    this.#postedAtMs = performance.now();
  }
}

function logToProcess(say: Say, isDebug: boolean, room: LogRoom): Log {
  const log = atEveryLevel((level) => (event, fields = {}) => {
    const length = lengthOf(event, fields);
    if (room.take(length)) say({ kind: "log", level, event, fields, length });
  });
  return { isDebug, ...log, debug: isDebug ? log.debug : () => undefined };
}

function lengthOf(event: string, fields: LogFields): number {
  return Object.entries(fields).reduce(
    (sum, [name, value]) => sum + name.length + (typeof value === "string" ? value.length : 0),
    event.length,
  );
}
