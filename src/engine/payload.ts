/**
 * Encodes a JSON value as the text to store, or reports why it can't be encoded.
 *
 * Text, not objects: its size is its cost, so the bounds are exact; a handler that changes its
 * payload does not change later attempts; and threads and files use the text directly.
 */

import { LIMITS } from "../core/limits.ts";

/**
 * Parsers accept millions of levels, but every later walk over the value would pay for them, and
 * serialising throws after thousands.
 */
const DEPTH_MAX = LIMITS.payloadDepth.max;

export type Encoded =
  | ({ readonly kind: "encoded" } & EncodedPayload)
  /** `path` is a JSON Pointer into the value (RFC 6901). */
  | { readonly kind: "invalid"; readonly path: string; readonly message: string };

interface EncodedPayload {
  readonly text: string;
  /** The size of the text in UTF-8. */
  readonly bytes: number;
}

/**
 * Encodes every JSON value within LIMITS.payloadDepth. Never throws, whatever value a program
 * passes.
 */
export function encodePayload(value: unknown): Encoded {
  try {
    const fault = findFault(value, 1);
    if (fault !== null && fault !== OWN_FORM) return { kind: "invalid", ...fault };
    const text: string | undefined = JSON.stringify(value);
    if (text === undefined)
      return { kind: "invalid", path: "", message: "can't be written as JSON" };
    // The check counts for the written form.
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

/** Not a fault yet: the value has a toJSON method, which may return anything. */
const OWN_FORM: Fault = { path: "", message: "has a form of its own" };

function findFault(value: unknown, depth: number): Fault | null {
  if (typeof value === "number") {
    // 1e400 is legal JSON and parses to Infinity, which would be stored as null: the client's
    // number would be lost.
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
    // Skips properties of Object.prototype that a library added; they are not serialised either.
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
