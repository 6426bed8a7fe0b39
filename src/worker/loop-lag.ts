/**
 * Measures the delay of the event loop, and names the handlers that may have blocked it. A handler
 * that computes for seconds stops HTTP and every other handler, without any other sign of the
 * cause.
 */

import type { Log } from "../log.ts";

/** A longer delay is worth a warning. */
const LAG_WARN_MS = 1000;

const INTERVAL_MS = 250;

/** One of these types caused the delay. With more of them, the line would not help. */
const TYPES_NAMED_MAX = 20;

/**
 * Starts to measure; the returned function stops it. `takeActiveTypes` returns the types that ran
 * since the last call.
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
  // The timer must not keep alive a program that has no other work.
  timer.unref();
  return () => clearInterval(timer);
}

function listOf(types: readonly string[]): string {
  const named = types.slice(0, TYPES_NAMED_MAX);
  const more = types.length - named.length;
  return more > 0 ? `${named.join(", ")} and ${more} more` : named.join(", ");
}
