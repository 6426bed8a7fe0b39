/**
 * The commands of operators and remote workers: cancel, retry, pause, resume, purge, and the settle
 * of a remote claim. A command is planned first, without any visible change. Then it is written, if
 * there is a store, and applied; if it could not be written, it is dropped.
 */

import type { Step } from "../../core/attempts.ts";
import type { Broker } from "../../core/broker.ts";
import type { Instant, Random } from "../../core/instant.ts";
import type { AttemptOutcome, Refusal, SettleOutcome } from "../../core/outcomes.ts";
import type { Queue } from "../../core/queue.ts";
import type { SettleReceipt, Task } from "../../core/task.ts";
import { viewOf } from "../../core/task.ts";
import type {
  CancelAnswer,
  PauseAnswer,
  PurgeAnswer,
  QueueReport,
  RetryAnswer,
} from "../engine.ts";

export type Command<Answer> = (now: Instant) => Plan<Answer> | Answered<Answer>;

/** The command needs no change. */
interface Answered<Answer> {
  readonly kind: "answered";
  readonly answer: Answer;
  /**
   * The task whose state gave the answer. While a planned step will change that state, the answer
   * has to wait.
   */
  readonly task: Task | undefined;
}

export interface Plan<Answer> {
  readonly kind: "plan";
  /** The steps of tasks to store. */
  readonly steps: readonly Step[];
  /** The change of a queue to store. */
  readonly pause: { readonly queue: string; readonly isPaused: boolean } | null;
  /** Applies the plan in memory. */
  take(now: Instant): Answer;
  /** Gives back the places that the plan holds. */
  drop(now: Instant): void;
}

export function cancelCommand(broker: Broker, id: string): Command<CancelAnswer> {
  return (now) => {
    const plan = broker.planCancel(id, now);
    if (plan.kind === "unknown") return answered(plan);
    const { task } = plan;
    if (plan.kind !== "step") return answered({ kind: "finished", task: viewOf(task) }, task);
    return stepPlan(broker, plan, () => ({ kind: "cancelled", task: viewOf(task) }));
  };
}

export function settleCommand(
  broker: Broker,
  random: Random,
  taskId: string,
  fence: number,
  outcome: AttemptOutcome,
): Command<SettleOutcome> {
  return (now) => {
    const plan = broker.planSettle(taskId, fence, outcome, now, random);
    if (plan.kind !== "step") return answered(plan, broker.find(taskId));
    const receipt = plan.to.receipt as SettleReceipt;
    return stepPlan(broker, plan, () => ({ kind: "settled", receipt }));
  };
}

export function retryCommand(
  broker: Broker,
  id: string,
): Command<Exclude<RetryAnswer, { readonly kind: "stopping" | "storage_unavailable" }>> {
  return (now) => {
    const plan = broker.planRetry(id);
    if (plan.kind === "not_retryable") {
      return answered({ kind: "not_retryable", task: viewOf(plan.task) }, plan.task);
    }
    if (plan.kind === "refused" || plan.kind === "unknown") return answered(plan, broker.find(id));
    const { task } = plan;
    // Two retries may need the last place of a queue before either is applied.
    broker.holdPlace(task, now);
    return {
      kind: "plan",
      steps: [plan],
      pause: null,
      take(takenAt) {
        broker.releasePlace(task, takenAt);
        broker.take(plan, takenAt);
        return { kind: "queued", task: viewOf(task) };
      },
      drop: (droppedAt) => broker.releasePlace(task, droppedAt),
    };
  };
}

export function pauseCommand(
  broker: Broker,
  name: string,
  isPaused: boolean,
  reportOf: (queue: Queue, now: Instant) => QueueReport,
): Command<Exclude<PauseAnswer, { readonly kind: "storage_unavailable" }>> {
  return (now) => {
    const queue = broker.findQueue(name);
    if (queue === undefined) return answered({ kind: "unknown" });
    const refusal: Refusal | null = isPaused ? broker.pauseRefusal(queue) : null;
    if (refusal !== null) return answered(refusal);
    // Such a queue is not paused, and no pause is planned. A pin would bring it into use, maybe
    // beyond the bound.
    if (!isPaused && !queue.isInUse) {
      return answered({ kind: "set", queue: reportOf(queue, now) });
    }
    // The queue must exist and be in use when the plan is applied.
    broker.pin(queue, now);
    return {
      kind: "plan",
      steps: [],
      pause: { queue: name, isPaused },
      take(takenAt) {
        broker.setPaused(queue, isPaused, takenAt);
        broker.unpin(queue, takenAt);
        return { kind: "set", queue: reportOf(queue, takenAt) };
      },
      drop: (droppedAt) => broker.unpin(queue, droppedAt),
    };
  };
}

export function purgeCommand(
  broker: Broker,
  name: string,
): Command<Exclude<PurgeAnswer, { readonly kind: "storage_unavailable" }>> {
  return (now) => {
    const steps = broker.planPurge(name, now);
    if (steps === undefined) return answered({ kind: "unknown" });
    return {
      kind: "plan",
      steps,
      pause: null,
      take(takenAt) {
        for (const step of steps) broker.take(step, takenAt);
        return { kind: "purged", cancelled: steps.length };
      },
      drop: () => undefined,
    };
  };
}

function stepPlan<Answer>(broker: Broker, step: Step, answer: () => Answer): Plan<Answer> {
  return {
    kind: "plan",
    steps: [step],
    pause: null,
    take(now) {
      broker.take(step, now);
      return answer();
    },
    drop: () => undefined,
  };
}

function answered<Answer>(answer: Answer, task?: Task): Answered<Answer> {
  return { kind: "answered", answer, task };
}
