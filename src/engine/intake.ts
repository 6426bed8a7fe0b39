/**
 * How a request becomes a new task: defaults filled in, the rules of its type applied, its payload encoded. Every engine
 * takes its tasks in by this, so the same request means the same task in each.
 */

import type { Backoff } from "../core/backoff.ts";
import type { NewTask, When } from "../core/task.ts";
import type { EnqueueRequest, RequestFault, TypeRules } from "./engine.ts";
import { encodePayload } from "./payload.ts";

/** What a task gets that does not say otherwise. */
export interface TaskDefaults {
  readonly maxRetries: number;
  readonly timeoutMs: number;
  readonly backoff: Backoff;
}

const TYPE_DEFAULT = "default";

const QUEUE_DEFAULT = "default";

const NO_RULES: TypeRules = {};

const NOW: When = { kind: "now" };

export interface InvalidRequests {
  readonly kind: "invalid";
  readonly faults: readonly RequestFault[];
}

export class Intake {
  readonly #defaults: TaskDefaults;
  readonly #types: ReadonlyMap<string, TypeRules>;

  constructor(defaults: TaskDefaults, types: ReadonlyMap<string, TypeRules>) {
    this.#defaults = defaults;
    this.#types = types;
  }

  /** The tasks that these requests ask for, or what is wrong with any of them. */
  read(requests: readonly EnqueueRequest[], wallMs: number): readonly NewTask[] | InvalidRequests {
    const fresh: NewTask[] = [];
    let faults: RequestFault[] | null = null;
    for (let index = 0; index < requests.length; index += 1) {
      const request = requests[index] as EnqueueRequest;
      const rules = this.rulesOf(request.type ?? TYPE_DEFAULT);
      const encoded = encodePayload(request.payload);
      if (encoded.kind === "invalid") {
        faults ??= [];
        faults.push({ index, path: encoded.path, message: encoded.message });
        continue;
      }
      fresh.push(this.#newTask(request, rules, encoded, wallMs));
      if (rules.check === undefined) continue;
      for (const { path, message } of rules.check(request.payload)) {
        faults ??= [];
        faults.push({ index, path, message });
      }
    }
    return faults === null ? fresh : { kind: "invalid", faults };
  }

  rulesOf(type: string): TypeRules {
    return this.#types.get(type) ?? NO_RULES;
  }

  /** How long a task of this type waits before a retry. */
  backoffOf({ backoff }: TypeRules): Backoff {
    return backoff ?? this.#defaults.backoff;
  }

  #newTask(
    request: EnqueueRequest,
    rules: TypeRules,
    { text, bytes }: { readonly text: string; readonly bytes: number },
    wallMs: number,
  ): NewTask {
    return {
      id: Bun.randomUUIDv7(),
      type: request.type ?? TYPE_DEFAULT,
      queue: request.queue ?? rules.queue ?? QUEUE_DEFAULT,
      payload: text,
      payloadBytes: bytes,
      priority: request.priority ?? 0,
      maxRetries: request.maxRetries ?? rules.maxRetries ?? this.#defaults.maxRetries,
      timeoutMs: request.timeoutMs ?? rules.timeoutMs ?? this.#defaults.timeoutMs,
      lane: rules.lane ?? "loop",
      backoff: this.backoffOf(rules),
      when: whenOf(request, wallMs),
    };
  }
}

function whenOf({ delayMs, runAtMs }: EnqueueRequest, wallMs: number): When {
  if (runAtMs !== undefined) return runAtMs > wallMs ? { kind: "at", wallMs: runAtMs } : NOW;
  return delayMs !== undefined && delayMs > 0 ? { kind: "after", delayMs } : NOW;
}

/** The same requests give the same fingerprint, in whatever order a client writes the fields of a task. */
export function fingerprintOf(requests: readonly EnqueueRequest[]): string {
  const hasher = new Bun.CryptoHasher("sha256");
  for (const {
    payload,
    type,
    queue,
    priority,
    maxRetries,
    timeoutMs,
    delayMs,
    runAtMs,
  } of requests) {
    hasher.update(
      JSON.stringify([payload, type, queue, priority, maxRetries, timeoutMs, delayMs, runAtMs]),
    );
    hasher.update("\n");
  }
  return hasher.digest("base64");
}
