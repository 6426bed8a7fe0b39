/**
 * Handlers that run in threads: one that computes for as long as it is told, one that gives its payload back, and one that
 * ends its thread.
 */

import { defineHandlers } from "../../../src/index.ts";

export default defineHandlers({
  burn: {
    handler: (seconds: number, { progress }) => {
      progress("burning");
      const endMs = performance.now() + seconds * 1000;
      while (performance.now() < endMs);
    },
    isolation: "thread",
    timeoutMs: 600_000,
  },
  echo: { handler: (payload) => payload, isolation: "thread" },
  exit: { handler: () => process.exit(1), isolation: "thread", maxRetries: 0 },
});
