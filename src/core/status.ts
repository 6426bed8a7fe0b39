/**
 * The statuses of a task, in one table. The type, the lists, the predicates, the counters and the
 * shapes on the wire are derived from it. So a new status is one row here, and the compiler names
 * every place that has to know it.
 *
 *            delay/run_at                 claim                    ok
 * enqueue ──► scheduled ──due──► queued ────────► running ──────────────► done
 *    └──────────────────────────► ▲  ▲              │ │ │
 *                                 │  └──released────┘ │ └─error, none left─► failed ─retry─► queued
 *                                 └──due── retrying ◄─┘ error, retries left
 * cancel: scheduled | queued | retrying | running ──► cancelled ──retry──► queued
 */

/** `waiting` tasks count in the bounds of their queue; `finished` ones are kept for reading. */
type Phase = "waiting" | "running" | "finished";

/**
 * The structure that keeps a task in a status: a ready list, the schedule of what is due, or
 * retention.
 */
export type Holder = "ready" | "schedule" | "retention";

interface Row<Status extends string> {
  readonly phase: Phase;
  readonly holder: Holder;
  /** The statuses that may follow. */
  readonly next: readonly Status[];
}

const TABLE = tableOf({
  scheduled: { phase: "waiting", holder: "schedule", next: ["queued", "cancelled"] },
  queued: { phase: "waiting", holder: "ready", next: ["running", "cancelled"] },
  running: {
    phase: "running",
    holder: "schedule",
    next: ["done", "retrying", "failed", "queued", "cancelled"],
  },
  retrying: { phase: "waiting", holder: "schedule", next: ["queued", "cancelled"] },
  done: { phase: "finished", holder: "retention", next: [] },
  failed: { phase: "finished", holder: "retention", next: ["queued"] },
  cancelled: { phase: "finished", holder: "retention", next: ["queued"] },
});

export type TaskStatus = keyof typeof TABLE;

/** The statuses whose rows have this value. */
type StatusWith<Value extends Phase | Holder> = {
  [Status in TaskStatus]: Value extends (typeof TABLE)[Status]["phase" | "holder"] ? Status : never;
}[TaskStatus];

/** The statuses of a finished task. */
export type FinishedStatus = StatusWith<"finished">;

/** Every status, in the order of a task's life. */
export const TASK_STATUSES: readonly TaskStatus[] = Object.keys(TABLE) as TaskStatus[];

/** The next statuses in the form that is fast to read. */
const NEXT = Object.fromEntries(
  TASK_STATUSES.map((status) => [
    status,
    Object.fromEntries(TABLE[status].next.map((to) => [to, true])),
  ]),
) as Readonly<Record<TaskStatus, Readonly<Partial<Record<TaskStatus, true>>>>>;

export function isStep(from: TaskStatus, to: TaskStatus): boolean {
  return NEXT[from][to] === true;
}

// Every step asks these three several times. Comparisons cost less than look-ups in the table, so
// the statuses are spelled out. The compiler holds them to the table, and names a missed status.

/** Whether a task in this status counts in the bounds of its queue. */
export function isWaiting(status: TaskStatus): boolean {
  if (status === "queued" || status === "scheduled" || status === "retrying") {
    status satisfies StatusWith<"waiting">;
    return true;
  }
  status satisfies StatusWith<"running" | "finished">;
  return false;
}

export function isFinished(status: TaskStatus): status is FinishedStatus {
  if (status === "done" || status === "failed" || status === "cancelled") {
    status satisfies FinishedStatus;
    return true;
  }
  status satisfies StatusWith<"waiting" | "running">;
  return false;
}

export function holderOf(status: TaskStatus): Holder {
  if (status === "queued") {
    status satisfies StatusWith<"ready">;
    return "ready";
  }
  if (isFinished(status)) {
    status satisfies StatusWith<"retention">;
    return "retention";
  }
  status satisfies StatusWith<"schedule">;
  return "schedule";
}

/** The statuses of finished tasks. */
export const FINISHED_STATUSES: readonly FinishedStatus[] = TASK_STATUSES.filter(isFinished);

/** A counter for each of these statuses, starting at zero. */
export function countersOf<Status extends TaskStatus>(
  statuses: readonly Status[],
): Record<Status, number> {
  return Object.fromEntries(statuses.map((status) => [status, 0])) as Record<Status, number>;
}

function tableOf<
  const Status extends string,
  const Rows extends Readonly<Record<Status, Row<Status>>>,
>(rows: Rows & Readonly<Record<Status, Row<Status>>>): Rows {
  return rows;
}
