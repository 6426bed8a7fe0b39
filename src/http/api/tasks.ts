/** The routes that list, read, cancel and retry tasks. A read can wait for the task to finish. */

import { Elysia } from "elysia";
import type { Engine, ListAnswer } from "../../engine/engine.ts";
import type { Answers } from "../answers.ts";
import { changeAnswer, readAnswer, unknownTask } from "./answer.ts";
import { taskJson } from "./json.ts";
import { describeRoute } from "./openapi.ts";
import { invalidRequest } from "./problem.ts";
import { readIntegers } from "./query.ts";
import { ListQuery, NoQuery, Receipt, TaskJson, TaskPageJson, WaitQuery } from "./schemas.ts";

const LIMIT_DEFAULT = 50;

/**
 * A connection counts as idle only this long after the end of a long poll, so that the answer
 * always comes first.
 */
export const IDLE_MARGIN_S = 15;

export function taskRoutes(engine: Engine, answers: Answers) {
  return new Elysia()
    .get(
      "/tasks",
      async ({ query: { limit = LIMIT_DEFAULT, ...filter } }) => {
        const answer = await engine.list({ ...filter, limit });
        return answer.kind === "page" ? readAnswer(answers, pageJson(answer)) : unknownCursor();
      },
      {
        transform: readIntegers,
        query: ListQuery,
        detail: describeRoute({
          summary: "List tasks, newest first",
          tag: "Tasks",
          answers: { 200: TaskPageJson },
          problems: ["overloaded"],
        }),
      },
    )
    .get(
      "/tasks/:id",
      async ({ params: { id }, query: { wait_ms: waitMs = 0 }, request, server }) => {
        if (waitMs > 0) server?.timeout(request, Math.ceil(waitMs / 1000) + IDLE_MARGIN_S);
        const task =
          waitMs > 0 ? await engine.waitFor(id, waitMs, request.signal) : await engine.find(id);
        return task === undefined ? unknownTask() : readAnswer(answers, [taskJson(task)]);
      },
      {
        transform: readIntegers,
        query: WaitQuery,
        detail: describeRoute({
          summary: "Read a task, or wait until it has finished",
          tag: "Tasks",
          answers: { 200: TaskJson },
          problems: ["not_found", "overloaded"],
        }),
      },
    )
    .delete(
      "/tasks/:id",
      async ({ params: { id } }) => changeAnswer(await engine.cancel(id), answers, unknownTask),
      {
        parse: "none",
        query: NoQuery,
        detail: describeRoute({
          summary: "Cancel a task",
          tag: "Tasks",
          answers: { 200: TaskJson },
          problems: ["cross_site", "not_found", "conflict", "storage_unavailable"],
        }),
      },
    )
    .post(
      "/tasks/:id/retry",
      async ({ params: { id } }) => changeAnswer(await engine.retry(id), answers, unknownTask),
      {
        parse: "none",
        query: NoQuery,
        detail: describeRoute({
          summary: "Retry a failed or cancelled task",
          tag: "Tasks",
          hasLocation: true,
          answers: { 202: Receipt },
          problems: [
            "cross_site",
            "not_found",
            "conflict",
            "queue_full",
            "shutting_down",
            "storage_unavailable",
          ],
        }),
      },
    );
}

/** The page in parts: a part is freed when it has been sent, not when the whole page has. */
function pageJson({ tasks, nextCursor }: Extract<ListAnswer, { readonly kind: "page" }>): string[] {
  return [
    '{"tasks":[',
    ...tasks.map((task, index) => (index === 0 ? taskJson(task) : `,${taskJson(task)}`)),
    `],"next_cursor":${JSON.stringify(nextCursor)}}`,
  ];
}

function unknownCursor(): Response {
  return invalidRequest([{ path: "cursor", message: "is not the next_cursor of a page" }]);
}
