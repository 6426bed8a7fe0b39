/**
 * Turns the error of a handler into an outcome. Handlers are untrusted: nothing here relies on a
 * value that comes from one.
 */

import type { AttemptOutcome, Retry } from "../engine/engine.ts";
import { failed, messageOf } from "../engine/outcome.ts";
import { isRetryDelay, RETRY_MARK } from "./handlers/errors.ts";

const BACKOFF: Retry = { kind: "backoff" };

/** The outcome of an attempt that was stopped, or never began. */
export const RELEASED: AttemptOutcome = { kind: "released" };

/** The outcome of an attempt whose handler threw. */
export function outcomeOfThrow(thrown: unknown): AttemptOutcome {
  const { code, retry } = describe(thrown);
  return failed(code, messageOf(thrown), retry);
}

interface Description {
  readonly code: unknown;
  readonly retry: Retry;
}

/** Describes any value that can be thrown: strings, null, objects whose getters throw. */
function describe(thrown: unknown): Description {
  try {
    if (typeof thrown === "object" && thrown !== null) {
      const { code, [RETRY_MARK]: retry } = thrown as Record<string | symbol, unknown>;
      return { code, retry: retryOf(retry) };
    }
  } catch {
    // It can't be read, so it requests nothing.
  }
  return { code: undefined, retry: BACKOFF };
}

/** A new value: the handler's value may change, or throw, when it is read again. */
function retryOf(value: unknown): Retry {
  if (typeof value !== "object" || value === null) return BACKOFF;
  const { kind, ms } = value as Record<string, unknown>;
  if (kind === "never") return { kind };
  return kind === "after" && isRetryDelay(ms) ? { kind, ms } : BACKOFF;
}
