/**
 * The contract, held by an engine whose clock no test can reach, as one over a database: a test that stops or reads the
 * clock without saying so (`clockTest`) fails here.
 */

import { createMemoryEngine } from "../../../src/engine/memory/engine.ts";
import { describeEngine } from "../../contract/contract.ts";
import { ManualClock } from "../../support/manual-clock.ts";

describeEngine(
  "with a clock of its own",
  { durable: false, ownClock: true, exactOrder: true },
  (settings) => {
    const own = new ManualClock();
    own.jumpWall(123_456_789);
    // Time never goes by as exactly as it is asked to.
    return {
      engine: createMemoryEngine({ ...settings, clock: own }),
      advance: (ms) => own.advance(ms + 3),
      now: () => own.now(),
    };
  },
);
