/**
 * What every engine promises, whatever keeps its tasks. An implementation runs this suite on itself:
 * `describeEngine("in memory", traits, (settings) => onManualClock(createMemoryEngine(settings), settings.clock))`.
 */

import { describe, test } from "bun:test";
import {
  type EngineHarness,
  type EngineOptions,
  type MakeEngine,
  openEngine,
} from "../support/engine-harness.ts";
import { describeClaim } from "./claim.ts";
import { describeClaimBatch } from "./claim-batch.ts";
import { describeClaimsLimit } from "./claims-limit.ts";
import { describeEnqueue } from "./enqueue.ts";
import { describeEvents } from "./events.ts";
import { describeExtend } from "./extend.ts";
import { describeIdempotency } from "./idempotency.ts";
import { describeLimits } from "./limits.ts";
import { describeList } from "./list.ts";
import { describeLongPoll } from "./long-poll.ts";
import { describeOperator } from "./operator.ts";
import { describeQueues } from "./queues.ts";
import { describeRelease } from "./release.ts";
import { describeRemote } from "./remote.ts";
import { describeSettle } from "./settle.ts";
import { describeDrainOfAll, describeDrainOfRunning, describeStopping } from "./stopping.ts";
import { describeTimers } from "./timers.ts";
import { describeTypes } from "./types.ts";
import { describeValues } from "./values.ts";
import {
  describeClaimsUntilTheEnd,
  describeStopOfClaims,
  describeWaitingClaims,
} from "./waiting-claims.ts";

/** What tells engines apart that keep the same promises. */
export interface EngineTraits {
  /** Accepted tasks stay for the next start; otherwise they end with the engine. */
  readonly durable: boolean;
  /** It goes by a clock of its own, as a database has, that no test can stop or set. */
  readonly ownClock: boolean;
  /** Tasks start exactly in their order; otherwise nearly, as on several nodes. */
  readonly exactOrder: boolean;
}

/** An engine that is held to the contract. */
export interface Contract {
  /** Opens a new engine: `await using harness = await contract.open()`. */
  readonly open: (options?: EngineOptions) => Promise<EngineHarness>;
  /** A test that stops, sets or reads the clock to the millisecond. */
  readonly clockTest: typeof test;
  /** A test of the exact order in which tasks start. */
  readonly orderTest: typeof test;
}

export function describeEngine(name: string, traits: EngineTraits, makeEngine: MakeEngine): void {
  const { durable, ownClock, exactOrder } = traits;
  const contract: Contract = {
    open: (options) => openEngine(makeEngine, options),
    clockTest: test.skipIf(ownClock) as typeof test,
    orderTest: test.skipIf(!exactOrder) as typeof test,
  };
  describe(`engine ${name}`, () => {
    describe("enqueue", () => describeEnqueue(contract));
    describe("limits", () => describeLimits(contract));
    describe("idempotency", () => describeIdempotency(contract));
    describe("claim", () => describeClaim(contract));
    describe("claim of several", () => describeClaimBatch(contract));
    describe("settle", () => describeSettle(contract));
    describe("release", () => describeRelease(contract));
    describe("remote claims", () => describeRemote(contract));
    describe("claims at a limit", () => describeClaimsLimit(contract));
    describe("waiting claims", () => describeWaitingClaims(contract));
    describe("extend and late settle", () => describeExtend(contract));
    describe("values", () => describeValues(contract));
    describe("types and lanes", () => describeTypes(contract));
    describe("cancel and retry", () => describeOperator(contract));
    describe("timers", () => describeTimers(contract));
    describe("long poll", () => describeLongPoll(contract));
    describe("list", () => describeList(contract));
    describe("queues", () => describeQueues(contract));
    describe("events", () => describeEvents(contract));
    describe("stopping", () => {
      describeStopping(contract);
      (durable ? describeDrainOfRunning : describeDrainOfAll)(contract);
      (durable ? describeStopOfClaims : describeClaimsUntilTheEnd)(contract);
    });
  });
}
