/**
 * The life of an engine: everything that can be asked of it, several things in one turn, with the place in a recording
 * at which each was asked and answered. So the ledger can be brought to where it stood at any cut. An engine may say that
 * its storage is unavailable, and then nothing of what was asked may be left.
 */

import {
  type AttemptOutcome,
  type Claim,
  type Engine,
  type EnqueueRequest,
  isFinished,
  type TaskView,
} from "../../src/engine/engine.ts";
import type { ManualClock } from "../support/manual-clock.ts";
import type { Dice } from "./dice.ts";
import { type Endings, type Found, type FoundTask, Ledger, resultOf } from "./ledger.ts";
import { REMOTE_TYPE } from "./open-durable.ts";
import { LEASE_MS, type RemoteClaim, type RemoteSettle } from "./remote-claims.ts";
import { STEERED, someTasks } from "./some-tasks.ts";

const POWER_ENDINGS: Readonly<Record<string, Endings>> = {
  work: { mayBeDone: true, mayFail: false },
  /** Fails the first time. */
  flaky: { mayBeDone: true, mayFail: false },
  broken: { mayBeDone: false, mayFail: true },
  /** Never ends by itself. */
  held: { mayBeDone: false, mayFail: false },
  /** Is run elsewhere, and does as it likes. */
  [REMOTE_TYPE]: { mayBeDone: true, mayFail: true },
};

const TYPES = ["work", "work", "work", "flaky", "broken", "held", REMOTE_TYPE, REMOTE_TYPE];

const RUNNING_MAX = 6;
const WAIT_MS = 3_600_000;

/** Long enough for every retry to become due. */
const STEP_MS = 5_000;

interface LedgerEvent {
  /** How many changes of the disk had been recorded. */
  readonly at: number;
  readonly apply: (ledger: Ledger) => void;
}

/** What to send again under a key. */
export interface KeyedRequest {
  readonly key: string;
  readonly firstNumber: number;
  readonly requests: readonly EnqueueRequest[];
}

export class PowerLoad {
  readonly #dice: Dice;
  readonly #clock: ManualClock;
  readonly #position: () => number;
  readonly #payloadBytes: number;
  readonly #ledger = new Ledger(POWER_ENDINGS);
  readonly #events: LedgerEvent[] = [];
  readonly keyed: KeyedRequest[] = [];
  readonly #running: Claim[] = [];
  /** Claims of workers elsewhere: they outlive a stop. */
  readonly #remote: (RemoteClaim & { readonly attempt: number })[] = [];
  /** Tasks that something was asked for in this turn. */
  readonly #busy = new Set<number>();
  #isSteered = false;
  #gone = new AbortController();
  #numbers = 0;

  constructor(dice: Dice, clock: ManualClock, position: () => number, payloadBytes: number) {
    this.#dice = dice;
    this.#clock = clock;
    this.#position = position;
    this.#payloadBytes = payloadBytes;
  }

  /** Brings a fresh ledger from cut to cut, in their order. */
  playback(): LedgerPlayback {
    return new LedgerPlayback(this.#events);
  }

  /** The ledger as it stands now. */
  get ledger(): Ledger {
    return this.#ledger;
  }

  get accepted(): number {
    return this.#ledger.accepteds().length;
  }

  /** Asks for a few things in one turn, and waits for all of the answers. */
  async step(engine: Engine): Promise<void> {
    this.#busy.clear();
    this.#isSteered = false;
    if (this.#dice.oneIn(12)) await this.#clock.advance(STEP_MS);
    await Promise.all(Array.from({ length: 1 + this.#dice.below(4) }, () => this.#act(engine)));
  }

  /** Gives back what runs and closes the engine, as a stop does. */
  async stop(engine: Engine): Promise<void> {
    engine.stopIntake();
    // Whoever still waits is answered with how things are, which is no promise.
    this.#gone.abort();
    this.#gone = new AbortController();
    for (const { taskId, fence } of this.#running.splice(0))
      await engine.settle(taskId, fence, { kind: "released" });
    await engine.drain(0);
    await engine.close();
  }

  #act(engine: Engine): Promise<void> {
    const act = this.#dice.below(100);
    if (act < 24) return this.#enqueue(engine, 1);
    if (act < 34) return this.#enqueue(engine, 2 + this.#dice.below(6));
    if (act < 42) return this.#cancel(engine);
    if (act < 49) return this.#retry(engine);
    if (act < 57) return this.#steer(engine);
    if (act < 72) return this.#claim(engine);
    if (act < 86) return this.#settle(engine);
    if (act < 90) return this.#claimRemote(engine);
    if (act < 93) return this.#extendRemote(engine);
    return this.#settleRemote(engine);
  }

  async #enqueue(engine: Engine, count: number): Promise<void> {
    const dice = this.#dice;
    const tasks = someTasks(dice, count, this.#numbers + 1, TYPES);
    this.#numbers += count;
    const first = this.#numbers - count + 1;
    const requests = tasks.map(
      ({ number, ...rest }): EnqueueRequest => ({
        ...rest,
        payload: { number, padding: "x".repeat(dice.below(this.#payloadBytes)) },
        ...(dice.oneIn(8) ? { delayMs: dice.below(2 * STEP_MS) } : {}),
      }),
    );
    const key = dice.oneIn(3) ? `key-${first}` : null;
    if (key !== null) this.keyed.push({ key, firstNumber: first, requests });
    this.#note((ledger) => {
      ledger.enqueueAsked(tasks, key);
    });
    const answer = await engine.enqueue(requests, key ?? undefined);
    switch (answer.kind) {
      case "accepted": {
        const ids = answer.receipts.map(({ id }) => id);
        this.#note((ledger) => ledger.accepted(ledger.enqueueOf(first), ids));
        return;
      }
      case "storage_unavailable":
        this.#note((ledger) => ledger.refused(ledger.enqueueOf(first)));
        return;
      default:
        throw new Error(`an enqueue was answered ${answer.kind}`);
    }
  }

  async #cancel(engine: Engine): Promise<void> {
    const task = this.#pick(({ promised }) => promised === null);
    if (task === null) return;
    const { number, id } = task;
    this.#note((ledger) => ledger.cancelAsked(number));
    const { kind } = await engine.cancel(id);
    if (kind === "cancelled") this.#note((ledger) => ledger.cancelAnswered(number));
    else if (kind === "finished" || kind === "storage_unavailable")
      this.#note((ledger) => ledger.cancelRefused(number));
    else throw new Error(`a cancel was answered ${kind}`);
  }

  async #retry(engine: Engine): Promise<void> {
    const task = this.#pick(({ promised }) => promised === "cancelled" || promised === "failed");
    if (task === null) return;
    const { number, id } = task;
    this.#note((ledger) => ledger.retryAsked(number));
    const { kind } = await engine.retry(id);
    if (kind === "queued") this.#note((ledger) => ledger.retryAnswered(number));
    else if (kind === "storage_unavailable") this.#note((ledger) => ledger.retryRefused(number));
    else throw new Error(`a retry was answered ${kind}`);
  }

  async #steer(engine: Engine): Promise<void> {
    if (this.#isSteered) return;
    this.#isSteered = true;
    if ((await engine.queue(STEERED)) === undefined) return;
    if (this.#dice.oneIn(4)) {
      this.#note((ledger) => ledger.purgeAsked(STEERED));
      const { kind } = await engine.purge(STEERED);
      if (kind === "purged") this.#note((ledger) => ledger.purgeAnswered(STEERED));
      else if (kind === "storage_unavailable") this.#note((ledger) => ledger.purgeRefused(STEERED));
      else throw new Error(`a purge was answered ${kind}`);
      return;
    }
    const isPaused = this.#dice.oneIn(2);
    this.#note((ledger) => ledger.pauseAsked(STEERED, isPaused));
    const { kind } = await (isPaused ? engine.pause(STEERED) : engine.resume(STEERED));
    if (kind === "set") this.#note((ledger) => ledger.pauseAnswered(STEERED, isPaused));
    else if (kind === "storage_unavailable") this.#note((ledger) => ledger.pauseRefused(STEERED));
    else throw new Error(`a pause was answered ${kind}`);
  }

  async #claim(engine: Engine): Promise<void> {
    if (this.#running.length >= RUNNING_MAX) return;
    const answer = await engine.claim({ lane: "loop", max: 1 });
    const [claim] = answer.kind === "claimed" ? answer.claims : [];
    if (claim === undefined) return;
    this.#running.push(claim);
    const number = numberOf(claim.task);
    this.#note((ledger) => ledger.claimed(number));
  }

  async #settle(engine: Engine): Promise<void> {
    const [claim] = this.#running.splice(this.#dice.below(this.#running.length), 1);
    if (claim === undefined) return;
    const { taskId, fence, task } = claim;
    const { id, type, maxRetries, attempt } = task;
    const number = numberOf(claim.task);
    if (this.#dice.oneIn(2)) this.#poll(engine, number, id);
    if (type === "held" || this.#dice.oneIn(6)) {
      await engine.settle(taskId, fence, { kind: "released" });
    } else if (type === "broken" || (type === "flaky" && attempt === 1)) {
      const retry =
        type === "broken" && this.#dice.oneIn(3 + maxRetries)
          ? ({ kind: "never" } as const)
          : ({ kind: "backoff" } as const);
      const outcome = { kind: "failed", code: "error", message: "it broke", retry } as const;
      await engine.settle(taskId, fence, outcome);
    } else {
      await engine.settle(taskId, fence, { kind: "done", result: resultOf(number) });
    }
  }

  async #claimRemote(engine: Engine): Promise<void> {
    const worker = `worker-${this.#dice.below(3)}`;
    const max = 1 + this.#dice.below(3);
    const answer = await engine.claim({ lane: "remote", max, leaseMs: LEASE_MS, worker });
    if (answer.kind !== "claimed") return;
    for (const { taskId, fence, task } of answer.claims) {
      const claim = { number: numberOf(task), taskId, fence, worker, attempt: task.attempt };
      this.#remote.push(claim);
      this.#note((ledger) => ledger.claimedRemotely(claim));
    }
  }

  /** It promises nothing that outlives a power cut. */
  async #extendRemote(engine: Engine): Promise<void> {
    if (this.#remote.length === 0) return;
    const { taskId, fence } = this.#dice.pick(this.#remote);
    await engine.extend(taskId, fence, LEASE_MS + this.#dice.below(1000));
  }

  async #settleRemote(engine: Engine): Promise<void> {
    const [claim] = this.#remote.splice(this.#dice.below(this.#remote.length), 1);
    if (claim === undefined) return;
    const { number, taskId, fence } = claim;
    const settle: RemoteSettle = { ...claim, outcome: this.#remoteOutcome(number), receipt: null };
    this.#note((ledger) => ledger.settleAsked(settle));
    const answer = await engine.settle(taskId, fence, settle.outcome);
    switch (answer.kind) {
      case "settled": {
        const answered = { ...settle, receipt: answer.receipt };
        this.#note((ledger) => ledger.settleAnswered(answered, claim.attempt));
        return;
      }
      case "claim_lost":
        this.#note((ledger) => ledger.settleLost(settle));
        return;
      case "storage_unavailable":
        this.#note((ledger) => ledger.settleRefused(settle));
        this.#remote.push(claim);
        return;
      default:
        throw new Error(`a settle was answered ${answer.kind}`);
    }
  }

  #remoteOutcome(number: number): AttemptOutcome {
    switch (this.#dice.below(5)) {
      case 0:
        return { kind: "released" };
      case 1:
        return { kind: "released", delayMs: 1 + this.#dice.below(STEP_MS) };
      case 2: {
        const retry = { kind: this.#dice.oneIn(3) ? "never" : "backoff" } as const;
        return { kind: "failed", code: "error", message: "it broke", retry };
      }
      default:
        return { kind: "done", result: resultOf(number) };
    }
  }

  /** A client waits for the end, for as long as it takes, and what it is told is a promise. */
  #poll(engine: Engine, number: number, id: string): void {
    const { signal } = this.#gone;
    void engine.waitFor(id, WAIT_MS, signal).then((task) => {
      const status = task?.status;
      if (signal.aborted || status === undefined || !isFinished(status)) return;
      // While nothing can be written reads go on, and tell of what is in memory only.
      if (engine.readiness === "storage_unavailable") return;
      this.#note((ledger) => ledger.finished(number, status));
    });
  }

  #pick(
    fits: (task: { promised: string | null }) => boolean,
  ): { number: number; id: string } | null {
    const fitting = this.#ledger
      .accepteds()
      .filter((task) => fits(task) && !this.#busy.has(task.asked.number));
    if (fitting.length === 0) return null;
    const { asked, id } = this.#dice.pick(fitting);
    this.#busy.add(asked.number);
    return { number: asked.number, id };
  }

  #note(apply: (ledger: Ledger) => void): void {
    apply(this.#ledger);
    this.#events.push({ at: this.#position(), apply });
  }
}

export class LedgerPlayback {
  readonly ledger = new Ledger(POWER_ENDINGS);
  readonly #events: readonly LedgerEvent[];
  #played = 0;

  constructor(events: readonly LedgerEvent[]) {
    this.#events = events;
  }

  /** Plays everything that was asked or answered before this place in the recording. */
  advanceTo(position: number): void {
    for (;;) {
      const event = this.#events[this.#played];
      if (event === undefined || event.at > position) return;
      event.apply(this.ledger);
      this.#played += 1;
    }
  }
}

/** Reads everything that an engine has. */
export async function findIn(engine: Engine): Promise<Found> {
  const tasks: FoundTask[] = [];
  let cursor: string | undefined;
  do {
    const answer = await engine.list({ limit: 500, cursor });
    if (answer.kind !== "page") throw new Error(`a list was answered ${answer.kind}`);
    tasks.push(...answer.tasks.map(foundTask));
    cursor = answer.nextCursor ?? undefined;
  } while (cursor !== undefined);
  const queues = await engine.queues();
  return {
    tasks,
    paused: new Set(queues.filter(({ isPaused }) => isPaused).map(({ name }) => name)),
  };
}

function foundTask(task: TaskView): FoundTask {
  const { id, type, queue, priority, maxRetries, status, attempt } = task;
  const lastErrorCode = task.errors.at(-1)?.code ?? null;
  const result = task.result ?? "null";
  return {
    number: numberOf(task),
    ...{ id, type, queue, priority, maxRetries, status, attempt, lastErrorCode, result },
  };
}

function numberOf({ payload }: TaskView): number {
  return (JSON.parse(payload) as { number: number }).number;
}
