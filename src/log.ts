/**
 * What a log is: named events with fields, each of a level. It writes nothing by itself, and
 * imports nothing. Payloads and results never get in here.
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

/** The functions of a log, each made for its level. */
export function atEveryLevel(
  at: (level: EventLevel) => (event: string, fields?: LogFields) => void,
): Omit<Log, "isDebug"> {
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** A log that writes nothing. */
export const silentLog: Log = { isDebug: false, ...atEveryLevel(() => () => undefined) };

/**
 * A log that never throws: what the given one throws becomes an uncaught error of the program that
 * gave it. Whoever logs is in the middle of a step, and has to finish it.
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
