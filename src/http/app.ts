/**
 * The HTTP application: the routes of every concern, and one place where whatever goes wrong becomes a problem.
 */

import { Elysia, ValidationError } from "elysia";
import type { Engine } from "../engine/engine.ts";
import type { Log } from "../log.ts";
import { enqueueRoutes } from "./enqueue.ts";
import { healthRoutes } from "./health.ts";
import { openapiRoutes } from "./openapi.ts";
import { invalidRequest, problem, type RequestError } from "./problem.ts";
import { queueRoutes } from "./queues.ts";
import { taskRoutes } from "./tasks.ts";

export interface AppOptions {
  readonly engine: Engine;
  readonly bodyBytesMax: number;
  readonly version: string;
  readonly log: Log;
}

export function createApp({ engine, bodyBytesMax, version, log }: AppOptions) {
  const app = new Elysia({ precompile: true, normalize: false })
    .onError(({ code, error, request }) => {
      if (code === "NOT_FOUND") return notFound(app.routes, request);
      if (error instanceof ValidationError) return invalidRequest(faultsOf(error));
      log.error("request_failed", { method: request.method, error: String(error) });
      return problem(
        "internal_error",
        "The request could not be answered. The log has the reason.",
      );
    })
    .use(healthRoutes(engine))
    .use(enqueueRoutes({ engine, bodyBytesMax }))
    .use(taskRoutes(engine))
    .use(queueRoutes(engine))
    .use(openapiRoutes(version));
  return app;
}

function notFound(routes: readonly Route[], request: Request): Response {
  const { pathname } = new URL(request.url);
  const allowed = allowedMethods(routes, pathname);
  if (allowed.length === 0) return problem("not_found", "There is nothing at this path.");
  const allow = allowed.join(", ");
  return problem("method_not_allowed", `This path answers ${allow}.`, { headers: { allow } });
}

function* faultsOf(error: ValidationError): Generator<RequestError> {
  for (const fault of error.all) {
    if ("path" in fault && typeof fault.path === "string") {
      yield { path: fault.path.replace(/^\//, ""), message: fault.message };
    }
  }
}

interface Route {
  readonly method: string;
  readonly path: string;
}

/** The methods of all routes that this path fits. */
function allowedMethods(routes: readonly Route[], pathname: string): string[] {
  const segments = pathname.split("/");
  return routes
    .filter(({ path }) => {
      const pattern = path.split("/");
      return (
        pattern.length === segments.length &&
        pattern.every((part, index) => part.startsWith(":") || part === segments[index])
      );
    })
    .map(({ method }) => method);
}
