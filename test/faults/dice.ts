/**
 * Random choices that come again with the same seed.
 */

import { Prng } from "../sim/prng.ts";

export class Dice {
  readonly #prng: Prng;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
  }

  /** A number from 0 up to 1, 1 excluded. */
  readonly roll = (): number => this.#prng.next();

  /** A whole number from 0 up to `bound`, `bound` excluded. */
  below(bound: number): number {
    return Math.floor(this.roll() * bound);
  }

  /** True in one of so many cases. */
  oneIn(cases: number): boolean {
    return this.below(cases) === 0;
  }

  pick<T>(choices: readonly T[]): T {
    return this.#prng.pick(choices);
  }
}

/** The seed that the environment gives, or a fresh one. */
export function seedOf(text: string | undefined): number {
  return text === undefined || text === "" ? Math.floor(Math.random() * 2 ** 31) : Number(text);
}
