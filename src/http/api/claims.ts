/**
 * The calls of remote workers that claim tasks and extend claims; settle.ts has those that settle
 * them. A claim can wait for a task. docs/WORKERS.md describes the protocol.
 */

import { Elysia } from "elysia";
import type { Claim, ClaimAnswer, Engine, TooManyWaiting } from "../../engine/engine.ts";
import { jsonTextOfSent } from "../../engine/outcome.ts";
import type { Answers } from "../answers.ts";
import { withBody } from "../body.ts";
import { shapeOf } from "../shape.ts";
import { type DirectHandler, directHandler } from "./direct.ts";
import { claimJson, timeJson } from "./json.ts";
import { describeRoute } from "./openapi.ts";
import {
  bodyProblem,
  invalidRequest,
  overloadedProblem,
  problem,
  problemAnswer,
  storageProblem,
} from "./problem.ts";
import * as schemas from "./schemas.ts";
import { lostProblem, NOT_A_TOKEN, WORKER_PROBLEMS } from "./settle.ts";
import { IDLE_MARGIN_S } from "./tasks.ts";
import { claimOfToken } from "./token.ts";

export interface ClaimOptions {
  readonly engine: Engine;
  readonly hasRemoteTypes: boolean;
  readonly leaseMs: number;
  readonly resultBytesMax: number;
  readonly bodyBytesMax: number;
  readonly answers: Answers;
}

/** Answers `POST /claims`. */
export function claimHandler(options: ClaimOptions): DirectHandler {
  return directHandler((request, server) =>
    withBody(
      request,
      claimShape,
      options.bodyBytesMax,
      (body) => {
        if (body.kind !== "body") return bodyProblem(body);
        const waitMs = body.value.wait_ms ?? 0;
        if (waitMs > 0) server?.timeout(request, Math.ceil(waitMs / 1000) + IDLE_MARGIN_S);
        return claim(options, body.value, waitMs, request.signal);
      },
      {},
    ),
  );
}

export function claimRoutes(handleClaim: DirectHandler, options: ClaimOptions) {
  return new Elysia()
    .post("/claims", ({ request, server }) => handleClaim(request, server), {
      parse: "none",
      query: schemas.NoQuery,
      detail: describeRoute({
        summary: "Claim tasks, or wait for one",
        tag: "Workers",
        body: schemas.ClaimBody,
        isBodyOptional: true,
        answers: { 200: schemas.ClaimsJson },
        problems: [
          ...WORKER_PROBLEMS,
          "no_remote_types",
          "too_many_waiting",
          "overloaded",
          "shutting_down",
          "storage_unavailable",
        ],
      }),
    })
    .post(
      "/claims/:token/extend",
      ({ request, params: { token } }) =>
        withBody(
          request,
          extendShape,
          options.bodyBytesMax,
          (body) => (body.kind === "body" ? extend(options, token, body.value) : bodyProblem(body)),
          {},
        ),
      {
        parse: "none",
        query: schemas.NoQuery,
        detail: describeRoute({
          summary: "Extend the lease of a claim, and show progress",
          tag: "Workers",
          body: schemas.ExtendBody,
          isBodyOptional: true,
          answers: { 200: schemas.LeaseJson },
          problems: [...WORKER_PROBLEMS, "not_found", "claim_lost"],
        }),
      },
    );
}

const claimShape = shapeOf(schemas.ClaimBody);
const extendShape = shapeOf(schemas.ExtendBody);

async function claim(
  { engine, hasRemoteTypes, leaseMs, answers }: ClaimOptions,
  body: schemas.ClaimBody,
  waitMs: number,
  signal: AbortSignal,
): Promise<Response> {
  if (!hasRemoteTypes) return noRemoteTypes();
  // Tasks whose answer could not be sent would only lose their leases.
  if (answers.isFull) return overloadedProblem();
  const { queues, types, max = 1, lease_ms = leaseMs, worker } = body;
  const request = { lane: "remote", queues, types, max, leaseMs: lease_ms, worker } as const;
  const answering = engine.claimOrWait(request, waitMs, signal);
  const answer = await answering;
  if (answer.kind !== "claimed") return refusalOf(answer);
  const { claims } = answer;
  const giveBack = (): void => void releaseAll(engine, claims);
  // The client may have gone in the turn of the event loop that brought the tasks. The next turn
  // tells; after the answer nothing would.
  if (answering instanceof Promise && claims.length > 0) await nextTurn();
  // The client has gone: nobody would run the tasks.
  if (signal.aborted) giveBack();
  return answers.json(partsOf(claims), { onUnread: giveBack });
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function refusalOf(
  answer: Exclude<ClaimAnswer | TooManyWaiting, { readonly kind: "claimed" }>,
): Response {
  switch (answer.kind) {
    case "invalid":
      return invalidRequest(answer.faults);
    case "stopping":
      return problem("shutting_down", "The server is stopping and hands out no more tasks.");
    case "storage_unavailable":
      return storageProblem();
    case "too_many_waiting":
      return problem(
        "too_many_waiting",
        `As many claims as may wait for a task (CLAIMS_WAITING_MAX = ${answer.max}) already do.`,
      );
    default:
      return answer satisfies never;
  }
}

function noRemoteTypes(): Response {
  return problem(
    "no_remote_types",
    'Remote workers run no type of task. Set HANDLERS=none, or give a type isolation: "remote" in the handlers module, or set otherTypes: "remote" there.',
  );
}

/** The answer in parts: a part is freed when it has been sent. */
function partsOf(claims: readonly Claim[]): string[] {
  return [
    '{"claims":[',
    ...claims.map((each, index) => (index === 0 ? claimJson(each) : `,${claimJson(each)}`)),
    "]}",
  ];
}

/** Gives back tasks whose claims could not be answered: their worker never got them. */
async function releaseAll(engine: Engine, claims: readonly Claim[]): Promise<void> {
  await Promise.all(
    claims.map(({ taskId, fence }) => engine.settle(taskId, fence, { kind: "released" })),
  );
}

async function extend(
  { engine, resultBytesMax }: ClaimOptions,
  token: string,
  { lease_ms: leaseMs, progress }: schemas.ExtendBody,
): Promise<Response> {
  const claimId = claimOfToken(token);
  if (claimId === null) return problemAnswer(NOT_A_TOKEN);
  const { taskId, fence } = claimId;
  const text = progress === undefined ? null : jsonTextOfSent(progress, resultBytesMax);
  if (text !== null && text.kind !== "text") {
    return invalidRequest([{ path: "/progress", message: text.why }]);
  }
  const answer = await engine.extend(taskId, fence, leaseMs);
  switch (answer.kind) {
    case "extended":
      if (text !== null) engine.noteProgress(taskId, fence, text.text);
      return Response.json({
        lease_ms: Math.round(answer.leaseMs),
        lease_ends_at: timeJson(answer.leaseEndsAtMs),
      });
    case "claim_lost":
      return problemAnswer(lostProblem(answer));
    case "invalid":
      return invalidRequest(answer.faults);
    default:
      return answer satisfies never;
  }
}
