/**
 * What a handler is, and how what it returns or throws becomes an outcome. A handler is foreign land: nothing here may
 * trust a value that comes out of one.
 */

import type { MaybePromise, Outcome } from "../engine/engine.ts";
import type { Attempt } from "./attempt.ts";

/** Works on one attempt. What it returns is the result; whatever it throws is a failed attempt. */
export type Handler = (attempt: Attempt) => MaybePromise<unknown>;

/** Long enough for a sentence and a cause, short enough for thousands of failed tasks to be kept. */
const MESSAGE_LENGTH_MAX = 1000;

const CODE_FORM = /^[A-Za-z0-9_.:-]{1,64}$/;

/** The outcome of an attempt whose handler returned. */
export function outcomeOfReturn(value: unknown): Outcome {
  if (value === undefined) return { kind: "done", result: null };
  try {
    const text: string | undefined = JSON.stringify(value);
    if (text !== undefined) return { kind: "done", result: text };
    return invalidResult(`a ${typeof value} is not a JSON value`);
  } catch (thrown) {
    return invalidResult(describe(thrown).message);
  }
}

/** The outcome of an attempt whose handler threw. */
export function outcomeOfThrow(thrown: unknown): Outcome {
  return { kind: "failed", ...describe(thrown), retry: { kind: "backoff" } };
}

function invalidResult(why: string): Outcome {
  const message = truncate(`the result can't be written as JSON: ${why}`);
  return { kind: "failed", code: "invalid_result", message, retry: { kind: "backoff" } };
}

/** A code and a message for anything that can be thrown: strings, null, objects whose getters throw in turn. */
function describe(thrown: unknown): { readonly code: string; readonly message: string } {
  try {
    if (typeof thrown === "object" && thrown !== null) {
      const { code, message } = thrown as { code?: unknown; message?: unknown };
      return {
        code: typeof code === "string" && CODE_FORM.test(code) ? code : "handler_error",
        message: truncate(typeof message === "string" ? message : String(thrown)),
      };
    }
    return { code: "handler_error", message: truncate(String(thrown)) };
  } catch {
    return {
      code: "handler_error",
      message: "the handler threw something that can't be described",
    };
  }
}

function truncate(text: string): string {
  return text.length <= MESSAGE_LENGTH_MAX ? text : `${text.slice(0, MESSAGE_LENGTH_MAX - 1)}…`;
}
