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
  progress: Type.Unknown({ description: "The last progress that the handler or worker reported." }),
  result: Type.Unknown({
    description: "The value that the handler returned, or the worker reported.",
  }),
  error: Type.Union([TaskErrorJson, Type.Null()], { description: "The latest failed attempt." }),
  errors: Type.Array(TaskErrorJson, { description: "The last few failed attempts, oldest first." }),
  claim: Type.Union(
    [
      Type.Object({
        worker: Type.Union([Type.String(), Type.Null()]),
        lease_ends_at: Time,
      }),
      Type.Null(),
    ],
    { description: "The claim of the remote worker that holds the task; null if none does." },
  ),
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
  claims: Type.Object(
    { running: Count, waiting: Count },
    {
      description:
        "The tasks that remote workers hold, and the claims that wait and would take a task of this queue.",
    },
  ),
  totals: Type.Unsafe<QueueReport["totals"]>(
    counts(
      ["enqueued", ...TASK_STATUSES.filter(isFinished), "retried", "interrupted"],
      "Counted since the queue was created in this process.",
    ),
  ),
});

export const QueuesJson = Type.Object({ queues: Type.Array(QueueJson) });

export const PurgeJson = Type.Object({ cancelled: Count });

const LeaseMs = whole(
  LIMITS.leaseMs,
  "The length of the lease. It never ends after the timeout. Default: LEASE_MS.",
);

const Worker = Type.String({
  pattern: LIMITS.worker.pattern,
  maxLength: LIMITS.worker.lengthMax,
  description: "The name of the worker, shown on the task.",
});

function names(name: typeof QueueName, description: string) {
  const { min, max } = LIMITS.claimNames;
  return Type.Array(name, { minItems: min, maxItems: max, description });
}

export const ClaimBody = Type.Object(
  {
    queues: Type.Optional(
      names(QueueName, "Only these queues, strictly in this order. Default: all, in turn."),
    ),
    types: Type.Optional(
      names(
        TaskType,
        "Only tasks of these types, among the first 1,000 tasks of each queue. Default: all.",
      ),
    ),
    max: Type.Optional(whole(LIMITS.claimTasks, "The largest number of tasks. Default: 1.")),
    lease_ms: Type.Optional(LeaseMs),
    wait_ms: Type.Optional(
      whole(
        LIMITS.waitMs,
        "Wait until a task can start, at most this many milliseconds. Default: 0.",
      ),
    ),
    worker: Type.Optional(Worker),
  },
  { additionalProperties: false },
);
export type ClaimBody = Static<typeof ClaimBody>;

export const ExtendBody = Type.Object(
  {
    lease_ms: Type.Optional(
      whole(
        LIMITS.leaseMs,
        "The length of the lease from now. Default: the length that was last asked for.",
      ),
    ),
    progress: Type.Optional(
      Type.Unknown({
        description: "Any JSON value of at most RESULT_BYTES_MAX bytes, shown on the task.",
      }),
    ),
  },
  { additionalProperties: false },
);

export type ExtendBody = Static<typeof ExtendBody>;

/** The fields of a settle, by outcome. */
const SETTLE_FIELDS = {
  done: {
    result: Type.Optional(
      Type.Unknown({
        description:
          "Any JSON value. One of more than RESULT_BYTES_MAX bytes fails the attempt. Default: null.",
      }),
    ),
  },
  failed: {
    code: Type.Optional(
      Type.String({
        description: `${LIMITS.errorCode.allowed}. Any other text counts as handler_error.`,
      }),
    ),
    message: Type.Optional(
      Type.String({
        description: `For people. Cut to ${LIMITS.errorMessageLength.max} characters.`,
      }),
    ),
    retry: Type.Optional(
      Type.Union([Type.Literal("backoff"), Type.Literal("never")], {
        description: "Retry after the backoff of the type, or never. Default: backoff.",
      }),
    ),
    retry_after_ms: Type.Optional(
      whole(
        LIMITS.retryAfterMs,
        "Retry after this many milliseconds, instead of the backoff. Not with retry.",
      ),
    ),
  },
  released: {
    delay_ms: Type.Optional(
      whole(
        LIMITS.retryAfterMs,
        "The task waits for this many milliseconds, then at the back of its queue. Default: 0, at its old place.",
      ),
    ),
  },
} as const;

const STRICT = { additionalProperties: false } as const;

// For readers of the description. http/api/outcome.ts checks it, with its own message.
const STRICT_FAILED = { ...STRICT, not: { required: ["retry", "retry_after_ms"] } };

export const DoneBody = Type.Object(SETTLE_FIELDS.done, STRICT);
export const FailedBody = Type.Object(SETTLE_FIELDS.failed, STRICT_FAILED);
export const ReleasedBody = Type.Object(SETTLE_FIELDS.released, STRICT);

const Token = Type.String({ maxLength: 64, description: "The token of the claim." });

function settleOf<Outcome extends keyof typeof SETTLE_FIELDS>(outcome: Outcome) {
  const fields: (typeof SETTLE_FIELDS)[Outcome] = SETTLE_FIELDS[outcome];
  const options = outcome === "failed" ? STRICT_FAILED : STRICT;
  return Type.Object({ token: Token, outcome: Type.Literal(outcome), ...fields }, options);
}

export const DoneSettle = settleOf("done");
export const FailedSettle = settleOf("failed");
export const ReleasedSettle = settleOf("released");

/** The largest number of settles in one request. */
const SETTLES_MAX = LIMITS.claimTasks.max;

/** The checked part of a request with several settles. Each settle is checked on its own. */
export const SettlesBody = Type.Object(
  {
    settles: Type.Array(Type.Object({ token: Token }), { minItems: 1, maxItems: SETTLES_MAX }),
  },
  STRICT,
);

/** A request with several settles, for the API description. */
export const SettlesJson = Type.Object(
  {
    settles: Type.Array(Type.Union([DoneSettle, FailedSettle, ReleasedSettle]), {
      minItems: 1,
      maxItems: SETTLES_MAX,
    }),
  },
  STRICT,
);

const ClaimedTaskJson = Type.Composite([
  TaskJson,
  Type.Object({ retries_left: Type.Integer({ description: "Retries after this attempt." }) }),
]);

const LEASE = {
  lease_ms: Type.Integer({
    description: "The length of the granted lease. Workers should measure time with it.",
  }),
  lease_ends_at: Type.String({
    format: "date-time",
    description: "The end of the lease by the server's clock, for people.",
  }),
} as const;

const ClaimJson = Type.Object({
  token: Type.String({ description: "Names the claim in all further calls." }),
  ...LEASE,
  task: ClaimedTaskJson,
});

export const ClaimsJson = Type.Object({
  claims: Type.Array(ClaimJson, { description: "Empty if no task could start in time." }),
});

export const LeaseJson = Type.Object(LEASE);

export const SettleReceiptJson = Type.Object({
  id: Type.String({ format: "uuid" }),
  status: Status,
  run_at: MaybeTime,
});

export const SettleResultsJson = Type.Object({
  results: Type.Array(
    Type.Union([
      Type.Composite([Type.Object({ token: Token }), SettleReceiptJson]),
      Type.Object({ token: Token, problem: Type.Unsafe({ $ref: "#/components/schemas/Problem" }) }),
    ]),
    { description: "One for each settle, in their order." },
  ),
});

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
  ClaimBody,
  Claims: ClaimsJson,
  Claim: ClaimJson,
  ClaimedTask: ClaimedTaskJson,
  ExtendBody,
  Lease: LeaseJson,
  DoneBody,
  FailedBody,
  ReleasedBody,
  SettleReceipt: SettleReceiptJson,
  Settles: SettlesJson,
  DoneSettle,
  FailedSettle,
  ReleasedSettle,
  SettleResults: SettleResultsJson,
} as const;
