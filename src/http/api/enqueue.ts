/**
 * Takes tasks in: one by one, or many at once, all or nothing.
 */

import { Elysia } from "elysia";
import type {
  Engine,
  EnqueueAnswer,
  EnqueueRequest,
  MaybePromise,
  Receipt,
} from "../../engine/engine.ts";
import { withBody } from "../body.ts";
import { shapeOf } from "../shape.ts";
import { describeRoute } from "./openapi.ts";
import { invalidRequest, type ProblemCode, problem, type RequestError } from "./problem.ts";
import { refusalProblem, stoppingProblem, storageProblem } from "./refusal.ts";
import * as schemas from "./schemas.ts";

export interface EnqueueOptions {
  readonly engine: Engine;
  readonly bodyBytesMax: number;
}

const enqueueShape = shapeOf(schemas.EnqueueBody);
const batchShape = shapeOf(schemas.BatchBody);

const JSON_TYPE = "application/json;charset=utf-8";

/** Keys are compared and kept, never shown: printable ASCII, and no longer than anybody's key needs to be. */
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;

const PROBLEMS: readonly ProblemCode[] = [
  "invalid_json",
  "body_too_large",
  "unsupported_media_type",
  "invalid_request",
  "idempotency_key_reused",
  "queue_full",
  "shutting_down",
  "storage_unavailable",
];

/** Answers `POST /enqueue`. */
export type EnqueueHandler = (request: Request) => Promise<Response>;

export function enqueueHandler({ engine, bodyBytesMax }: EnqueueOptions): EnqueueHandler {
  return (request) =>
    withBody(request, enqueueShape, bodyBytesMax, (body) => enqueue(engine, request, [body], ONE));
}

export function enqueueRoutes(
  enqueueOne: EnqueueHandler,
  { engine, bodyBytesMax }: EnqueueOptions,
) {
  return new Elysia()
    .post("/enqueue", ({ request }) => enqueueOne(request), {
      parse: "none",
      detail: describeRoute({
        summary: "Enqueue a task",
        tag: "Enqueue",
        body: schemas.EnqueueBody,
        hasIdempotencyKey: true,
        hasLocation: true,
        answers: { 202: schemas.Receipt },
        problems: PROBLEMS,
      }),
    })
    .post(
      "/enqueue/batch",
      ({ request }) =>
        withBody(request, batchShape, bodyBytesMax, ({ tasks }) =>
          enqueue(engine, request, tasks, MANY),
        ),
      {
        parse: "none",
        detail: describeRoute({
          summary: "Enqueue many tasks, all or none",
          tag: "Enqueue",
          body: schemas.BatchBody,
          hasIdempotencyKey: true,
          answers: { 202: schemas.BatchReceipt },
          problems: PROBLEMS,
        }),
      },
    );
}

/** What differs between one task and many: where a task stands in the body, and how its receipt is handed out. */
interface Form {
  readonly pathOf: (index: number) => string;
  readonly accepted: (receipts: readonly Receipt[]) => Response;
}

const ONE: Form = {
  pathOf: () => "",
  accepted(receipts) {
    const receipt = receipts[0];
    return acceptedJson(receipt, { "content-type": JSON_TYPE, location: `/tasks/${receipt?.id}` });
  },
};

const MANY: Form = {
  pathOf: (index) => `/tasks/${index}`,
  accepted: (receipts) => acceptedJson({ tasks: receipts }, { "content-type": JSON_TYPE }),
};

/** What Response.json does, for less: docs/DECISIONS.md has the figures. */
function acceptedJson(body: unknown, headers: Record<string, string>): Response {
  return new Response(JSON.stringify(body), { status: 202, headers });
}

function enqueue(
  engine: Engine,
  request: Request,
  bodies: readonly schemas.EnqueueBody[],
  form: Form,
): MaybePromise<Response> {
  const key = request.headers.get("idempotency-key") ?? undefined;
  if (key !== undefined && !IDEMPOTENCY_KEY.test(key)) {
    return invalidRequest([
      { path: "Idempotency-Key", message: "must be 1 to 255 printable ASCII characters" },
    ]);
  }
  const requests: EnqueueRequest[] = [];
  const faults: RequestError[] = [];
  for (const body of bodies) {
    const request = requestOf(body);
    const message = timeFault(request);
    if (message !== null) faults.push({ path: `${form.pathOf(requests.length)}/run_at`, message });
    requests.push(request);
  }
  if (faults.length > 0) return invalidRequest(faults);
  const answering = engine.enqueue(requests, key);
  return answering instanceof Promise
    ? answering.then((answer) => respond(answer, form))
    : respond(answering, form);
}

function respond(answer: EnqueueAnswer, form: Form): Response {
  switch (answer.kind) {
    case "accepted":
      return form.accepted(answer.receipts);
    case "repeated": {
      const response = form.accepted(answer.receipts);
      response.headers.set("idempotency-replayed", "true");
      return response;
    }
    case "refused":
      return refusalProblem(answer);
    case "stopping":
      return stoppingProblem();
    case "storage_unavailable":
      return storageProblem();
    case "key_reused":
      return problem(
        "idempotency_key_reused",
        "This Idempotency-Key came with another request before.",
      );
    case "invalid":
      return invalidRequest(
        answer.faults.map(({ index, path, message }) => ({
          path: index === null ? "Idempotency-Key" : `${form.pathOf(index)}${path}`,
          message,
        })),
      );
    default:
      return answer satisfies never;
  }
}

function requestOf(body: schemas.EnqueueBody): EnqueueRequest {
  return {
    payload: body.payload,
    type: body.type,
    queue: body.queue,
    priority: body.priority,
    maxRetries: body.max_retries,
    timeoutMs: body.timeout_ms,
    delayMs: body.delay_ms,
    runAtMs: body.run_at === undefined ? undefined : msOfTime(body.run_at),
  };
}

function timeFault({ delayMs, runAtMs }: EnqueueRequest): string | null {
  if (runAtMs === undefined) return null;
  if (delayMs !== undefined) return "can't be given together with delay_ms";
  return Number.isNaN(runAtMs) ? "is not a time that exists" : null;
}

/**
 * Milliseconds since the Unix epoch, or NaN for a time that does not exist. Its form alone does not tell: parsers take
 * 30 February for 2 March, and 24:00, which RFC 3339 does not have, for the next day.
 */
function msOfTime(time: string): number {
  const day = new Date(`${time.slice(0, 10)}T00:00:00Z`);
  if (Number.isNaN(day.getTime()) || day.toISOString().slice(0, 10) !== time.slice(0, 10))
    return Number.NaN;
  return time.slice(11, 13) === "24" ? Number.NaN : Date.parse(time.toUpperCase());
}
