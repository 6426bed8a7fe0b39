/**
 * The worker loops. Each claims a task, runs its handler, settles the outcome and goes on; one that finds nothing parks
 * until the engine says that there is something. The loops know nothing of queues: whose turn it is, the engine decides.
 */

import { type Clock, systemClock } from "../clock.ts";
import type {
  Engine,
  EngineWorker,
  Lane,
  MaybePromise,
  Outcome,
  RevokeReason,
} from "../engine/engine.ts";
import { Attempt } from "./attempt.ts";
import { RELEASED } from "./outcome.ts";

/** Works on an attempt to its outcome: at once, or as a promise that never rejects. */
export type Work = (attempt: Attempt) => MaybePromise<Outcome>;

export interface PoolOptions {
  readonly engine: Engine;
  /** Where the tasks that it works on run. */
  readonly lane: Lane;
  readonly work: Work;
  /** How many tasks run at the same time, at most. */
  readonly loops: number;
  /**
   * Null while there is room to run one more, else what to wait for before asking again: a task that was claimed without
   * room would spend its timeout waiting. Without it there always is.
   */
  readonly untilRoom?: () => Promise<void> | null;
  readonly clock?: Clock;
}

/**
 * How long the loops may go on without letting the event loop turn. Handlers that end in microtasks never return to it
 * by themselves, and HTTP would get no answer while a long queue of them drains.
 */
const TURN_MS = 4;

export class Pool implements EngineWorker {
  readonly #engine: Engine;
  readonly #lane: Lane;
  readonly #work: Work;
  readonly #loops: number;
  readonly #untilRoom: () => Promise<void> | null;
  readonly #clock: Clock;
  /** Wakes a parked loop. Those that parked last are woken first: they are warm. */
  readonly #parked: (() => void)[] = [];
  /** The attempts whose handlers have not returned yet, by task. */
  readonly #running = new Map<string, Attempt>();
  /** The types of what was started, or has ended, since somebody last asked. */
  #activeTypes = new Set<string>();
  /** How often it was told that there is something to claim. */
  #calls = 0;
  /** How many loops are to be woken, once the event loop has taken what this turn brings. */
  #toWake = 0;
  #isStopped = false;
  /** While set, every loop waits for the event loop to turn. */
  #breather: Promise<void> | null = null;
  /** When the event loop last turned, as far as the loops know: wall-clock milliseconds. */
  #turnedAtMs = 0;

  constructor({
    engine,
    lane,
    work,
    loops,
    untilRoom = () => null,
    clock = systemClock,
  }: PoolOptions) {
    this.#engine = engine;
    this.#lane = lane;
    this.#work = work;
    this.#loops = loops;
    this.#untilRoom = untilRoom;
    this.#clock = clock;
  }

  start(): void {
    this.#engine.attach(this.#lane, this);
    for (let index = 0; index < this.#loops; index += 1) void this.#loop();
  }

  onReady(count: number): void {
    this.#calls += 1;
    if (this.#parked.length === 0) return;
    if (this.#toWake === 0) setImmediate(() => this.#wake());
    this.#toWake += count;
  }

  onRevoke(taskId: string, fence: number, reason: RevokeReason): void {
    const attempt = this.#running.get(taskId);
    if (attempt?.claim.fence !== fence) return;
    // Not at once: whoever listens to the signal is foreign code, and may call the engine in the middle of its step.
    queueMicrotask(() => attempt.stop(reason));
  }

  /** The types that were at work since the last call. */
  takeActiveTypes(): readonly string[] {
    const types = this.#activeTypes;
    this.#activeTypes = new Set();
    for (const { task } of this.#running.values()) types.add(task.type);
    return [...types];
  }

  /** Wakes as many loops as there were tasks to claim. */
  #wake(): void {
    const count = Math.min(this.#toWake, this.#parked.length);
    this.#toWake = 0;
    this.#turnedAtMs = this.#clock.now().wallMs;
    for (const wake of this.#parked.splice(this.#parked.length - count)) wake();
  }

  /** Claims nothing more; what runs goes on. */
  stopClaiming(): void {
    this.#isStopped = true;
  }

  /** Aborts what still runs, gives these tasks back as interrupted, and says how many they were. */
  async interrupt(): Promise<number> {
    this.stopClaiming();
    // One that was stopped before has lost its task already, and only takes its time to end.
    const attempts = [...this.#running.values()].filter(({ stopReason }) => stopReason === null);
    for (const attempt of attempts) attempt.stop("shutdown");
    await Promise.all(attempts.map(({ claim }) => this.#engine.settle(claim, RELEASED)));
    return attempts.length;
  }

  async #loop(): Promise<void> {
    while (!this.#isStopped) {
      const pause = this.#breather ?? this.#untilRoom();
      if (pause !== null) {
        await pause;
        // It may have been stopped meanwhile.
        continue;
      }
      const calls = this.#calls;
      const claiming = this.#engine.claim(this.#lane);
      const claim = claiming instanceof Promise ? await claiming : claiming;
      if (claim === undefined) {
        // What it was told of while the engine took its time would be missed by a parked loop.
        if (calls === this.#calls) await new Promise<void>((wake) => this.#parked.push(wake));
        continue;
      }
      if (this.#isStopped) {
        // It was stopped while the engine took its time: the task goes back as it came.
        await this.#engine.settle(claim, RELEASED);
        return;
      }
      this.#activeTypes.add(claim.task.type);
      const attempt = new Attempt(claim, this.#clock);
      const running = this.#work(attempt);
      const outcome = running instanceof Promise ? await this.#track(attempt, running) : running;
      const settling = this.#engine.settle(claim, outcome);
      if (settling instanceof Promise) await settling;
      this.#breatheIfDue(claim.task.startedAtMs ?? 0);
    }
  }

  async #track<T>(attempt: Attempt, running: Promise<T>): Promise<T> {
    const { id, type } = attempt.task;
    this.#running.set(id, attempt);
    const outcome = await running;
    this.#activeTypes.add(type);
    // A task that was revoked may run again by now: then its place here belongs to the newer attempt.
    if (this.#running.get(id) === attempt) this.#running.delete(id);
    return outcome;
  }

  /** The time is that of the last claim: to read the clock once more for each task would cost more than it tells. */
  #breatheIfDue(nowMs: number): void {
    const sinceMs = nowMs - this.#turnedAtMs;
    // Less than nothing: the event loop has turned since the claim, or the clock was set back. To wait once more is safe.
    if (sinceMs >= 0 && sinceMs < TURN_MS) return;
    this.#breather ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#breather = null;
        this.#turnedAtMs = this.#clock.now().wallMs;
        resolve();
      });
    });
  }
}
