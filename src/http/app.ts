/**
 * The HTTP application: it puts the routes together, checks access, and turns every error into a
 * problem in one place.
 */

import type { TSchema } from "@sinclair/typebox";
import { type ValueError, ValueErrorType } from "@sinclair/typebox/errors";
import { Elysia, ValidationError } from "elysia";
import type { Engine } from "../engine/engine.ts";
import type { Log } from "../log.ts";
import { Access, type AccessOptions } from "./access.ts";
import { Answers } from "./answers.ts";
import { claimHandler, claimRoutes } from "./api/claims.ts";
import type { DirectHandler } from "./api/direct.ts";
import { batchHandler, enqueueHandler, enqueueRoutes } from "./api/enqueue.ts";
import { accessProblem, corsHeaders, enqueueProblem, preflightAnswer } from "./api/guard.ts";
import { healthRoutes } from "./api/health.ts";
import { openapiRoutes } from "./api/openapi.ts";
import { invalidRequest, problem } from "./api/problem.ts";
import { repeatedParameters, UNKNOWN_PARAMETER } from "./api/query.ts";
import { queueRoutes } from "./api/queues.ts";
import { settleRoutes, settlesHandler } from "./api/settle.ts";
import { taskRoutes } from "./api/tasks.ts";
import type { Fault } from "./shape.ts";

export interface AppOptions {
  readonly engine: Engine;
  /** Whether remote workers run the tasks of any type. */
  readonly hasRemoteTypes: boolean;
  /** The lease of a claim that asks for none. */
  readonly leaseMs: number;
  readonly resultBytesMax: number;
  readonly bodyBytesMax: number;
  readonly answerBytesTotal: number;
  readonly access: AccessOptions;
  readonly version: string;
  readonly log: Log;
}

export function createApp(options: AppOptions) {
  const { engine, version, log } = options;
  const failed = (error: unknown, method: string): Response => {
    log.error("request_failed", { method, error: String(error) });
    return problem("internal_error", "The request failed. See the log.");
  };
  const access = new Access(options.access);
  const answers = new Answers(options.answerBytesTotal);
  const routeOptions = { ...options, answers };
  const enqueueOne = enqueueHandler(routeOptions);
  const enqueueBatch = batchHandler(routeOptions);
  const handleClaim = claimHandler(routeOptions);
  const handleSettles = settlesHandler(routeOptions);
  const app = new Elysia({
    precompile: true,
    normalize: false,
    serve: {
      routes: {
        "/enqueue": { POST: guarded(enqueueOne, access, enqueueProblem) },
        "/enqueue/batch": { POST: guarded(enqueueBatch, access) },
        "/claims": { POST: guarded(handleClaim, access) },
        "/claims/settle": { POST: guarded(handleSettles, access) },
      },
      // Only errors of these routes come here. Elysia gives those of other routes to onError.
      error: (error: unknown) => failed(error, "POST"),
    },
    // Without this, Elysia expects a host to have at least four characters, and looks for the path
    // of http://a/x/tasks at /tasks.
    handler: { standardHostname: false },
  })
    .onRequest(({ request, set }): Response | undefined => {
      if (access.hasOrigins) Object.assign(set.headers, corsHeaders(access, request.headers));
      if (isProbe(request.url)) return;
      return accessProblem(access, request) ?? preflightAnswer(access, request) ?? undefined;
    })
    .onError(({ code, error, request, path }): Response => {
      if (code === "NOT_FOUND") return notFound(app.routes, path);
      if (error instanceof ValidationError) return invalidRequest(faultsOf(error));
      return failed(error, request.method);
    })
    .use(healthRoutes(engine))
    .use(openapiRoutes(version))
    // The routes above ignore a query: probes and caches add their own parameters.
    .onBeforeHandle(({ request }): Response | undefined => {
      const faults = repeatedParameters(request.url);
      return faults.length === 0 ? undefined : invalidRequest(faults);
    })
    .use(enqueueRoutes(enqueueOne, enqueueBatch))
    .use(taskRoutes(engine, answers))
    .use(queueRoutes(engine, answers))
    .use(claimRoutes(handleClaim, routeOptions))
    .use(settleRoutes(handleSettles, routeOptions));
  return app;
}

/**
 * Guards a direct route, as `onRequest` guards all others. `refusalOf` gives the refusal of a
 * request, or null.
 */
function guarded(
  handle: DirectHandler,
  access: Access,
  refusalOf: (access: Access, request: Request) => Response | null = accessProblem,
): DirectHandler {
  const guard: DirectHandler = (request, server) =>
    refusalOf(access, request) ?? handle(request, server);
  if (!access.hasOrigins) return guard;
  return async (request, server) => {
    const response = await guard(request, server);
    for (const [name, value] of Object.entries(corsHeaders(access, request.headers))) {
      response.headers.set(name, value);
    }
    return response;
  };
}

/**
 * Probes come from supervisors and load balancers, under any host name, and their answers have no
 * data.
 */
function isProbe(url: string): boolean {
  return /^(?:https?:\/\/[^/]*)?\/(?:healthz|readyz)\/?(?:\?|$)/.test(url);
}

function notFound(routes: readonly Route[], path: string): Response {
  const allowed = allowedMethods(routes, path);
  if (allowed.length === 0) return problem("not_found", "No route matches this path.");
  const allow = allowed.join(", ");
  return problem("method_not_allowed", `This path allows ${allow}.`, { allow });
}

function* faultsOf(error: ValidationError): Generator<Fault> {
  for (const fault of error.all) {
    if ("path" in fault && typeof fault.path === "string") {
      yield { path: fault.path.replace(/^\//, ""), message: messageOf(fault) };
    }
  }
}

/** Elysia checks only queries, so an unknown property is an unknown parameter. */
function messageOf(fault: ValueError): string {
  if (fault.type === ValueErrorType.ObjectAdditionalProperties) return UNKNOWN_PARAMETER;
  return choicesOf(fault) ?? fault.message;
}

/** Names the choices of a union. The checker only says that the value does not match it. */
function choicesOf({ schema }: { readonly schema: TSchema }): string | null {
  const choices: readonly TSchema[] = schema["anyOf"] ?? [];
  if (choices.length === 0) return null;
  return `Expected one of ${choices.map((choice) => String(choice["const"])).join(", ")}`;
}

interface Route {
  readonly method: string;
  readonly path: string;
}

/** The methods of all routes that match this path, with or without a slash at its end. */
function allowedMethods(routes: readonly Route[], path: string): string[] {
  const segments = path.replace(/\/$/, "").split("/");
  return routes
    .filter((route) => {
      const pattern = route.path.split("/");
      return (
        pattern.length === segments.length &&
        segments.every((segment, index) => {
          const part = pattern[index];
          return part === segment || (part?.startsWith(":") && segment !== "");
        })
      );
    })
    .flatMap(({ method }) => (method === "GET" ? ["GET", "HEAD"] : [method]));
}
