/**
 * Random choices that come again with the same seed (mulberry32, a public-domain generator by Tommy Ettinger).
 */

export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A number from 0 up to 1, 1 excluded. */
  readonly roll = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };

  /** A whole number from 0 up to `bound`, `bound` excluded. */
  below(bound: number): number {
    return Math.floor(this.roll() * bound);
  }

  /** True in one of so many cases. */
  oneIn(cases: number): boolean {
    return this.below(cases) === 0;
  }

  pick<T>(choices: readonly T[]): T {
    const choice = choices[this.below(choices.length)];
    if (choice === undefined) throw new Error("there is nothing to pick from");
    return choice;
  }
}

/** The seed that the environment gives, or a fresh one. */
export function seedOf(text: string | undefined): number {
  return text === undefined || text === "" ? Math.floor(Math.random() * 2 ** 31) : Number(text);
}
