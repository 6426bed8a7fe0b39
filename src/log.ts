/**
 * The only writer of output: one line an event, each with a name. JSON where a machine reads it, columns where a person
 * does. Payloads and results never get in here.
 */

export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

/** What an event may be; `silent` is only a threshold. */
export type EventLevel = Exclude<LogLevel, "silent">;

/** What an event is about. Values are what JSON has; an undefined one is left out. */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** Events are named in snake_case, as facts: `server_listening`, `task_failed`. */
export interface Log {
  /** Whether debug events are written: what only they need should not be computed for nothing. */
  readonly isDebug: boolean;
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

export interface LogOptions {
  readonly level: LogLevel;
  /** Columns for a person instead of JSON. */
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

/** The functions of a log, each made for its level. */
export function atEveryLevel(
  at: (level: EventLevel) => (event: string, fields?: LogFields) => void,
): Omit<Log, "isDebug"> {
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/**
 * A log on this process's stdout. Whoever reads that may be slow, or go away: lines are lost then, but the tasks are not.
 */
export function stdoutLog(level: LogLevel): Log {
  const { stdout, stderr } = process;
  stdout.on("error", (error) =>
    writeToStderr(`ringq: the log can't be written: ${error.message}\n`),
  );
  // The last place to complain to. Without anybody to hear it, an error here would end the process.
  stderr.on("error", () => undefined);
  const outlet = new BoundedWriter(
    (line, onWritten) => stdout.write(line, onWritten),
    (lines) => log.warn("log_lines_dropped", { lines }),
  );
  const isForPeople = stdout.isTTY === true;
  const log = createLog({ level, isForPeople, write: (line) => outlet.write(line) });
  return log;
}

/** How much may wait for the reader of the output, in characters: minutes of events, and little memory. */
const WAITING_LENGTH_MAX = 1024 * 1024;

/** Bounds the lines that wait for a slow reader: beyond that they are dropped, and counted until there is room again. */
export class BoundedWriter {
  readonly #write: (line: string, onWritten: () => void) => void;
  readonly #onRoom: (dropped: number) => void;
  #waitingLength = 0;
  #dropped = 0;

  constructor(
    write: (line: string, onWritten: () => void) => void,
    onRoom: (dropped: number) => void,
  ) {
    this.#write = write;
    this.#onRoom = onRoom;
  }

  write(line: string): void {
    // What was dropped is told before anything else, so that the gap is where it belongs.
    if (this.#dropped > 0 || this.#waitingLength + line.length > WAITING_LENGTH_MAX) {
      this.#dropped += 1;
      return;
    }
    this.#waitingLength += line.length;
    this.#write(line, () => this.#written(line.length));
  }

  #written(length: number): void {
    this.#waitingLength -= length;
    if (this.#dropped === 0 || this.#waitingLength > WAITING_LENGTH_MAX / 2) return;
    const dropped = this.#dropped;
    this.#dropped = 0;
    this.#onRoom(dropped);
  }
}

/** A log that writes nothing. */
export const silentLog: Log = createLog({
  level: "silent",
  isForPeople: false,
  write: () => undefined,
});

/**
 * A log that never throws: what the given one throws becomes an uncaught error of the program that gave it. Whoever logs
 * is in the middle of a step, and has to finish it.
 */
export function shielded(log: Log): Log {
  return {
    get isDebug() {
      return log.isDebug;
    },
    ...atEveryLevel((level) => (event, fields) => {
      try {
        log[level](event, fields);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }),
  };
}

/** A log that adds these fields to every event. */
export function withFields(log: Log, own: LogFields): Log {
  return {
    isDebug: log.isDebug,
    ...atEveryLevel((level) => (event, fields) => log[level](event, { ...fields, ...own })),
  };
}

/** Writes plain text as the answer to a command. */
export function writeToStdout(text: string): void {
  process.stdout.write(text);
}

/** Writes plain text for a person who has to read it before anything else runs: usage, faults of the configuration. */
export function writeToStderr(text: string): void {
  process.stderr.write(text);
}

function formatAsJson(time: Date, level: LogLevel, event: string, fields: LogFields): string {
  const head = { time: time.toISOString(), level, event };
  // The head comes first and has the last word: no field of a handler's can pass for another event.
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
    .map(
      ([name, value]) =>
        `\x1b[2m${quoteIfNeeded(name)}=${RESET}${typeof value === "string" ? quoteIfNeeded(value) : value}`,
    );
  return [
    `\x1b[2m${clock}${RESET}`,
    `${COLOURS[level]}${level.padEnd(5)}${RESET}`,
    quoteIfNeeded(event),
    ...pairs,
  ].join(" ");
}

/** Quotes what has blanks or control characters in it, so that no text can forge a line or move the cursor. */
function quoteIfNeeded(text: string): string {
  if (/^[\x21-\x7e]+$/.test(text)) return text;
  // JSON escapes the control characters of ASCII, but neither those of Latin 1 nor what turns the writing direction.
  return JSON.stringify(text).replace(
    /[\x7f-\x9f\p{Bidi_Control}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
