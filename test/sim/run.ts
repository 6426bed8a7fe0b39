/**
 * Plays histories for as long as one likes, and says how far it is: `bun run sim -- --minutes 10`, or
 * `--histories 1000000`, and `--seed 1` for where to begin. Ends with code 1 at the first history that fails.
 */

import { parseArgs } from "node:util";
import { STEPS_PER_HISTORY } from "./history.ts";
import { play, reportOf } from "./play.ts";
import { Tally } from "./tally.ts";

const PROGRESS_EVERY_MS = 1000;

const { values } = parseArgs({
  options: {
    minutes: { type: "string" },
    histories: { type: "string" },
    // Every run sees histories that no run before it has seen, unless it is told where to begin.
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
  },
});

/** A positive number, or a word of what is wrong with it. */
function numberOf(name: string, text: string | undefined, absent: number): number {
  const value = text === undefined ? absent : Number(text);
  if (value > 0) return value;
  console.error(`--${name} takes a number above 0, not "${text}"`);
  process.exit(2);
}

const histories = numberOf("histories", values.histories, Number.POSITIVE_INFINITY);
const minutes = numberOf("minutes", values.minutes, histories < Number.POSITIVE_INFINITY ? 1e9 : 1);
const firstSeed = Math.floor(numberOf("seed", values.seed, 1));

const tally = new Tally();
const startedMs = performance.now();
let shownMs = startedMs;
let played = 0;

function progress(): string {
  const seconds = (performance.now() - startedMs) / 1000;
  const rate = Math.round(played / seconds).toLocaleString("en");
  const steps = (played * STEPS_PER_HISTORY).toLocaleString("en");
  return `${played.toLocaleString("en")} histories, ${steps} steps, ${rate} histories/s, ${seconds.toFixed(0)} s`;
}

for (; played < histories; played += 1) {
  const nowMs = performance.now();
  if (nowMs - startedMs > minutes * 60_000) break;
  if (nowMs - shownMs > PROGRESS_EVERY_MS) {
    shownMs = nowMs;
    // On a terminal the line is written over; in a file each stands on its own.
    process.stdout.write(process.stdout.isTTY ? `\r${progress()}\x1b[K` : `${progress()}\n`);
  }
  const failure = play(firstSeed + played, tally);
  if (failure !== null) {
    console.log(`\n${reportOf(failure)}`);
    process.exit(1);
  }
}

if (process.stdout.isTTY) process.stdout.write("\r\x1b[K");
for (const [kind, count] of tally.counts) console.log(`${String(count).padStart(12)}  ${kind}`);
console.log(`All agree: ${progress()}, seeds ${firstSeed} to ${firstSeed + played - 1}.`);
