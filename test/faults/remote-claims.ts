/**
 * Claims of workers elsewhere, as these workers know them, and what becomes of them after a crash: a claim goes on, a
 * settle counts once, and the receipt of an answered one is given again.
 */

import {
  type AttemptOutcome,
  type Engine,
  isFinished,
  type SettleReceipt,
} from "../../src/engine/engine.ts";
import { type Ledger, resultOf } from "./ledger.ts";

/** Long enough that no lease ends by itself. */
export const LEASE_MS = 12 * 3_600_000;

/** A claim that was handed out. */
export interface RemoteClaim {
  readonly number: number;
  readonly taskId: string;
  readonly fence: number;
  readonly worker: string;
}

/** A settle that was sent, with its receipt once it was answered. */
export interface RemoteSettle extends RemoteClaim {
  readonly outcome: AttemptOutcome;
  readonly receipt: SettleReceipt | null;
}

/** How sure claims are: a process that is killed loses none, a power cut may. */
export type ClaimSurvival = "certain" | "possible";

/** Everything that is wrong with the claims and settles that workers know of, one sentence each. It settles the claims. */
export async function faultsOfClaims(
  engine: Engine,
  ledger: Ledger,
  survival: ClaimSurvival,
): Promise<readonly string[]> {
  const faults: string[] = [];
  for (const settle of ledger.settles()) {
    const fault = await faultOfSettle(engine, settle);
    if (fault !== null) faults.push(`settle of task ${settle.number}: ${fault}`);
  }
  for (const claim of ledger.claims()) {
    const fault = await faultOfClaim(engine, claim, survival);
    if (fault !== null) faults.push(`claim of task ${claim.number}: ${fault}`);
  }
  return faults;
}

/** Sends a settle again. One that was answered gets its receipt; any other counts once or has lost its claim. */
async function faultOfSettle(
  engine: Engine,
  { taskId, fence, outcome, receipt }: RemoteSettle,
): Promise<string | null> {
  const first = await engine.settle(taskId, fence, outcome);
  if (receipt !== null) {
    if (first.kind !== "repeated") return `it was answered before, and now ${first.kind}`;
    if (!Bun.deepEquals(first.receipt, receipt)) return "its receipt is another one";
    return null;
  }
  if (first.kind === "claim_lost") return null;
  if (first.kind !== "settled" && first.kind !== "repeated") return `it was answered ${first.kind}`;
  const second = await engine.settle(taskId, fence, outcome);
  if (second.kind !== "repeated") return `sent again it was answered ${second.kind}`;
  return Bun.deepEquals(second.receipt, first.receipt) ? null : "its receipt has changed";
}

async function faultOfClaim(
  engine: Engine,
  { number, taskId, fence, worker }: RemoteClaim,
  survival: ClaimSurvival,
): Promise<string | null> {
  const outcome = { kind: "done", result: resultOf(number) } as const;
  const before = await engine.find(taskId);
  if (before === undefined) return "its task is not there";
  const extended = await engine.extend(taskId, fence, LEASE_MS);
  if (extended.kind === "claim_lost") {
    if (survival === "certain") return `it is lost (${before.status})`;
    const settled = await engine.settle(taskId, fence, outcome);
    if (settled.kind !== "claim_lost") return `it is lost, and its settle was ${settled.kind}`;
    if (before.status === "running" || isFinished(before.status))
      return `it is lost, and its task is ${before.status}`;
    return null;
  }
  if (before.claim?.worker !== worker) return `its worker is ${before.claim?.worker}`;
  const settled = await engine.settle(taskId, fence, outcome);
  if (settled.kind !== "settled") return `its settle was answered ${settled.kind}`;
  const again = await engine.settle(taskId, fence, outcome);
  if (again.kind !== "repeated") return `its settle sent again was answered ${again.kind}`;
  const status = (await engine.find(taskId))?.status;
  return status === "done" ? null : `it was settled, and its task is ${status}`;
}
