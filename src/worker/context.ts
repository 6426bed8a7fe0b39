/**
 * What a handler sees of its attempt, on the event loop and in a thread alike.
 */

import { atEveryLevel, type Log, type LogFields, withFields } from "../log.ts";
import type { HandlerContext } from "./handlers/define.ts";
import { jsonTextOf, messageOf } from "./outcome.ts";

/** What does not change during an attempt. */
export interface AttemptFacts {
  readonly id: string;
  readonly type: string;
  readonly queue: string;
  readonly attempt: number;
  readonly maxRetries: number;
}

/** Where a context gets what it passes on. */
export interface ContextSource {
  /** A getter where the signal is made on demand. */
  readonly signal: AbortSignal;
  noteProgress(text: string): void;
}

export interface ContextOptions {
  readonly log: Log;
  readonly progressBytesMax: number;
}

/** Getters, so that a handler pays only for what it takes. */
export class Context implements HandlerContext {
  readonly #facts: AttemptFacts;
  readonly #source: ContextSource;
  readonly #options: ContextOptions;

  constructor(facts: AttemptFacts, source: ContextSource, options: ContextOptions) {
    this.#facts = facts;
    this.#source = source;
    this.#options = options;
  }

  get id(): string {
    return this.#facts.id;
  }

  get type(): string {
    return this.#facts.type;
  }

  get queue(): string {
    return this.#facts.queue;
  }

  get attempt(): number {
    return this.#facts.attempt;
  }

  get maxRetries(): number {
    return this.#facts.maxRetries;
  }

  get signal(): AbortSignal {
    return this.#source.signal;
  }

  get log(): Log {
    const { id, type, attempt } = this.#facts;
    return plainLog(withFields(this.#options.log, { id, type, attempt }));
  }

  /** A function of its own, so that a handler may take it out of the context. */
  get progress(): (value: unknown) => void {
    return (value) => {
      const json = jsonTextOf(value, this.#options.progressBytesMax);
      if (json.kind !== "text") throw new TypeError(`the progress can't be shown: ${json.why}`);
      this.#source.noteProgress(json.text);
    };
  }
}

/**
 * A log that takes whatever a handler gives it. A field that JSON does not have would throw: in the handler, or, once it
 * has crossed from a thread, in the middle of the process.
 */
function plainLog(log: Log): Log {
  return {
    isDebug: log.isDebug,
    ...atEveryLevel((level) => (event, fields) => {
      log[level](plainText(event), fields === undefined ? undefined : plainFields(fields));
    }),
  };
}

function plainText(value: unknown): string {
  return typeof value === "string" ? value : messageOf(value);
}

function plainFields(fields: LogFields): LogFields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      isPlain(value) ? value : messageOf(value),
    ]),
  );
}

function isPlain(value: unknown): boolean {
  return value === null || ["string", "number", "boolean", "undefined"].includes(typeof value);
}
