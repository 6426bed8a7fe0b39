/** What an engine answers when it takes no more, as problems. */

import type { Refusal } from "../../engine/engine.ts";
import { problem } from "./problem.ts";

export function refusalProblem({ bound, queue }: Refusal): Response {
  switch (bound) {
    case "queue_size":
      return problem("queue_full", `Queue ${queue} has no room for so many tasks (QUEUE_SIZE).`);
    case "queue_bytes":
      return problem(
        "queue_full",
        `Queue ${queue} has no room for so many payload bytes (QUEUE_BYTES).`,
      );
    case "queues_max":
      return problem(
        "queue_full",
        `There is no room for queue ${queue}: too many are in use (MAX_QUEUES).`,
      );
    default:
      return bound satisfies never;
  }
}

export function stoppingProblem(): Response {
  return problem("shutting_down", "The server is stopping and takes no more tasks.");
}

export function storageProblem(): Response {
  return problem(
    "storage_unavailable",
    "What was asked for could not be written to the storage, and so was not done.",
  );
}
