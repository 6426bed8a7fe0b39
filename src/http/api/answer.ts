/**
 * The engine's answers about tasks and queues, on the wire.
 */

import type {
  CancelAnswer,
  PauseAnswer,
  PurgeAnswer,
  RetryAnswer,
  TaskView,
} from "../../engine/engine.ts";
import type { Answers } from "../answers.ts";
import { queueJson, taskJson } from "./json.ts";
import {
  overloadedProblem,
  problem,
  refusalProblem,
  stoppingProblem,
  storageProblem,
} from "./problem.ts";

/** Answers a read with these parts of JSON, unless clients leave too much unread. */
export function readAnswer(answers: Answers, parts: readonly string[]): Response {
  return answers.hasNoRoomFor(parts) ? overloadedProblem() : answers.json(parts);
}

/**
 * Answers with what was done, or why it was not. `missing` is the answer when there is no such task
 * or queue.
 */
export function changeAnswer(
  answer: CancelAnswer | RetryAnswer | PauseAnswer | PurgeAnswer,
  answers: Answers,
  missing: () => Response,
): Response {
  switch (answer.kind) {
    case "cancelled":
      // It is done: an answer is due, however much is unread.
      return answers.json([taskJson(answer.task)]);
    case "queued":
      return retried(answer.task);
    case "set":
      return Response.json(queueJson(answer.queue));
    case "purged":
      return Response.json({ cancelled: answer.cancelled });
    case "finished":
    case "not_retryable":
      return problem("conflict", `The task is ${answer.task.status}.`);
    case "unknown":
      return missing();
    case "refused":
      return refusalProblem(answer);
    case "stopping":
      return stoppingProblem();
    case "storage_unavailable":
      return storageProblem();
    default:
      return answer satisfies never;
  }
}

function retried({ id }: TaskView): Response {
  return Response.json(
    { id, status: "queued" },
    { status: 202, headers: { location: `/tasks/${id}` } },
  );
}

export function unknownTask(): Response {
  return problem("not_found", "There is no such task, or it has finished and was forgotten.");
}

export function unknownQueue(): Response {
  return problem(
    "not_found",
    "There is no such queue. A queue is created by its first task and forgotten when idle.",
  );
}
