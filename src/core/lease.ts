/**
 * Grants and extends the leases of remote claims. A lease never reaches beyond the timeout of its
 * attempt.
 */

import type { Instant } from "./instant.ts";
import type { Lease, Task } from "./task.ts";

/** Gives a task a lease. The task must not be in the schedule during the call. */
export function grantLease(
  task: Task,
  { lengthMs, endsAtMs, timeoutAtMs, worker }: Omit<Lease, "endsAtWallMs">,
  { monoMs, wallMs }: Instant,
): void {
  const endMs = Math.min(endsAtMs, timeoutAtMs);
  const endsAtWallMs = wallMs + (endMs - monoMs);
  task.lease = { lengthMs, endsAtMs: endMs, endsAtWallMs, timeoutAtMs, worker };
  task.dueAtMs = endMs;
}
