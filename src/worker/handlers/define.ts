/**
 * Defines handlers: a function for each type of task, and its rules. They are checked when they are
 * defined, so that a wrong option stops the start instead of failing the first task.
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

/** The handler's view of its attempt, in addition to the payload. */
export interface HandlerContext {
  /**
   * The task's id. It is the same in every attempt, so it is a good idempotency key for other
   * services.
   */
  readonly id: string;
  readonly type: string;
  readonly queue: string;
  /** The number of this attempt, counted from 1. */
  readonly attempt: number;
  /** Attempts after the first, as allowed for the task. */
  readonly maxRetries: number;
  /** Aborts when the attempt has timed out, its task was cancelled, or the process stops. */
  readonly signal: AbortSignal;
  /** Writes log lines with the id of the task. */
  readonly log: Log;
  /**
   * Shows a JSON value on the task as its `progress`. Throws a TypeError for a value that is not
   * JSON or is too large.
   */
  progress(value: unknown): void;
}

/**
 * Runs one attempt at a task. The returned or resolved value is the result; a thrown value is a
 * failed attempt.
 */
export type HandlerFunction<Payload = unknown> = (
  payload: Payload,
  context: HandlerContext,
) => unknown;

/** A handler with rules for the tasks of its type. Options of the enqueue take precedence. */
export interface HandlerOptions<Payload = unknown> {
  readonly handler: HandlerFunction<Payload>;
  /**
   * The schema of the payload. A payload that does not fit is refused at the enqueue, with the path
   * of the fault.
   */
  readonly schema?: TSchema & { readonly static: Payload };
  /** The time limit of one attempt, in milliseconds. */
  readonly timeoutMs?: number;
  /** Attempts after the first. */
  readonly maxRetries?: number;
  /**
   * The wait before retry n is `baseMs · 2ⁿ + jitter`, capped at `maxMs`. Missing values come from
   * the configuration.
   */
  readonly backoff?: Partial<Backoff>;
  /** The queue of tasks of this type when the enqueue names none. */
  readonly queue?: string;
  /** `"thread"` runs it off the event loop, in a thread that is killed on a timeout. */
  readonly isolation?: "thread";
}

/** The rules for the tasks of a type that remote workers run. */
export interface RemoteOptions<Payload = unknown>
  extends Omit<HandlerOptions<Payload>, "handler" | "isolation"> {
  /** `"remote"`: programs elsewhere claim its tasks over HTTP. */
  readonly isolation: "remote";
  readonly handler?: undefined;
  /** Carries the type of the payload. Never set. */
  readonly [PAYLOAD]?: Payload;
}

declare const PAYLOAD: unique symbol;

/** A type whose tasks remote workers run, with a payload that has no schema. */
export function remote<Payload = unknown>(
  options: Omit<RemoteOptions<Payload>, "isolation"> = {},
): RemoteOptions<Payload> {
  return { ...options, isolation: "remote" };
}

type TypeOptions = HandlerOptions | RemoteOptions;

/** The limits of one queue. Missing values come from the configuration. */
export type QueueOptions = Partial<QueueLimits>;

/**
 * The result of {@link defineHandlers}, and the default export of a handlers module. `Payloads` has
 * the type of the payload for each type of task.
 */
export interface Handlers<Payloads = unknown> {
  readonly [HANDLERS_MARK]: true;
  readonly types: ReadonlyMap<string, TypeOptions>;
  readonly queues: ReadonlyMap<string, QueueOptions>;
  /** `"remote"`: remote workers run the tasks of all other types. Otherwise these fail. */
  readonly otherTypes: "remote" | undefined;
  /** Carries the types of the payloads to a client. Never set. */
  readonly payloads?: Payloads;
}

const HANDLERS_MARK = Symbol.for("ringq.handlers");

/** By type, with the payload of each handler: from its schema, or as the handler declares it. */
type HandlerEntries<Payloads> = {
  readonly [Type in keyof Payloads]:
    | DeclaringFunction<Payloads[Type]>
    | HandlerOptions<Payloads[Type]>
    | DeclaringOptions<Payloads[Type]>
    | RemoteOptions<Payloads[Type]>;
};

/**
 * A function that may declare any payload, for handlers without a schema. It is written as a
 * method, because the compiler compares the parameters of methods in both directions. Otherwise,
 * beside an entry whose payload has no type, the compiler takes all payloads for unknown.
 */
type DeclaringFunction<Payload> = {
  call(payload: Payload, context: HandlerContext): unknown;
}["call"];

type DeclaringOptions<Payload> = Omit<HandlerOptions<Payload>, "handler" | "schema"> & {
  readonly handler: DeclaringFunction<Payload>;
  readonly schema?: undefined;
};

/** Options for more than one type of task. */
export interface HandlersOptions {
  /** Limits of queues, by name. */
  readonly queues?: Readonly<Record<string, QueueOptions>>;
  /** `"remote"`: remote workers run the tasks of all other types. Otherwise these fail. */
  readonly otherTypes?: "remote";
}

/**
 * Defines the handlers of a server or a queue: for each task type a function, a function with
 * options, or `isolation: "remote"` without a function. Throws a TypeError that names every unknown
 * or invalid option.
 */
export function defineHandlers<Payloads extends Record<string, unknown>>(
  entries: HandlerEntries<Payloads>,
  { queues = {}, otherTypes, ...rest }: HandlersOptions = {},
): Handlers<Payloads> {
  const faults = Object.keys(rest).map((name) => `unknown option ${name}`);
  if (otherTypes !== undefined && otherTypes !== "remote") {
    faults.push('otherTypes must be "remote"');
  }
  const types = new Map<string, TypeOptions>();
  for (const [type, entry] of Object.entries<unknown>(entries)) {
    const options = typeof entry === "function" ? { handler: entry } : entry;
    faults.push(...faultsOfType(type, options).map((fault) => `${type}: ${fault}`));
    types.set(type, options as TypeOptions);
  }
  for (const [name, options] of Object.entries<unknown>(queues)) {
    faults.push(...faultsOfQueue(name, options).map((fault) => `queue ${name}: ${fault}`));
  }
  if (faults.length > 0) throw new TypeError(`invalid handlers: ${faults.join("; ")}`);
  return { [HANDLERS_MARK]: true, types, queues: new Map(Object.entries(queues)), otherTypes };
}

/** Runs no code in the process: remote workers run every task. */
export const NO_HANDLERS = defineHandlers({}, { otherTypes: "remote" });

/** Whether remote workers run the tasks of any type. */
export function hasRemoteTypes({ types, otherTypes }: Handlers): boolean {
  if (otherTypes === "remote") return true;
  return [...types.values()].some(({ isolation }) => isolation === "remote");
}

/**
 * Whether a value comes from {@link defineHandlers}, in this copy of the package or another one.
 */
export function isHandlers(value: unknown): value is Handlers {
  return typeof value === "object" && value !== null && HANDLERS_MARK in value;
}

/** The rules of all types, in the form of the engine. */
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

/** The limits of a queue from the configuration. */
export interface CommonLimits extends Omit<QueueLimits, "claims"> {
  /** Null means the size of the queue. */
  readonly claims: number | null;
}

/** The limits of a queue with these limits of its own. */
export function limitsOf(common: CommonLimits, own: QueueOptions): QueueLimits {
  const limits = withOwn(common, own);
  return { ...limits, claims: limits.claims ?? limits.size };
}

/** The limits of all queues with their own limits. */
export function queueLimits(
  handlers: Handlers,
  common: CommonLimits,
): ReadonlyMap<string, QueueLimits> {
  return new Map(Array.from(handlers.queues, ([name, own]) => [name, limitsOf(common, own)]));
}

/**
 * Common values, overridden by given ones. An undefined value is left out: it would replace a
 * number.
 */
function withOwn<T extends object>(common: T, own: Partial<T>): T {
  const given = Object.entries(own).filter(([, value]) => value !== undefined);
  return { ...common, ...Object.fromEntries(given) };
}

/** Enough to fix a payload, few enough to bound the answer. */
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

/** The rule for an option. The words follow "must be". */
interface OptionRule {
  readonly allowed: string;
  readonly allows: (value: unknown) => boolean;
}

type OptionRules = Readonly<Record<string, OptionRule>>;

/**
 * A whole number without an upper bound: a backoff is capped by its maxMs, a queue by the memory.
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
  isolation: {
    allowed: '"thread" or "remote"',
    allows: (value) => value === "thread" || value === "remote",
  },
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
  claims: atLeast(1),
};

/**
 * Plain JSON Schema is not enough, and a reference must have a target: only the compiler knows
 * which schemas it accepts.
 */
function isSchema(value: unknown): boolean {
  try {
    TypeCompiler.Compile(value as TSchema);
    return true;
  } catch {
    return false;
  }
}

const FORM = 'must be a function, an object with a handler, or one with isolation: "remote"';

function faultsOfType(type: string, options: unknown): readonly string[] {
  if (!LIMITS.type.allows(type)) return [`the name of a type must be ${LIMITS.type.allowed}`];
  if (!isObject(options)) return [FORM];
  const isRemote = options["isolation"] === "remote";
  if (isRemote && options["handler"] !== undefined) {
    return ["a remote type has no handler: a remote worker runs its tasks"];
  }
  if (!isRemote && options["handler"] === undefined) return [FORM];
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
