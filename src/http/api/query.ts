/**
 * The query of a request. Nothing in one is ignored: a purge whose filter was passed over would
 * purge too much.
 */

import type { Fault } from "../shape.ts";

/** A whole number as a query writes it. */
const DIGITS = /^\d{1,15}$/;

/**
 * Before a query is checked: what has the form of an integer becomes one, since all in a query is
 * text.
 */
export function readIntegers({ query }: { readonly query: Record<string, unknown> }): void {
  for (const name of ["limit", "wait_ms"]) {
    const text = query[name];
    if (typeof text === "string" && DIGITS.test(text)) query[name] = Number(text);
  }
}

/** The parameters that are given more than once, of which one would be ignored. */
export function repeatedParameters(url: string): Fault[] {
  const names = namesIn(url);
  const repeated = new Set(names.filter((name, index) => names.indexOf(name) !== index));
  return Array.from(repeated, (path) => ({ path, message: "is given more than once" }));
}

/** Every parameter of a route that has none. */
export function unexpectedParameters(url: string): Fault[] {
  return Array.from(new Set(namesIn(url)), (path) => ({ path, message: "Unexpected property" }));
}

function namesIn(url: string): string[] {
  const start = url.indexOf("?");
  return start === -1 ? [] : [...new URLSearchParams(url.slice(start + 1)).keys()];
}
