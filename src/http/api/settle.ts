/** The calls that settle claims: one at a time, or several, each on its own. */

import type { Static, TSchema } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type {
  ClaimLost,
  Engine,
  MaybePromise,
  SettleAnswer,
  SettleReceipt,
} from "../../engine/engine.ts";
import { withBody } from "../body.ts";
import { shapeOf } from "../shape.ts";
import { type DirectHandler, directHandler } from "./direct.ts";
import { timeText } from "./json.ts";
import { describeRoute } from "./openapi.ts";
import { type OutcomeReader, outcomeReader, type ReadOutcome } from "./outcome.ts";
import {
  bodyProblem,
  invalidProblem,
  type Problem,
  type ProblemCode,
  problemAnswer,
  problemJson,
  STORAGE_PROBLEM,
} from "./problem.ts";
import * as schemas from "./schemas.ts";
import { type ClaimId, claimOfToken } from "./token.ts";

export interface SettleOptions {
  readonly engine: Engine;
  readonly resultBytesMax: number;
  readonly bodyBytesMax: number;
}

/** The problems of every call of a worker. */
export const WORKER_PROBLEMS: readonly ProblemCode[] = [
  "cross_site",
  "invalid_json",
  "body_too_large",
  "unsupported_media_type",
];

/** Answers `POST /claims/settle`. */
export function settlesHandler({
  engine,
  resultBytesMax,
  bodyBytesMax,
}: SettleOptions): DirectHandler {
  const reader = outcomeReader(resultBytesMax);
  return directHandler((request) =>
    withBody(request, settlesShape, bodyBytesMax, (body) =>
      body.kind === "body" ? settleAll(engine, body.value.settles, reader) : bodyProblem(body),
    ),
  );
}

export function settleRoutes(
  handleSettles: DirectHandler,
  { engine, resultBytesMax, bodyBytesMax }: SettleOptions,
) {
  const reader = outcomeReader(resultBytesMax);

  function settleRoute<T extends TSchema>(
    summary: string,
    schema: T,
    read: (body: Static<T>) => ReadOutcome,
  ) {
    const shape = shapeOf(schema);
    const handle = ({ request, params }: { request: Request; params: { token: string } }) =>
      withBody(
        request,
        shape,
        bodyBytesMax,
        (body) =>
          body.kind === "body"
            ? settleOne(engine, params.token, read(body.value))
            : bodyProblem(body),
        {},
      );
    const detail = describeRoute({
      summary,
      tag: "Workers",
      body: schema,
      isBodyOptional: true,
      answers: { 200: schemas.SettleReceiptJson },
      problems: [...WORKER_PROBLEMS, "not_found", "claim_lost", "storage_unavailable"],
    });
    return [handle, { parse: "none", query: schemas.NoQuery, detail }] as const;
  }

  return new Elysia()
    .post(
      "/claims/:token/done",
      ...settleRoute("Settle a claim as done", schemas.DoneBody, reader.done),
    )
    .post(
      "/claims/:token/failed",
      ...settleRoute("Settle a claim as failed", schemas.FailedBody, reader.failed),
    )
    .post(
      "/claims/:token/released",
      ...settleRoute("Release the task of a claim", schemas.ReleasedBody, reader.released),
    )
    .post("/claims/settle", ({ request, server }) => handleSettles(request, server), {
      parse: "none",
      query: schemas.NoQuery,
      detail: describeRoute({
        summary: "Settle several claims, each on its own",
        tag: "Workers",
        body: schemas.SettlesJson,
        answers: { 200: schemas.SettleResultsJson },
        problems: WORKER_PROBLEMS,
      }),
    });
}

const settlesShape = shapeOf(schemas.SettlesBody);

async function settleOne(engine: Engine, token: string, read: ReadOutcome): Promise<Response> {
  const settled = await settle(engine, token, read);
  return settled.kind === "receipt"
    ? jsonAnswer(`{${receiptText(settled)}}`)
    : problemAnswer(settled.problem);
}

async function settleAll(
  engine: Engine,
  settles: readonly { readonly token: string }[],
  reader: OutcomeReader,
): Promise<Response> {
  const settling = settles.map((entry) => settle(engine, entry.token, reader.any(entry)));
  const results = (await Promise.all(settling)).map((settled, index) => {
    const text =
      settled.kind === "receipt"
        ? receiptText(settled)
        : `"problem":${JSON.stringify(problemJson(settled.problem))}`;
    return `{"token":${JSON.stringify(settles[index]?.token)},${text}}`;
  });
  return jsonAnswer(`{"results":[${results.join(",")}]}`);
}

function jsonAnswer(text: string): Response {
  return new Response(text, { headers: { "content-type": "application/json" } });
}

/** What a worker is told about its settle. */
type Settled =
  | { readonly kind: "receipt"; readonly id: string; readonly receipt: SettleReceipt }
  | { readonly kind: "problem"; readonly problem: Problem };

/** Settles the claim with this token. */
function settle(engine: Engine, token: string, read: ReadOutcome): MaybePromise<Settled> {
  const claim = claimOfToken(token);
  if (claim === null) return { kind: "problem", problem: NOT_A_TOKEN };
  if (read.kind === "problem") return read;
  const answering = engine.settle(claim.taskId, claim.fence, read.outcome);
  return answering instanceof Promise
    ? answering.then((answer) => settledOf(claim, answer))
    : settledOf(claim, answering);
}

function settledOf({ taskId }: ClaimId, answer: SettleAnswer): Settled {
  switch (answer.kind) {
    case "settled":
    case "repeated":
      return { kind: "receipt", id: taskId, receipt: answer.receipt };
    case "claim_lost":
      return { kind: "problem", problem: lostProblem(answer) };
    case "storage_unavailable":
      return { kind: "problem", problem: STORAGE_PROBLEM };
    case "invalid":
      return { kind: "problem", problem: invalidProblem(answer.faults) };
    default:
      return answer satisfies never;
  }
}

/** The fields of a receipt as JSON text. None of the values has anything to escape. */
function receiptText({ id, receipt: { status, runAtMs } }: Settled & { kind: "receipt" }): string {
  return `"id":"${id}","status":"${status}","run_at":${timeText(runAtMs)}`;
}

export const NOT_A_TOKEN: Problem = {
  code: "not_found",
  detail: "This is not the token of a claim.",
};

const ENDED: Readonly<Record<ClaimLost["ended"], string>> = {
  expired: "Its lease ended.",
  timeout: "The attempt timed out.",
  settled: "It was settled before, with another outcome.",
  cancelled: "The task was cancelled.",
  unknown: "The task or the claim is not known.",
};

export function lostProblem({ ended }: ClaimLost): Problem {
  return { code: "claim_lost", detail: `The claim is over. ${ENDED[ended]}`, ended };
}
