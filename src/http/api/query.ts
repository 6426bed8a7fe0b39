/**
 * Checks the query of a request. No parameter is ignored: a purge that ignored its filter would
 * purge too much.
 */

import type { Fault } from "../shape.ts";

/** A whole number in a query. */
const DIGITS = /^\d{1,15}$/;

/** Before a query is checked: converts integers, since query values are text. */
export function readIntegers({ query }: { readonly query: Record<string, unknown> }): void {
  for (const name of ["limit", "wait_ms"]) {
    const text = query[name];
    if (typeof text === "string" && DIGITS.test(text)) query[name] = Number(text);
  }
}

/** The parameters that are given more than once. One value of each would be ignored. */
export function repeatedParameters(url: string): Fault[] {
  const names = namesIn(url);
  const repeated = new Set(names.filter((name, index) => names.indexOf(name) !== index));
  return Array.from(repeated, (path) => ({ path, message: "is given more than once" }));
}

export const UNKNOWN_PARAMETER = "Unknown query parameter";

/** Every parameter of a route that takes none. */
export function unexpectedParameters(url: string): Fault[] {
  return Array.from(new Set(namesIn(url)), (path) => ({ path, message: UNKNOWN_PARAMETER }));
}

function namesIn(url: string): string[] {
  const start = url.indexOf("?");
  return start === -1 ? [] : [...new URLSearchParams(url.slice(start + 1)).keys()];
}
