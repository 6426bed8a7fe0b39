import { describe, expect, test } from "bun:test";
import { createLog } from "../../src/log-output.ts";
import { watchLoopLag } from "../../src/worker/loop-lag.ts";

/** Longer than what is warned of and the time between two looks together. */
const BLOCK_MS = 1300;

/** The warning of an event loop that was blocked while these types were at work. */
async function warningOf(types: readonly string[]): Promise<Record<string, unknown>> {
  // Stopped before, so it has to keep silent about the same block.
  const stopped = createLog({ level: "warn", isForPeople: false, write: fail });
  watchLoopLag(() => types, stopped)();
  const line = Promise.withResolvers<string>();
  const log = createLog({ level: "warn", isForPeople: false, write: line.resolve });
  // The types are given once: what was at work before or after the block is not named.
  const left = [types];
  const stop = watchLoopLag(() => left.shift() ?? [], log);
  block(BLOCK_MS);
  const warning = JSON.parse(await line.promise);
  stop();
  return warning;
}

/** Holds up this thread, event loop and all, without work for the machine. */
function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

describe("watchLoopLag", () => {
  test("warns of a blocked event loop, with the types that ran and how long it took", async () => {
    const warning = await warningOf(["report.render", "email.send"]);

    expect(warning).toMatchObject({
      level: "warn",
      event: "event_loop_blocked",
      types: "report.render, email.send",
    });
    expect(warning["ms"]).toBeGreaterThan(1000);
    expect(warning["advice"]).toBe('run long computations in a thread: isolation: "thread"');
  });

  test("names at most 20 types in its line", async () => {
    const types = Array.from({ length: 100 }, (_, index) => `type-${index}`);

    expect((await warningOf(types))["types"]).toEndWith("type-18, type-19 and 80 more");
  });
});

function fail(line: string): never {
  throw new Error(`the watch has ended, but it logs ${line}`);
}
