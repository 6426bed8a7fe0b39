/**
 * Turns the return value or the error of a handler into a settle, as JSON text. Handlers are
 * foreign code: nothing here relies on a value that comes from one.
 */

import { isRetryDelay, RETRY_MARK, type Retry } from "./errors.ts";

/** The end of an attempt, as the server gets it: an entry of `POST /claims/settle`. */
export interface SettleEntry {
  readonly token: string;
  readonly text: string;
  /** Whether the settle takes the place of one that the server refused. */
  readonly isReplacement?: boolean;
}

export type JsonText =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "not_json"; readonly why: string };

/** The server keeps as much of a message. */
const MESSAGE_LENGTH_MAX = 1000;

const ERROR_CODE = /^[A-Za-z0-9_.:-]{1,64}$/;

const BACKOFF: Retry = { kind: "backoff" };

/** A handler's value as JSON text. Undefined becomes null. */
export function jsonTextOf(value: unknown): JsonText {
  if (value === undefined) return { kind: "text", text: "null" };
  try {
    const text: string | undefined = JSON.stringify(value);
    if (text !== undefined) return { kind: "text", text };
    return { kind: "not_json", why: `a ${typeof value} is not a JSON value` };
  } catch (thrown) {
    return { kind: "not_json", why: describe(thrown).message };
  }
}

/** The settle of an attempt whose handler returned. */
export function settleOfReturn(token: string, value: unknown): SettleEntry {
  if (value === undefined) return { token, text: `{"token":"${token}","outcome":"done"}` };
  const json = jsonTextOf(value);
  if (json.kind === "text") {
    return { token, text: `{"token":"${token}","outcome":"done","result":${json.text}}` };
  }
  const message = `the result can't be written as JSON: ${json.why}`;
  return settleOfFailure(token, "invalid_result", message);
}

/** The settle of an attempt whose handler threw. */
export function settleOfThrow(token: string, thrown: unknown): SettleEntry {
  const { code, message, retry } = describe(thrown);
  return settleOfFailure(token, code, message, retry);
}

export function settleOfFailure(
  token: string,
  code: string,
  message: string,
  retry: Retry = BACKOFF,
): SettleEntry {
  const isLong = message.length > MESSAGE_LENGTH_MAX;
  const text = JSON.stringify({
    token,
    outcome: "failed",
    code,
    message: isLong ? `${message.slice(0, MESSAGE_LENGTH_MAX - 1)}…` : message,
    retry: retry.kind === "never" ? "never" : undefined,
    retry_after_ms: retry.kind === "after" ? Math.ceil(retry.ms) : undefined,
  });
  return { token, text };
}

/** The settle of an attempt that was stopped, or never began. */
export function settleOfRelease(token: string, delayMs?: number): SettleEntry {
  return { token, text: JSON.stringify({ token, outcome: "released", delay_ms: delayMs }) };
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
      code: typeof code === "string" && ERROR_CODE.test(code) ? code : "handler_error",
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
