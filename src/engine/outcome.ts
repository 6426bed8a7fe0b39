/**
 * Makes the outcome of an attempt from what its worker reports: a handler in the process, or a
 * remote worker. Results are bounded, and messages cut, in the same way for all. A value may come
 * from a handler, which is untrusted: reading it may throw.
 */

import { LIMITS } from "../core/limits.ts";
import type { AttemptOutcome, Retry } from "../core/outcomes.ts";
import { encodePayload } from "./payload.ts";

const MESSAGE_LENGTH_MAX = LIMITS.errorMessageLength.max;

/** The code of a failed attempt whose worker gives none, or an invalid one. */
const CODE_DEFAULT = "handler_error";

const BACKOFF: Retry = { kind: "backoff" };

const DONE: AttemptOutcome = { kind: "done", result: null };

export type JsonText =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "too_large"; readonly why: string }
  | { readonly kind: "not_json"; readonly why: string };

/** A value as JSON text of at most `bytesMax` bytes. Undefined becomes null. */
export function jsonTextOf(value: unknown, bytesMax: number): JsonText {
  if (value === undefined) return { kind: "text", text: "null" };
  try {
    const text: string | undefined = JSON.stringify(value);
    if (text === undefined)
      return { kind: "not_json", why: `a ${typeof value} is not a JSON value` };
    return within(text, Buffer.byteLength(text), bytesMax);
  } catch (thrown) {
    return { kind: "not_json", why: messageOf(thrown) };
  }
}

/**
 * The same for a value that came over the network. It has the rules of a payload: a megabyte of
 * brackets would keep {@link jsonTextOf} busy for most of a second.
 */
export function jsonTextOfSent(value: unknown, bytesMax: number): JsonText {
  const encoded = encodePayload(value);
  if (encoded.kind === "encoded") return within(encoded.text, encoded.bytes, bytesMax);
  const { path, message } = encoded;
  return { kind: "not_json", why: `${path === "" ? "it" : path} ${message}` };
}

function within(text: string, bytes: number, bytesMax: number): JsonText {
  if (bytes <= bytesMax) return { kind: "text", text };
  return { kind: "too_large", why: `it has ${bytes} bytes; the limit is ${bytesMax}` };
}

/** The outcome of an attempt that ended with this result. */
export function outcomeOfResult(value: unknown, resultBytesMax: number): AttemptOutcome {
  // Most attempts have no result, and so pay nothing for it.
  return value === undefined ? DONE : outcomeOfJson(jsonTextOf(value, resultBytesMax));
}

/** The outcome of an attempt that ended with a result that came over the network. */
export function outcomeOfSentResult(value: unknown, resultBytesMax: number): AttemptOutcome {
  return value === undefined ? DONE : outcomeOfJson(jsonTextOfSent(value, resultBytesMax));
}

function outcomeOfJson(json: JsonText): AttemptOutcome {
  switch (json.kind) {
    case "text":
      return { kind: "done", result: json.text };
    case "too_large":
      return failed("result_too_large", `the result is too large: ${json.why}`);
    case "not_json":
      return failed("invalid_result", `the result can't be written as JSON: ${json.why}`);
    default:
      return json satisfies never;
  }
}

/** The outcome of a failed attempt. The message is cut to the length that can be kept. */
export function failed(code: unknown, message: string, retry: Retry = BACKOFF): AttemptOutcome {
  const isValid = typeof code === "string" && LIMITS.errorCode.allows(code);
  return {
    kind: "failed",
    code: isValid ? code : CODE_DEFAULT,
    message: truncate(message),
    retry,
  };
}

/** The message of any value that can be thrown, cut to the length that can be kept. Never throws. */
export function messageOf(thrown: unknown): string {
  return truncate(textOf(thrown));
}

function textOf(thrown: unknown): string {
  try {
    if (typeof thrown !== "object" || thrown === null) return String(thrown);
    const { message } = thrown as { readonly message?: unknown };
    return typeof message === "string" && message !== "" ? message : String(thrown);
  } catch {
    return "the handler threw something that can't be described";
  }
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
