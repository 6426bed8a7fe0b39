/**
 * Supervises one thread. The thread is spawned once and used for many attempts; when it is killed,
 * crashes or exits, it is replaced, and its attempt has failed.
 */

import type { Clock } from "../../clock.ts";
import type { AttemptOutcome, Engine } from "../../engine/engine.ts";
import type { Log } from "../../log.ts";
import { ABORT_GRACE_MS, type Attempt } from "../attempt.ts";
import { RELEASED } from "../outcome.ts";
import { Thread } from "./thread.ts";

export interface SupervisorOptions {
  /**
   * The absolute path of the module of handlers: a handler may change the working directory of the
   * process.
   */
  readonly path: string;
  readonly engine: Pick<Engine, "noteProgress">;
  readonly resultBytesMax: number;
  readonly log: Log;
  readonly clock: Clock;
}

/**
 * The wait before the next spawn when a thread could not load its handlers, or died before its
 * first attempt ended. The cause is in the module, so without a wait the thread would start and die
 * for ever.
 */
const RESPAWN_DELAY_MS = 1000;

export class ThreadSupervisor {
  readonly #options: SupervisorOptions;
  #thread: Thread | null = null;
  #ready: PromiseWithResolvers<void> | null = null;
  #cancelRespawn: () => void = () => undefined;
  #isStopped = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** Whether there is a thread, even one that still loads. */
  get hasThread(): boolean {
    return this.#thread !== null;
  }

  /** Spawns the thread. Returns the reason if it can't load. */
  start(): Promise<string | null> {
    return this.#spawn();
  }

  /** Null while the thread can run an attempt; otherwise a promise that resolves when it can. */
  untilReady(): Promise<void> | null {
    if (this.#thread?.isIdle === true) return null;
    this.#ready ??= Promise.withResolvers();
    return this.#ready.promise;
  }

  /** Runs an attempt. Never rejects. */
  async run(attempt: Attempt): Promise<AttemptOutcome> {
    const thread = this.#thread;
    // The thread has died since the claim.
    if (thread?.isIdle !== true) return RELEASED;
    const { claim, task, signal } = attempt;
    const ending = thread.run(task, (text) =>
      this.#options.engine.noteProgress(claim.taskId, claim.fence, text),
    );
    let cancelKill = (): void => undefined;
    const stop = (): void => {
      if (attempt.stopReason !== null) thread.stop(attempt.stopReason);
      // A thread whose handler ignores the signal is killed: that is the purpose of threads.
      cancelKill = this.#options.clock.after(ABORT_GRACE_MS, () => thread.kill());
    };
    signal.addEventListener("abort", stop);
    const outcome = await ending;
    signal.removeEventListener("abort", stop);
    cancelKill();
    this.#announceIfReady();
    return outcome;
  }

  /** Ends the thread, even in the middle of an attempt. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelRespawn();
    await this.#thread?.end();
  }

  #announceIfReady(): void {
    if (this.#thread?.isIdle !== true) return;
    this.#ready?.resolve();
    this.#ready = null;
  }

  async #spawn(): Promise<string | null> {
    const { path, resultBytesMax, log, clock } = this.#options;
    const onEnd = (): void => this.#replace(thread);
    const thread = new Thread({ path, resultBytesMax, log, clock, onEnd });
    this.#thread = thread;
    const why = await thread.loaded;
    this.#announceIfReady();
    return why;
  }

  #replace(thread: Thread): void {
    this.#thread = null;
    if (this.#isStopped || !thread.hasLoaded) return;
    this.#options.log.warn("thread_replaced", { why: thread.endReason });
    if (thread.hasWorked) void this.#respawn();
    else this.#respawnLater();
  }

  /** Tries until it succeeds: without its thread, a loop would never claim again. */
  async #respawn(): Promise<void> {
    const why = await this.#spawn();
    if (why === null || this.#isStopped) return;
    this.#options.log.error("thread_failed_to_load", { why });
    this.#respawnLater();
  }

  #respawnLater(): void {
    this.#cancelRespawn = this.#options.clock.after(RESPAWN_DELAY_MS, () => void this.#respawn());
  }
}
