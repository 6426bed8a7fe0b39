/** Probes: liveness of the process, and readiness to accept tasks. */

import { Elysia } from "elysia";
import type { Engine, Readiness } from "../../engine/engine.ts";
import { describeRoute } from "./openapi.ts";
import { stoppingProblem, storageProblem } from "./problem.ts";

export function healthRoutes(engine: Engine) {
  return new Elysia()
    .get("/healthz", () => new Response(null), {
      detail: describeRoute({
        summary: "Liveness probe",
        tag: "Health",
        answers: { 200: "The process is alive. The body is empty." },
      }),
    })
    .get("/readyz", () => readinessAnswer(engine.readiness), {
      detail: describeRoute({
        summary: "Readiness probe",
        tag: "Health",
        answers: { 200: "The server accepts tasks. The body is empty." },
        problems: ["shutting_down", "storage_unavailable"],
      }),
    });
}

function readinessAnswer(readiness: Readiness): Response {
  switch (readiness) {
    case "ready":
      return new Response(null);
    case "stopping":
      return stoppingProblem();
    case "storage_unavailable":
      return storageProblem();
    default:
      return readiness satisfies never;
  }
}
