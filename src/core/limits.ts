/**
 * The bounds of all fields, defined once. The engine checks them where tasks and claims enter; HTTP
 * schemas, handlers, the configuration and later bindings use the same numbers, patterns and words.
 * This file knows nothing about tasks.
 */

/** The allowed values of a field. */
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

/**
 * Text. `pattern` is the source of a regular expression for the whole text (ECMA-262, without
 * flags).
 */
export interface TextLimit extends Limit {
  readonly pattern: string;
  readonly lengthMax: number;
}

export interface ListLimit extends Limit {
  readonly lengthMax: number;
}

const HOUR_MS = 60 * 60 * 1000;
export const DAY_MS = 24 * HOUR_MS;

/** The longest time for which anything can be delayed. */
const AHEAD_MS_MAX = 30 * DAY_MS;

const TAG = text("[A-Za-z0-9._:/-]+", 64, "1 to 64 characters of A–Z a–z 0–9 . _ : / -");

export const LIMITS = {
  type: text("[A-Za-z0-9._:-]+", 128, "1 to 128 characters of A–Z a–z 0–9 . _ : -"),
  // Not "." or "..": clients remove them from a path, so such a queue could not be read or paused
  // over HTTP.
  queue: text(
    "(\\.{3}|\\.{0,2}[a-z0-9_-])[a-z0-9._-]*",
    64,
    '1 to 64 characters of a–z 0–9 . _ - but not "." or ".."',
  ),
  tag: TAG,
  /** The number of tags of a task, and the form of each tag. */
  tags: list(TAG, 8),
  priority: whole(-100, 100),
  maxRetries: whole(0, 100),
  timeoutMs: whole(1, DAY_MS),
  delayMs: whole(0, AHEAD_MS_MAX),
  /** Wall-clock milliseconds since the Unix epoch, within the years that RFC 3339 can write. */
  runAtMs: whole(-62_167_219_200_000, 253_402_300_799_999),
  /**
   * Levels of arrays and objects. Parsers accept millions, but every later walk over the value
   * would pay for them.
   */
  payloadDepth: whole(0, 64),
  /** Printable ASCII without blanks: keys are compared and stored, but never shown. */
  idempotencyKey: text("[\\x21-\\x7e]+", 255, "1 to 255 printable ASCII characters without blanks"),
  /** The cap of every backoff: a time beyond the calendar could not be shown as `run_at`. */
  backoffMaxMs: whole(0, AHEAD_MS_MAX),
  /** The longest delay that a handler may request for a retry or a released task. */
  retryAfterMs: whole(0, AHEAD_MS_MAX),
  errorCode: text("[A-Za-z0-9_.:-]+", 64, "1 to 64 characters of A–Z a–z 0–9 _ . : -"),
  /**
   * The characters of an error message that are kept: enough for a sentence and a cause, small
   * enough for thousands of failed tasks.
   */
  errorMessageLength: whole(0, 1000),
  /** The length of a lease. */
  leaseMs: whole(1000, 12 * HOUR_MS),
  /** The number of tasks in one claim. */
  claimTasks: whole(1, 100),
  /** The number of queues, or of types, in one claim. */
  claimNames: whole(1, 32),
  worker: text("[\\x20-\\x7e]+", 128, "1 to 128 printable ASCII characters"),
  /** The longest time that a request can wait for a task to finish. */
  waitMs: whole(0, 60_000),
  /** The number of tasks in one page of a list. */
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
    allowed: `a list of at most ${lengthMax} values, each ${entry.allowed}`,
    allows: (value) =>
      Array.isArray(value) &&
      value.length <= lengthMax &&
      value.every((each) => entry.allows(each)),
  };
}

function text(pattern: string, lengthMax: number, allowed: string): TextLimit {
  const form = new RegExp(`^(?:${pattern})$`);
  // Most tasks have the same type and queue as the previous one.
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
