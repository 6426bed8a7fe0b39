/**
 * The threads for handlers that would block the event loop. There are as many as loops, and loop n
 * uses only thread n.
 */

import type { AttemptOutcome } from "../../engine/engine.ts";
import type { Attempt } from "../attempt.ts";
import { type SupervisorOptions, ThreadSupervisor } from "./supervisor.ts";

export interface ThreadPoolOptions extends SupervisorOptions {
  readonly size: number;
}

export class ThreadPool {
  readonly #supervisors: readonly ThreadSupervisor[];

  constructor({ size, ...options }: ThreadPoolOptions) {
    this.#supervisors = Array.from({ length: size }, () => new ThreadSupervisor(options));
  }

  /** The number of threads, including those that still load. */
  get size(): number {
    return this.#supervisors.filter(({ hasThread }) => hasThread).length;
  }

  /**
   * Spawns the threads one after the other, so that they do not load at the same time. Returns the
   * reason if one can't load.
   */
  async start(): Promise<string | null> {
    for (const supervisor of this.#supervisors) {
      const why = await supervisor.start();
      if (why !== null) return why;
    }
    return null;
  }

  /**
   * Null while thread `index` can run an attempt; otherwise a promise that resolves when it can.
   */
  untilReady(index: number): Promise<void> | null {
    return this.#at(index).untilReady();
  }

  /** Runs an attempt in thread `index`. Never rejects. */
  run(attempt: Attempt, index: number): Promise<AttemptOutcome> {
    return this.#at(index).run(attempt);
  }

  /** Ends every thread, even in the middle of an attempt. */
  async stop(): Promise<void> {
    await Promise.all(this.#supervisors.map((supervisor) => supervisor.stop()));
  }

  #at(index: number): ThreadSupervisor {
    const supervisor = this.#supervisors[index];
    if (supervisor === undefined) throw new RangeError(`there is no thread ${index}`);
    return supervisor;
  }
}
