/**
 * Watches how late the event loop is, and names the handlers that may have blocked it: one that
 * computes for seconds stops HTTP and every other handler, and nobody sees why.
 */

import type { Log } from "../log.ts";

/** A block of more than this is worth a warning. */
const LAG_WARN_MS = 1000;

const INTERVAL_MS = 250;

/** One of them did it. With more than these, the line helps nobody. */
const TYPES_NAMED_MAX = 20;

/**
 * Starts to watch; the returned function ends it. `takeActiveTypes` gives the types that ran since
 * the last call.
 */
export function watchLoopLag(takeActiveTypes: () => readonly string[], log: Log): () => void {
  let expectedMs = performance.now() + INTERVAL_MS;
  const timer = setInterval(() => {
    const nowMs = performance.now();
    const lagMs = nowMs - expectedMs;
    expectedMs = nowMs + INTERVAL_MS;
    const types = takeActiveTypes();
    if (lagMs <= LAG_WARN_MS) return;
    log.warn("event_loop_blocked", {
      ms: Math.round(lagMs),
      types: listOf(types),
      advice: 'run long computations in a thread: isolation: "thread"',
    });
  }, INTERVAL_MS);
  // It must not keep a program alive that has nothing else to do.
  timer.unref();
  return () => clearInterval(timer);
}

function listOf(types: readonly string[]): string {
  const named = types.slice(0, TYPES_NAMED_MAX);
  const more = types.length - named.length;
  return more > 0 ? `${named.join(", ")} and ${more} more` : named.join(", ");
}
