/**
 * Restores times after a restart: the rest of a wait and of a lease. Both were measured by a
 * monotonic clock that is gone, so the wall clock gives the time without a process, as far as it
 * can be trusted.
 */

import type { Instant } from "./instant.ts";
import { grantLease } from "./lease.ts";
import type { SavedClaim } from "./snapshot.ts";
import type { Task } from "./task.ts";

/**
 * Restores a wait. The wall clock gives the rest, but never more than its original length: a clock
 * that was ahead at the start of the wait must not extend it.
 */
export function restoreWait(task: Task, now: Instant): void {
  const runAtMs = task.runAtMs ?? now.wallMs;
  if (task.isDueByWall) {
    task.dueAtMs = runAtMs;
    return;
  }
  const lengthMs = runAtMs - waitSince(task);
  const leftMs = runAtMs - now.wallMs;
  // A negative length was shortened before, when the clock had been set back to before the start of
  // the wait.
  const isTooLong = lengthMs >= 0 && leftMs > lengthMs;
  if (isTooLong) task.runAtMs = now.wallMs + lengthMs;
  task.dueAtMs = now.monoMs + (isTooLong ? lengthMs : leftMs);
}

/** The time when the wait of a scheduled or retrying task began. */
function waitSince({ status, enqueuedAtMs, startedAtMs, attempt, errors }: Task): number {
  if (status === "scheduled" || startedAtMs === null) return enqueuedAtMs;
  const failure = errors.at(-1);
  // Without a failure, the attempt was released: some time after its start.
  return failure?.attempt === attempt ? failure.atMs : startedAtMs;
}

/** Restores a claim. The wall clock gives the rest of its lease, at most its length. */
export function restoreLease(
  task: Task,
  { fence, worker, leaseMs, leaseEndsAtMs }: SavedClaim,
  now: Instant,
): void {
  const { timeoutMs } = task.settings;
  const ranMs = clamp(now.wallMs - (task.startedAtMs ?? now.wallMs), 0, timeoutMs);
  const timeoutAtMs = now.monoMs + timeoutMs - ranMs;
  const leftMs = clamp(leaseEndsAtMs - now.wallMs, 0, leaseMs);
  task.fence = fence;
  grantLease(task, { lengthMs: leaseMs, endsAtMs: now.monoMs + leftMs, timeoutAtMs, worker }, now);
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(Math.max(value, min), max);
}
