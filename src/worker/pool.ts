/**
 * The worker loops of a lane. Each claims a task, runs its handler, settles the outcome, and
 * repeats; without a claimable task it parks until the engine reports one. The loops know nothing
 * of queues: the engine decides which task is next.
 */

import { type Clock, systemClock } from "../clock.ts";
import type {
  AttemptOutcome,
  Claim,
  ClaimAnswer,
  ClaimRequest,
  Engine,
  EngineWorker,
  Lane,
  MaybePromise,
  RevokeReason,
  SettleAnswer,
} from "../engine/engine.ts";
import { Attempt } from "./attempt.ts";
import { RELEASED } from "./outcome.ts";

/**
 * Runs an attempt to its outcome: at once, or as a promise that never rejects. `loop` is the index
 * of the loop.
 */
export type RunAttempt = (attempt: Attempt, loop: number) => MaybePromise<AttemptOutcome>;

export interface PoolOptions {
  readonly engine: Pick<Engine, "attach" | "claim" | "settle">;
  readonly lane: Lane;
  readonly run: RunAttempt;
  /** The largest number of tasks that run at the same time. */
  readonly loops: number;
  /**
   * Null while this loop can run an attempt; otherwise a promise to wait for before asking again. A
   * task that is claimed too early would spend its timeout waiting. Default: always null.
   */
  readonly untilReady?: (loop: number) => Promise<void> | null;
  readonly clock?: Clock;
}

/**
 * The time after which the loops yield to the event loop. Handlers that end in microtasks never
 * return to it by themselves, and HTTP requests would wait until a long queue of them is empty.
 */
const YIELD_EVERY_MS = 4;

export class Pool implements EngineWorker {
  readonly #engine: PoolOptions["engine"];
  readonly #request: ClaimRequest;
  readonly #run: RunAttempt;
  readonly #loops: number;
  readonly #untilReady: (loop: number) => Promise<void> | null;
  readonly #clock: Clock;
  /**
   * Each wakes a parked loop. The loops that parked last are woken first, because their memory is
   * still in the caches.
   */
  readonly #parked: (() => void)[] = [];
  /** The attempts whose handlers have not returned yet, by task. */
  readonly #running = new Map<string, Attempt>();
  /** The attempt whose handler is called right now: it may cancel its own task. */
  #starting: Attempt | null = null;
  /** The types of the attempts that started or ended since the last call of takeActiveTypes. */
  #activeTypes = new Set<string>();
  /** The number of onReady calls by the engine. */
  #readyCalls = 0;
  /** The number of loops to wake at the end of this tick of the event loop. */
  #toWake = 0;
  #isStopped = false;
  /** While set, every loop waits for the next tick of the event loop. */
  #yielding: Promise<void> | null = null;
  /**
   * The start of the current tick of the event loop, as far as the loops know: wall-clock
   * milliseconds.
   */
  #tickedAtMs = 0;

  constructor({
    engine,
    lane,
    run,
    loops,
    untilReady = () => null,
    clock = systemClock,
  }: PoolOptions) {
    this.#engine = engine;
    this.#request = { lane, max: 1 };
    this.#run = run;
    this.#loops = loops;
    this.#untilReady = untilReady;
    this.#clock = clock;
  }

  start(): void {
    this.#engine.attach(this.#request.lane, this);
    for (let index = 0; index < this.#loops; index += 1) void this.#loop(index);
  }

  onReady(count: number): void {
    this.#readyCalls += 1;
    if (this.#parked.length === 0) return;
    if (this.#toWake === 0) setImmediate(() => this.#wake());
    this.#toWake += count;
  }

  onRevoke(taskId: string, fence: number, reason: RevokeReason): void {
    const starting = this.#starting;
    const attempt = starting?.task.id === taskId ? starting : this.#running.get(taskId);
    if (attempt?.claim.fence !== fence) return;
    // Not at once: listeners of the signal are untrusted code, and could call the engine in the
    // middle of its step.
    queueMicrotask(() => attempt.stop(reason));
  }

  /** The types that ran since the last call. */
  takeActiveTypes(): readonly string[] {
    const types = this.#activeTypes;
    this.#activeTypes = new Set();
    for (const { task } of this.#running.values()) types.add(task.type);
    return [...types];
  }

  /** Wakes as many loops as there are tasks to claim. */
  #wake(): void {
    const count = Math.min(this.#toWake, this.#parked.length);
    this.#toWake = 0;
    this.#tickedAtMs = this.#clock.now().wallMs;
    for (const wake of this.#parked.splice(this.#parked.length - count)) wake();
  }

  /** Stops claiming; running attempts continue. */
  stopClaiming(): void {
    this.#isStopped = true;
  }

  /** Aborts all running attempts, releases their tasks, and returns their number. */
  async releaseAll(): Promise<number> {
    this.stopClaiming();
    // An attempt that was stopped before has already lost its task, and only needs time to end.
    const attempts = [...this.#running.values()].filter(({ stopReason }) => stopReason === null);
    for (const attempt of attempts) attempt.stop("shutdown");
    await Promise.all(attempts.map(({ claim }) => this.#settle(claim, RELEASED)));
    return attempts.length;
  }

  async #loop(index: number): Promise<void> {
    while (!this.#isStopped) {
      // After each wait the loop starts from the top: the pool may have been stopped in between.
      if (this.#yielding !== null) {
        await this.#yielding;
        continue;
      }
      const untilReady = this.#untilReady(index);
      if (untilReady !== null) {
        // If this loop was woken for a task, another loop may be able to run that task now.
        this.#parked.pop()?.();
        await untilReady;
        continue;
      }
      const readyCalls = this.#readyCalls;
      const claiming = this.#claim();
      const claim = claiming instanceof Promise ? await claiming : claiming;
      if (claim === undefined) {
        // If a task became ready during the call to the engine, a parked loop would miss it.
        if (readyCalls === this.#readyCalls) await this.#park();
        continue;
      }
      if (this.#isStopped) {
        // The pool was stopped during the call to the engine: the task goes back unchanged.
        await this.#settle(claim, RELEASED);
        return;
      }
      this.#activeTypes.add(claim.task.type);
      const attempt = new Attempt(claim, this.#clock);
      this.#starting = attempt;
      const running = this.#run(attempt, index);
      this.#starting = null;
      const outcome = running instanceof Promise ? await this.#track(attempt, running) : running;
      const settling = this.#settle(claim, outcome);
      if (settling instanceof Promise) await settling;
      this.#yieldIfDue(claim.task.startedAtMs ?? 0);
    }
  }

  /**
   * The next attempt of this lane. Also undefined while the engine hands out nothing: it calls
   * onReady when that ends.
   */
  #claim(): MaybePromise<Claim | undefined> {
    const answer = this.#engine.claim(this.#request);
    return answer instanceof Promise ? answer.then(firstOf) : firstOf(answer);
  }

  #settle({ taskId, fence }: Claim, outcome: AttemptOutcome): MaybePromise<SettleAnswer> {
    return this.#engine.settle(taskId, fence, outcome);
  }

  #park(): Promise<void> {
    return new Promise((wake) => this.#parked.push(wake));
  }

  async #track<T>(attempt: Attempt, running: Promise<T>): Promise<T> {
    const { id, type } = attempt.task;
    this.#running.set(id, attempt);
    const outcome = await running;
    this.#activeTypes.add(type);
    // A revoked task may already run again: then the entry belongs to the newer attempt.
    if (this.#running.get(id) === attempt) this.#running.delete(id);
    return outcome;
  }

  /**
   * `nowMs` is the time of the last claim: reading the clock again for each task would cost more
   * than it gains.
   */
  #yieldIfDue(nowMs: number): void {
    const sinceMs = nowMs - this.#tickedAtMs;
    // Negative: a tick began after the claim, or the clock was set back. An extra yield is safe.
    if (sinceMs >= 0 && sinceMs < YIELD_EVERY_MS) return;
    this.#yielding ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#yielding = null;
        this.#tickedAtMs = this.#clock.now().wallMs;
        resolve();
      });
    });
  }
}

function firstOf(answer: ClaimAnswer): Claim | undefined {
  return answer.kind === "claimed" ? answer.claims[0] : undefined;
}
