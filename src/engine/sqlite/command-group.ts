/**
 * The commands of the next group. The writes of a command depend on earlier changes, so the second
 * of two commands on one task waits for the next group.
 */

import type { Instant } from "../../core/instant.ts";
import type { Task } from "../../core/task.ts";
import type { StorageUnavailable } from "../engine.ts";
import { STORAGE_UNAVAILABLE } from "../host/broker-host.ts";
import type { Command, Plan } from "../host/commands.ts";

/** A command that needs no change. */
interface AnsweredCommand {
  readonly kind: "answered";
  readonly task: Task | undefined;
  readonly tell: () => void;
}

/**
 * A command as its group sees it. Either `take` or `refuse` is called, exactly once, and answers
 * it.
 */
export interface PlannedCommand {
  readonly kind: "planned";
  readonly plan: Plan<unknown>;
  readonly take: (now: Instant) => void;
  readonly refuse: (now: Instant) => void;
}

export class CommandGroup {
  /** Each entry plans its command. */
  #waiting: ((now: Instant) => PlannedCommand | AnsweredCommand)[] = [];

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  ask<Answer>(command: Command<Answer>): Promise<Answer | StorageUnavailable> {
    return new Promise((resolve, reject) => {
      this.#waiting.push((now) => {
        try {
          return planned(command(now), resolve);
        } catch (error) {
          // A defect in one command must not stop its whole group.
          return { kind: "answered", task: undefined, tell: () => reject(error) };
        }
      });
    });
  }

  /** Plans as many commands as one transaction can hold. The rest waits. */
  plan(now: Instant): readonly PlannedCommand[] {
    const touched = new Set<Task>();
    const group: PlannedCommand[] = [];
    for (const [index, planNext] of this.#waiting.entries()) {
      const command = planNext(now);
      if (command.kind === "answered") {
        // A planned step will change this answer.
        if (command.task !== undefined && touched.has(command.task)) {
          this.#waiting = this.#waiting.slice(index);
          return group;
        }
        command.tell();
        continue;
      }
      const { steps } = command.plan;
      if (steps.some(({ task }) => touched.has(task))) {
        command.plan.drop(now);
        this.#waiting = this.#waiting.slice(index);
        return group;
      }
      for (const { task } of steps) touched.add(task);
      group.push(command);
    }
    this.#waiting = [];
    return group;
  }

  /** Answers every command without a change that would have to be written. */
  refuseAll(now: Instant): void {
    for (const planNext of this.#waiting.splice(0)) {
      const command = planNext(now);
      if (command.kind === "answered") command.tell();
      else command.refuse(now);
    }
  }
}

function planned<Answer>(
  plan: ReturnType<Command<Answer>>,
  answer: (answer: Answer | StorageUnavailable) => void,
): PlannedCommand | AnsweredCommand {
  if (plan.kind === "answered") {
    return { kind: "answered", task: plan.task, tell: () => answer(plan.answer) };
  }
  return {
    kind: "planned",
    plan,
    take: (now) => answer(plan.take(now)),
    refuse(now) {
      plan.drop(now);
      answer(STORAGE_UNAVAILABLE);
    },
  };
}
