/** The only writer of output: one line per event. JSON for machines, columns for people. */

import {
  atEveryLevel,
  type EventLevel,
  LOG_LEVELS,
  type Log,
  type LogFields,
  type LogLevel,
} from "./log.ts";

export interface LogOptions {
  readonly level: LogLevel;
  /** Writes columns for a person instead of JSON. */
  readonly isForPeople: boolean;
  readonly write: (line: string) => void;
}

export function createLog({ level, isForPeople, write }: LogOptions): Log {
  const threshold = LOG_LEVELS.indexOf(level);
  const format = isForPeople ? formatForPeople : formatAsJson;
  const at = (eventLevel: EventLevel) =>
    LOG_LEVELS.indexOf(eventLevel) < threshold
      ? () => undefined
      : (event: string, fields: LogFields = {}) =>
          write(`${format(new Date(), eventLevel, event, fields)}\n`);
  return {
    isDebug: threshold === 0,
    ...atEveryLevel(at),
  };
}

/**
 * A log on this process's stdout. A slow or closed reader, or a full disk, can lose lines but never
 * tasks.
 */
export function stdoutLog(level: LogLevel): Log {
  const { stdout, stderr } = process;
  // Every write gets its own error. Without a listener, an error would also end the process.
  stdout.on("error", () => undefined);
  stderr.on("error", () => undefined);
  const writer = new BoundedWriter({
    write: (line, onWritten) => stdout.write(line, onWritten),
    onFailure: ({ message }) => writeToStderr(`ringq: the log can't be written: ${message}\n`),
    onLoss: (lines) => log.warn("log_lines_dropped", { lines }),
  });
  const isForPeople = stdout.isTTY === true;
  const log = createLog({ level, isForPeople, write: (line) => writer.write(line) });
  return log;
}

/**
 * The largest number of characters that may wait for the reader: minutes of events, and little
 * memory.
 */
const WAITING_LENGTH_MAX = 1024 * 1024;

export interface BoundedWriterOptions {
  /** Calls `onWritten` when the line is written, or with the error of the write. */
  readonly write: (line: string, onWritten: (error?: Error | null) => void) => void;
  /** Called once when writes begin to fail, and again only after a line was written. */
  readonly onFailure: (error: Error) => void;
  /** Called when writes work again, with the number of lost lines. */
  readonly onLoss: (lines: number) => void;
}

/**
 * Bounds the lines that wait for a slow reader, and counts lost lines: dropped ones and failed
 * writes.
 */
export class BoundedWriter {
  readonly #options: BoundedWriterOptions;
  #waitingLength = 0;
  #lost = 0;
  /**
   * Set from the first dropped line until half of the room is free. So there is one gap, not one
   * after each line.
   */
  #isFull = false;
  #isFailing = false;

  constructor(options: BoundedWriterOptions) {
    this.#options = options;
  }

  write(line: string): void {
    if (this.#waitingLength + line.length > WAITING_LENGTH_MAX) this.#isFull = true;
    if (this.#isFull) {
      this.#lost += 1;
      return;
    }
    this.#waitingLength += line.length;
    this.#options.write(line, (error) => this.#written(line.length, error ?? null));
  }

  #written(length: number, error: Error | null): void {
    this.#waitingLength -= length;
    if (this.#waitingLength <= WAITING_LENGTH_MAX / 2) this.#isFull = false;
    if (error !== null) {
      this.#lost += 1;
      if (!this.#isFailing) this.#options.onFailure(error);
      this.#isFailing = true;
      return;
    }
    this.#isFailing = false;
    if (this.#isFull || this.#lost === 0) return;
    const lost = this.#lost;
    this.#lost = 0;
    this.#options.onLoss(lost);
  }
}
/** Writes plain text as the answer to a command. */
export function writeToStdout(text: string): void {
  process.stdout.write(text);
}

/**
 * Writes plain text that a person has to read before anything runs: usage, configuration faults.
 */
export function writeToStderr(text: string): void {
  process.stderr.write(text);
}

function formatAsJson(time: Date, level: LogLevel, event: string, fields: LogFields): string {
  const head = { time: time.toISOString(), level, event };
  // The head comes first and also overrides the fields, so that no field of a handler can look like
  // another event.
  return JSON.stringify({ ...head, ...fields, ...head });
}

const COLOURS: Readonly<Record<LogLevel, string>> = {
  debug: "\x1b[2m",
  info: "\x1b[32m",
  warn: "\x1b[33m",
  error: "\x1b[31m",
  silent: "",
};
const RESET = "\x1b[0m";

function formatForPeople(time: Date, level: LogLevel, event: string, fields: LogFields): string {
  const clock = time.toTimeString().slice(0, 8);
  const pairs = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => {
      const text = typeof value === "string" ? quoteIfNeeded(value) : value;
      return `\x1b[2m${quoteIfNeeded(name)}=${RESET}${text}`;
    });
  return [
    `\x1b[2m${clock}${RESET}`,
    `${COLOURS[level]}${level.padEnd(5)}${RESET}`,
    quoteIfNeeded(event),
    ...pairs,
  ].join(" ");
}

/**
 * Quotes text with blanks or control characters, so that it can't forge a line or move the cursor.
 */
function quoteIfNeeded(text: string): string {
  if (/^[\x21-\x7e]+$/.test(text)) return text;
  // JSON escapes the control characters of ASCII, but not those of Latin 1 or those that change the
  // writing direction.
  return JSON.stringify(text).replace(
    /[\x7f-\x9f\p{Bidi_Control}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
