/**
 * A remote worker that is going to be killed, or whose server is: it claims, extends and settles over HTTP, with nothing
 * but fetch. It writes one line before it asks for anything and one after each answer, at once, where nobody can take it
 * back. When the server is gone it says so, and waits until it is told of the next one.
 *
 *   bun test/faults/worker-life.ts SEED NAME < orders, one a line
 */

import { writeSync } from "node:fs";
import { isConnectionLost } from "./connection-lost.ts";
import { Dice } from "./dice.ts";
import { linesOf } from "./lines.ts";

/** So long that it does not end before the test does. */
export const LONG_LEASE_MS = 12 * 3_600_000;

/** The shortest there is. */
export const SHORT_LEASE_MS = 1000;

/** A claim that a worker holds. */
export interface HeldClaim {
  readonly token: string;
  readonly taskId: string;
  readonly number: number;
  readonly attempt: number;
  /** The name under which it was claimed: another one for each request. */
  readonly worker: string;
  readonly leaseMs: number;
}

type SettleWord = "done" | "failed" | "released";

/** A settle as it is sent. */
export interface SentSettle {
  readonly token: string;
  readonly outcome: SettleWord;
  readonly [field: string]: unknown;
}

export interface WorkerReceipt {
  readonly id: string;
  readonly status: string;
  readonly run_at: string | null;
}

/** What a worker is told. */
export type WorkerOrder =
  | { readonly kind: "server"; readonly url: string; readonly isLast: boolean }
  /** What is left of a worker that was killed: settles without an answer are sent again. */
  | {
      readonly kind: "takeOver";
      readonly claims: readonly HeldClaim[];
      readonly settles: readonly SentSettle[];
    };

export type WorkerLine =
  | { readonly kind: "claimAsked"; readonly worker: string }
  | {
      readonly kind: "claimed";
      readonly worker: string;
      readonly claims: readonly HeldClaim[];
    }
  | { readonly kind: "settleAsked"; readonly settles: readonly SentSettle[] }
  | {
      readonly kind: "settled";
      readonly settle: SentSettle;
      readonly receipt: WorkerReceipt;
    }
  | { readonly kind: "extended"; readonly token: string }
  | {
      readonly kind: "lost";
      readonly token: string;
      /** What was asked for: null for an extend. */
      readonly settle: SentSettle | null;
      readonly ended: string;
      /** Whether its lease can't have ended yet, and no settle of it was sent before. */
      readonly isWrong: boolean;
    }
  /** The server is gone, and nothing is under way. It was told of so many servers before. */
  | { readonly kind: "waiting"; readonly servers: number }
  /** An answer that nobody should get. */
  | { readonly kind: "surprise"; readonly said: string };

/** The result that the settle with this token gives to the task with this number. */
export function workerResultOf(number: number, token: string) {
  return { answer: number, token };
}

interface Held extends HeldClaim {
  /** Until when the lease lasts at least, by the clock of this process. */
  leasedUntilMs: number;
}

interface Problem {
  readonly code: string;
  readonly ended: string;
}

type SettleAnswer = (WorkerReceipt & { readonly problem?: never }) | { readonly problem: Problem };

const LOOPS = 3;
const HELD_MAX = 12;
const OLD_MAX = 30;
const WAITS_MS = [0, 50, 1000] as const;

class WorkerLife {
  readonly #dice: Dice;
  readonly #name: string;
  readonly #held: Held[] = [];
  /** Settles that were not answered. */
  readonly #open: SentSettle[] = [];
  /** Settles that were answered: they are sent again now and then. */
  readonly #old: SentSettle[] = [];
  readonly #numbers = new Map<string, number>();
  #claims = 0;
  #url = "";
  #isLast = false;
  #waiting = 0;
  #servers = 0;
  #server = Promise.withResolvers<void>();

  constructor(dice: Dice, name: string) {
    this.#dice = dice;
    this.#name = name;
  }

  order(order: WorkerOrder): void {
    if (order.kind === "server") {
      this.#url = order.url;
      this.#isLast = order.isLast;
      this.#servers += 1;
      this.#server.resolve();
      this.#server = Promise.withResolvers();
      return;
    }
    for (const claim of order.claims) {
      const isLong = claim.leaseMs === LONG_LEASE_MS;
      this.#hold(claim, isLong ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY);
    }
    this.#open.push(...order.settles);
  }

  /** Until the process is killed. */
  async goOn(): Promise<never> {
    for (;;) {
      try {
        if (this.#url !== "") await this.#act();
        await new Promise(setImmediate);
      } catch (error) {
        // The server is gone. Anything else is a fault of this worker.
        if (!isConnectionLost(error)) throw error;
        this.#url = "";
      }
      if (this.#url === "") await this.#untilServer();
    }
  }

  async #untilServer(): Promise<void> {
    const { promise } = this.#server;
    this.#waiting += 1;
    if (this.#waiting === LOOPS) tell({ kind: "waiting", servers: this.#servers });
    await promise;
    this.#waiting -= 1;
  }

  #act(): Promise<void> {
    const open = this.#open.pop();
    if (open !== undefined) return this.#settle([open]);
    if (this.#isLast) return this.#finish();
    const act = this.#dice.below(100);
    if (act < 35) return this.#claim(1 + this.#dice.below(4), this.#dice.pick(WAITS_MS));
    if (act < 50) return this.#extend();
    if (act < 75) return this.#settle(this.#drawSettles(1));
    if (act < 88) return this.#settle(this.#drawSettles(2 + this.#dice.below(6)));
    return this.#settleAgain();
  }

  async #finish(): Promise<void> {
    if (this.#held.length === 0) return this.#claim(HELD_MAX, 1000);
    await this.#settle(this.#held.splice(0).map((claim) => doneOf(claim)));
  }

  async #claim(max: number, waitMs: number): Promise<void> {
    if (this.#held.length >= HELD_MAX) return;
    this.#claims += 1;
    const worker = `${this.#name}-${this.#claims}`;
    const leaseMs = this.#dice.oneIn(4) ? SHORT_LEASE_MS : LONG_LEASE_MS;
    tell({ kind: "claimAsked", worker });
    const sentMs = performance.now();
    const body = { max, wait_ms: waitMs, lease_ms: leaseMs, worker };
    const { status, answer } = await this.#post("/claims", body);
    if (status !== 200) return surprise("a claim", status, answer);
    const { claims } = answer as {
      claims: {
        token: string;
        lease_ms: number;
        task: { id: string; attempt: number; payload: { number: number } };
      }[];
    };
    const held = claims.map(({ token, task }) => ({
      token,
      taskId: task.id,
      number: task.payload.number,
      attempt: task.attempt,
      worker,
      leaseMs,
    }));
    tell({ kind: "claimed", worker, claims: held });
    for (const [index, claim] of held.entries()) {
      this.#hold(claim, sentMs + (claims[index]?.lease_ms ?? 0));
    }
  }

  async #extend(): Promise<void> {
    const claim = this.#takeHeld();
    if (claim === undefined) return;
    const sentMs = performance.now();
    const body = this.#dice.oneIn(2) ? {} : { lease_ms: claim.leaseMs, progress: this.#claims };
    try {
      const { status, answer } = await this.#post(`/claims/${claim.token}/extend`, body);
      if (status === 409) return this.#lose(claim, (answer as Problem).ended);
      if (status !== 200) return surprise("an extend", status, answer);
      claim.leasedUntilMs = sentMs + (answer as { lease_ms: number }).lease_ms;
      tell({ kind: "extended", token: claim.token });
      this.#held.push(claim);
    } catch (error) {
      // Whether it was extended or not: the claim is held.
      this.#held.push(claim);
      throw error;
    }
  }

  #lose({ token, leasedUntilMs }: Held, ended: string): void {
    const isWrong = performance.now() < leasedUntilMs;
    tell({ kind: "lost", token, settle: null, ended, isWrong });
  }

  #drawSettles(count: number): SentSettle[] {
    const settles: SentSettle[] = [];
    for (let claim = this.#takeHeld(); claim !== undefined; claim = this.#takeHeld()) {
      this.#leases.set(claim.token, claim.leasedUntilMs);
      settles.push(this.#drawSettle(claim));
      if (settles.length === count) break;
    }
    return settles;
  }

  #drawSettle(claim: Held): SentSettle {
    const { token } = claim;
    const dice = this.#dice;
    if (dice.oneIn(4)) {
      const retry = dice.oneIn(5) ? { retry: "never" } : { retry_after_ms: dice.below(20) };
      return { token, outcome: "failed", code: "broken", message: "it broke", ...retry };
    }
    if (dice.oneIn(4)) {
      return { token, outcome: "released", ...(dice.oneIn(2) ? { delay_ms: dice.below(20) } : {}) };
    }
    return doneOf(claim);
  }

  /** Settles once more what was settled before: with the same word it counts once, with another it does not count. */
  async #settleAgain(): Promise<void> {
    if (this.#old.length === 0) return;
    const settle = this.#dice.pick(this.#old);
    if (this.#dice.oneIn(2)) return this.#settle([settle]);
    const { token } = settle;
    const number = this.#numbers.get(token) ?? 0;
    const outcome = this.#dice.pick(
      (["done", "failed", "released"] as const).filter((each) => each !== settle.outcome),
    );
    await this.#settle([outcome === "done" ? doneOf({ token, number }) : { token, outcome }]);
  }

  /** Until when a claim lasts whose first settle is on its way. */
  readonly #leases = new Map<string, number>();

  async #settle(settles: readonly SentSettle[]): Promise<void> {
    if (settles.length === 0) return;
    tell({ kind: "settleAsked", settles });
    let answers: readonly SettleAnswer[] | null;
    try {
      const [only] = settles;
      answers =
        settles.length === 1 && only !== undefined && this.#dice.oneIn(2)
          ? await this.#settleOne(only)
          : await this.#settleSome(settles);
    } catch (error) {
      for (const { token } of settles) this.#leases.delete(token);
      this.#open.push(...settles);
      throw error;
    }
    for (const [index, settle] of settles.entries()) {
      const answer = answers?.[index];
      if (answer !== undefined) this.#settled(settle, answer);
    }
  }

  async #settleOne({ token, outcome, ...body }: SentSettle): Promise<SettleAnswer[] | null> {
    const { status, answer } = await this.#post(`/claims/${token}/${outcome}`, body);
    if (status === 200) return [answer as WorkerReceipt];
    if (status === 409) return [{ problem: answer as Problem }];
    surprise("a settle", status, answer);
    return null;
  }

  async #settleSome(settles: readonly SentSettle[]): Promise<readonly SettleAnswer[] | null> {
    const { status, answer } = await this.#post("/claims/settle", { settles });
    if (status === 200) return (answer as { results: SettleAnswer[] }).results;
    surprise("several settles", status, answer);
    return null;
  }

  #settled(settle: SentSettle, answer: SettleAnswer): void {
    const { token } = settle;
    const leasedUntilMs = this.#leases.get(token) ?? Number.NEGATIVE_INFINITY;
    this.#leases.delete(token);
    if (answer.problem === undefined) {
      const { id, status, run_at } = answer;
      tell({ kind: "settled", settle, receipt: { id, status, run_at } });
      this.#old.push(settle);
      if (this.#old.length > OLD_MAX) this.#old.shift();
      return;
    }
    const { code, ended } = answer.problem;
    const isWrong = performance.now() < leasedUntilMs;
    if (code === "claim_lost") tell({ kind: "lost", token, settle, ended, isWrong });
    else surprise("a settle", 0, answer.problem);
  }

  #hold(claim: HeldClaim, leasedUntilMs: number): void {
    this.#numbers.set(claim.token, claim.number);
    this.#held.push({ ...claim, leasedUntilMs });
  }

  #takeHeld(): Held | undefined {
    return this.#held.splice(this.#dice.below(this.#held.length), 1)[0];
  }

  async #post(path: string, body: object): Promise<{ status: number; answer: unknown }> {
    const response = await fetch(this.#url + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return { status: response.status, answer: await response.json() };
  }
}

function doneOf({
  token,
  number,
}: {
  readonly token: string;
  readonly number: number;
}): SentSettle {
  return { token, outcome: "done", result: workerResultOf(number, token) };
}

function surprise(what: string, status: number, answer: unknown): void {
  tell({ kind: "surprise", said: `${what} was answered ${status}: ${JSON.stringify(answer)}` });
}

function tell(line: WorkerLine): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

if (import.meta.main) {
  const [, , seed = "1", name = "worker"] = process.argv;
  const life = new WorkerLife(new Dice(Number(seed)), name);
  for (let loop = 0; loop < LOOPS; loop += 1) {
    life.goOn().catch((error: unknown) => {
      tell({ kind: "surprise", said: `a worker has a fault of its own: ${String(error)}` });
      process.exit(1);
    });
  }
  for await (const line of linesOf(Bun.stdin.stream())) life.order(JSON.parse(line) as WorkerOrder);
  // Whoever started it is gone.
  process.exit();
}
