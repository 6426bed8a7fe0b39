/**
 * What every engine promises, whatever keeps its tasks. An implementation runs this suite on itself:
 * `describeEngine("in memory", { tasks: "die" }, (settings) => new MemoryEngine(settings))`.
 */

import { describe } from "bun:test";
import type { MakeEngine } from "../support/engine-harness.ts";
import { describeClaim } from "./claim.ts";
import { describeEnqueue } from "./enqueue.ts";
import { describeIdempotency } from "./idempotency.ts";
import { describeList } from "./list.ts";
import { describeLongPoll } from "./long-poll.ts";
import { describeOperator } from "./operator.ts";
import { describeQueues } from "./queues.ts";
import { describeDrainOfAll, describeDrainOfRunning, describeStopping } from "./stopping.ts";
import { describeTimers } from "./timers.ts";
import { describeTypes } from "./types.ts";

export interface EngineNature {
  /** What becomes of accepted tasks when the engine ends: they die with it, or stay for the next start. */
  readonly tasks: "die" | "stay";
}

export function describeEngine(
  name: string,
  { tasks }: EngineNature,
  makeEngine: MakeEngine,
): void {
  describe(`engine ${name}`, () => {
    describe("enqueue", () => describeEnqueue(makeEngine));
    describe("idempotency", () => describeIdempotency(makeEngine));
    describe("claim and settle", () => describeClaim(makeEngine));
    describe("types and lanes", () => describeTypes(makeEngine));
    describe("cancel and retry", () => describeOperator(makeEngine));
    describe("timers", () => describeTimers(makeEngine));
    describe("long poll", () => describeLongPoll(makeEngine));
    describe("list", () => describeList(makeEngine));
    describe("queues", () => describeQueues(makeEngine));
    describe("stopping", () => {
      describeStopping(makeEngine);
      (tasks === "die" ? describeDrainOfAll : describeDrainOfRunning)(makeEngine);
    });
  });
}
