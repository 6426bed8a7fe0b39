/**
 * The simulator in the gate: the same seeds every time, so that a green gate stays green. `SEED=<n> bun test ./test/sim`
 * plays one history. `bun run sim` plays others.
 */

import { describe, expect, test } from "bun:test";
import { History, STEPS_PER_HISTORY } from "./history.ts";
import { inWords } from "./operation.ts";
import { play, reportOf } from "./play.ts";
import { Tally } from "./tally.ts";

const HISTORIES = 20_000;

/** Not an expectation, only an end: a machine that is so slow has another fault. */
const PATIENCE_MS = 10 * 60_000;

const { SEED } = process.env;

function operationsOf(seed: number): string[] {
  const history = new History(seed);
  return Array.from({ length: STEPS_PER_HISTORY }, () => {
    const operation = history.draw();
    history.take(operation);
    return `${inWords(operation)}: ${history.expected}`;
  });
}

if (SEED === undefined) {
  describe("the broker and the model", () => {
    test(
      `agree in ${HISTORIES} histories, in which everything that can happen does`,
      async () => {
        const half = HISTORIES / 2;
        // The second half is played beside this one, on a core of its own if there is one.
        const beside = Bun.spawn(
          [
            process.execPath,
            `${import.meta.dir}/run.ts`,
            `--seed=${half + 1}`,
            `--histories=${half}`,
          ],
          { stdout: "pipe", stderr: "inherit" },
        );
        const tally = new Tally();

        try {
          for (let seed = 1; seed <= half; seed += 1) {
            const failure = play(seed, tally);
            if (failure !== null) throw new Error(reportOf(failure));
          }
          const report = await new Response(beside.stdout).text();
          if ((await beside.exited) !== 0) throw new Error(report);
        } finally {
          beside.kill();
        }

        const missing = [...tally.counts].filter(([, count]) => count === 0);
        expect(missing).toEqual([]);
      },
      PATIENCE_MS,
    );

    test("play the same history for the same seed, and another one for another", () => {
      expect(operationsOf(7)).toEqual(operationsOf(7));
      expect(operationsOf(7)).not.toEqual(operationsOf(8));
    });
  });
} else {
  test(`the broker and the model agree in the history of seed ${SEED}`, () => {
    const failure = play(Number(SEED));
    if (failure !== null) throw new Error(reportOf(failure));
  });
}
