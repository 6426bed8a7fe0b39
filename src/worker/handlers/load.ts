/** Loads a module of handlers, or explains in a sentence why that failed. */

import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { type Clock, systemClock } from "../../clock.ts";
import { messageOf } from "../../engine/outcome.ts";
import { type Handlers, isHandlers } from "./define.ts";

export type Loaded =
  | { readonly kind: "loaded"; readonly handlers: Handlers }
  | { readonly kind: "failed"; readonly why: string };

/** The time after which `onSlow` is called: the module may wait for an event that never comes. */
export const SLOW_LOAD_MS = 5000;

/**
 * Loads the handlers from the default export of a module. Calls `onSlow` when that takes longer
 * than {@link SLOW_LOAD_MS}, and continues to wait.
 */
export async function loadHandlers(
  path: string,
  onSlow: () => void,
  clock: Clock = systemClock,
): Promise<Loaded> {
  let module: { readonly default?: unknown };
  const cancelSlow = clock.after(SLOW_LOAD_MS, onSlow);
  try {
    module = await import(pathToFileURL(resolve(path)).href);
  } catch (error) {
    return { kind: "failed", why: `${path} can't be loaded: ${messageOf(error)}` };
  } finally {
    cancelSlow();
  }
  const exported = module.default;
  if (isHandlers(exported)) return { kind: "loaded", handlers: exported };
  const found = exported === undefined ? "it has no default export" : `that is ${kindOf(exported)}`;
  return {
    kind: "failed",
    why: `${path} must export defineHandlers(…) as its default, but ${found}`,
  };
}

function kindOf(exported: unknown): string {
  return exported === null ? "null" : `of type ${typeof exported}`;
}
