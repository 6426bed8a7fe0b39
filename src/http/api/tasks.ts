/**
 * Reads tasks, waits for them, cancels and retries them.
 */

import { Elysia } from "elysia";
import type { Engine, ListAnswer, TaskView } from "../../engine/engine.ts";
import { jsonResponse, taskJson } from "./json.ts";
import { describeRoute } from "./openapi.ts";
import { invalidRequest, problem } from "./problem.ts";
import { refusalProblem, stoppingProblem, storageProblem } from "./refusal.ts";
import { ListQuery, Receipt, TaskJson, TaskPageJson, WaitQuery } from "./schemas.ts";

const LIMIT_DEFAULT = 50;

/** A whole number as a query writes it. */
const DIGITS = /^\d{1,15}$/;

/** Added to a long poll's own time before the connection counts as idle, so that the answer always comes first. */
const IDLE_MARGIN_S = 15;

export function taskRoutes(engine: Engine) {
  return new Elysia()
    .get(
      "/tasks",
      async ({ query: { limit = LIMIT_DEFAULT, ...filter } }) =>
        pageOrProblem(await engine.list({ ...filter, limit })),
      {
        transform: readIntegers,
        query: ListQuery,
        detail: describeRoute({
          summary: "List tasks, newest first",
          tag: "Tasks",
          answers: { 200: TaskPageJson },
          problems: ["invalid_request"],
        }),
      },
    )
    .get(
      "/tasks/:id",
      async ({ params: { id }, query: { wait_ms: waitMs = 0 }, request, server }) => {
        if (waitMs > 0) server?.timeout(request, Math.ceil(waitMs / 1000) + IDLE_MARGIN_S);
        const task =
          waitMs > 0 ? await engine.waitFor(id, waitMs, request.signal) : await engine.find(id);
        return task === undefined ? unknownTask() : jsonResponse(taskJson(task));
      },
      {
        transform: readIntegers,
        query: WaitQuery,
        detail: describeRoute({
          summary: "Read a task, at once or when it has finished",
          tag: "Tasks",
          answers: { 200: TaskJson },
          problems: ["not_found", "invalid_request"],
        }),
      },
    )
    .delete(
      "/tasks/:id",
      async ({ params: { id } }) => {
        const answer = await engine.cancel(id);
        switch (answer.kind) {
          case "cancelled":
            return jsonResponse(taskJson(answer.task));
          case "finished":
            return conflict(answer.task);
          case "unknown":
            return unknownTask();
          case "storage_unavailable":
            return storageProblem();
          default:
            return answer satisfies never;
        }
      },
      {
        parse: "none",
        detail: describeRoute({
          summary: "Cancel a task",
          tag: "Tasks",
          answers: { 200: TaskJson },
          problems: ["not_found", "conflict", "storage_unavailable"],
        }),
      },
    )
    .post(
      "/tasks/:id/retry",
      async ({ params: { id } }) => {
        const answer = await engine.retry(id);
        switch (answer.kind) {
          case "queued":
            return Response.json(
              { id, status: "queued" },
              { status: 202, headers: { location: `/tasks/${id}` } },
            );
          case "not_retryable":
            return conflict(answer.task);
          case "unknown":
            return unknownTask();
          case "refused":
            return refusalProblem(answer);
          case "stopping":
            return stoppingProblem();
          case "storage_unavailable":
            return storageProblem();
          default:
            return answer satisfies never;
        }
      },
      {
        parse: "none",
        detail: describeRoute({
          summary: "Retry a failed or cancelled task",
          tag: "Tasks",
          hasLocation: true,
          answers: { 202: Receipt },
          problems: ["not_found", "conflict", "queue_full", "shutting_down", "storage_unavailable"],
        }),
      },
    );
}

function pageOrProblem(answer: ListAnswer): Response {
  if (answer.kind === "invalid_cursor") {
    return invalidRequest([{ path: "cursor", message: "is not a next_cursor of a page before" }]);
  }
  const cursorJson = JSON.stringify(answer.nextCursor);
  return jsonResponse(
    `{"tasks":[${answer.tasks.map(taskJson).join(",")}],"next_cursor":${cursorJson}}`,
  );
}

/** A query is all text: what has the form of an integer becomes one, before the schema asks whether it is. */
function readIntegers({ query }: { readonly query: Record<string, unknown> }): void {
  for (const name of ["limit", "wait_ms"]) {
    const text = query[name];
    if (typeof text === "string" && DIGITS.test(text)) query[name] = Number(text);
  }
}

function unknownTask(): Response {
  return problem("not_found", "There is no such task, or it finished and was forgotten.");
}

function conflict({ status }: TaskView): Response {
  return problem("conflict", `The task is ${status}.`);
}
