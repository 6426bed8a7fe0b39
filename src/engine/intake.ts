/**
 * Turns a request into a new task: checks its fields, fills in defaults, applies the rules of its
 * type, and encodes its payload. Every engine uses it, so the same request gives the same task in
 * each. Values out of bounds never enter the engine, whatever their source.
 */

import type { Backoff } from "../core/backoff.ts";
import { LIMITS, type Limit } from "../core/limits.ts";
import type { IdempotencyKey } from "../core/outcomes.ts";
import { type NewTask, NO_TAGS, type When } from "../core/task.ts";
import type { EnqueueRequest, FieldFault, RequestFault, TypeRules } from "./engine.ts";
import { encodePayload, escapeToken } from "./payload.ts";

/** The defaults of a task. */
export interface TaskDefaults {
  readonly maxRetries: number;
  readonly timeoutMs: number;
  readonly backoff: Backoff;
}

export interface IntakeOptions {
  readonly defaults: TaskDefaults;
  /** The types with their own rules. */
  readonly types: ReadonlyMap<string, TypeRules>;
  /** The rules of all other types. */
  readonly otherTypes: TypeRules;
  /**
   * The largest number of tasks in a batch with an idempotency key. The key could not remember
   * more.
   */
  readonly keyedTasksMax: number;
}

const TYPE_DEFAULT = "default";

const QUEUE_DEFAULT = "default";

const NOW: When = { kind: "now" };

type Field = Exclude<keyof EnqueueRequest, "payload">;

type Fields = { readonly [Name in Field]-?: EnqueueRequest[Name] };

/** Every field of a request except the payload, with its limit. */
const FIELDS: Readonly<Record<Field, Limit>> = {
  type: LIMITS.type,
  queue: LIMITS.queue,
  tags: LIMITS.tags,
  priority: LIMITS.priority,
  maxRetries: LIMITS.maxRetries,
  timeoutMs: LIMITS.timeoutMs,
  delayMs: LIMITS.delayMs,
  runAtMs: LIMITS.runAtMs,
};

const FIELD_NAMES = Object.keys(FIELDS) as readonly Field[];

/** No prototype, so it has no other names. A look-up here costs less than in a Set. */
const KNOWN_NAMES: Readonly<Record<string, true>> = Object.assign(
  Object.create(null),
  Object.fromEntries(["payload", ...FIELD_NAMES].map((name) => [name, true])),
);

/** New tasks, and the idempotency key of their request. */
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

  /** The tasks of these requests, or all their faults. */
  admit(
    requests: readonly EnqueueRequest[],
    idempotencyKey: string | undefined,
    wallMs: number,
  ): Admission | InvalidRequests {
    if (!Array.isArray(requests) || requests.length === 0) {
      return invalid([{ index: null, path: "", message: "must be a list of at least one task" }]);
    }
    const specs: NewTask[] = [];
    // Only a key needs the requested fields.
    const asked: Fields[] | null = idempotencyKey === undefined ? null : [];
    let faults: RequestFault[] | null = null;
    for (let index = 0; index < requests.length; index += 1) {
      const request: unknown = requests[index];
      const fields = isObject(request) ? fieldsOf(request) : NO_FIELDS;
      const spec = this.#specOf(request, fields, wallMs);
      if (areFaults(spec)) {
        faults ??= [];
        for (const fault of spec) faults.push({ index, ...fault });
        continue;
      }
      specs.push(spec);
      asked?.push(fields);
    }
    if (idempotencyKey !== undefined) {
      const fault = this.#keyFault(idempotencyKey, requests.length);
      if (fault !== null) faults = [...(faults ?? []), fault];
    }
    if (faults !== null) return invalid(faults);
    const key =
      idempotencyKey === undefined ? undefined : keyOf(idempotencyKey, specs, asked ?? []);
    return { kind: "admitted", specs, key };
  }

  rulesOf(type: string): TypeRules {
    return this.#options.types.get(type) ?? this.#options.otherTypes;
  }

  /** The backoff for tasks of this type. */
  backoffOf({ backoff }: TypeRules): Backoff {
    return backoff ?? this.#options.defaults.backoff;
  }

  /** The task of a request, or its faults. `fields` are the fields of the request, read once. */
  #specOf(request: unknown, fields: Fields, wallMs: number): NewTask | readonly FieldFault[] {
    if (!isObject(request)) return [{ path: "", message: "must be an object" }];
    const { payload } = request;
    const encoded = encodePayload(payload);
    const faults = fieldFaults(request, fields);
    if (encoded.kind === "invalid") {
      return [{ path: `/payload${encoded.path}`, message: encoded.message }, ...(faults ?? [])];
    }
    if (faults !== null) return faults;
    const { defaults } = this.#options;
    const type = fields.type ?? TYPE_DEFAULT;
    const rules = this.rulesOf(type);
    const misfits = rules.check?.(payload) ?? NO_FAULTS;
    if (misfits.length > 0) {
      return misfits.map(({ path, message }) => ({ path: `/payload${path}`, message }));
    }
    return {
      id: Bun.randomUUIDv7(),
      type,
      queue: fields.queue ?? rules.queue ?? QUEUE_DEFAULT,
      tags: fields.tags ?? NO_TAGS,
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

  #keyFault(key: string, tasks: number): RequestFault | null {
    const { keyedTasksMax } = this.#options;
    if (!LIMITS.idempotencyKey.allows(key)) {
      return { index: null, path: "", message: `must be ${LIMITS.idempotencyKey.allowed}` };
    }
    if (tasks <= Math.max(1, keyedTasksMax)) return null;
    const message = `a batch with an idempotency key can have at most ${keyedTasksMax} tasks (RETAIN_TASKS)`;
    return { index: null, path: "", message };
  }
}

function areFaults(taken: NewTask | readonly FieldFault[]): taken is readonly FieldFault[] {
  return Array.isArray(taken);
}

function isObject(request: unknown): request is EnqueueRequest {
  return typeof request === "object" && request !== null;
}

/** Reads each field once, so that later reads of a getter can't bypass the check. */
function fieldsOf(request: EnqueueRequest): Fields {
  const { type, queue, tags, priority, maxRetries, timeoutMs, delayMs, runAtMs } = request;
  // A copy, since the caller may change the list afterwards. One tag beyond the limit is enough to
  // show that the list is too long.
  const ownTags = Array.isArray(tags)
    ? Object.freeze(tags.slice(0, LIMITS.tags.lengthMax + 1))
    : tags;
  return { type, queue, tags: ownTags, priority, maxRetries, timeoutMs, delayMs, runAtMs };
}

const NO_FIELDS = fieldsOf({ payload: null });

const NO_FAULTS: readonly FieldFault[] = [];

/** The faults in the fields of a request; null when there are none. */
function fieldFaults(request: object, fields: Fields): readonly FieldFault[] | null {
  let faults: FieldFault[] | null = areWithinLimits(fields) ? null : limitFaults(fields);
  for (const name in request) {
    // A library may have added names to every object. They do not belong to the request.
    if (KNOWN_NAMES[name] === true || !Object.hasOwn(request, name)) continue;
    faults ??= [];
    faults.push({ path: `/${escapeToken(name)}`, message: "unknown field" });
  }
  if (fields.runAtMs !== undefined && fields.delayMs !== undefined) {
    faults ??= [];
    faults.push({ path: "/runAtMs", message: "can't be combined with a delay" });
  }
  return faults;
}

/**
 * Whether {@link limitFaults} is empty: spelled out, since a loop over the names costs more. A test
 * of every engine's contract asks for an invalid value of each field.
 */
function areWithinLimits(fields: Fields): boolean {
  const { type, queue, tags, priority, maxRetries, timeoutMs, delayMs, runAtMs } = fields;
  return (
    (type === undefined || LIMITS.type.allows(type)) &&
    (queue === undefined || LIMITS.queue.allows(queue)) &&
    (tags === undefined || LIMITS.tags.allows(tags)) &&
    (priority === undefined || LIMITS.priority.allows(priority)) &&
    (maxRetries === undefined || LIMITS.maxRetries.allows(maxRetries)) &&
    (timeoutMs === undefined || LIMITS.timeoutMs.allows(timeoutMs)) &&
    (delayMs === undefined || LIMITS.delayMs.allows(delayMs)) &&
    (runAtMs === undefined || LIMITS.runAtMs.allows(runAtMs))
  );
}

function limitFaults(fields: Fields): FieldFault[] {
  return FIELD_NAMES.flatMap((name) => {
    const value = fields[name];
    if (value === undefined || FIELDS[name].allows(value)) return [];
    return [{ path: `/${name}`, message: `must be ${FIELDS[name].allowed}` }];
  });
}

function invalid(faults: readonly RequestFault[]): InvalidRequests {
  return { kind: "invalid", faults };
}

function whenOf({ delayMs, runAtMs }: Fields, wallMs: number): When {
  if (runAtMs !== undefined) return runAtMs > wallMs ? { kind: "at", wallMs: runAtMs } : NOW;
  return delayMs !== undefined && delayMs > 0 ? { kind: "after", delayMs } : NOW;
}

/**
 * The fields in the fingerprints of 0.1.0. The list never changes, because keys outlive an upgrade.
 */
const FIRST_FIELDS: readonly Field[] = [
  "type",
  "queue",
  "priority",
  "maxRetries",
  "timeoutMs",
  "delayMs",
  "runAtMs",
];

const LATER_FIELDS = FIELD_NAMES.filter((name) => !FIRST_FIELDS.includes(name));

/** The same requests give the same fingerprint, regardless of the order of fields. */
function keyOf(key: string, specs: readonly NewTask[], asked: readonly Fields[]): IdempotencyKey {
  const hasher = new Bun.CryptoHasher("sha256");
  for (const [index, fields] of asked.entries()) {
    const first = JSON.stringify(FIRST_FIELDS.map((name) => fields[name]));
    hasher.update(`[${specs[index]?.payload},${first.slice(1)}`);
    for (const name of LATER_FIELDS) {
      if (fields[name] !== undefined) hasher.update(JSON.stringify([name, fields[name]]));
    }
    hasher.update("\n");
  }
  return { key, fingerprint: hasher.digest("base64") };
}
