/**
 * A process that is going to be killed: an engine, and workers elsewhere that claim, extend and settle. It writes one line
 * before it asks for anything and one after each answer, at once, where the killed process can't take it back.
 *
 *   bun test/faults/remote-life.ts DATA_FILE SEED FIRST_NUMBER < what workers still have from the life before
 */

import { writeSync } from "node:fs";
import { systemClock } from "../../src/clock.ts";
import type { AttemptOutcome, Engine } from "../../src/engine/engine.ts";
import { Dice } from "./dice.ts";
import { type AskedTask, resultOf } from "./ledger.ts";
import { openDurable, REMOTE_TYPE } from "./open-durable.ts";
import { LEASE_MS, type RemoteClaim, type RemoteSettle } from "./remote-claims.ts";
import { someTasks } from "./some-tasks.ts";

/** What workers and clients know of the life before. */
export interface Handover {
  readonly claims: readonly RemoteClaim[];
  /** Settles that were not answered: they are sent again. */
  readonly settles: readonly RemoteSettle[];
}

export type LifeLine =
  | { readonly kind: "enqueueAsked"; readonly tasks: readonly AskedTask[] }
  | { readonly kind: "accepted"; readonly first: number; readonly ids: readonly string[] }
  | { readonly kind: "claimed"; readonly claim: RemoteClaim }
  | { readonly kind: "settleAsked"; readonly settle: RemoteSettle }
  | { readonly kind: "settled"; readonly settle: RemoteSettle }
  | { readonly kind: "settleLost"; readonly settle: RemoteSettle }
  | { readonly kind: "cancelAsked" | "cancelled" | "notCancelled"; readonly number: number };

const CLIENTS = 4;

class RemoteLife {
  readonly #engine: Engine;
  readonly #dice: Dice;
  readonly #claims: RemoteClaim[];
  readonly #settles: RemoteSettle[];
  readonly #ids = new Map<number, string>();
  #nextNumber: number;

  constructor(engine: Engine, dice: Dice, first: number, { claims, settles }: Handover) {
    this.#engine = engine;
    this.#dice = dice;
    this.#nextNumber = first;
    this.#claims = [...claims];
    this.#settles = [...settles];
  }

  /** Until the process is killed. */
  async goOn(): Promise<never> {
    for (;;) {
      const settle = this.#settles.pop();
      if (settle !== undefined) await this.#send(settle);
      else await this.#act();
      await new Promise(setImmediate);
    }
  }

  #act(): Promise<void> {
    const act = this.#dice.below(100);
    if (act < 30) return this.#enqueue();
    if (act < 60) return this.#claim();
    if (act < 70) return this.#extend();
    if (act < 75) return this.#cancel();
    return this.#settle();
  }

  async #enqueue(): Promise<void> {
    const count = 1 + this.#dice.below(3);
    const tasks = someTasks(this.#dice, count, this.#nextNumber, [REMOTE_TYPE]);
    const first = this.#nextNumber;
    this.#nextNumber += count;
    tell({ kind: "enqueueAsked", tasks });
    const answer = await this.#engine.enqueue(
      tasks.map(({ number, ...rest }) => ({ ...rest, payload: { number } })),
    );
    if (answer.kind !== "accepted") throw new Error(`an enqueue was answered ${answer.kind}`);
    const ids = answer.receipts.map(({ id }) => id);
    for (const [index, id] of ids.entries()) this.#ids.set(first + index, id);
    tell({ kind: "accepted", first, ids });
  }

  async #claim(): Promise<void> {
    const worker = `worker-${this.#dice.below(3)}`;
    const answer = await this.#engine.claim({ lane: "remote", max: 2, leaseMs: LEASE_MS, worker });
    if (answer.kind !== "claimed") throw new Error(`a claim was answered ${answer.kind}`);
    for (const { taskId, fence, task } of answer.claims) {
      const { number } = JSON.parse(task.payload) as { number: number };
      const claim = { number, taskId, fence, worker };
      this.#claims.push(claim);
      tell({ kind: "claimed", claim });
    }
  }

  async #extend(): Promise<void> {
    if (this.#claims.length === 0) return;
    const { taskId, fence } = this.#dice.pick(this.#claims);
    await this.#engine.extend(taskId, fence, LEASE_MS);
  }

  async #cancel(): Promise<void> {
    if (this.#ids.size === 0) return;
    const [number, id] = this.#dice.pick([...this.#ids]);
    this.#ids.delete(number);
    tell({ kind: "cancelAsked", number });
    const { kind } = await this.#engine.cancel(id);
    tell({ kind: kind === "cancelled" ? "cancelled" : "notCancelled", number });
  }

  async #settle(): Promise<void> {
    const [claim] = this.#claims.splice(this.#dice.below(this.#claims.length), 1);
    if (claim === undefined) return;
    await this.#send({ ...claim, outcome: this.#outcome(claim.number), receipt: null });
  }

  async #send(settle: RemoteSettle): Promise<void> {
    tell({ kind: "settleAsked", settle });
    const answer = await this.#engine.settle(settle.taskId, settle.fence, settle.outcome);
    if (answer.kind === "settled" || answer.kind === "repeated")
      tell({ kind: "settled", settle: { ...settle, receipt: answer.receipt } });
    else if (answer.kind === "claim_lost") tell({ kind: "settleLost", settle });
    else throw new Error(`a settle was answered ${answer.kind}`);
  }

  #outcome(number: number): AttemptOutcome {
    const retry = { kind: this.#dice.oneIn(3) ? "never" : "backoff" } as const;
    if (this.#dice.oneIn(4)) return { kind: "failed", code: "error", message: "it broke", retry };
    if (this.#dice.oneIn(4)) return { kind: "released" };
    return { kind: "done", result: resultOf(number) };
  }
}

function tell(line: LifeLine): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

if (import.meta.main) {
  const [, , path = "", seed = "1", first = "1"] = process.argv;
  const handover = (await Bun.stdin.json()) as Handover;
  const engine = openDurable(path, "full", systemClock);
  const life = new RemoteLife(engine, new Dice(Number(seed)), Number(first), handover);
  await Promise.all(Array.from({ length: CLIENTS }, () => life.goOn()));
}
