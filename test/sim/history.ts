/**
 * One history: the operations that a seed draws, and the model that says what each must lead to. It knows no system
 * under test. Whoever puts one to the test draws, does the operation on both sides, and compares.
 */

import type { Instant } from "../../src/core/instant.ts";
import { Draw } from "./draw.ts";
import { expectedAnswer } from "./expected.ts";
import { Model } from "./model.ts";
import type { Operation } from "./operation.ts";
import { Prng } from "./prng.ts";
import { drawSetup, type Setup } from "./setup.ts";

export const STEPS_PER_HISTORY = 500;

/** Arbitrary and far from each other, so that code which takes one clock for the other is found out. */
const MONO_START_MS = 7000;
const WALL_START_MS = Date.UTC(2026, 0, 1);

export class History {
  readonly setup: Setup;
  readonly model: Model;
  readonly #draw: Draw;
  #now: Instant = { monoMs: MONO_START_MS, wallMs: WALL_START_MS };
  /** What the model answered to the last operation. */
  #expected = "";

  constructor(seed: number) {
    const prng = new Prng(seed);
    this.setup = drawSetup(prng);
    this.model = new Model(this.setup.limits, this.setup.firstFence);
    this.#draw = new Draw(prng, this.setup, this.model);
  }

  get now(): Instant {
    return this.#now;
  }

  get expected(): string {
    return this.#expected;
  }

  /** Draws the next operation, and does not do it. */
  draw(): Operation {
    return this.#draw.next(this.#now);
  }

  /** Does an operation: the model takes it, and the clocks move. */
  take(operation: Operation): void {
    const { monoMs, wallMs } = this.#now;
    if (operation.kind === "advance" || operation.kind === "stall") {
      this.#now = { monoMs: monoMs + operation.ms, wallMs: wallMs + operation.ms };
    } else if (operation.kind === "jumpWall") {
      this.#now = { monoMs, wallMs: wallMs + operation.ms };
    }
    this.model.heard.length = 0;
    this.model.marks.length = 0;
    this.#expected = expectedAnswer(this.model, operation, this.#now);
  }
}
