/**
 * Bounds the log lines on their way from a thread to the process. A handler that logs in a tight
 * loop receives no messages, so both sides count in shared memory: the thread takes room for each
 * line, and the process gives it back.
 */

/**
 * Both limits are far above the needs of a handler that computes, and cost little memory per
 * thread.
 */
export const LINES_MAX = 1000;
export const LENGTH_MAX = 256 * 1024;

/** The indexes of the counts: lines and characters on their way, and dropped lines. */
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
   * In the thread: takes room for a line of this length. If there is none, counts the line as
   * dropped and returns false.
   */
  take(length: number): boolean {
    const lines = Atomics.load(this.#counts, LINES);
    // Lines are dropped until all sent lines have arrived: so there is one gap, and it is where it
    // is reported.
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
   * In the process: the number of lines dropped since the last call; 0 while others are still on
   * their way.
   */
  takeDropped(): number {
    return Atomics.load(this.#counts, LINES) > 0 ? 0 : Atomics.exchange(this.#counts, DROPPED, 0);
  }

  /**
   * In the process, after the thread has ended: the number of lines that were dropped or will never
   * arrive.
   */
  takeLost(): number {
    return Atomics.exchange(this.#counts, LINES, 0) + Atomics.exchange(this.#counts, DROPPED, 0);
  }
}
