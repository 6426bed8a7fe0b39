/**
 * The simulator's random numbers: the same seed gives the same numbers on every machine.
 */

/**
 * Mulberry32 by Tommy Ettinger, in the public domain: one 32-bit word of state, and a good spread for its size.
 * Source: https://gist.github.com/tommyettinger/46a874533244883189143505d203312c
 */
export class Prng {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** Uniform in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    const state = this.#state;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number, uniform in [from, to]. */
  whole(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  /** True in one of `n` cases. */
  oneIn(n: number): boolean {
    return this.next() * n < 1;
  }

  pick<T>(choices: readonly T[]): T {
    const choice = choices[Math.floor(this.next() * choices.length)];
    if (choice === undefined) throw new Error("there is nothing to pick from");
    return choice;
  }
}
