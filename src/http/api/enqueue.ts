/** Accepts tasks: one at a time, or many in a batch, all or none. */

import { Elysia } from "elysia";
import {
  type Engine,
  type EnqueueAnswer,
  type EnqueueRequest,
  LIMITS,
  type MaybePromise,
  type Receipt,
} from "../../engine/engine.ts";
import type { Answers } from "../answers.ts";
import { withBody } from "../body.ts";
import { type Fault, shapeOf } from "../shape.ts";
import { type DirectHandler, directHandler } from "./direct.ts";
import { requestOf, runAtFault, wirePath } from "./json.ts";
import { describeRoute } from "./openapi.ts";
import {
  bodyProblem,
  invalidRequest,
  type ProblemCode,
  problem,
  refusalProblem,
  stoppingProblem,
  storageProblem,
} from "./problem.ts";
import * as schemas from "./schemas.ts";

export interface EnqueueOptions {
  readonly engine: Engine;
  readonly bodyBytesMax: number;
  readonly answers: Answers;
}

const enqueueShape = shapeOf(schemas.EnqueueBody);
const batchShape = shapeOf(schemas.BatchBody);

const JSON_TYPE = "application/json;charset=utf-8";

const PROBLEMS: readonly ProblemCode[] = [
  "invalid_json",
  "body_too_large",
  "unsupported_media_type",
  "idempotency_key_reused",
  "queue_full",
  "shutting_down",
  "storage_unavailable",
];

/** Answers `POST /enqueue`. */
export function enqueueHandler({ engine, bodyBytesMax }: EnqueueOptions): DirectHandler {
  return directHandler((request) =>
    withBody(request, enqueueShape, bodyBytesMax, (body) =>
      body.kind === "body" ? enqueue(engine, request, [body.value], ONE) : bodyProblem(body),
    ),
  );
}

/** Answers `POST /enqueue/batch`. */
export function batchHandler({ engine, bodyBytesMax, answers }: EnqueueOptions): DirectHandler {
  const many: Form = {
    pathOf: (index) => `/tasks/${index}`,
    // The tasks are accepted, so an answer is due, even if many bytes are unread.
    accepted: (receipts, headers) =>
      answers.json([JSON.stringify({ tasks: receipts })], { status: 202, headers }),
  };
  return directHandler((request) =>
    withBody(request, batchShape, bodyBytesMax, (body) =>
      body.kind === "body" ? enqueue(engine, request, body.value.tasks, many) : bodyProblem(body),
    ),
  );
}

export function enqueueRoutes(enqueueOne: DirectHandler, enqueueBatch: DirectHandler) {
  return new Elysia()
    .post("/enqueue", ({ request, server }) => enqueueOne(request, server), {
      parse: "none",
      query: schemas.NoQuery,
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
    .post("/enqueue/batch", ({ request, server }) => enqueueBatch(request, server), {
      parse: "none",
      query: schemas.NoQuery,
      detail: describeRoute({
        summary: "Enqueue a batch of tasks, all or none",
        tag: "Enqueue",
        body: schemas.BatchBody,
        hasIdempotencyKey: true,
        answers: { 202: schemas.BatchReceipt },
        problems: ["cross_site", ...PROBLEMS],
      }),
    });
}

/**
 * The differences between one task and many: the path of a task in the body, and the answer with
 * its receipt.
 */
interface Form {
  readonly pathOf: (index: number) => string;
  readonly accepted: (receipts: readonly Receipt[], headers: Record<string, string>) => Response;
}

const ONE: Form = {
  pathOf: () => "",
  accepted(receipts, headers) {
    const [receipt] = receipts;
    if (receipt === undefined) throw new Error("an accepted task has a receipt");
    const { id, status } = receipt;
    headers["location"] = `/tasks/${id}`;
    // Neither value has anything to escape, so this costs less than JSON.stringify.
    return new Response(`{"id":"${id}","status":"${status}"}`, { status: 202, headers });
  },
};

function enqueue(
  engine: Engine,
  request: Request,
  bodies: readonly schemas.EnqueueBody[],
  form: Form,
): MaybePromise<Response> {
  const key = request.headers.get("idempotency-key") ?? undefined;
  if (key !== undefined && !LIMITS.idempotencyKey.allows(key)) {
    return invalidRequest([
      { path: "Idempotency-Key", message: `must be ${LIMITS.idempotencyKey.allowed}` },
    ]);
  }
  const requests: EnqueueRequest[] = [];
  const faults: Fault[] = [];
  for (const body of bodies) {
    const message = runAtFault(body);
    if (message !== null) faults.push({ path: `${form.pathOf(requests.length)}/run_at`, message });
    requests.push(requestOf(body));
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
      return form.accepted(answer.receipts, { "content-type": JSON_TYPE });
    case "repeated":
      return form.accepted(answer.receipts, {
        "content-type": JSON_TYPE,
        "idempotency-replayed": "true",
      });
    case "refused":
      return refusalProblem(answer);
    case "stopping":
      return stoppingProblem();
    case "storage_unavailable":
      return storageProblem();
    case "key_reused":
      return problem(
        "idempotency_key_reused",
        "This Idempotency-Key was used for a different request.",
      );
    case "invalid":
      return invalidRequest(
        answer.faults.map(({ index, path, message }) => ({
          path: index === null ? "Idempotency-Key" : form.pathOf(index) + wirePath(path),
          message,
        })),
      );
    default:
      return answer satisfies never;
  }
}
