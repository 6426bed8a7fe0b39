/**
 * The schemas of the wire format, and their only source: requests are checked against them, and the
 * types and the API description are derived from them. Every bound comes from LIMITS.
 */

import { type Static, Type } from "@sinclair/typebox";
import { isFinished, LIMITS, type QueueReport, TASK_STATUSES } from "../../engine/engine.ts";
import { RFC_3339 } from "./json.ts";

/** Text within a limit of the engine. */
function text({ pattern, lengthMax, allowed }: typeof LIMITS.type, description = allowed) {
  return Type.String({ pattern, maxLength: lengthMax, description });
}

/** A whole number within a limit of the engine. */
function whole({ min, max }: typeof LIMITS.priority, description: string) {
  return Type.Integer({ minimum: min, maximum: max, description });
}

const QueueName = text(LIMITS.queue);

const TaskType = text(LIMITS.type);

const Tag = text(LIMITS.tag);

export const IdempotencyKey = text(
  LIMITS.idempotencyKey,
  "Makes a request safe to repeat: the same request with the same key gets the first answer again.",
);

const Status = Type.Union(TASK_STATUSES.map((status) => Type.Literal(status)));

const Time = Type.String({ format: "date-time", description: "RFC 3339, UTC, with milliseconds." });

const MaybeTime = Type.Union([Time, Type.Null()]);

export const EnqueueBody = Type.Object(
  {
    payload: Type.Unknown({
      description: `Any JSON value, nested at most ${LIMITS.payloadDepth.max} levels deep.`,
    }),
    max_retries: Type.Optional(
      whole(
        LIMITS.maxRetries,
        "Retries after the first attempt. Default: the value of the type, or MAX_RETRIES.",
      ),
    ),
    type: Type.Optional(TaskType),
    queue: Type.Optional(QueueName),
    tags: Type.Optional(
      Type.Array(Tag, { maxItems: LIMITS.tags.lengthMax, description: LIMITS.tags.allowed }),
    ),
    priority: Type.Optional(whole(LIMITS.priority, "Higher first. Default: 0.")),
    delay_ms: Type.Optional(whole(LIMITS.delayMs, "The earliest start, in milliseconds from now.")),
    run_at: Type.Optional(
      Type.String({
        pattern: RFC_3339,
        description: "The earliest start, as an RFC 3339 time. Not with delay_ms.",
      }),
    ),
    timeout_ms: Type.Optional(
      whole(
        LIMITS.timeoutMs,
        "The time limit of an attempt. Default: the value of the type, or TASK_TIMEOUT_MS.",
      ),
    ),
  },
  {
    additionalProperties: false,
    // For readers of the description. http/api/json.ts checks it, with its own message.
    not: { required: ["delay_ms", "run_at"] },
  },
);
export type EnqueueBody = Static<typeof EnqueueBody>;

export const BatchBody = Type.Object(
  {
    tasks: Type.Array(EnqueueBody, {
      minItems: 1,
      description: "The tasks. MAX_BODY_BYTES bounds their number.",
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
  tags: Type.Array(Type.String()),
  payload: Type.Unknown(),
  priority: Type.Integer(),
  attempt: Type.Integer({ description: "The number of attempts that have started." }),
  max_retries: Type.Integer(),
  timeout_ms: Type.Integer(),
  enqueued_at: Time,
  run_at: MaybeTime,
  started_at: MaybeTime,
  finished_at: MaybeTime,
  progress: Type.Unknown({ description: "The last progress that the handler reported." }),
  result: Type.Unknown({ description: "The value that the handler returned." }),
  error: Type.Union([TaskErrorJson, Type.Null()], { description: "The latest failed attempt." }),
  errors: Type.Array(TaskErrorJson, { description: "The last few failed attempts, oldest first." }),
});

export const TaskPageJson = Type.Object({
  tasks: Type.Array(TaskJson),
  next_cursor: Type.Union([Type.String(), Type.Null()], {
    description:
      "The cursor of the next page. A page may be short, or empty, and still have a next one.",
  }),
});

export const ListQuery = Type.Object(
  {
    status: Type.Optional(Status),
    queue: Type.Optional(QueueName),
    type: Type.Optional(TaskType),
    tag: Type.Optional(Tag),
    limit: Type.Optional(whole(LIMITS.pageTasks, "Default: 50.")),
    cursor: Type.Optional(
      Type.String({ minLength: 1, description: "The next_cursor of the previous page." }),
    ),
  },
  { additionalProperties: false },
);

export const WaitQuery = Type.Object(
  {
    wait_ms: Type.Optional(
      whole(LIMITS.waitMs, "Wait until the task has finished, at most this many milliseconds."),
    ),
  },
  { additionalProperties: false },
);

/** The query of a route without parameters. */
export const NoQuery = Type.Object({}, { additionalProperties: false });

const Count = Type.Integer({ minimum: 0 });

function counts(names: readonly string[], description: string) {
  return Type.Object(Object.fromEntries(names.map((name) => [name, Count])), { description });
}

export const QueueJson = Type.Object({
  name: Type.String(),
  paused: Type.Boolean(),
  capacity: Type.Object(
    { tasks: Count, bytes: Count },
    { description: "The limits for waiting tasks." },
  ),
  waiting: Type.Object(
    { tasks: Count, bytes: Count },
    { description: "Queued, scheduled and retrying tasks." },
  ),
  depth: Type.Unsafe<QueueReport["counts"]>(
    counts(TASK_STATUSES, "Tasks by status. Finished tasks count while they are kept."),
  ),
  oldest_waiting_ms: Type.Union([Count, Type.Null()], {
    description: "The time since the oldest queued task was queued.",
  }),
  totals: Type.Unsafe<QueueReport["totals"]>(
    counts(
      ["enqueued", ...TASK_STATUSES.filter(isFinished), "retried", "interrupted"],
      "Counted since the queue was created in this process.",
    ),
  ),
});

export const QueuesJson = Type.Object({ queues: Type.Array(QueueJson) });

export const PurgeJson = Type.Object({ cancelled: Count });

/** The schemas that have a name in the API description. */
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
