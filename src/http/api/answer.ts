/** Puts the engine's answers about tasks and queues on the wire. */

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

/** Answers a read with these parts of JSON, unless too many bytes of earlier answers are unread. */
export function readAnswer(answers: Answers, parts: readonly string[]): Response {
  return answers.hasNoRoomFor(parts) ? overloadedProblem() : answers.json(parts);
}

/**
 * Answers a change with its result, or with the reason for its refusal. `missing` is the answer
 * when the task or queue does not exist.
 */
export function changeAnswer(
  answer: CancelAnswer | RetryAnswer | PauseAnswer | PurgeAnswer,
  answers: Answers,
  missing: () => Response,
): Response {
  switch (answer.kind) {
    case "cancelled":
      // The change is done, so an answer is due, even if many bytes are unread.
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
  return problem("not_found", "Task not found. Finished tasks are forgotten after a time.");
}

export function unknownQueue(): Response {
  return problem(
    "not_found",
    "Queue not found. A queue is created by its first task and forgotten when idle.",
  );
}
