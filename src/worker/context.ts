/**
 * The context of an attempt: the handler's view of it, on the event loop and in a thread alike.
 * Handlers are untrusted: everything that they log or report is bounded here, and never throws in
 * the middle of the process.
 */

import type { TaskView } from "../engine/engine.ts";
import { jsonTextOf, messageOf } from "../engine/outcome.ts";
import { atEveryLevel, type Log, type LogFields, withFields } from "../log.ts";
import type { HandlerContext } from "./handlers/define.ts";

/** The part of a task that a handler can see. */
export type AttemptTask = Pick<TaskView, "id" | "type" | "queue" | "attempt" | "maxRetries">;

/** The source of a context. `signal` may be a getter that makes it on demand. */
export interface ContextSource {
  readonly task: AttemptTask;
  readonly signal: AbortSignal;
}

export interface ContextOptions {
  readonly log: Log;
  readonly progressBytesMax: number;
}

/** Uses getters, so that a handler pays only for the members that it reads. */
export class Context implements HandlerContext {
  /** A copy, since an engine may show the next attempt on the same task object. */
  readonly attempt: number;
  readonly #source: ContextSource;
  readonly #options: ContextOptions;
  readonly #noteProgress: (text: string) => void;

  constructor(
    source: ContextSource,
    options: ContextOptions,
    noteProgress: (text: string) => void,
  ) {
    this.attempt = source.task.attempt;
    this.#source = source;
    this.#options = options;
    this.#noteProgress = noteProgress;
  }

  get id(): string {
    return this.#source.task.id;
  }

  get type(): string {
    return this.#source.task.type;
  }

  get queue(): string {
    return this.#source.task.queue;
  }

  get maxRetries(): number {
    return this.#source.task.maxRetries;
  }

  get signal(): AbortSignal {
    return this.#source.signal;
  }

  get log(): Log {
    const { id, type, attempt } = this;
    return handlerLog(withFields(this.#options.log, { id, type, attempt }));
  }

  /** A separate function, so that a handler may take it out of the context. */
  get progress(): (value: unknown) => void {
    return (value) => {
      const json = jsonTextOf(value, this.#options.progressBytesMax);
      if (json.kind !== "text") throw new TypeError(`the progress is invalid: ${json.why}`);
      this.#noteProgress(json.text);
    };
  }
}

/** The characters of one line, including its event and all fields: pages of text, but no dump. */
export const LINE_LENGTH_MAX = 16 * 1024;

/**
 * The cost of a field in addition to its name and text: it also bounds the number of empty fields.
 */
const FIELD_LENGTH = 8;

/**
 * A log that accepts any value from a handler. A field that JSON can't represent would throw: in
 * the handler, or, after it has crossed from a thread, in the middle of the process.
 */
function handlerLog(log: Log): Log {
  return {
    isDebug: log.isDebug,
    ...atEveryLevel((level) => (event, fields) => {
      // The work would be useless, and debug lines are many.
      if (level === "debug" && !log.isDebug) return;
      const name = cut(textOf(event), LINE_LENGTH_MAX);
      log[level](name, fields && boundedFields(fields, LINE_LENGTH_MAX - name.length));
    }),
  };
}

/** The fields that fit, the last one cut. */
function boundedFields(fields: LogFields, lengthMax: number): LogFields {
  const kept: [string, LogFields[string]][] = [];
  let left = lengthMax;
  for (const [name, value] of Object.entries(fields)) {
    left -= name.length + FIELD_LENGTH;
    if (left <= 0) break;
    const plain = isPlain(value) ? value : textOf(value);
    const bounded = typeof plain === "string" ? cut(plain, left) : plain;
    if (typeof bounded === "string") left -= bounded.length;
    kept.push([name, bounded]);
  }
  return Object.fromEntries(kept);
}

function cut(text: string, lengthMax: number): string {
  return text.length <= lengthMax ? text : `${text.slice(0, lengthMax - 1)}…`;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : messageOf(value);
}

function isPlain(value: unknown): boolean {
  return value === null || ["string", "number", "boolean", "undefined"].includes(typeof value);
}
