/** The options of a worker, and their checks. */

import type { HandlerContext } from "./attempt.ts";
import type { Log } from "./log.ts";
import type { PayloadsOf, TaskTypes } from "./types.ts";

/**
 * Runs one attempt at a task. The returned or resolved value is the result; a thrown value is a
 * failed attempt.
 */
export type HandlerFunction<Payload = unknown> = (
  payload: Payload,
  context: HandlerContext,
) => unknown;

/**
 * Without known types, a handler may declare any payload. It is written as a method, because the
 * compiler compares the parameters of methods in both directions.
 */
type DeclaringFunction = { call(payload: unknown, context: HandlerContext): unknown }["call"];

type Handler<Fn> = Fn | { readonly handler: Fn };

/** A function, or an object with it, for each type that the worker runs. */
export type WorkerHandlers<Payloads> = string extends keyof Payloads
  ? Readonly<Record<string, Handler<DeclaringFunction>>>
  : { readonly [Type in keyof Payloads]?: Handler<HandlerFunction<Payloads[Type]>> };

export interface WorkerOptions<Types extends TaskTypes<unknown> = TaskTypes> {
  /**
   * The worker claims tasks of these types. If they are more than 32, it claims tasks of every type,
   * and releases those without a handler for 30 s.
   */
  readonly handlers: WorkerHandlers<PayloadsOf<Types>>;
  /** The largest number of tasks that run at the same time: 1–10,000. Default: 10. */
  readonly concurrency?: number | undefined;
  /** Claims from these queues, strictly in this order: 1–32 names. Default: from all in turn. */
  readonly queues?: readonly string[] | undefined;
  /**
   * The length of a lease, 1,000 ms to 12 h. The worker extends it after each third. If the worker
   * dies, its tasks run again after this time. Default: that of the server.
   */
  readonly leaseMs?: number | undefined;
  /** How long one request waits for a task: 1–60,000 ms. Default: 20,000. */
  readonly waitMs?: number | undefined;
  /** The name of the worker, as tasks show it: 1–128 printable ASCII characters. */
  readonly name?: string | undefined;
  /**
   * Whether SIGTERM and SIGINT stop the worker, where the platform has them. The process then ends
   * by the signal, unless the program has a listener of its own. A second signal ends it at once.
   * Default: true.
   */
  readonly signals?: boolean | undefined;
  /** The grace of a stop by a signal. Default: 8,000 ms. */
  readonly graceMs?: number | undefined;
  /** Default: JSON lines on the console, without debug events. */
  readonly log?: Log | undefined;
}

/** The server's limit of names in one claim. */
export const NAMES_MAX = 32;

/** Throws a RangeError for an option out of bounds. */
export function checkOptions({
  concurrency = 1,
  waitMs = 1,
  leaseMs = 1000,
  queues,
}: Omit<WorkerOptions, "handlers">): void {
  inRange("concurrency", concurrency, 1, 10_000);
  inRange("waitMs", waitMs, 1, 60_000);
  inRange("leaseMs", leaseMs, 1000, 43_200_000);
  inRange("number of queues", queues?.length ?? 1, 1, NAMES_MAX);
}

/** The functions of all handlers, by type. Throws a TypeError for anything else. */
export function functionsOf(handlers: object): ReadonlyMap<string, HandlerFunction> {
  const functions = new Map<string, HandlerFunction>();
  for (const [type, entry] of Object.entries<unknown>({ ...handlers })) {
    const isObject = typeof entry === "object" && entry !== null && "handler" in entry;
    const handler = isObject ? entry.handler : entry;
    if (typeof handler !== "function") {
      throw new TypeError(`the handler of ${type} must be a function, or an object with a handler`);
    }
    functions.set(type, handler as HandlerFunction);
  }
  if (functions.size === 0) throw new TypeError("a worker needs at least one handler");
  return functions;
}

function inRange(name: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return;
  throw new RangeError(`${name} must be a whole number from ${min} to ${max}, but is ${value}`);
}
