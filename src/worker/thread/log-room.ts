/**
 * Bounds the log lines on their way from a thread to the process. A handler that logs in a tight
 * loop hears no message, so the two count in memory that they share: the thread takes room for each
 * line, and the process gives it back.
 */

/** Both are far more than a handler writes that computes, and little memory for each thread. */
export const LINES_MAX = 1000;
export const LENGTH_MAX = 256 * 1024;

/** Where the counts are: lines and characters under way, and lines that were dropped. */
const LINES = 0;
const LENGTH = 1;
const DROPPED = 2;

export class LogRoom {
  readonly memory: SharedArrayBuffer;
  readonly #counts: Int32Array;
  #isDropping = false;

  constructor(memory = new SharedArrayBuffer(3 * Int32Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#counts = new Int32Array(memory);
  }

  /**
   * In the thread: takes room for a line of this length, or counts it as dropped and says false.
   */
  take(length: number): boolean {
    const lines = Atomics.load(this.#counts, LINES);
    // It drops until all that is under way has arrived: so there is one gap, and it is where it is
    // reported.
    if (lines === 0) this.#isDropping = false;
    else if (lines >= LINES_MAX || Atomics.load(this.#counts, LENGTH) + length > LENGTH_MAX) {
      this.#isDropping = true;
    }
    if (this.#isDropping) {
      Atomics.add(this.#counts, DROPPED, 1);
      return false;
    }
    Atomics.add(this.#counts, LENGTH, length);
    Atomics.add(this.#counts, LINES, 1);
    return true;
  }

  /** In the process: gives back the room of a line that has arrived. */
  giveBack(length: number): void {
    Atomics.sub(this.#counts, LENGTH, length);
    Atomics.sub(this.#counts, LINES, 1);
  }

  /**
   * In the process: how many lines were dropped since the last call; 0 while others are still under
   * way.
   */
  takeDropped(): number {
    return Atomics.load(this.#counts, LINES) > 0 ? 0 : Atomics.exchange(this.#counts, DROPPED, 0);
  }

  /**
   * In the process, when the thread has ended: how many lines were dropped or will never arrive.
   */
  takeLost(): number {
    return Atomics.exchange(this.#counts, LINES, 0) + Atomics.exchange(this.#counts, DROPPED, 0);
  }
}
