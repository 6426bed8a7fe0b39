/**
 * The checks of what remote workers send: claims, extends and settles. As for tasks, the bounds are those of core/limits.ts,
 * and nothing out of them gets any further, whichever way it came.
 */

import { LIMITS, type Limit } from "../core/limits.ts";
import type { AttemptOutcome, ClaimRequest } from "../core/outcomes.ts";
import type { FieldFault } from "./engine.ts";

/** What is wrong with a claim of a remote worker; nothing when it is fine. */
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

export function extendFaults(leaseMs: number): readonly FieldFault[] {
  return faultOf("/leaseMs", leaseMs, LIMITS.leaseMs);
}

/** What is wrong with an outcome that a remote worker reports. Longer messages than are kept are the binding's to cut. */
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
