/**
 * The shapes on the wire, and the only source of them: requests are checked against these, types are derived from
 * these, and the API description is made of these.
 */

import { type Static, Type } from "@sinclair/typebox";
import { TASK_STATUSES } from "../../engine/engine.ts";

const TIMEOUT_MS_MAX = 24 * 60 * 60 * 1000;
const DELAY_MS_MAX = 30 * 24 * 60 * 60 * 1000;

/** RFC 3339, as in `2026-11-24T09:30:00.250Z` or with an offset. */
const RFC_3339 = "^\\d{4}-\\d{2}-\\d{2}[Tt]\\d{2}:\\d{2}:\\d{2}(\\.\\d+)?([Zz]|[+-]\\d{2}:\\d{2})$";

const QueueName = Type.String({
  pattern: "^[a-z0-9._-]{1,64}$",
  description: "1 to 64 of a–z 0–9 . _ -",
});

const TaskType = Type.String({
  pattern: "^[A-Za-z0-9._:-]{1,128}$",
  description: "1 to 128 of A–Z a–z 0–9 . _ : -",
});

const Status = Type.Union(TASK_STATUSES.map((status) => Type.Literal(status)));

const Time = Type.String({ format: "date-time", description: "RFC 3339, UTC, with milliseconds." });

const MaybeTime = Type.Union([Time, Type.Null()]);

export const EnqueueBody = Type.Object(
  {
    payload: Type.Unknown({ description: "Any JSON value, nested at most 64 levels deep." }),
    max_retries: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 100,
        description: "Attempts after the first. Default: MAX_RETRIES.",
      }),
    ),
    type: Type.Optional(TaskType),
    queue: Type.Optional(QueueName),
    priority: Type.Optional(
      Type.Integer({ minimum: -100, maximum: 100, description: "Higher first. Default: 0." }),
    ),
    delay_ms: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: DELAY_MS_MAX,
        description: "Start no sooner than in so many milliseconds.",
      }),
    ),
    run_at: Type.Optional(
      Type.String({
        pattern: RFC_3339,
        description: "Start no sooner than at this RFC 3339 time. Not with delay_ms.",
      }),
    ),
    timeout_ms: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: TIMEOUT_MS_MAX,
        description: "How long one attempt may take.",
      }),
    ),
  },
  { additionalProperties: false },
);
export type EnqueueBody = Static<typeof EnqueueBody>;

export const BatchBody = Type.Object(
  {
    tasks: Type.Array(EnqueueBody, {
      minItems: 1,
      description: "As many as the body limit allows.",
    }),
  },
  { additionalProperties: false },
);
export type BatchBody = Static<typeof BatchBody>;

export const Receipt = Type.Object({
  id: Type.String({ format: "uuid", description: "A UUIDv7." }),
  status: Type.Union([Type.Literal("queued"), Type.Literal("scheduled")]),
});

export const BatchReceipt = Type.Object({ tasks: Type.Array(Receipt) });

const TaskErrorJson = Type.Object({
  code: Type.String(),
  message: Type.String(),
  attempt: Type.Integer(),
  at: Time,
});

export const TaskJson = Type.Object({
  id: Type.String({ format: "uuid" }),
  type: Type.String(),
  queue: Type.String(),
  status: Status,
  payload: Type.Unknown(),
  priority: Type.Integer(),
  attempt: Type.Integer({ description: "How often it was started." }),
  max_retries: Type.Integer(),
  timeout_ms: Type.Integer(),
  enqueued_at: Time,
  run_at: MaybeTime,
  started_at: MaybeTime,
  finished_at: MaybeTime,
  progress: Type.Unknown({ description: "What the handler last said of how far it is." }),
  result: Type.Unknown({ description: "What the handler returned." }),
  error: Type.Union([TaskErrorJson, Type.Null()], { description: "The latest failed attempt." }),
  errors: Type.Array(TaskErrorJson, { description: "The last few failed attempts, oldest first." }),
});

export const TaskPageJson = Type.Object({
  tasks: Type.Array(TaskJson),
  next_cursor: Type.Union([Type.String(), Type.Null()], {
    description:
      "Ask for the next page with it. A page may be short, or empty, and still have a next one.",
  }),
});

export const ListQuery = Type.Object(
  {
    status: Type.Optional(Status),
    queue: Type.Optional(QueueName),
    type: Type.Optional(TaskType),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, description: "Default: 50." })),
    cursor: Type.Optional(Type.String({ description: "The next_cursor of the page before." })),
  },
  { additionalProperties: false },
);

export const WaitQuery = Type.Object(
  {
    wait_ms: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 60_000,
        description: "Answer when the task finishes, or after so long.",
      }),
    ),
  },
  { additionalProperties: false },
);

const Count = Type.Integer({ minimum: 0 });

export const QueueJson = Type.Object({
  name: Type.String(),
  paused: Type.Boolean(),
  capacity: Type.Object({ tasks: Count, bytes: Count }, { description: "What may wait at most." }),
  waiting: Type.Object(
    { tasks: Count, bytes: Count },
    { description: "Queued, scheduled and retrying tasks." },
  ),
  depth: Type.Object(
    {
      scheduled: Count,
      queued: Count,
      running: Count,
      retrying: Count,
      done: Count,
      failed: Count,
      cancelled: Count,
    },
    { description: "Tasks by status; finished ones count while they are kept." },
  ),
  oldest_waiting_ms: Type.Union([Count, Type.Null()], {
    description: "How long the queued task that waits longest has been queued.",
  }),
  totals: Type.Object(
    {
      enqueued: Count,
      done: Count,
      failed: Count,
      cancelled: Count,
      retried: Count,
      interrupted: Count,
    },
    { description: "Since the queue was made." },
  ),
});

export const QueuesJson = Type.Object({ queues: Type.Array(QueueJson) });

export const PurgeJson = Type.Object({ cancelled: Count });

/** The shapes that the API description knows by name. */
export const NAMED_SCHEMAS = {
  EnqueueBody,
  BatchBody,
  Receipt,
  BatchReceipt,
  Status,
  Task: TaskJson,
  TaskError: TaskErrorJson,
  TaskPage: TaskPageJson,
  Queue: QueueJson,
  Queues: QueuesJson,
  Purge: PurgeJson,
} as const;
