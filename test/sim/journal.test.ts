/**
 * Histories in which the process ends and starts again, through a real journal: what comes back has to be what the model
 * says. `SEED=<n> bun test ./test/sim/journal.test.ts` plays one of them.
 */

import { afterAll, describe, expect, test } from "bun:test";
import { makeDataFolder } from "../support/data-folder.ts";
import { BrokerSubject } from "./broker-subject.ts";
import { NOT_NOW } from "./expected.ts";
import { History, STEPS_PER_HISTORY } from "./history.ts";
import { JournalKeeper } from "./journal-keeper.ts";
import { inWords, type Operation } from "./operation.ts";

const HISTORIES = 300;

/** Changes are written together after so many operations, so that several of one task fall into one group. */
const FLUSH_EVERY = 3;

/** Not an expectation, only an end: a machine that is so slow has another fault. */
const PATIENCE_MS = 10 * 60_000;

const folder = makeDataFolder();
afterAll(() => folder.remove());

const { SEED } = process.env;
const seeds =
  SEED === undefined
    ? Array.from({ length: 3 * HISTORIES }, (_, index) => index + 1)
    : [Number(SEED)];

/** Plays a history, and says how often the process ended in it. Throws at the first difference. */
function play(seed: number): number {
  const history = new History(seed);
  const keeper = new JournalKeeper(folder.newFile());
  const subject = new BrokerSubject(history.setup.limits, history.setup.firstFence, keeper);
  let restarts = 0;
  try {
    for (let step = 1; step <= STEPS_PER_HISTORY; step += 1) {
      const operation = history.draw();
      // Neither a wall clock that jumps nor how far a handler was is written down.
      if (operation.kind === "jumpWall" || operation.kind === "progress") continue;
      if (operation.kind === "restart") {
        compare({ kind: "tick", chance: 0 }, history, subject, seed, step);
        restarts += 1;
      }
      compare(operation, history, subject, seed, step);
      if (step % FLUSH_EVERY === 0) keeper.flush();
    }
  } finally {
    keeper.close();
  }
  return restarts;
}

function compare(
  operation: Operation,
  history: History,
  subject: BrokerSubject,
  seed: number,
  step: number,
): void {
  history.take(operation);
  if (history.expected === NOT_NOW) return;
  const answer = subject.apply(operation, history.now);
  const difference =
    answer === history.expected
      ? subject.differenceInView(history.model, history.now)
      : `the answer is "${answer}", and must be "${history.expected}"`;
  if (difference !== null) {
    throw new Error(`seed ${seed}, step ${step}, ${inWords(operation)}: ${difference}`);
  }
  if (operation.kind === "restart") subject.check();
}

describe("through a journal", () => {
  test(
    "a broker that starts again is what it was",
    () => {
      let restarts = 0;
      for (const seed of seeds) {
        if (new History(seed).setup.hasJournal) restarts += play(seed);
      }

      expect(restarts).toBeGreaterThan(SEED === undefined ? HISTORIES : -1);
    },
    PATIENCE_MS,
  );
});
