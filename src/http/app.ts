/**
 * The HTTP application: the routes of every concern, and one place where whatever goes wrong becomes a problem.
 */

import type { TSchema } from "@sinclair/typebox";
import { Elysia, ValidationError } from "elysia";
import type { Engine } from "../engine/engine.ts";
import type { Log } from "../log.ts";
import { enqueueHandler, enqueueRoutes } from "./api/enqueue.ts";
import { healthRoutes } from "./api/health.ts";
import { openapiRoutes } from "./api/openapi.ts";
import { invalidRequest, problem, type RequestError } from "./api/problem.ts";
import { queueRoutes } from "./api/queues.ts";
import { taskRoutes } from "./api/tasks.ts";

export interface AppOptions {
  readonly engine: Engine;
  readonly bodyBytesMax: number;
  readonly version: string;
  readonly log: Log;
}

export function createApp({ engine, bodyBytesMax, version, log }: AppOptions) {
  const failed = (error: unknown, method: string): Response => {
    log.error("request_failed", { method, error: String(error) });
    return problem("internal_error", "The request could not be answered. The log has the reason.");
  };
  const enqueueOne = enqueueHandler({ engine, bodyBytesMax });
  const app = new Elysia({
    precompile: true,
    normalize: false,
    // The one route that carries the load skips Elysia's context, which would be the dearest part of it. Elysia has the
    // same route, for its other forms and for the API's description; docs/DECISIONS.md has the reasons.
    serve: {
      routes: { "/enqueue": { POST: enqueueOne } },
      // Only that route's errors come here: those of the others Elysia gives to onError.
      error: (error: unknown) => failed(error, "POST"),
    },
    // Elysia otherwise takes hosts to have four characters at least, and finds the path of http://a/x/tasks at /tasks.
    handler: { standardHostname: false },
  })
    .onError(({ code, error, request, path }) => {
      if (code === "NOT_FOUND") return notFound(app.routes, path);
      if (error instanceof ValidationError) return invalidRequest(faultsOf(error));
      return failed(error, request.method);
    })
    .use(healthRoutes(engine))
    .use(enqueueRoutes(enqueueOne, { engine, bodyBytesMax }))
    .use(taskRoutes(engine))
    .use(queueRoutes(engine))
    .use(openapiRoutes(version));
  return app;
}

function notFound(routes: readonly Route[], path: string): Response {
  const allowed = allowedMethods(routes, path);
  if (allowed.length === 0) return problem("not_found", "There is nothing at this path.");
  const allow = allowed.join(", ");
  return problem("method_not_allowed", `This path answers ${allow}.`, { headers: { allow } });
}

function* faultsOf(error: ValidationError): Generator<RequestError> {
  for (const fault of error.all) {
    if ("path" in fault && typeof fault.path === "string") {
      yield { path: fault.path.replace(/^\//, ""), message: choicesOf(fault) ?? fault.message };
    }
  }
}

/** Of a choice the checker only says that it is a union: name what there is to choose from. */
function choicesOf({ schema }: { readonly schema: TSchema }): string | null {
  const choices: readonly TSchema[] = schema["anyOf"] ?? [];
  if (choices.length === 0) return null;
  return `Expected one of ${choices.map((choice) => String(choice["const"])).join(", ")}`;
}

interface Route {
  readonly method: string;
  readonly path: string;
}

/** The methods of all routes that this path fits, with or without a slash at its end. */
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
