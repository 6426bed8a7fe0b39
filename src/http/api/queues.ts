/**
 * Shows queues, pauses, resumes and purges them.
 */

import { Elysia } from "elysia";
import type { Engine } from "../../engine/engine.ts";
import type { Answers } from "../answers.ts";
import { changeAnswer, readAnswer, unknownQueue } from "./answer.ts";
import { queueJson } from "./json.ts";
import { describeRoute } from "./openapi.ts";
import { NoQuery, PurgeJson, QueueJson, QueuesJson } from "./schemas.ts";

export function queueRoutes(engine: Engine, answers: Answers) {
  return new Elysia()
    .get(
      "/queues",
      async () => {
        const queues = (await engine.queues()).map(queueJson);
        return readAnswer(answers, [JSON.stringify({ queues })]);
      },
      {
        query: NoQuery,
        detail: describeRoute({
          summary: "List queues",
          tag: "Queues",
          answers: { 200: QueuesJson },
          problems: ["overloaded"],
        }),
      },
    )
    .get(
      "/queues/:name",
      async ({ params: { name } }) => {
        const queue = await engine.queue(name);
        return queue === undefined ? unknownQueue() : Response.json(queueJson(queue));
      },
      {
        query: NoQuery,
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
      async ({ params: { name } }) => changeAnswer(await engine.pause(name), answers, unknownQueue),
      {
        parse: "none",
        query: NoQuery,
        detail: describeRoute({
          summary: "Pause a queue",
          tag: "Queues",
          answers: { 200: QueueJson },
          problems: ["cross_site", "not_found", "queue_full", "storage_unavailable"],
        }),
      },
    )
    .post(
      "/queues/:name/resume",
      async ({ params: { name } }) =>
        changeAnswer(await engine.resume(name), answers, unknownQueue),
      {
        parse: "none",
        query: NoQuery,
        detail: describeRoute({
          summary: "Resume a queue",
          tag: "Queues",
          answers: { 200: QueueJson },
          problems: ["cross_site", "not_found", "storage_unavailable"],
        }),
      },
    )
    .delete(
      "/queues/:name/tasks",
      async ({ params: { name } }) => changeAnswer(await engine.purge(name), answers, unknownQueue),
      {
        parse: "none",
        query: NoQuery,
        detail: describeRoute({
          summary: "Cancel all waiting tasks of a queue",
          tag: "Queues",
          answers: { 200: PurgeJson },
          problems: ["cross_site", "not_found", "storage_unavailable"],
        }),
      },
    );
}
