/**
 * Shows queues, and steers them: pause, resume, purge.
 */

import { Elysia } from "elysia";
import type { Engine, PauseAnswer, QueueReport } from "../../engine/engine.ts";
import { queueJson } from "./json.ts";
import { describeRoute } from "./openapi.ts";
import { problem } from "./problem.ts";
import { refusalProblem, storageProblem } from "./refusal.ts";
import { PurgeJson, QueueJson, QueuesJson } from "./schemas.ts";

export function queueRoutes(engine: Engine) {
  return new Elysia()
    .get("/queues", async () => Response.json({ queues: (await engine.queues()).map(queueJson) }), {
      detail: describeRoute({
        summary: "List the queues",
        tag: "Queues",
        answers: { 200: QueuesJson },
      }),
    })
    .get(
      "/queues/:name",
      async ({ params: { name } }) => queueOrProblem(await engine.queue(name)),
      {
        detail: describeRoute({
          summary: "Read a queue",
          tag: "Queues",
          answers: { 200: QueueJson },
          problems: ["not_found"],
        }),
      },
    )
    .post(
      "/queues/:name/pause",
      async ({ params: { name } }) => pauseAnswer(await engine.pause(name)),
      {
        parse: "none",
        detail: describeRoute({
          summary: "Start nothing more from a queue",
          tag: "Queues",
          answers: { 200: QueueJson },
          problems: ["not_found", "queue_full", "storage_unavailable"],
        }),
      },
    )
    .post(
      "/queues/:name/resume",
      async ({ params: { name } }) => pauseAnswer(await engine.resume(name)),
      {
        parse: "none",
        detail: describeRoute({
          summary: "Go on with a paused queue",
          tag: "Queues",
          answers: { 200: QueueJson },
          problems: ["not_found", "storage_unavailable"],
        }),
      },
    )
    .delete(
      "/queues/:name/tasks",
      async ({ params: { name } }) => {
        const answer = await engine.purge(name);
        switch (answer.kind) {
          case "purged":
            return Response.json({ cancelled: answer.cancelled });
          case "unknown":
            return unknownQueue();
          case "storage_unavailable":
            return storageProblem();
          default:
            return answer satisfies never;
        }
      },
      {
        parse: "none",
        detail: describeRoute({
          summary: "Cancel everything that waits in a queue",
          tag: "Queues",
          answers: { 200: PurgeJson },
          problems: ["not_found", "storage_unavailable"],
        }),
      },
    );
}

function queueOrProblem(queue: QueueReport | undefined): Response {
  return queue === undefined ? unknownQueue() : Response.json(queueJson(queue));
}

function pauseAnswer(answer: PauseAnswer): Response {
  switch (answer.kind) {
    case "set":
      return Response.json(queueJson(answer.queue));
    case "unknown":
      return unknownQueue();
    case "refused":
      return refusalProblem(answer);
    case "storage_unavailable":
      return storageProblem();
    default:
      return answer satisfies never;
  }
}

function unknownQueue(): Response {
  return problem(
    "not_found",
    "There is no such queue: it is made by its first task and forgotten when idle.",
  );
}
