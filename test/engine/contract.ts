/**
 * What every engine promises, whatever keeps its tasks. An implementation runs this suite on itself:
 * `describeEngine("in memory", { tasks: "die" }, (settings) => new LocalEngine(settings))`.
 */

import { describe } from "bun:test";
import { describeClaim } from "./contract/claim.ts";
import { describeEnqueue } from "./contract/enqueue.ts";
import { describeIdempotency } from "./contract/idempotency.ts";
import { describeList } from "./contract/list.ts";
import { describeLongPoll } from "./contract/long-poll.ts";
import { describeOperator } from "./contract/operator.ts";
import { describeQueues } from "./contract/queues.ts";
import type { MakeEngine } from "./contract/scene.ts";
import {
  describeDrainOfAll,
  describeDrainOfRunning,
  describeStopping,
} from "./contract/stopping.ts";
import { describeTimers } from "./contract/timers.ts";
import { describeTypes } from "./contract/types.ts";

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
