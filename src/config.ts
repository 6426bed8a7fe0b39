/**
 * The settings, with defaults and bounds, and the only reader of the environment. All settings are
 * checked together, and every fault is reported by name, with the allowed values. So five typos do
 * not take five starts to find.
 */

import { isIP } from "node:net";
import { LIMITS } from "./core/limits.ts";
import { LOG_LEVELS, type LogLevel } from "./log.ts";

const DURABILITIES = ["full", "normal"] as const;

type Durability = (typeof DURABILITIES)[number];

/** Times are milliseconds, sizes are bytes. */
export interface Config {
  /** With 0, the system picks a free port. */
  readonly port: number;
  readonly host: string;
  /** The number of tasks that run on the event loop at the same time. */
  readonly workers: number;
  /**
   * The number of tasks of types with `isolation: "thread"` that run at the same time, each in a
   * thread.
   */
  readonly threads: number;
  /** Bounds the waiting tasks of each queue. */
  readonly queueSize: number;
  /** Bounds the payload bytes of the waiting tasks of each queue. */
  readonly queueBytes: number;
  readonly maxQueues: number;
  /** Bounds the tasks of each queue that remote workers hold; null for the queue's size. */
  readonly claimsMax: number | null;
  /** Bounds the claims that wait for a task. */
  readonly claimsWaitingMax: number;
  /** The lease of a remote claim that asks for none. */
  readonly leaseMs: number;
  /** Attempts after the first. */
  readonly maxRetries: number;
  readonly retryBaseMs: number;
  readonly retryJitterMs: number;
  readonly retryMaxMs: number;
  readonly taskTimeoutMs: number;
  /**
   * The path of a module of handlers; null for the simulated handler; `none` to run no code in the
   * process: then every type is remote.
   */
  readonly handlers: string | null;
  /** The probability that a simulated attempt fails. */
  readonly failureRate: number;
  readonly simulatedWorkMs: number;
  readonly resultBytesMax: number;
  /** Bounds the finished tasks that are kept for reading. */
  readonly retainTasks: number;
  readonly retainBytes: number;
  readonly retainMs: number;
  readonly maxBodyBytes: number;
  /** Bounds the unread bytes of all long answers together. */
  readonly answerBytesTotal: number;
  /** Further host names of the server, allowed in `Host`. */
  readonly allowedHosts: readonly string[];
  /** Origins whose web pages may use the server. */
  readonly corsOrigins: readonly string[];
  readonly shutdownGraceMs: number;
  /** The path of the file that keeps the tasks; null to keep them in memory only. */
  readonly dataFile: string | null;
  /**
   * The loss that a power cut may cause in the data file: nothing (`full`), or the last moments
   * (`normal`).
   */
  readonly durability: Durability;
  readonly logLevel: LogLevel;
}

export type ConfigOutcome =
  | { readonly kind: "valid"; readonly config: Config }
  /** One sentence each. */
  | { readonly kind: "invalid"; readonly faults: readonly string[] };

type Environment = Readonly<Record<string, string | undefined>>;

interface Setting<T> {
  /** Its name in the environment. */
  readonly env: string;
  readonly fallback: T;
  /** The allowed values, to follow "must be". */
  readonly allowed: string;
  /** Reads the value from text that is not empty; undefined when the text has the wrong form. */
  readonly read: (text: string) => unknown;
  readonly allows: (value: unknown) => value is T;
}

const KIB = 1024;
const MIB = 1024 * KIB;

const SETTINGS: { readonly [Name in keyof Config]: Setting<Config[Name]> } = {
  port: whole("PORT", 8080, 0, 65_535),
  host: text("HOST", "127.0.0.1", "a name or an address"),
  allowedHosts: list("ALLOWED_HOSTS", "a list of host names or IP addresses without ports", isHost),
  corsOrigins: list("CORS_ORIGINS", "a list of origins such as https://app.example:8443", isOrigin),
  workers: whole("WORKERS", 4, 1, 10_000),
  // One core stays free for the event loop, which has to answer even when all threads are busy.
  threads: whole("THREADS", Math.max(1, navigator.hardwareConcurrency - 1), 1, 256),
  queueSize: whole("QUEUE_SIZE", 64, 1),
  queueBytes: whole("QUEUE_BYTES", 64 * MIB, KIB),
  maxQueues: whole("MAX_QUEUES", 1000, 1),
  claimsMax: optional(whole("CLAIMS_MAX", 1, 1)),
  claimsWaitingMax: whole("CLAIMS_WAITING_MAX", 10_000, 1),
  leaseMs: whole("LEASE_MS", 10_000, LIMITS.leaseMs.min, LIMITS.leaseMs.max),
  maxRetries: whole("MAX_RETRIES", 3, LIMITS.maxRetries.min, LIMITS.maxRetries.max),
  retryBaseMs: whole("RETRY_BASE_MS", 200, 0),
  retryJitterMs: whole("RETRY_JITTER_MS", 100, 0),
  // It caps every wait, so the other two need no bound of their own.
  retryMaxMs: whole("RETRY_MAX_MS", 300_000, LIMITS.backoffMaxMs.min, LIMITS.backoffMaxMs.max),
  taskTimeoutMs: whole("TASK_TIMEOUT_MS", 30_000, LIMITS.timeoutMs.min, LIMITS.timeoutMs.max),
  handlers: path("HANDLERS"),
  failureRate: fraction("FAILURE_RATE", 0.2),
  simulatedWorkMs: whole("SIMULATED_WORK_MS", 0, 0),
  resultBytesMax: whole("RESULT_BYTES_MAX", 64 * KIB, 1),
  retainTasks: whole("RETAIN_TASKS", 10_000, 0),
  retainBytes: whole("RETAIN_BYTES", 64 * MIB, 0),
  retainMs: whole("RETAIN_MS", 3_600_000, 0),
  maxBodyBytes: whole("MAX_BODY_BYTES", MIB, KIB),
  answerBytesTotal: whole("ANSWER_BYTES_TOTAL", 256 * MIB, MIB),
  shutdownGraceMs: whole("SHUTDOWN_GRACE_MS", 8000, 0),
  dataFile: path("DATA_FILE"),
  durability: oneOf("DURABILITY", "full", DURABILITIES),
  logLevel: oneOf("LOG_LEVEL", "info", LOG_LEVELS),
};

const NAMES = Object.keys(SETTINGS) as (keyof Config)[];

/** Reads a configuration from an environment. Unset and empty variables take their default. */
export function readConfig(env: Environment): ConfigOutcome {
  const given = NAMES.map((name): [keyof Config, unknown] => {
    const raw = env[SETTINGS[name].env]?.trim();
    return [name, raw === undefined || raw === "" ? undefined : readOrKeep(SETTINGS[name], raw)];
  });
  return check(Object.fromEntries(given), (name) => SETTINGS[name].env);
}

/** Reads the configuration of this process. */
export function readProcessConfig(): ConfigOutcome {
  return readConfig(process.env);
}

/**
 * Checks options from a program, and fills in the defaults of missing ones. Throws a RangeError
 * with every fault.
 */
export function configOf(options: Partial<Config>): Config {
  const unknown = Object.keys(options).filter((name) => !Object.hasOwn(SETTINGS, name));
  const outcome = check(options, (name) => name);
  const faults = unknown.map((name) => `unknown option ${name}`);
  if (outcome.kind === "invalid") faults.push(...outcome.faults);
  if (outcome.kind === "invalid" || faults.length > 0) throw new RangeError(faults.join("; "));
  return outcome.config;
}

function check(
  given: Readonly<Partial<Record<keyof Config, unknown>>>,
  nameOf: (name: keyof Config) => string,
): ConfigOutcome {
  const faults: string[] = [];
  const values = NAMES.map((name) => {
    const { fallback, allowed, allows } = SETTINGS[name];
    const value = given[name];
    if (value === undefined) return [name, fallback];
    if (!allows(value)) {
      faults.push(`${nameOf(name)} must be ${allowed}, but is ${Bun.inspect(value)}`);
    }
    return [name, value];
  });
  if (faults.length > 0) return { kind: "invalid", faults };
  return { kind: "valid", config: Object.fromEntries(values) };
}

/**
 * A value of the wrong form stays text, so that the fault shows it. Only settings of type text
 * allow it.
 */
function readOrKeep(setting: Setting<unknown>, raw: string): unknown {
  return setting.read(raw) ?? raw;
}

function whole(
  env: string,
  fallback: number,
  min: number,
  max = Number.MAX_SAFE_INTEGER,
): Setting<number> {
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  return {
    env,
    fallback,
    allowed: `a whole number ${range}`,
    read: (raw) => (/^-?\d+$/.test(raw) ? Number(raw) : undefined),
    allows: (value): value is number =>
      Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max,
  };
}

function fraction(env: string, fallback: number): Setting<number> {
  return {
    env,
    fallback,
    allowed: "a number from 0 to 1",
    read: (raw) => (/^-?(\d+\.?\d*|\.\d+)(e-?\d+)?$/i.test(raw) ? Number(raw) : undefined),
    allows: (value): value is number => typeof value === "number" && value >= 0 && value <= 1,
  };
}

function text(env: string, fallback: string, allowed: string): Setting<string> {
  const allows = (value: unknown): value is string => typeof value === "string" && value !== "";
  return { env, fallback, allowed, read: (raw) => raw, allows };
}

function path(env: string): Setting<string | null> {
  return optional(text(env, "", "a path"));
}

/** A setting that may be missing: null. */
function optional<T>({ env, allowed, read, allows }: Setting<T>): Setting<T | null> {
  return {
    env,
    fallback: null,
    allowed,
    read,
    allows: (value): value is T | null => value === null || allows(value),
  };
}

function oneOf<T extends string>(env: string, fallback: T, values: readonly T[]): Setting<T> {
  return {
    env,
    fallback,
    allowed: `one of ${values.join(", ")}`,
    read: (raw) => raw,
    allows: (value): value is T => values.some((each) => each === value),
  };
}

/** Several values of text, separated by commas in the environment. */
function list(
  env: string,
  allowed: string,
  allowsEach: (text: string) => boolean,
): Setting<readonly string[]> {
  return {
    env,
    fallback: [],
    allowed,
    read: (raw) => raw.split(",").map((each) => each.trim()),
    allows: (value): value is readonly string[] =>
      Array.isArray(value) &&
      value.every((each: unknown) => typeof each === "string" && allowsEach(each)),
  };
}

function isHost(text: string): boolean {
  return isIP(text) !== 0 || /^[\w-]+(\.[\w-]+)*$/.test(text);
}

/** An origin as a browser writes it: without a path, and without the default port of its scheme. */
function isOrigin(text: string): boolean {
  return /^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text;
}
