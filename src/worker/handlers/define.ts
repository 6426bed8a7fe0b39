/**
 * Defines handlers: which function runs which type of task, and by which rules. They are checked
 * when they are defined, so that a wrong option stops the start and not the first task.
 */

import type { TSchema } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import {
  type Backoff,
  type FieldFault,
  LIMITS,
  type QueueLimits,
  type TypeRules,
} from "../../engine/engine.ts";
import type { Log } from "../../log.ts";

/** What a handler sees of its attempt, beside the payload. */
export interface HandlerContext {
  /** The task's id: the same in every attempt, so it makes a good idempotency key for others. */
  readonly id: string;
  readonly type: string;
  readonly queue: string;
  /** The number of this attempt, counted from 1. */
  readonly attempt: number;
  /** Attempts after the first that the task may have. */
  readonly maxRetries: number;
  /** Aborts when the attempt has run out of time, its task was cancelled, or the process stops. */
  readonly signal: AbortSignal;
  /** Writes log lines that name the task. */
  readonly log: Log;
  /**
   * Shows a JSON value on the task as its `progress`. Throws a TypeError for what is not JSON or
   * too large.
   */
  progress(value: unknown): void;
}

/**
 * Runs one attempt at a task. What it returns, or resolves to, is the result; what it throws is a
 * failed attempt.
 */
export type HandlerFunction<Payload = unknown> = (
  payload: Payload,
  context: HandlerContext,
) => unknown;

/** A handler with rules for the tasks of its type. The options of an enqueue go before these. */
export interface HandlerOptions<Payload = unknown> {
  readonly handler: HandlerFunction<Payload>;
  /**
   * The schema of the payload. A payload that does not fit is refused when it is enqueued, with its
   * path.
   */
  readonly schema?: TSchema & { readonly static: Payload };
  /** How long one attempt may take, in milliseconds. */
  readonly timeoutMs?: number;
  /** Attempts after the first. */
  readonly maxRetries?: number;
  /**
   * The wait before retry n is `baseMs · 2ⁿ + jitter`, capped at `maxMs`. What is left out is as
   * configured.
   */
  readonly backoff?: Partial<Backoff>;
  /** Where tasks of this type go when the enqueue names no queue. */
  readonly queue?: string;
  /** `"thread"` runs it off the event loop, in a thread that is killed when it overruns. */
  readonly isolation?: "thread";
}

/** Limits of one queue. What is left out is as configured. */
export type QueueOptions = Partial<QueueLimits>;

/** What {@link defineHandlers} makes, and what a handlers module exports as its default. */
export interface Handlers {
  readonly [HANDLERS_MARK]: true;
  readonly types: ReadonlyMap<string, HandlerOptions>;
  readonly queues: ReadonlyMap<string, QueueOptions>;
}

const HANDLERS_MARK = Symbol.for("ringq.handlers");

/**
 * By type, with the payload that each handler takes: that of its schema, or the one that it
 * declares itself.
 */
type HandlerEntries<Payloads> = {
  readonly [Type in keyof Payloads]:
    | DeclaringFunction<Payloads[Type]>
    | HandlerOptions<Payloads[Type]>
    | DeclaringOptions<Payloads[Type]>;
};

/**
 * A function that may declare its payload as it likes, for where there is no schema to hold it to.
 * Written as a method, whose parameters the compiler compares both ways: beside an entry whose
 * payload has no type, it takes all for unknown.
 */
type DeclaringFunction<Payload> = {
  call(payload: Payload, context: HandlerContext): unknown;
}["call"];

type DeclaringOptions<Payload> = Omit<HandlerOptions<Payload>, "handler" | "schema"> & {
  readonly handler: DeclaringFunction<Payload>;
  readonly schema?: undefined;
};

/**
 * Defines the handlers of a server or a queue: by task type a function, or a function with options;
 * and limits for queues by name. Throws a TypeError that names every option it does not know or
 * can't use.
 */
export function defineHandlers<Payloads extends Record<string, unknown>>(
  entries: HandlerEntries<Payloads>,
  { queues = {} }: { readonly queues?: Readonly<Record<string, QueueOptions>> } = {},
): Handlers {
  const faults: string[] = [];
  const types = new Map<string, HandlerOptions>();
  for (const [type, entry] of Object.entries<unknown>(entries)) {
    const options = typeof entry === "function" ? { handler: entry } : entry;
    faults.push(...faultsOfType(type, options).map((fault) => `${type}: ${fault}`));
    types.set(type, options as HandlerOptions);
  }
  for (const [name, options] of Object.entries<unknown>(queues)) {
    faults.push(...faultsOfQueue(name, options).map((fault) => `queue ${name}: ${fault}`));
  }
  if (faults.length > 0) throw new TypeError(`invalid handlers: ${faults.join("; ")}`);
  return { [HANDLERS_MARK]: true, types, queues: new Map(Object.entries(queues)) };
}

/** Whether a value came from {@link defineHandlers}, of this copy of the package or another one. */
export function isHandlers(value: unknown): value is Handlers {
  return typeof value === "object" && value !== null && HANDLERS_MARK in value;
}

/** The rules of every type, as the engine wants them. */
export function typeRules(handlers: Handlers, backoff: Backoff): ReadonlyMap<string, TypeRules> {
  return new Map(
    Array.from(handlers.types, ([type, options]) => [
      type,
      {
        queue: options.queue,
        maxRetries: options.maxRetries,
        timeoutMs: options.timeoutMs,
        backoff: options.backoff === undefined ? undefined : withOwn(backoff, options.backoff),
        lane: options.isolation,
        check: options.schema === undefined ? undefined : payloadCheck(options.schema),
      },
    ]),
  );
}

/** The limits of every queue that has limits of its own. */
export function queueLimits(
  handlers: Handlers,
  limits: QueueLimits,
): ReadonlyMap<string, QueueLimits> {
  return new Map(Array.from(handlers.queues, ([name, own]) => [name, withOwn(limits, own)]));
}

/**
 * Common values with some of one's own. An undefined one is left out: over a number it would be no
 * number.
 */
function withOwn<T extends object>(common: T, own: Partial<T>): T {
  const given = Object.entries(own).filter(([, value]) => value !== undefined);
  return { ...common, ...Object.fromEntries(given) };
}

/** Enough to mend a payload, and no way to make the server talk for long. */
const FAULTS_MAX = 20;

function payloadCheck(schema: TSchema): (payload: unknown) => readonly FieldFault[] {
  const compiled = TypeCompiler.Compile(schema);
  return (payload) => {
    if (compiled.Check(payload)) return [];
    const faults: FieldFault[] = [];
    for (const { path, message } of compiled.Errors(payload)) {
      if (faults.length === FAULTS_MAX) break;
      faults.push({ path, message });
    }
    return faults;
  };
}

/** What an option may be: the words follow "must be". */
interface OptionRule {
  readonly allowed: string;
  readonly allows: (value: unknown) => boolean;
}

type OptionRules = Readonly<Record<string, OptionRule>>;

/**
 * A whole number with no upper bound of its own: a backoff is capped by its maxMs, a queue by the
 * memory.
 */
function atLeast(min: number): OptionRule {
  return {
    allowed: `a whole number of at least ${min}`,
    allows: (value) => Number.isSafeInteger(value) && Number(value) >= min,
  };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const BACKOFF_RULES: OptionRules = {
  baseMs: atLeast(0),
  jitterMs: atLeast(0),
  maxMs: LIMITS.backoffMaxMs,
};

const TYPE_RULES: OptionRules = {
  handler: { allowed: "a function", allows: (value) => typeof value === "function" },
  schema: { allowed: "a TypeBox schema that can be compiled", allows: isSchema },
  timeoutMs: LIMITS.timeoutMs,
  maxRetries: LIMITS.maxRetries,
  backoff: {
    allowed: `an object in which ${allowedIn(BACKOFF_RULES)}`,
    allows: (value) => isObject(value) && faultsOf(value, BACKOFF_RULES).length === 0,
  },
  queue: LIMITS.queue,
  isolation: { allowed: '"thread"', allows: (value) => value === "thread" },
};

function allowedIn(rules: OptionRules): string {
  return Object.entries(rules)
    .map(([name, { allowed }]) => `${name} is ${allowed}`)
    .join(", ");
}

const QUEUE_RULES: OptionRules = {
  size: atLeast(1),
  bytes: atLeast(1),
  concurrency: atLeast(1),
};

/**
 * JSON Schema alone will not do, nor a reference that leads nowhere: only the compiler knows what
 * it takes.
 */
function isSchema(value: unknown): boolean {
  try {
    TypeCompiler.Compile(value as TSchema);
    return true;
  } catch {
    return false;
  }
}

function faultsOfType(type: string, options: unknown): readonly string[] {
  if (!LIMITS.type.allows(type)) return [`the name of a type must be ${LIMITS.type.allowed}`];
  if (!isObject(options) || options["handler"] === undefined) {
    return ["must be a function, or an object with a handler"];
  }
  return faultsOf(options, TYPE_RULES);
}

function faultsOfQueue(name: string, options: unknown): readonly string[] {
  if (!LIMITS.queue.allows(name)) return [`the name of a queue must be ${LIMITS.queue.allowed}`];
  return isObject(options) ? faultsOf(options, QUEUE_RULES) : ["must be an object"];
}

function faultsOf(options: Record<string, unknown>, rules: OptionRules): readonly string[] {
  return Object.entries(options).flatMap(([name, value]) => {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (rule === undefined) return [`unknown option ${name}`];
    return value === undefined || rule.allows(value) ? [] : [`${name} must be ${rule.allowed}`];
  });
}
