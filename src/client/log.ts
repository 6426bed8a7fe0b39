/** The log of a worker: named events with fields. Payloads and results never enter it. */

/** The values of fields are those of JSON; undefined values are left out. */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** A log with the levels of ringq's server; `createLog` of `ringq` makes one too. */
export interface Log {
  /** Whether debug events are written. */
  readonly isDebug: boolean;
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

type Level = "debug" | "info" | "warn" | "error";

/** Writes one JSON line per event to the console, without debug events. */
export const consoleLog: Log = logOf(false, (level, event, fields) => {
  if (level === "debug") return;
  console[level](JSON.stringify({ ts: new Date().toISOString(), level, event, ...fields }));
});

/** A log that adds these fields to every event, and never throws. */
export function withFields(log: Log, own: LogFields = {}): Log {
  return logOf(log.isDebug, (level, event, fields) => {
    try {
      log[level](event, { ...fields, ...own });
    } catch {
      // The worker is in the middle of a step and must finish it.
    }
  });
}

function logOf(
  isDebug: boolean,
  write: (level: Level, event: string, fields?: LogFields) => void,
): Log {
  const at = (level: Level) => (event: string, fields?: LogFields) => write(level, event, fields);
  return { isDebug, debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}
