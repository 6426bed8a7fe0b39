/**
 * Turns a JSON value into the text that is stored, or says why it can't be.
 *
 * Text, not objects: its size is what it costs, so the bounds are honest; a handler that changes
 * its payload changes no later attempt; and threads and files take it as it is.
 */

import { LIMITS } from "../core/limits.ts";

/**
 * Parsing takes millions of levels; every later walk would pay for them, and serialising throws
 * after thousands.
 */
const DEPTH_MAX = LIMITS.payloadDepth.max;

export type Encoded =
  | ({ readonly kind: "encoded" } & EncodedPayload)
  /** `path` is a JSON Pointer into the value (RFC 6901). */
  | { readonly kind: "invalid"; readonly path: string; readonly message: string };

interface EncodedPayload {
  readonly text: string;
  /** The size of the text as UTF-8. */
  readonly bytes: number;
}

/** Encodes everything that JSON has, within LIMITS.payloadDepth. Never throws, whatever a program has given it. */
export function encodePayload(value: unknown): Encoded {
  try {
    const fault = findFault(value, 1);
    if (fault !== null && fault !== OWN_FORM) return { kind: "invalid", ...fault };
    const text: string | undefined = JSON.stringify(value);
    if (text === undefined)
      return { kind: "invalid", path: "", message: "can't be written as JSON" };
    // What counts is what is written.
    const writtenFault = fault === OWN_FORM ? findFault(JSON.parse(text), 1) : null;
    if (writtenFault !== null) return { kind: "invalid", ...writtenFault };
    return { kind: "encoded", text, bytes: Buffer.byteLength(text) };
  } catch {
    return { kind: "invalid", path: "", message: "can't be written as JSON" };
  }
}

/** A part of a JSON Pointer (RFC 6901, 3). */
export function escapeToken(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}

interface Fault {
  readonly path: string;
  readonly message: string;
}

/** No fault yet: a value says by itself how it is written, by a toJSON, which may give anything. */
const OWN_FORM: Fault = { path: "", message: "has a form of its own" };

function findFault(value: unknown, depth: number): Fault | null {
  if (typeof value === "number") {
    // 1e400 is legal JSON and parses to Infinity, which would be stored as null: the client's
    // number would be gone.
    return Number.isFinite(value)
      ? null
      : { path: "", message: "is a number beyond the range of a double" };
  }
  if (typeof value === "string" || typeof value === "boolean" || value === null) return null;
  if (typeof value !== "object")
    return { path: "", message: `has the type ${typeof value}, which JSON can't represent` };
  if (depth > DEPTH_MAX) return { path: "", message: `is nested deeper than ${DEPTH_MAX} levels` };
  if ("toJSON" in value && typeof value.toJSON === "function") return OWN_FORM;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      const fault = findFault(value[index], depth + 1);
      if (fault !== null) return under(String(index), fault);
    }
    return null;
  }
  for (const key in value) {
    // Not what a library has put on Object.prototype, which is not serialised either.
    if (!Object.hasOwn(value, key)) continue;
    const fault = findFault((value as Record<string, unknown>)[key], depth + 1);
    if (fault !== null) return under(key, fault);
  }
  return null;
}

function under(key: string, fault: Fault): Fault {
  if (fault === OWN_FORM) return fault;
  const { path, message } = fault;
  return { path: `/${escapeToken(key)}${path}`, message };
}
