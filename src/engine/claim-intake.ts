/**
 * Checks requests of remote workers: claims, extends and settles. The bounds are those of
 * core/limits.ts, as for tasks. Values out of bounds never enter the engine, whatever their source.
 */

import { LIMITS, type Limit } from "../core/limits.ts";
import type { AttemptOutcome, ClaimRequest } from "../core/outcomes.ts";
import type { FieldFault } from "./engine.ts";

/** The faults of a remote worker's claim; none when it is valid. */
export function claimFaults({
  max,
  leaseMs,
  worker,
  queues,
  types,
}: ClaimRequest): readonly FieldFault[] {
  return [
    ...faultOf("/max", max, LIMITS.claimTasks),
    ...faultOf("/leaseMs", leaseMs, LIMITS.leaseMs),
    ...faultOf("/worker", worker, LIMITS.worker),
    ...namesFaults("/queues", queues, LIMITS.queue),
    ...namesFaults("/types", types, LIMITS.type),
  ];
}

export function extendFaults(leaseMs: number | undefined): readonly FieldFault[] {
  return faultOf("/leaseMs", leaseMs, LIMITS.leaseMs);
}

/**
 * The faults of an outcome that a remote worker reports. A message that is too long is cut by the
 * binding, not here.
 */
export function outcomeFaults(outcome: AttemptOutcome): readonly FieldFault[] {
  switch (outcome.kind) {
    case "done":
      return [];
    case "released":
      return faultOf("/delayMs", outcome.delayMs, LIMITS.retryAfterMs);
    case "failed": {
      const { code, message, retry } = outcome;
      return [
        ...faultOf("/code", code, LIMITS.errorCode),
        ...faultOf("/message", message.length, LIMITS.errorMessageLength),
        ...(retry.kind === "after" ? faultOf("/retry/ms", retry.ms, LIMITS.retryAfterMs) : []),
      ];
    }
    default:
      return outcome satisfies never;
  }
}

function namesFaults(
  path: string,
  names: readonly string[] | undefined,
  limit: Limit,
): readonly FieldFault[] {
  if (names === undefined) return [];
  return [
    ...faultOf(path, names.length, LIMITS.claimNames),
    ...names.flatMap((name, index) => faultOf(`${path}/${index}`, name, limit)),
  ];
}

function faultOf(path: string, value: unknown, limit: Limit): readonly FieldFault[] {
  if (value === undefined || limit.allows(value)) return [];
  return [{ path, message: `must be ${limit.allowed}` }];
}
