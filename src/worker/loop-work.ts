/**
 * Runs handlers on the event loop.
 */

import type { Engine } from "../engine/engine.ts";
import type { Attempt } from "./attempt.ts";
import { Context, type ContextOptions } from "./context.ts";
import { NonRetryableError } from "./errors.ts";
import type { Handlers } from "./handlers.ts";
import type { Work } from "./pool.ts";

export interface LoopWorkOptions extends ContextOptions {
  readonly engine: Engine;
  readonly handlers: Handlers;
  readonly resultBytesMax: number;
}

class NoHandlerError extends NonRetryableError {
  readonly code = "no_handler";
}

/** Looks up the handler of the task's type; without one the task fails at once, since no retry would find one either. */
export function loopWork({ engine, handlers, resultBytesMax, ...options }: LoopWorkOptions): Work {
  const call = (attempt: Attempt): unknown => {
    const { task, claim } = attempt;
    const entry = handlers.types.get(task.type);
    if (entry === undefined) throw new NoHandlerError(`there is no handler for type ${task.type}`);
    const { id, type, queue, maxRetries } = task;
    const facts = { id, type, queue, attempt: claim.fence, maxRetries };
    const source = {
      get signal() {
        return attempt.signal;
      },
      noteProgress: (text: string) => engine.noteProgress(claim, text),
    };
    return entry.handler(JSON.parse(task.payload), new Context(facts, source, options));
  };
  return (attempt) => attempt.run(() => call(attempt), resultBytesMax);
}
