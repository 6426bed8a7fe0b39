/**
 * The routes that carry the load skip Elysia's context, which would be their most expensive part.
 * Elysia has the same routes, for their other forms and for the API description; docs/DECISIONS.md
 * has the reasons.
 */

import type { MaybePromise } from "../../engine/engine.ts";
import { invalidRequest } from "./problem.ts";
import { unexpectedParameters } from "./query.ts";

/** The server of a request, as far as a handler needs it. */
interface RequestServer {
  /** Sets the time after which the idle connection of a request is closed. */
  timeout(request: Request, seconds: number): void;
}

export type DirectHandler = (
  request: Request,
  server: RequestServer | null,
) => MaybePromise<Response>;

/** The handler of a route without parameters. Elysia checks the queries of all other routes. */
export function directHandler(handle: DirectHandler): DirectHandler {
  return (request, server) => {
    if (request.url.includes("?")) {
      const faults = unexpectedParameters(request.url);
      if (faults.length > 0) return invalidRequest(faults);
    }
    return handle(request, server);
  };
}
