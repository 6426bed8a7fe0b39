/**
 * How a route describes itself, and the description of the whole API that the official plugin makes of it: as JSON at
 * /openapi.json, and as a page at /docs.
 */

import { openapi } from "@elysiajs/openapi";
import { type TSchema, Type } from "@sinclair/typebox";
import type { DocumentDecoration } from "elysia";
import { PROBLEMS, type ProblemCode, ProblemSchema } from "./problem.ts";

export interface RouteDescription {
  readonly summary: string;
  readonly tag: "Enqueue" | "Tasks" | "Queues" | "Health";
  readonly body?: TSchema;
  readonly hasIdempotencyKey?: boolean;
  /** By status: the schema of the JSON that is answered, or a sentence where the body is empty. */
  readonly answers: Readonly<Record<number, TSchema | string>>;
  readonly problems?: readonly ProblemCode[];
}

/** What a route passes to Elysia as its `detail`. */
export function describeRoute(route: RouteDescription): DocumentDecoration {
  const { summary, tag, body, hasIdempotencyKey = false, answers, problems = [] } = route;
  return {
    summary,
    tags: [tag],
    ...(hasIdempotencyKey ? { parameters: [IDEMPOTENCY_KEY] } : {}),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { "application/json": { schema: body } } } }),
    responses: { ...answerResponses(answers), ...problemResponses(problems) },
  } as DocumentDecoration;
}

const IDEMPOTENCY_KEY = {
  name: "Idempotency-Key",
  in: "header",
  required: false,
  description: "Repeating a request under the same key gives the first answer again.",
  schema: Type.String({ minLength: 1, maxLength: 255 }),
};

function answerResponses(answers: RouteDescription["answers"]): Record<string, object> {
  return Object.fromEntries(
    Object.entries(answers).map(([status, answer]) => [
      status,
      typeof answer === "string"
        ? { description: answer }
        : { description: "Done.", content: { "application/json": { schema: answer } } },
    ]),
  );
}

function problemResponses(codes: readonly ProblemCode[]): Record<string, object> {
  const byStatus = Map.groupBy(codes, (code) => PROBLEMS[code].status);
  return Object.fromEntries(
    Array.from(byStatus, ([status, codesOfStatus]) => [
      status,
      {
        description: codesOfStatus.map((code) => `\`${code}\`: ${PROBLEMS[code].title}.`).join(" "),
        content: { "application/problem+json": { schema: ProblemSchema } },
      },
    ]),
  );
}

export function openapiRoutes(version: string) {
  return openapi({
    path: "/docs",
    specPath: "/openapi.json",
    documentation: {
      info: {
        title: "ringq",
        version,
        description: "A bounded task queue over HTTP.",
        license: { name: "MIT" },
      },
      tags: [
        { name: "Enqueue", description: "Put tasks in." },
        { name: "Tasks", description: "Read, cancel and retry them." },
        { name: "Queues", description: "See and steer whole queues." },
        { name: "Health", description: "For whatever keeps the process running." },
      ],
    },
  });
}
