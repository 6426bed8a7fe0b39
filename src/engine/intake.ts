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
import { type EncodedPayload, encodePayload, escapeToken } from "./payload.ts";

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

const FIELD_LIST = Object.entries(FIELDS) as readonly [Field, Limit][];

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
    if (!Array.isArray(requests) || requests.length === 0) {
      faults.push({ index: null, path: "", message: "must be a list of at least one task" });
      return { kind: "invalid", faults };
    }
    const taken: TakenRequest[] = [];
    const specs: NewTask[] = [];
    for (let index = 0; index < requests.length; index += 1) {
      const report: Report = (path, message) => faults.push({ index, path, message });
      const request = take(requests[index], report);
      if (request === null) continue;
      taken.push(request);
      const spec = this.#specOf(request, wallMs, report);
      if (spec !== null) specs.push(spec);
    }
    const key = this.#keyOf(idempotencyKey, taken, faults);
    return faults.length === 0 ? { kind: "admitted", specs, key } : { kind: "invalid", faults };
  }

  rulesOf(type: string): TypeRules {
    return this.#options.types.get(type) ?? NO_RULES;
  }

  /** How long a task of this type waits before a retry. */
  backoffOf({ backoff }: TypeRules): Backoff {
    return backoff ?? this.#options.defaults.backoff;
  }

  /** The task that a request asks for; null, after its type's check has reported why, when its payload does not fit. */
  #specOf({ fields, payload, encoded }: TakenRequest, wallMs: number, report: Report) {
    const { defaults } = this.#options;
    const type = fields.type ?? TYPE_DEFAULT;
    const rules = this.rulesOf(type);
    if (rules.check !== undefined) {
      const faults = rules.check(payload);
      for (const { path, message } of faults) report(`/payload${path}`, message);
      if (faults.length > 0) return null;
    }
    return {
      id: Bun.randomUUIDv7(),
      type,
      queue: fields.queue ?? rules.queue ?? QUEUE_DEFAULT,
      payload: encoded.text,
      payloadBytes: encoded.bytes,
      priority: fields.priority ?? 0,
      maxRetries: fields.maxRetries ?? rules.maxRetries ?? defaults.maxRetries,
      timeoutMs: fields.timeoutMs ?? rules.timeoutMs ?? defaults.timeoutMs,
      lane: rules.lane ?? "loop",
      backoff: this.backoffOf(rules),
      when: whenOf(fields, wallMs),
    };
  }

  #keyOf(
    key: string | undefined,
    requests: readonly TakenRequest[],
    faults: RequestFault[],
  ): IdempotencyKey | undefined {
    if (key === undefined) return undefined;
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

type Fields = Pick<EnqueueRequest, Field>;

/** A request whose fields were read, once each, and are within their bounds. */
interface TakenRequest {
  readonly fields: Fields;
  readonly payload: unknown;
  readonly encoded: EncodedPayload;
}

/** Reads a request. Null, after `report` was told of each fault, when something is wrong with it. */
function take(request: unknown, report: Report): TakenRequest | null {
  if (typeof request !== "object" || request === null) {
    report("", "must be an object");
    return null;
  }
  const { payload } = request as EnqueueRequest;
  const encoded = encodePayload(payload);
  if (encoded.kind === "invalid") report(`/payload${encoded.path}`, encoded.message);
  const fields = takeFields(request, report);
  return fields === null || encoded.kind === "invalid" ? null : { fields, payload, encoded };
}

/** Each field is read once: what was checked is what counts, whatever a getter says the next time. */
function takeFields(request: object, report: Report): Fields | null {
  const values = request as Readonly<Record<string, unknown>>;
  const fields: Record<string, unknown> = {};
  let areIn = true;
  const refuse: Report = (path, message) => {
    areIn = false;
    report(path, message);
  };
  for (const [name, limit] of FIELD_LIST) {
    const value = values[name];
    if (value === undefined) continue;
    fields[name] = value;
    if (!limit.allows(value)) refuse(`/${name}`, `must be ${limit.allowed}`);
  }
  for (const name in request) {
    if (name === "payload" || Object.hasOwn(FIELDS, name)) continue;
    // A library may have given every object more names; they are not the caller's.
    if (!Object.hasOwn(request, name) || values[name] === undefined) continue;
    refuse(`/${escapeToken(name)}`, "there is no such field");
  }
  if (fields["runAtMs"] !== undefined && fields["delayMs"] !== undefined) {
    refuse("/runAtMs", "can't be given together with a delay");
  }
  return areIn ? (fields as Fields) : null;
}

function whenOf({ delayMs, runAtMs }: Fields, wallMs: number): When {
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
function fingerprintOf(requests: readonly TakenRequest[]): string {
  const hasher = new Bun.CryptoHasher("sha256");
  for (const { fields, encoded } of requests) {
    const first = JSON.stringify(FIRST_FIELDS.map((name) => fields[name]));
    hasher.update(`[${encoded.text},${first.slice(1)}`);
    for (const name of LATER_FIELDS) {
      if (fields[name] !== undefined) hasher.update(JSON.stringify([name, fields[name]]));
    }
    hasher.update("\n");
  }
  return hasher.digest("base64");
}
