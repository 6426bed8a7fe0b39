/**
 * The inside of a thread: loads the handlers once, then runs one attempt at a time. It knows nothing of the engine.
 */

import type { Outcome } from "../engine/engine.ts";
import { type Log, type LogFields, silentLog } from "../log.ts";
import { abortError } from "./attempt.ts";
import { Context } from "./context.ts";
import type { HandlerFunction, Handlers } from "./handlers.ts";
import { loadHandlers } from "./load.ts";
import { messageOf, outcomeOfReturn, outcomeOfThrow } from "./outcome.ts";
import type { FromThread, ToThread } from "./thread-protocol.ts";

declare const self: Worker;

function say(message: FromThread): void {
  self.postMessage(message);
}

let handlers: Handlers | null = null;
let log: Log = silentLog;
let resultBytesMax = 0;
let controller = new AbortController();

self.onmessage = async ({ data }: MessageEvent<ToThread>) => {
  switch (data.kind) {
    case "load":
      return load(data);
    case "run":
      return run(data);
    case "stop":
      return controller.abort(abortError(data.reason));
    default:
      return data satisfies never;
  }
};

// Whatever escapes a handler leaves the thread in a state that nobody knows: it says so, and ends.
for (const event of ["uncaughtException", "unhandledRejection"]) {
  process.on(event, (thrown: unknown) => {
    say({ kind: "fault", why: messageOf(thrown) });
    process.exit(1);
  });
}

async function load(message: ToThread & { kind: "load" }): Promise<void> {
  const loaded = await loadHandlers(message.path);
  if (loaded.kind === "failed") return say({ kind: "not_loaded", why: loaded.why });
  handlers = loaded.handlers;
  resultBytesMax = message.resultBytesMax;
  log = logToProcess(message.isDebug);
  say({ kind: "ready" });
}

async function run({ facts, payload }: ToThread & { kind: "run" }): Promise<void> {
  controller = new AbortController();
  const { signal } = controller;
  const progress = new ProgressPost();
  const source = { signal, noteProgress: (text: string) => progress.post(text) };
  let outcome: Outcome;
  try {
    const context = new Context(facts, source, { log, progressBytesMax: resultBytesMax });
    const value = await handlerOf(facts.type)(JSON.parse(payload), context);
    outcome = outcomeOfReturn(value, resultBytesMax);
  } catch (thrown) {
    outcome = outcomeOfThrow(thrown);
  }
  progress.end();
  say({ kind: "ended", outcome });
}

/** Posts progress at most every so often: a handler in a tight loop must not fill the process with messages. */
class ProgressPost {
  static readonly #intervalMs = 20;
  #postedAtMs = Number.NEGATIVE_INFINITY;
  #held: string | null = null;
  #timer: Timer | null = null;

  post(text: string): void {
    this.#held = text;
    const waitMs = this.#postedAtMs + ProgressPost.#intervalMs - performance.now();
    if (waitMs <= 0) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), waitMs);
  }

  end(): void {
    this.#flush();
  }

  #flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#held === null) return;
    say({ kind: "progress", text: this.#held });
    this.#held = null;
    this.#postedAtMs = performance.now();
  }
}

function logToProcess(isDebug: boolean): Log {
  const at =
    (level: "debug" | "info" | "warn" | "error") =>
    (event: string, fields: LogFields = {}): void =>
      say({ kind: "log", level, event, fields });
  const debug = isDebug ? at("debug") : () => undefined;
  return { isDebug, debug, info: at("info"), warn: at("warn"), error: at("error") };
}

function handlerOf(type: string): HandlerFunction {
  const entry = handlers?.types.get(type);
  if (entry === undefined) throw new Error(`the thread has no handler for type ${type}`);
  return entry.handler;
}
