/**
 * The only reader of the environment. It is read once and checked whole: every fault is reported, by name, with what
 * was allowed, so that nobody has to start five times to find five typos.
 */

import { LOG_LEVELS, type LogLevel } from "./log.ts";

export interface Config {
  readonly port: number;
  readonly host: string;
  readonly workers: number;
  readonly queueSize: number;
  readonly queueBytes: number;
  readonly maxQueues: number;
  readonly maxRetries: number;
  readonly retryBaseMs: number;
  readonly retryJitterMs: number;
  readonly retryMaxMs: number;
  readonly taskTimeoutMs: number;
  readonly failureRate: number;
  readonly simulatedWorkMs: number;
  readonly retainTasks: number;
  readonly retainBytes: number;
  readonly retainMs: number;
  readonly maxBodyBytes: number;
  readonly shutdownGraceMs: number;
  readonly logLevel: LogLevel;
}

export type ConfigOutcome =
  | { readonly kind: "valid"; readonly config: Config }
  /** One sentence each. */
  | { readonly kind: "invalid"; readonly faults: readonly string[] };

type Environment = Readonly<Record<string, string | undefined>>;

const KIB = 1024;
const MIB = 1024 * KIB;
const DAY_MS = 24 * 60 * 60 * 1000;

/** Reads the configuration from an environment: unset and empty variables take their default. */
export function readConfig(env: Environment): ConfigOutcome {
  const faults: string[] = [];
  const reader = new Reader(env, faults);
  const config: Config = {
    port: reader.integer("PORT", 8080, 0, 65_535),
    host: reader.text("HOST", "127.0.0.1"),
    workers: reader.integer("WORKERS", 4, 1),
    queueSize: reader.integer("QUEUE_SIZE", 64, 1),
    queueBytes: reader.integer("QUEUE_BYTES", 64 * MIB, KIB),
    maxQueues: reader.integer("MAX_QUEUES", 1000, 1),
    maxRetries: reader.integer("MAX_RETRIES", 3, 0, 100),
    retryBaseMs: reader.integer("RETRY_BASE_MS", 200, 0),
    retryJitterMs: reader.integer("RETRY_JITTER_MS", 100, 0),
    retryMaxMs: reader.integer("RETRY_MAX_MS", 300_000, 0),
    taskTimeoutMs: reader.integer("TASK_TIMEOUT_MS", 30_000, 1, DAY_MS),
    failureRate: reader.number("FAILURE_RATE", 0.2, 0, 1),
    simulatedWorkMs: reader.integer("SIMULATED_WORK_MS", 0, 0),
    retainTasks: reader.integer("RETAIN_TASKS", 10_000, 0),
    retainBytes: reader.integer("RETAIN_BYTES", 64 * MIB, 0),
    retainMs: reader.integer("RETAIN_MS", 3_600_000, 0),
    maxBodyBytes: reader.integer("MAX_BODY_BYTES", MIB, KIB),
    shutdownGraceMs: reader.integer("SHUTDOWN_GRACE_MS", 8000, 0),
    logLevel: reader.oneOf("LOG_LEVEL", "info", LOG_LEVELS),
  };
  return faults.length === 0 ? { kind: "valid", config } : { kind: "invalid", faults };
}

/** Reads the configuration of this process. */
export function readProcessConfig(): ConfigOutcome {
  return readConfig(process.env);
}

class Reader {
  readonly #env: Environment;
  readonly #faults: string[];

  constructor(env: Environment, faults: string[]) {
    this.#env = env;
    this.#faults = faults;
  }

  text(name: string, fallback: string): string {
    return this.#given(name) ?? fallback;
  }

  integer(name: string, fallback: number, min: number, max = Number.MAX_SAFE_INTEGER): number {
    return this.#numeric(name, fallback, min, max, /^-?\d+$/, "a whole number");
  }

  number(name: string, fallback: number, min: number, max: number): number {
    return this.#numeric(name, fallback, min, max, /^-?(\d+\.?\d*|\.\d+)(e-?\d+)?$/i, "a number");
  }

  oneOf<T extends string>(name: string, fallback: T, allowed: readonly T[]): T {
    const given = this.#given(name);
    if (given === undefined) return fallback;
    const found = allowed.find((each) => each === given);
    return found ?? this.#fault(name, given, `one of ${allowed.join(", ")}`, fallback);
  }

  #numeric(
    name: string,
    fallback: number,
    min: number,
    max: number,
    form: RegExp,
    what: string,
  ): number {
    const given = this.#given(name);
    if (given === undefined) return fallback;
    const value = Number(given);
    if (form.test(given) && value >= min && value <= max) return value;
    const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
    return this.#fault(name, given, `${what} ${range}`, fallback);
  }

  #given(name: string): string | undefined {
    const given = this.#env[name]?.trim();
    return given === "" ? undefined : given;
  }

  #fault<T>(name: string, given: string, allowed: string, fallback: T): T {
    this.#faults.push(`${name} must be ${allowed}, but is ${JSON.stringify(given)}`);
    return fallback;
  }
}
