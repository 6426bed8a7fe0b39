/**
 * Runs handlers on the event loop.
 */

import type { Engine } from "../engine/engine.ts";
import type { Attempt } from "./attempt.ts";
import { Context, type ContextOptions } from "./context.ts";
import type { Handlers } from "./handlers/define.ts";
import { NonRetryableError } from "./handlers/errors.ts";
import type { RunAttempt } from "./pool.ts";

export interface EventLoopOptions extends ContextOptions {
  readonly engine: Pick<Engine, "noteProgress">;
  readonly handlers: Handlers;
  readonly resultBytesMax: number;
}

class NoHandlerError extends NonRetryableError {
  readonly code = "no_handler";
}

/**
 * Finds the handler of the task's type. Without one, the task fails at once: a retry would not find
 * one either.
 */
export function runOnEventLoop({
  engine,
  handlers,
  resultBytesMax,
  ...options
}: EventLoopOptions): RunAttempt {
  const call = (attempt: Attempt): unknown => {
    const { claim, task } = attempt;
    const handler = handlers.types.get(task.type)?.handler;
    if (handler === undefined) throw new NoHandlerError(`no handler for type ${task.type}`);
    const context = new Context(attempt, options, (text) => {
      engine.noteProgress(claim.taskId, claim.fence, text);
    });
    return handler(JSON.parse(task.payload), context);
  };
  return (attempt) => attempt.run(call, resultBytesMax);
}
