/**
 * A supervised pool of threads for handlers that would hold up the event loop. Threads are spawned once and used again;
 * one that is killed, crashes or exits is replaced, and whatever it had in hand counts as a failed attempt.
 */

import type { Clock } from "../../clock.ts";
import type { Engine, Outcome } from "../../engine/engine.ts";
import type { Log } from "../../log.ts";
import { ABORT_GRACE_MS, type Attempt } from "../attempt.ts";
import { RELEASED } from "../outcome.ts";
import { Thread } from "./thread.ts";

export interface ThreadPoolOptions {
  /** The module of handlers that every thread loads. */
  readonly path: string;
  readonly size: number;
  readonly engine: Engine;
  readonly resultBytesMax: number;
  readonly log: Log;
  readonly clock: Clock;
}

/**
 * How long to wait before a thread is tried again whose last one could not load its handlers, or died before it had worked:
 * what it dies of is in the module, so without a wait it would be started and die for ever.
 */
const RESPAWN_DELAY_MS = 1000;

export class ThreadPool {
  readonly #options: ThreadPoolOptions;
  readonly #all = new Set<Thread>();
  readonly #idle: Thread[] = [];
  /** Those who wait for a thread, first come, first served. */
  readonly #waiting = new Set<(thread: Thread) => void>();
  #onFree: PromiseWithResolvers<void> | null = null;
  /** Cancel the spawns that are to come later. */
  readonly #cancelRespawns = new Set<() => void>();
  #isStopped = false;

  constructor(options: ThreadPoolOptions) {
    this.#options = options;
  }

  /** How many threads there are, those that still load included. */
  get size(): number {
    return this.#all.size;
  }

  /** Spawns the threads one after the other, so that their loading does not pile up. Says why, if one can't load. */
  async start(): Promise<string | null> {
    for (let index = 0; index < this.#options.size; index += 1) {
      const why = await this.#spawn();
      if (why !== null) return why;
    }
    return null;
  }

  /** Null while a thread is free, else what resolves when one is. */
  untilFree(): Promise<void> | null {
    if (this.#idle.length > 0) return null;
    this.#onFree ??= Promise.withResolvers();
    return this.#onFree.promise;
  }

  /** Runs an attempt in the next free thread. Never rejects. */
  async run(attempt: Attempt): Promise<Outcome> {
    const thread = this.#idle.pop() ?? (await this.#nextFree(attempt.signal));
    if (thread === null) return RELEASED;
    if (attempt.stopReason !== null) {
      this.#release(thread);
      return RELEASED;
    }
    const { claim, task } = attempt;
    const { id, type, queue, maxRetries } = task;
    const facts = { id, type, queue, attempt: claim.fence, maxRetries };
    const ending = thread.run(facts, task.payload, (text) =>
      this.#options.engine.noteProgress(claim, text),
    );
    let cancelKill = (): void => undefined;
    const stop = (): void => {
      if (attempt.stopReason !== null) thread.stop(attempt.stopReason);
      // A thread that does not listen is killed: that is what threads are for.
      cancelKill = this.#options.clock.after(ABORT_GRACE_MS, () => thread.kill());
    };
    attempt.signal.addEventListener("abort", stop);
    const outcome = await ending;
    attempt.signal.removeEventListener("abort", stop);
    cancelKill();
    this.#release(thread);
    return outcome;
  }

  /** Ends every thread, whatever it does. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const cancel of this.#cancelRespawns) cancel();
    await Promise.all(Array.from(this.#all, (thread) => thread.end()));
  }

  /** The next thread that gets free, or null when `signal` aborts before. */
  #nextFree(signal: AbortSignal): Promise<Thread | null> {
    return new Promise((resolve) => {
      const leave = (): void => {
        this.#waiting.delete(take);
        resolve(null);
      };
      const take = (thread: Thread): void => {
        signal.removeEventListener("abort", leave);
        resolve(thread);
      };
      signal.addEventListener("abort", leave);
      this.#waiting.add(take);
    });
  }

  #release(thread: Thread): void {
    if (!thread.isAlive) return;
    const [take] = this.#waiting;
    if (take === undefined) {
      this.#idle.push(thread);
      this.#onFree?.resolve();
      this.#onFree = null;
      return;
    }
    this.#waiting.delete(take);
    take(thread);
  }

  async #spawn(): Promise<string | null> {
    const { path, resultBytesMax, log, clock } = this.#options;
    const onEnd = (): void => this.#replace(thread);
    const thread = new Thread({ path, resultBytesMax, log, clock, onEnd });
    this.#all.add(thread);
    const why = await thread.loaded;
    if (why === null) this.#release(thread);
    return why;
  }

  #replace(thread: Thread): void {
    this.#all.delete(thread);
    const index = this.#idle.indexOf(thread);
    if (index !== -1) this.#idle.splice(index, 1);
    if (this.#isStopped || !thread.hasLoaded) return;
    this.#options.log.warn("thread_replaced", { why: thread.endReason });
    if (thread.hasWorked) void this.#respawn();
    else this.#respawnLater();
  }

  /** Tries until it succeeds: a pool that quietly lost its threads would leave their tasks waiting for ever. */
  async #respawn(): Promise<void> {
    const why = await this.#spawn();
    if (why === null || this.#isStopped) return;
    this.#options.log.error("thread_failed_to_load", { why });
    this.#respawnLater();
  }

  #respawnLater(): void {
    const cancel = this.#options.clock.after(RESPAWN_DELAY_MS, () => {
      this.#cancelRespawns.delete(cancel);
      void this.#respawn();
    });
    this.#cancelRespawns.add(cancel);
  }
}
