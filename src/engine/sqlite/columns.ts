/**
 * Maps the fields of a task to columns: the only list for writing and reading rows. A task field
 * without a column here does not compile.
 */

import type { SQLQueryBindings } from "bun:sqlite";
import type { SavedClaim } from "../../core/snapshot.ts";
import {
  INITIAL_STATE,
  NO_ERRORS,
  NO_TAGS,
  type SettleReceipt,
  type Task,
  type TaskSpec,
  type TaskState,
} from "../../core/task.ts";

type Value = string | number | null;

interface Column<From, Field> {
  readonly name: string;
  readonly write: (from: From) => SQLQueryBindings;
  readonly read: (value: Value) => Field;
}

type Columns<From, Row> = { readonly [Field in keyof Row]-?: Column<From, Row[Field]> };

/**
 * The part of a task that never changes: a row of `tasks`. The settings that its type decides at
 * the time (lane, backoff) are not stored.
 */
export interface SpecRow extends Omit<TaskSpec, "lane" | "backoff" | "payloadBytes"> {
  readonly seq: number;
  readonly enqueuedAtMs: number;
  /** The due time that was set at the enqueue. */
  readonly firstRunAtMs: number | null;
  readonly isDueByWall: boolean;
  /** The number of its idempotency key. */
  readonly keySeq: number | null;
}

/**
 * The stored state of a task: a row of `states`, which exists from its first settle, loss or
 * cancel.
 */
export interface StateRow extends Omit<TaskState, "isDueByWall"> {
  readonly claim: SavedClaim | null;
}

/** A task as it was stored. */
export interface TaskRow extends Omit<SpecRow, "firstRunAtMs">, StateRow {}

const SPEC_COLUMNS: Columns<Task, SpecRow> = {
  seq: { name: "seq", write: (task) => task.seq, read: Number },
  id: { name: "id", write: (task) => task.id, read: String },
  type: { name: "type", write: (task) => task.settings.type, read: String },
  queue: { name: "queue", write: (task) => task.queue.name, read: String },
  payload: { name: "payload", write: (task) => task.payload, read: String },
  tags: {
    name: "tags",
    write: ({ settings: { tags } }) => (tags.length === 0 ? null : JSON.stringify(tags)),
    read: (value) => jsonOrNull<readonly string[]>(value) ?? NO_TAGS,
  },
  priority: { name: "priority", write: (task) => task.settings.priority, read: Number },
  maxRetries: { name: "max_retries", write: (task) => task.settings.maxRetries, read: Number },
  timeoutMs: { name: "timeout_ms", write: (task) => task.settings.timeoutMs, read: Number },
  enqueuedAtMs: { name: "enqueued_at", write: (task) => task.enqueuedAtMs, read: Number },
  firstRunAtMs: { name: "run_at", write: (task) => task.runAtMs, read: numberOrNull },
  isDueByWall: {
    name: "is_due_by_wall",
    write: (task) => (task.isDueByWall ? 1 : 0),
    read: (value) => value === 1,
  },
  keySeq: { name: "key", write: (task) => task.key?.seq ?? null, read: numberOrNull },
};

const NO_ERRORS_JSON = "[]";

const STATE_COLUMNS: Columns<StateRow, StateRow> = {
  status: {
    name: "status",
    write: (state) => state.status,
    read: (value) => value as TaskState["status"],
  },
  attempt: { name: "attempt", write: (state) => state.attempt, read: Number },
  failures: { name: "failures", write: (state) => state.failures, read: Number },
  losses: { name: "losses", write: (state) => state.losses, read: Number },
  runAtMs: { name: "run_at", write: (state) => state.runAtMs, read: numberOrNull },
  startedAtMs: { name: "started_at", write: (state) => state.startedAtMs, read: numberOrNull },
  finishedAtMs: { name: "finished_at", write: (state) => state.finishedAtMs, read: numberOrNull },
  result: { name: "result", write: (state) => state.result, read: textOrNull },
  progress: { name: "progress", write: (state) => state.progress, read: textOrNull },
  errors: {
    name: "errors",
    write: ({ errors }) => (errors.length === 0 ? NO_ERRORS_JSON : JSON.stringify(errors)),
    read: (value) => (value === NO_ERRORS_JSON ? NO_ERRORS : JSON.parse(String(value))),
  },
  settledFence: { name: "settled_fence", write: (state) => state.settledFence, read: Number },
  receipt: {
    name: "receipt",
    write: ({ receipt }) => (receipt === null ? null : JSON.stringify(receipt)),
    read: jsonOrNull<SettleReceipt>,
  },
  claim: {
    name: "claim",
    write: ({ claim }) => (claim === null ? null : JSON.stringify(claim)),
    read: jsonOrNull<SavedClaim>,
  },
};

const SPEC_LIST = Object.entries(SPEC_COLUMNS) as readonly [keyof SpecRow, Column<Task, unknown>][];
const STATE_LIST = Object.entries(STATE_COLUMNS) as readonly [
  keyof StateRow,
  Column<StateRow, unknown>,
][];

export const INSERT_TASK = `
  INSERT INTO tasks (${namesOf(SPEC_LIST).join(", ")}) VALUES (${marksOf(SPEC_LIST.length)})`;

export const PUT_STATE = `
  INSERT OR REPLACE INTO states (seq, ${namesOf(STATE_LIST).join(", ")})
  VALUES (${marksOf(STATE_LIST.length + 1)})`;

/** The tasks after a number, in the order of their numbers, with a limit. */
export const SELECT_TASKS = `
  SELECT ${[
    ...namesOf(SPEC_LIST).map((name) => `tasks.${name}`),
    ...namesOf(STATE_LIST).map((name) => `states.${name}`),
  ].join(", ")}
  FROM tasks LEFT JOIN states ON states.seq = tasks.seq
  WHERE tasks.seq > ? ORDER BY tasks.seq LIMIT ?`;

export function specValues(task: Task): SQLQueryBindings[] {
  return SPEC_LIST.map(([, { write }]) => write(task));
}

export function stateValues(seq: number, state: StateRow): SQLQueryBindings[] {
  return [seq, ...STATE_LIST.map(([, { write }]) => write(state))];
}

/** A row of {@link SELECT_TASKS}. */
export function taskRowOf(values: readonly unknown[]): TaskRow {
  const { firstRunAtMs, ...spec } = read<SpecRow>(SPEC_LIST, values, 0);
  // A task without a state was never settled, lost or cancelled: it waits.
  if (values[SPEC_LIST.length] === null) {
    const status = firstRunAtMs === null ? "queued" : "scheduled";
    return { ...INITIAL_STATE, ...spec, status, runAtMs: firstRunAtMs, claim: null };
  }
  const state = read<StateRow>(STATE_LIST, values, SPEC_LIST.length);
  // Only a task that was never started can wait for a requested time.
  return { ...spec, ...state, isDueByWall: false };
}

/** The stored state of a task, without a local attempt: that ends with the process. */
export function stateRowOf(task: Task): StateRow {
  const { status, attempt, failures, losses, runAtMs, startedAtMs, finishedAtMs } = task;
  const { result, progress, errors, settledFence, receipt, lease } = task;
  const isAttemptHere = status === "running" && lease === null;
  return {
    status: isAttemptHere ? "queued" : status,
    attempt: isAttemptHere ? attempt - 1 : attempt,
    failures,
    losses,
    runAtMs,
    startedAtMs,
    finishedAtMs,
    result,
    progress,
    errors,
    settledFence,
    receipt,
    claim: savedClaimOf(task),
  };
}

export function savedClaimOf({ fence, lease }: Task): SavedClaim | null {
  if (lease === null) return null;
  const { worker, lengthMs, endsAtWallMs } = lease;
  return { fence, worker, leaseMs: lengthMs, leaseEndsAtMs: endsAtWallMs };
}

function read<Row>(
  list: readonly (readonly [keyof Row, { readonly read: (value: Value) => unknown }])[],
  values: readonly unknown[],
  from: number,
): Row {
  const row: Partial<Record<keyof Row, unknown>> = {};
  for (const [index, [field, column]] of list.entries()) {
    row[field] = column.read(values[from + index] as Value);
  }
  return row as Row;
}

function namesOf(list: readonly (readonly [unknown, { readonly name: string }])[]): string[] {
  return list.map(([, { name }]) => name);
}

function marksOf(count: number): string {
  return new Array(count).fill("?").join(", ");
}

function numberOrNull(value: Value): number | null {
  return value === null ? null : Number(value);
}

function textOrNull(value: Value): string | null {
  return value === null ? null : String(value);
}

function jsonOrNull<T>(value: Value): T | null {
  return value === null ? null : JSON.parse(String(value));
}
