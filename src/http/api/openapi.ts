/**
 * Describes the routes. The official plugin makes the API description from them: JSON at
 * /openapi.json, and a page at /docs.
 */

import { openapi, toOpenAPISchema } from "@elysiajs/openapi";
import { type TSchema, Type } from "@sinclair/typebox";
import { type DocumentDecoration, Elysia } from "elysia";
import { type ApiDocument, docsPage } from "./docs-page.ts";
import { PROBLEMS, type ProblemCode, ProblemSchema } from "./problem.ts";
import { IdempotencyKey, NAMED_SCHEMAS } from "./schemas.ts";

export interface RouteDescription {
  readonly summary: string;
  readonly tag: "Enqueue" | "Tasks" | "Queues" | "Workers" | "Health";
  readonly body?: TSchema;
  /** Whether the body may be missing. */
  readonly isBodyOptional?: boolean;
  readonly hasIdempotencyKey?: boolean;
  /** By status: the schema of the JSON body, or a sentence where the body is empty. */
  readonly answers: Readonly<Record<number, TSchema | string>>;
  /** Whether the answer has the path of the task in `Location`. */
  readonly hasLocation?: boolean;
  readonly problems?: readonly ProblemCode[];
}

/** The `detail` that a route passes to Elysia. */
export function describeRoute(route: RouteDescription): DocumentDecoration {
  const { summary, tag, body, isBodyOptional = false } = route;
  const { hasIdempotencyKey = false, problems = [] } = route;
  const common = tag === "Health" ? [] : COMMON_PROBLEMS;
  return {
    summary,
    tags: [tag],
    ...(hasIdempotencyKey ? { parameters: [IDEMPOTENCY_KEY] } : {}),
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: !isBodyOptional,
            content: { "application/json": { schema: refer(body) } },
          },
        }),
    responses: { ...answerResponses(route), ...problemResponses([...common, ...problems]) },
  } as DocumentDecoration;
}

/** The problems of every route but the probes: an unknown name in Host, an unknown parameter. */
const COMMON_PROBLEMS: readonly ProblemCode[] = ["host_not_allowed", "invalid_request"];

const IDEMPOTENCY_KEY = {
  name: "Idempotency-Key",
  in: "header",
  required: false,
  schema: IdempotencyKey,
};

const LOCATION = { description: "The path of the task.", schema: Type.String() };

const IDEMPOTENCY_REPLAYED = {
  description: "`true` when the first answer is repeated and nothing was enqueued.",
  schema: Type.Literal("true"),
};

const RETRY_AFTER = {
  description: "The time to wait before a retry, in seconds.",
  schema: Type.Integer({ minimum: 1 }),
};

function answerResponses({
  answers,
  hasLocation = false,
  hasIdempotencyKey = false,
}: RouteDescription): Record<string, object> {
  const headers = {
    ...(hasLocation ? { Location: LOCATION } : {}),
    ...(hasIdempotencyKey ? { "Idempotency-Replayed": IDEMPOTENCY_REPLAYED } : {}),
  };
  return Object.fromEntries(
    Object.entries(answers).map(([status, answer]) => [
      status,
      {
        description:
          typeof answer === "string" ? answer : status === "202" ? "Accepted." : "Success.",
        ...(Object.keys(headers).length === 0 ? {} : { headers }),
        ...(typeof answer === "string"
          ? {}
          : { content: { "application/json": { schema: refer(answer) } } }),
      },
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
        ...(status === 503 ? { headers: { "Retry-After": RETRY_AFTER } } : {}),
        content: { "application/problem+json": { schema: refer(ProblemSchema) } },
      },
    ]),
  );
}

const NAMED: Readonly<Record<string, TSchema>> = { ...NAMED_SCHEMAS, Problem: ProblemSchema };
const NAMES = new Map(Object.entries(NAMED).map(([name, schema]) => [schema, name]));

/**
 * A schema for the document. A named schema is written once, and referenced in all other places.
 */
function refer(schema: TSchema): TSchema {
  const name = NAMES.get(schema);
  return name === undefined
    ? referWithin(schema)
    : Type.Unsafe({ $ref: `#/components/schemas/${name}` });
}

function referWithin({ anyOf, properties, items, ...rest }: TSchema): TSchema {
  const choices: readonly TSchema[] = anyOf ?? [];
  if (choices.length > 0 && choices.every((choice) => "const" in choice)) {
    return { ...rest, type: "string", enum: choices.map((choice) => choice["const"]) } as TSchema;
  }
  return {
    ...rest,
    ...(choices.length === 0 ? {} : { anyOf: choices.map(refer) }),
    ...(items === undefined ? {} : { items: refer(items) }),
    ...(properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(
            Object.entries<TSchema>(properties).map(([name, each]) => [name, refer(each)]),
          ),
        }),
  } as TSchema;
}

export function openapiRoutes(version: string) {
  const documentation = {
    info: {
      title: "ringq",
      version,
      description: "A bounded task queue over HTTP.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    // No call needs a key.
    security: [],
    tags: [
      { name: "Enqueue", description: "Enqueue tasks." },
      { name: "Tasks", description: "Read, cancel and retry tasks." },
      { name: "Queues", description: "Read, pause, resume and purge queues." },
      { name: "Workers", description: "Claim tasks, extend claims and settle them." },
      { name: "Health", description: "Liveness and readiness." },
    ],
    components: {
      schemas: Object.fromEntries(
        Object.entries(NAMED).map(([name, schema]) => [name, referWithin(schema)]),
      ),
    },
  };
  let page: string | null = null;
  const routes = new Elysia()
    // The plugin's own pages load their scripts from other sites; ours works without the internet.
    .use(
      openapi({
        specPath: "/openapi.json",
        provider: null,
        documentation: documentation as object,
      }),
    )
    .get(
      "/docs",
      () => {
        // The plugin's types allow all of OpenAPI; the page knows what describeRoute writes.
        const paths = toOpenAPISchema(routes).paths as unknown as ApiDocument["paths"];
        page ??= docsPage({ ...documentation, paths });
        return new Response(page, { headers: PAGE_HEADERS });
      },
      { detail: { hide: true } },
    );
  return routes;
}

/** The page has no script and loads nothing. These headers refuse both. */
const PAGE_HEADERS = {
  "content-type": "text/html; charset=utf-8",
  "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
};
