/**
 * Every bound of a field, once. The engine checks them where tasks and claims enter; HTTP schemas, handlers, the
 * configuration and later bindings take the numbers, the patterns and the words from here. Nothing here knows a task.
 */

/** What a field may hold. */
export interface Limit {
  /** The allowed values in words, to follow "must be". */
  readonly allowed: string;
  readonly allows: (value: unknown) => boolean;
}

/** A whole number, both ends included. */
export interface WholeLimit extends Limit {
  readonly min: number;
  readonly max: number;
}

/** Text. `pattern` is the source of a regular expression for the whole text (ECMA-262, without flags). */
export interface TextLimit extends Limit {
  readonly pattern: string;
  readonly lengthMax: number;
}

export interface ListLimit extends Limit {
  readonly lengthMax: number;
}

const HOUR_MS = 60 * 60 * 1000;
export const DAY_MS = 24 * HOUR_MS;

/** As far ahead as anything may be put off. */
const AHEAD_MS_MAX = 30 * DAY_MS;

const TAG = text("[A-Za-z0-9._:/-]+", 64, "1 to 64 of A–Z a–z 0–9 . _ : / -");

export const LIMITS = {
  type: text("[A-Za-z0-9._:-]+", 128, "1 to 128 of A–Z a–z 0–9 . _ : -"),
  // Not "." or "..": clients fold them out of a path, so such a queue could not be read or paused over HTTP.
  queue: text(
    "(\\.{3}|\\.{0,2}[a-z0-9_-])[a-z0-9._-]*",
    64,
    '1 to 64 of a–z 0–9 . _ - but not "." or ".."',
  ),
  tag: TAG,
  /** How many tags a task may have, and each of them. */
  tags: list(TAG, 8),
  priority: whole(-100, 100),
  maxRetries: whole(0, 100),
  timeoutMs: whole(1, DAY_MS),
  delayMs: whole(0, AHEAD_MS_MAX),
  /** Wall-clock milliseconds since the Unix epoch, in the years that RFC 3339 can write. */
  runAtMs: whole(-62_167_219_200_000, 253_402_300_799_999),
  /** Levels of arrays and objects. Parsers take millions; every later walk over the value would pay for them. */
  payloadDepth: whole(0, 64),
  /** Printable ASCII without blanks: keys are compared and kept, never shown. */
  idempotencyKey: text("[\\x21-\\x7e]+", 255, "1 to 255 printable ASCII characters without blanks"),
  /** The cap of every backoff: beyond the calendar, a time could not be shown as `run_at`. */
  backoffMaxMs: whole(0, AHEAD_MS_MAX),
  /** How long a handler may ask a retry to wait, and a release its task. */
  retryAfterMs: whole(0, AHEAD_MS_MAX),
  errorCode: text("[A-Za-z0-9_.:-]+", 64, "1 to 64 of A–Z a–z 0–9 _ . : -"),
  /** Characters kept of an error's message: a sentence and a cause, for thousands of failed tasks. */
  errorMessageLength: whole(0, 1000),
  /** How long a lease may be asked for. */
  leaseMs: whole(1000, 12 * HOUR_MS),
  /** Tasks in one claim. */
  claimTasks: whole(1, 100),
  /** Queues, or types, that one claim may name. */
  claimNames: whole(1, 32),
  worker: text("[\\x20-\\x7e]+", 128, "1 to 128 printable ASCII characters"),
  /** How long a request may wait for a task to finish. */
  waitMs: whole(0, 60_000),
  /** Tasks in one page of a list. */
  pageTasks: whole(1, 500),
} as const satisfies Readonly<Record<string, Limit>>;

export function whole(min: number, max: number): WholeLimit {
  return {
    min,
    max,
    allowed: `a whole number from ${min} to ${max}`,
    allows: (value) => Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max,
  };
}

/** A list of at most `lengthMax` entries. */
function list(entry: TextLimit, lengthMax: number): ListLimit {
  return {
    lengthMax,
    allowed: `a list of at most ${lengthMax}, each ${entry.allowed}`,
    allows: (value) =>
      Array.isArray(value) &&
      value.length <= lengthMax &&
      value.every((each) => entry.allows(each)),
  };
}

function text(pattern: string, lengthMax: number, allowed: string): TextLimit {
  const form = new RegExp(`^(?:${pattern})$`);
  // Most tasks have the type, and the queue, of the one before.
  let lastAllowed: unknown;
  return {
    pattern: `^(?:${pattern})$`,
    lengthMax,
    allowed,
    allows(value) {
      if (value === lastAllowed && value !== undefined) return true;
      if (typeof value !== "string" || value.length > lengthMax || !form.test(value)) return false;
      lastAllowed = value;
      return true;
    },
  };
}
