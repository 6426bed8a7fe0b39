/**
 * Plays histories with the broker and compares it with the model: its answer and its news after every step, all that
 * can be seen of it every few steps, and its own invariants now and then. A history that fails is played again with
 * every comparison after every step, and then shortened for as long as it still fails.
 */

import { BrokerSubject } from "./broker-subject.ts";
import { NOT_NOW } from "./expected.ts";
import { History, STEPS_PER_HISTORY } from "./history.ts";
import { inWords, type Operation } from "./operation.ts";
import type { Tally } from "./tally.ts";

/** How often what costs most is done: a defect that lasts is found a few steps late, and found again exactly. */
interface Pace {
  readonly viewEvery: number;
  readonly checkEvery: number;
}

const FAST: Pace = { viewEvery: 4, checkEvery: 64 };
const THOROUGH: Pace = { viewEvery: 1, checkEvery: 1 };

/** How many shortened histories are tried before the shortest so far is good enough. */
const TRIALS_MAX = 2000;

/** What went wrong, and the operations that led to it. The last of them is the one that failed. */
export interface Failure {
  readonly seed: number;
  readonly difference: string;
  readonly operations: readonly Operation[];
}

/** Plays one history to its end; null when all went as it must. What happened is added to the tally, if there is one. */
export function play(seed: number, tally?: Tally): Failure | null {
  const failure = playAt(FAST, seed, undefined, tally);
  // Without a defect in the simulator itself, what the fast pace finds the thorough one finds too, and sooner.
  return failure === null ? null : (playAt(THOROUGH, seed) ?? failure);
}

/** The same failure, or another one, after as few operations as could be found. */
function shorten(failure: Failure): Failure {
  const { seed } = failure;
  let shortest = failure;
  let trials = 0;
  for (let length = shortest.operations.length >> 1; length > 0; ) {
    let isShorter = false;
    for (let from = 0; from < shortest.operations.length && trials < TRIALS_MAX; ) {
      trials += 1;
      const without = shortest.operations.toSpliced(from, length);
      const trial = playAt(THOROUGH, seed, without);
      if (trial === null) from += length;
      else {
        shortest = trial;
        isShorter = true;
      }
    }
    if (!isShorter || length > 1) length >>= 1;
    if (trials >= TRIALS_MAX) break;
  }
  return shortest;
}

/** Plays these operations under the setup of this seed, or those that the seed draws. */
function playAt(
  pace: Pace,
  seed: number,
  given?: readonly Operation[],
  tally?: Tally,
): Failure | null {
  const history = new History(seed);
  const subject = new BrokerSubject(history.setup.limits, history.setup.firstFence);
  const operations: Operation[] = [];
  tally?.begin();
  const steps = given?.length ?? STEPS_PER_HISTORY;
  for (let step = 1; step <= steps; step += 1) {
    const operation = given?.[step - 1] ?? history.draw();
    operations.push(operation);
    const difference = differenceAfter(operation, history, subject, {
      isView: step % pace.viewEvery === 0 || step === steps,
      isCheck: step % pace.checkEvery === 0 || step === steps,
    });
    if (difference !== null) return { seed, difference, operations };
    tally?.add(operation, history);
  }
  return null;
}

function differenceAfter(
  operation: Operation,
  history: History,
  subject: BrokerSubject,
  { isView, isCheck }: { readonly isView: boolean; readonly isCheck: boolean },
): string | null {
  history.take(operation);
  if (history.expected === NOT_NOW) return null;
  try {
    const answer = subject.apply(operation, history.now);
    if (answer !== history.expected) {
      return `the answer is "${answer}", and must be "${history.expected}"`;
    }
    const inNews = subject.differenceInNews(history.model);
    if (inNews !== null) return inNews;
    const inView = isView ? subject.differenceInView(history.model, history.now) : null;
    if (inView === null && isCheck) subject.check();
    return inView;
  } catch (cause) {
    return `it threw ${cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)}`;
  }
}

/** All there is to know of a failure, with the shortest way to it that was found. */
export function reportOf(failure: Failure): string {
  const { seed, operations, difference } = failure;
  const short = shorten(failure);
  const { limits } = new History(seed).setup;
  return [
    `seed ${seed}, step ${operations.length}: ${difference}`,
    `Replay it with: SEED=${seed} bun test ./test/sim`,
    `The shortest way there that was found, ${short.operations.length} operations:`,
    `  limits ${JSON.stringify({ ...limits, queues: Object.fromEntries(limits.queues) })}`,
    ...short.operations.map((operation, index) => `  ${index + 1}. ${inWords(operation)}`),
    `  where ${short.difference}`,
  ].join("\n");
}
