/**
 * The worker loops of a lane. Each claims a task, runs its handler, settles the outcome and goes
 * on; one that finds nothing parks until the engine has something. The loops know nothing of
 * queues: the engine decides which comes next.
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
 * Runs an attempt to its outcome: at once, or as a promise that never rejects. `loop` is the number
 * of the loop.
 */
export type RunAttempt = (attempt: Attempt, loop: number) => MaybePromise<AttemptOutcome>;

export interface PoolOptions {
  readonly engine: Pick<Engine, "attach" | "claim" | "settle">;
  readonly lane: Lane;
  readonly run: RunAttempt;
  /** How many tasks run at the same time, at most. */
  readonly loops: number;
  /**
   * Null while this loop can run an attempt, else what to wait for before asking again: a task that
   * is claimed too early spends its timeout waiting. By default a loop always can.
   */
  readonly untilReady?: (loop: number) => Promise<void> | null;
  readonly clock?: Clock;
}

/**
 * How long the loops may go on before they yield to the event loop. Handlers that end in microtasks
 * never return to it by themselves, and HTTP would get no answer while a long queue of them drains.
 */
const YIELD_EVERY_MS = 4;

export class Pool implements EngineWorker {
  readonly #engine: PoolOptions["engine"];
  readonly #request: ClaimRequest;
  readonly #run: RunAttempt;
  readonly #loops: number;
  readonly #untilReady: (loop: number) => Promise<void> | null;
  readonly #clock: Clock;
  /** Each wakes a parked loop. Those that parked last are woken first: they are warm. */
  readonly #parked: (() => void)[] = [];
  /** The attempts whose handlers have not returned yet, by task. */
  readonly #running = new Map<string, Attempt>();
  /** The types of the attempts that started or ended since the last call of takeActiveTypes. */
  #activeTypes = new Set<string>();
  /** How often the engine called onReady. */
  #readyCalls = 0;
  /** How many loops to wake once this tick of the event loop is over. */
  #toWake = 0;
  #isStopped = false;
  /** While set, every loop waits for the next tick of the event loop. */
  #yielding: Promise<void> | null = null;
  /**
   * When the current tick of the event loop began, as far as the loops know: wall-clock
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
    const attempt = this.#running.get(taskId);
    if (attempt?.claim.fence !== fence) return;
    // Not at once: listeners to the signal are foreign code, and may call the engine in the middle
    // of its step.
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

  /** Claims nothing more; what runs goes on. */
  stopClaiming(): void {
    this.#isStopped = true;
  }

  /** Aborts what still runs, releases these tasks, and returns how many they were. */
  async releaseAll(): Promise<number> {
    this.stopClaiming();
    // One that was stopped before has lost its task already, and only takes its time to end.
    const attempts = [...this.#running.values()].filter(({ stopReason }) => stopReason === null);
    for (const attempt of attempts) attempt.stop("shutdown");
    await Promise.all(attempts.map(({ claim }) => this.#settle(claim, RELEASED)));
    return attempts.length;
  }

  async #loop(index: number): Promise<void> {
    while (!this.#isStopped) {
      // After each wait it starts again: it may have been stopped meanwhile.
      if (this.#yielding !== null) {
        await this.#yielding;
        continue;
      }
      const untilReady = this.#untilReady(index);
      if (untilReady !== null) {
        // If it was woken for a task, another loop may be able to run that now.
        this.#parked.pop()?.();
        await untilReady;
        continue;
      }
      const readyCalls = this.#readyCalls;
      const claiming = this.#claim();
      const claim = claiming instanceof Promise ? await claiming : claiming;
      if (claim === undefined) {
        // A parked loop would miss a task that became ready while the engine took its time.
        if (readyCalls === this.#readyCalls) await this.#park();
        continue;
      }
      if (this.#isStopped) {
        // It was stopped while the engine took its time: the task goes back as it came.
        await this.#settle(claim, RELEASED);
        return;
      }
      this.#activeTypes.add(claim.task.type);
      const attempt = new Attempt(claim, this.#clock);
      const running = this.#run(attempt, index);
      const outcome = running instanceof Promise ? await this.#track(attempt, running) : running;
      const settling = this.#settle(claim, outcome);
      if (settling instanceof Promise) await settling;
      this.#yieldIfDue(claim.task.startedAtMs ?? 0);
    }
  }

  /** The next attempt of this lane. None, too, while the engine hands out nothing: it calls onReady when it does again. */
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
    // A task that was revoked may run again by now: then its place here belongs to the newer
    // attempt.
    if (this.#running.get(id) === attempt) this.#running.delete(id);
    return outcome;
  }

  /**
   * The time is that of the last claim: reading the clock again for each task would cost more than
   * it is worth.
   */
  #yieldIfDue(nowMs: number): void {
    const sinceMs = nowMs - this.#tickedAtMs;
    // Below 0: a tick began since the claim, or the clock was set back. To yield once more is safe.
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
