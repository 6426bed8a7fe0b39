/**
 * Turns the return value or the error of a handler into an outcome. Handlers are untrusted: nothing
 * here relies on a value that comes from one.
 */

import { type AttemptOutcome, LIMITS, type Retry } from "../engine/engine.ts";
import { isRetryDelay, RETRY_MARK } from "./handlers/errors.ts";

const MESSAGE_LENGTH_MAX = LIMITS.errorMessageLength.max;

const BACKOFF: Retry = { kind: "backoff" };

const DONE: AttemptOutcome = { kind: "done", result: null };

/** The outcome of an attempt that was stopped, or never began. */
export const RELEASED: AttemptOutcome = { kind: "released" };

export type JsonText =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "too_large"; readonly why: string }
  | { readonly kind: "not_json"; readonly why: string };

/** A handler's value as JSON text of at most `bytesMax` bytes. Undefined becomes null. */
export function jsonTextOf(value: unknown, bytesMax: number): JsonText {
  if (value === undefined) return { kind: "text", text: "null" };
  try {
    const text: string | undefined = JSON.stringify(value);
    if (text === undefined)
      return { kind: "not_json", why: `a ${typeof value} is not a JSON value` };
    const bytes = Buffer.byteLength(text);
    if (bytes <= bytesMax) return { kind: "text", text };
    return { kind: "too_large", why: `it has ${bytes} bytes; the limit is ${bytesMax}` };
  } catch (thrown) {
    return { kind: "not_json", why: describe(thrown).message };
  }
}

/** The outcome of an attempt whose handler returned. */
export function outcomeOfReturn(value: unknown, resultBytesMax: number): AttemptOutcome {
  // Most handlers return nothing, and so pay nothing for it.
  if (value === undefined) return DONE;
  const json = jsonTextOf(value, resultBytesMax);
  switch (json.kind) {
    case "text":
      return { kind: "done", result: json.text };
    case "too_large":
      return failed("result_too_large", `the result is too large: ${json.why}`, BACKOFF);
    case "not_json":
      return failed("invalid_result", `the result can't be written as JSON: ${json.why}`, BACKOFF);
    default:
      return json satisfies never;
  }
}

/** The outcome of an attempt whose handler threw. */
export function outcomeOfThrow(thrown: unknown): AttemptOutcome {
  const { code, message, retry } = describe(thrown);
  return failed(code, message, retry);
}

/** The message of a thrown value, cut to the length that can be kept. Never throws. */
export function messageOf(thrown: unknown): string {
  return truncate(describe(thrown).message);
}

/** The outcome of a failed attempt, with its message cut to the length that can be kept. */
export function failed(code: string, message: string, retry: Retry): AttemptOutcome {
  return { kind: "failed", code, message: truncate(message), retry };
}

interface Description {
  readonly code: string;
  readonly message: string;
  readonly retry: Retry;
}

/** Describes any value that can be thrown: strings, null, objects whose getters throw. */
function describe(thrown: unknown): Description {
  try {
    if (typeof thrown !== "object" || thrown === null) {
      return { code: "handler_error", message: String(thrown), retry: BACKOFF };
    }
    const { code, message, [RETRY_MARK]: retry } = thrown as Record<string | symbol, unknown>;
    return {
      code: typeof code === "string" && LIMITS.errorCode.allows(code) ? code : "handler_error",
      message: typeof message === "string" && message !== "" ? message : String(thrown),
      retry: retryOf(retry),
    };
  } catch {
    const message = "the handler threw something that can't be described";
    return { code: "handler_error", message, retry: BACKOFF };
  }
}

/** A new value: the handler's value may change, or throw, when it is read again. */
function retryOf(value: unknown): Retry {
  if (typeof value !== "object" || value === null) return BACKOFF;
  const { kind, ms } = value as Record<string, unknown>;
  if (kind === "never") return { kind };
  return kind === "after" && isRetryDelay(ms) ? { kind, ms } : BACKOFF;
}

/**
 * A new string, cut between whole characters: a part of a string would keep all of it in memory,
 * however long that is.
 */
function truncate(message: string): string {
  const isLong = message.length > MESSAGE_LENGTH_MAX;
  const kept = isLong ? `${message.slice(0, MESSAGE_LENGTH_MAX - 1)}…` : message;
  return Buffer.from(kept).toString();
}
