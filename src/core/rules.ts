/**
 * The rules of the steps, as pure functions on plain data: what follows when an attempt fails, is
 * lost or is released, and when a task is cancelled or retried by hand; and whether tasks fit into
 * a queue. The broker applies the results, a durable engine writes them, and an engine without the
 * broker can do both.
 */

import { backoffMs } from "./backoff.ts";
import type { Instant, Random } from "./instant.ts";
import type { AttemptOutcome } from "./outcomes.ts";
import type { TaskStatus } from "./status.ts";
import type { SettleReceipt, StateChange, TaskError, TaskSettings, TaskState } from "./task.ts";

/**
 * The number of attempts that may be lost in a row. A task that crashes its workers each time must
 * not run for ever.
 */
export const LOSSES_MAX = 3;

/**
 * The number of errors that a task keeps: enough to see a pattern, few enough to bound the memory
 * of a failing task.
 */
export const ERRORS_KEPT = 5;

type Failure = AttemptOutcome & { readonly kind: "failed" };

/**
 * The changes of a done attempt. Nearly every step is this one, so it lists only the necessary
 * fields.
 */
export type DoneChange = Pick<
  StateChange,
  "status" | "finishedAtMs" | "result" | "settledFence" | "receipt"
>;

export function afterDone(fence: number, result: string | null, { wallMs }: Instant): DoneChange {
  const receipt = DONE_RECEIPT;
  return { status: "done", finishedAtMs: wallMs, result, settledFence: fence, receipt };
}

/** The step that follows from the settle of a claim which still holds the task. */
export function afterSettle(
  state: TaskState,
  settings: TaskSettings,
  fence: number,
  outcome: AttemptOutcome,
  now: Instant,
  random: Random,
): StateChange {
  switch (outcome.kind) {
    case "done":
      return { ...unchanged(state), ...afterDone(fence, outcome.result, now) };
    case "failed":
      return withReceipt(afterFailure(state, settings, outcome, now, random), fence, "failed");
    case "released":
      return withReceipt(afterRelease(state, outcome.delayMs ?? 0, now), fence, "released");
    default:
      return outcome satisfies never;
  }
}

/**
 * The step after an attempt that failed or timed out: the task is retried while it has retries left
 * and may be retried.
 */
export function afterFailure(
  state: TaskState,
  { maxRetries, backoff }: TaskSettings,
  { code, message, retry }: Failure,
  now: Instant,
  random: Random,
): StateChange {
  const errors = withError(state, code, message, now);
  const failures = state.failures + 1;
  if (retry.kind === "never" || failures > maxRetries) {
    return {
      ...unchanged(state),
      status: "failed",
      failures,
      losses: 0,
      finishedAtMs: now.wallMs,
      errors,
    };
  }
  // The wait starts now, when the failure is known, not at the start of the attempt.
  const waitMs = retry.kind === "after" ? retry.ms : backoffMs(backoff, failures - 1, random);
  const runAtMs = now.wallMs + waitMs;
  return { ...unchanged(state), status: "retrying", failures, losses: 0, runAtMs, errors };
}

/**
 * The step after an attempt that was released, through no fault of the task: it goes to the
 * front of its queue, or after a delay to the back.
 */
export function afterRelease(state: TaskState, delayMs: number, now: Instant): StateChange {
  if (delayMs <= 0) return { ...unchanged(state), status: "queued" };
  return { ...unchanged(state), status: "retrying", runAtMs: now.wallMs + delayMs };
}

/** The reason for a lost attempt. It becomes the task's error code after too many losses. */
export type LossCode = "crash_loop" | "lease_lost";

const LOSS_MESSAGES: Readonly<Record<LossCode, string>> = {
  crash_loop: `the attempt was lost ${LOSSES_MAX} times in a row, the last time when the process ended`,
  lease_lost: `the attempt was lost ${LOSSES_MAX} times in a row, the last time when its lease ended`,
};

/**
 * The step after a lost attempt: the task waits again and spends no retry, but the third loss in a
 * row fails it.
 */
export function afterLoss(state: TaskState, code: LossCode, now: Instant): StateChange {
  const losses = state.losses + 1;
  if (losses < LOSSES_MAX) return { ...afterRelease(state, 0, now), losses };
  const errors = withError(state, code, LOSS_MESSAGES[code], now);
  return { ...unchanged(state), status: "failed", losses, finishedAtMs: now.wallMs, errors };
}

export function afterCancel(state: TaskState, now: Instant): StateChange {
  return { ...unchanged(state), status: "cancelled", finishedAtMs: now.wallMs };
}

/** The step of a retry by hand: the task waits again, with all its retries. */
export function afterRetry(state: TaskState): StateChange {
  return {
    ...unchanged(state),
    status: "queued",
    failures: 0,
    losses: 0,
    runAtMs: null,
    finishedAtMs: null,
  };
}

/** Whether a retry by hand is possible. */
export function isRetryable(status: TaskStatus): boolean {
  return status === "failed" || status === "cancelled";
}

/**
 * The bound that more tasks, and their payload bytes, would exceed in a queue; null when they fit.
 */
export function boundPassed(
  limits: { readonly size: number; readonly bytes: number },
  heldTasks: number,
  heldBytes: number,
  tasks: number,
  bytes: number,
): "queue_size" | "queue_bytes" | null {
  if (heldTasks + tasks > limits.size) return "queue_size";
  return heldBytes + bytes > limits.bytes ? "queue_bytes" : null;
}

/** The errors of a task and a new one. Only the last {@link ERRORS_KEPT} are kept. */
function withError(
  { errors, attempt }: TaskState,
  code: string,
  message: string,
  { wallMs }: Instant,
): readonly TaskError[] {
  return [...errors.slice(1 - ERRORS_KEPT), { code, message, attempt, atMs: wallMs }];
}

export const DONE_RECEIPT: SettleReceipt = { outcome: "done", status: "done", runAtMs: null };

function withReceipt(
  change: StateChange,
  fence: number,
  outcome: SettleReceipt["outcome"],
): StateChange {
  const { status, runAtMs } = change;
  const receipt = { outcome, status, runAtMs: status === "retrying" ? runAtMs : null };
  return { ...change, settledFence: fence, receipt };
}

/**
 * The current values of the fields that a step may change. Not a spread of the state: that may be a
 * task, which has many more fields.
 */
function unchanged(state: TaskState): StateChange {
  const { status, failures, losses, runAtMs, finishedAtMs } = state;
  const { result, errors, settledFence, receipt } = state;
  return {
    status,
    failures,
    losses,
    runAtMs,
    finishedAtMs,
    result,
    errors,
    settledFence,
    receipt,
  };
}
