/**
 * The log interface: named events with fields, each with a level. It writes nothing itself, and
 * imports nothing. Payloads and results never enter the log.
 */

export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

/** The level of an event; `silent` is only a threshold. */
export type EventLevel = Exclude<LogLevel, "silent">;

/** The fields of an event. Values are those of JSON; undefined values are left out. */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** Events are named in snake_case, as facts: `server_listening`, `task_failed`. */
export interface Log {
  /** Whether debug events are written. If not, values for debug events need not be computed. */
  readonly isDebug: boolean;
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

/** Makes one function for each level of a log. */
export function atEveryLevel(
  at: (level: EventLevel) => (event: string, fields?: LogFields) => void,
): Omit<Log, "isDebug"> {
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** A log that writes nothing. */
export const silentLog: Log = { isDebug: false, ...atEveryLevel(() => () => undefined) };

/**
 * A log that never throws. An error of the given log becomes an uncaught error of the program that
 * gave it. The caller is in the middle of a step and must finish it.
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
