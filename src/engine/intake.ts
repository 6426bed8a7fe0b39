/**
 * How a request becomes a new task: its fields checked, defaults filled in, the rules of its type applied, its payload
 * encoded. Every engine takes its tasks in by this, so the same request means the same task in each, and nothing out of its
 * bounds gets any further, whichever way it came.
 */

import type { Backoff } from "../core/backoff.ts";
import { LIMITS, type Limit } from "../core/limits.ts";
import type { IdempotencyKey } from "../core/outcomes.ts";
import type { NewTask, When } from "../core/task.ts";
import type { EnqueueRequest, RequestFault, TypeRules } from "./engine.ts";
import { encodePayload } from "./payload.ts";

/** What a task gets that does not say otherwise. */
export interface TaskDefaults {
  readonly maxRetries: number;
  readonly timeoutMs: number;
  readonly backoff: Backoff;
}

export interface IntakeOptions {
  readonly defaults: TaskDefaults;
  /** The types with rules of their own. */
  readonly types: ReadonlyMap<string, TypeRules>;
  /** How many tasks a batch with an idempotency key may have: those of more could not all be remembered. */
  readonly keyedTasksMax: number;
}

const TYPE_DEFAULT = "default";

const QUEUE_DEFAULT = "default";

const NO_RULES: TypeRules = {};

const NOW: When = { kind: "now" };

type Field = Exclude<keyof EnqueueRequest, "payload">;

/** Every field of a request but its payload, and what it may hold. */
const FIELDS: Readonly<Record<Field, Limit>> = {
  type: LIMITS.type,
  queue: LIMITS.queue,
  priority: LIMITS.priority,
  maxRetries: LIMITS.maxRetries,
  timeoutMs: LIMITS.timeoutMs,
  delayMs: LIMITS.delayMs,
  runAtMs: LIMITS.runAtMs,
};

/** New tasks, and the key that they came under. */
export interface Admission {
  readonly kind: "admitted";
  readonly specs: readonly NewTask[];
  readonly key: IdempotencyKey | undefined;
}

export interface InvalidRequests {
  readonly kind: "invalid";
  readonly faults: readonly RequestFault[];
}

export class Intake {
  readonly #options: IntakeOptions;

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /** The tasks that these requests ask for, or everything that is wrong with any of them. */
  admit(
    requests: readonly EnqueueRequest[],
    idempotencyKey: string | undefined,
    wallMs: number,
  ): Admission | InvalidRequests {
    const faults: RequestFault[] = [];
    const specs: NewTask[] = [];
    for (let index = 0; index < requests.length; index += 1) {
      const spec = this.#specOf(requests[index] as EnqueueRequest, wallMs, (path, message) =>
        faults.push({ index, path, message }),
      );
      if (spec !== null) specs.push(spec);
    }
    const key =
      idempotencyKey === undefined ? undefined : this.#keyOf(idempotencyKey, requests, faults);
    return faults.length === 0 ? { kind: "admitted", specs, key } : { kind: "invalid", faults };
  }

  rulesOf(type: string): TypeRules {
    return this.#options.types.get(type) ?? NO_RULES;
  }

  /** How long a task of this type waits before a retry. */
  backoffOf({ backoff }: TypeRules): Backoff {
    return backoff ?? this.#options.defaults.backoff;
  }

  /** The task that a request asks for. Null, after `report` was told of each fault, when something is wrong with it. */
  #specOf(request: EnqueueRequest, wallMs: number, report: Report): NewTask | null {
    if (!isObject(request, report)) return null;
    const encoded = encodePayload(request.payload);
    if (encoded.kind === "invalid") report(`/payload${encoded.path}`, encoded.message);
    if (!haveBounds(request, report) || encoded.kind === "invalid") return null;
    const rules = this.rulesOf(request.type ?? TYPE_DEFAULT);
    const { defaults } = this.#options;
    if (rules.check !== undefined) {
      const faults = rules.check(request.payload);
      for (const { path, message } of faults) report(`/payload${path}`, message);
      if (faults.length > 0) return null;
    }
    return {
      id: Bun.randomUUIDv7(),
      type: request.type ?? TYPE_DEFAULT,
      queue: request.queue ?? rules.queue ?? QUEUE_DEFAULT,
      payload: encoded.text,
      payloadBytes: encoded.bytes,
      priority: request.priority ?? 0,
      maxRetries: request.maxRetries ?? rules.maxRetries ?? defaults.maxRetries,
      timeoutMs: request.timeoutMs ?? rules.timeoutMs ?? defaults.timeoutMs,
      lane: rules.lane ?? "loop",
      backoff: this.backoffOf(rules),
      when: whenOf(request, wallMs),
    };
  }

  #keyOf(
    key: string,
    requests: readonly EnqueueRequest[],
    faults: RequestFault[],
  ): IdempotencyKey | undefined {
    const { keyedTasksMax } = this.#options;
    if (!LIMITS.idempotencyKey.allows(key)) {
      const message = `must be ${LIMITS.idempotencyKey.allowed}`;
      faults.push({ index: null, path: "", message });
    } else if (requests.length > Math.max(1, keyedTasksMax)) {
      const message = `a batch with an idempotency key may have at most ${keyedTasksMax} tasks (RETAIN_TASKS)`;
      faults.push({ index: null, path: "", message });
    }
    return faults.length === 0 ? { key, fingerprint: fingerprintOf(requests) } : undefined;
  }
}

type Report = (path: string, message: string) => void;

function isObject(request: unknown, report: Report): request is object {
  if (typeof request === "object" && request !== null) return true;
  report("", "must be an object");
  return false;
}

/** Whether every field of a request is within its bounds. */
function haveBounds(request: object, report: Report): boolean {
  let areIn = true;
  const refuse: Report = (path, message) => {
    areIn = false;
    report(path, message);
  };
  const values = request as Readonly<Record<string, unknown>>;
  for (const name in values) {
    if (name === "payload" || values[name] === undefined) continue;
    // A library may have given every object more names; they are not the caller's.
    if (!Object.hasOwn(values, name)) continue;
    const limit = Object.hasOwn(FIELDS, name) ? FIELDS[name as Field] : undefined;
    if (limit === undefined)
      refuse(`/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`, "there is no such field");
    else if (!limit.allows(values[name])) refuse(`/${name}`, `must be ${limit.allowed}`);
  }
  if (values["runAtMs"] !== undefined && values["delayMs"] !== undefined) {
    refuse("/runAtMs", "can't be given together with a delay");
  }
  return areIn;
}

function whenOf({ delayMs, runAtMs }: EnqueueRequest, wallMs: number): When {
  if (runAtMs !== undefined) return runAtMs > wallMs ? { kind: "at", wallMs: runAtMs } : NOW;
  return delayMs !== undefined && delayMs > 0 ? { kind: "after", delayMs } : NOW;
}

/** The fields that the fingerprints of 0.1.0 are made of, always all of them: keys outlive an upgrade. */
const FIRST_FIELDS: readonly Field[] = [
  "type",
  "queue",
  "priority",
  "maxRetries",
  "timeoutMs",
  "delayMs",
  "runAtMs",
];

const LATER_FIELDS = (Object.keys(FIELDS) as Field[]).filter(
  (name) => !FIRST_FIELDS.includes(name),
);

/** The same requests give the same fingerprint, in whatever order a client writes the fields of a task. */
function fingerprintOf(requests: readonly EnqueueRequest[]): string {
  const hasher = new Bun.CryptoHasher("sha256");
  for (const request of requests) {
    hasher.update(JSON.stringify([request.payload, ...FIRST_FIELDS.map((name) => request[name])]));
    for (const name of LATER_FIELDS) {
      if (request[name] !== undefined) hasher.update(JSON.stringify([name, request[name]]));
    }
    hasher.update("\n");
  }
  return hasher.digest("base64");
}
