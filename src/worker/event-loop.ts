/**
 * Runs handlers on the event loop.
 */

import type { Engine } from "../engine/engine.ts";
import type { Attempt } from "./attempt.ts";
import { type AttemptFacts, Context, type ContextOptions, type ContextSource } from "./context.ts";
import type { Handlers } from "./handlers/define.ts";
import { NonRetryableError } from "./handlers/errors.ts";
import type { Work } from "./pool.ts";

export interface EventLoopOptions extends ContextOptions {
  readonly engine: Engine;
  readonly handlers: Handlers;
  readonly resultBytesMax: number;
}

class NoHandlerError extends NonRetryableError {
  readonly code = "no_handler";
}

/** Looks up the handler of the task's type; without one the task fails at once, since no retry would find one either. */
export function runOnEventLoop({
  engine,
  handlers,
  resultBytesMax,
  ...options
}: EventLoopOptions): Work {
  const call = (attempt: Attempt): unknown => {
    const { task } = attempt;
    const entry = handlers.types.get(task.type);
    if (entry === undefined) throw new NoHandlerError(`there is no handler for type ${task.type}`);
    const view = new LoopView(attempt, engine);
    return entry.handler(JSON.parse(task.payload), new Context(view, view, options));
  };
  return (attempt) => attempt.run(call, resultBytesMax);
}

/** What a context asks of an attempt on the event loop. Getters: most handlers ask for nothing. */
class LoopView implements AttemptFacts, ContextSource {
  readonly #attempt: Attempt;
  readonly #engine: Engine;

  constructor(attempt: Attempt, engine: Engine) {
    this.#attempt = attempt;
    this.#engine = engine;
  }

  get id(): string {
    return this.#attempt.task.id;
  }

  get type(): string {
    return this.#attempt.task.type;
  }

  get queue(): string {
    return this.#attempt.task.queue;
  }

  get attempt(): number {
    return this.#attempt.claim.fence;
  }

  get maxRetries(): number {
    return this.#attempt.task.maxRetries;
  }

  get signal(): AbortSignal {
    return this.#attempt.signal;
  }

  noteProgress(text: string): void {
    this.#engine.noteProgress(this.#attempt.claim, text);
  }
}
