/** Claims of workers elsewhere survive the process that is killed by SIGKILL, with fence and worker, and count once. */

import { expect, test } from "bun:test";
import { cpSync, existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { Dice, seedOf } from "./dice.ts";
import { Ledger } from "./ledger.ts";
import { openDurable, REMOTE_TYPE } from "./open-durable.ts";
import { findIn } from "./power-load.ts";
import { faultsOfClaims } from "./remote-claims.ts";
import type { Handover, LifeLine } from "./remote-life.ts";
import { makeScratch, type Scratch } from "./scratch.ts";

const TIMEOUT_MS = 300_000;
const LIVES = 25;
const LINES_MAX = 400;
/** Numbers of tasks that one life may use. */
const NUMBERS = 100_000;

const seed = seedOf(process.env["SEED"]);

test(
  "25 crashes lose no remote claim and no settle, and count none twice",
  async () => {
    using scratch = makeScratch();
    const dice = new Dice(seed);
    const ledger = new Ledger({ [REMOTE_TYPE]: { mayBeDone: true, mayFail: true } });
    let claims = 0;
    let settles = 0;
    for (let life = 0; life < LIVES; life += 1) {
      const handover: Handover = {
        claims: ledger.claims(),
        settles: ledger.settles().filter(({ receipt }) => receipt === null),
      };
      await liveUntilKilled(scratch, dice, life, handover, ledger);
      claims += ledger.claims().length;
      settles += ledger.settles().length;
      const faults = await judge(scratch, ledger);
      expect({ seed, life, faults }).toEqual({ seed, life, faults: [] });
    }
    // Otherwise it would prove nothing.
    expect(claims).toBeGreaterThan(LIVES);
    expect(settles).toBeGreaterThan(LIVES);
  },
  TIMEOUT_MS,
);

/** Lets a process live, and tells the ledger all it said until it was killed. */
async function liveUntilKilled(
  { folder }: Scratch,
  dice: Dice,
  life: number,
  handover: Handover,
  ledger: Ledger,
): Promise<void> {
  const process_ = Bun.spawn(
    [
      process.execPath,
      join(import.meta.dir, "remote-life.ts"),
      join(folder, "ringq.db"),
      String(dice.below(2 ** 31)),
      String(1 + life * NUMBERS),
    ],
    { stdio: [new Blob([JSON.stringify(handover)]), "pipe", "inherit"] },
  );
  const linesMax = 1 + dice.below(LINES_MAX);
  const decoder = new TextDecoder();
  let lines = 0;
  let rest = "";
  for await (const chunk of process_.stdout) {
    const texts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = texts.pop() ?? "";
    for (const text of texts) {
      apply(ledger, JSON.parse(text) as LifeLine);
      lines += 1;
      if (lines === linesMax) process_.kill("SIGKILL");
    }
  }
  await process_.exited;
  expect(process_.signalCode).toBe("SIGKILL");
}

function apply(ledger: Ledger, line: LifeLine): void {
  switch (line.kind) {
    case "enqueueAsked":
      ledger.enqueueAsked(line.tasks, null);
      break;
    case "accepted":
      ledger.accepted(ledger.enqueueOf(line.first), line.ids);
      break;
    case "claimed":
      ledger.claimedRemotely(line.claim);
      break;
    case "settleAsked":
      ledger.settleAsked(line.settle);
      break;
    case "settled":
      ledger.settleAnswered(line.settle, 1);
      break;
    case "settleLost":
      ledger.settleLost(line.settle);
      break;
    case "cancelAsked":
      ledger.cancelAsked(line.number);
      break;
    case "cancelled":
      ledger.cancelAnswered(line.number);
      break;
    case "notCancelled":
      ledger.cancelRefused(line.number);
      break;
    default:
      line satisfies never;
  }
}

/** Looks at a copy of what the killed process left, and takes it for how things are. */
async function judge({ folder }: Scratch, ledger: Ledger): Promise<readonly string[]> {
  const copy = join(folder, "copy.db");
  for (const suffix of ["", "-wal", "-running"]) {
    rmSync(copy + suffix, { force: true });
    const from = join(folder, `ringq.db${suffix}`);
    if (existsSync(from)) cpSync(from, copy + suffix);
  }
  const engine = openDurable(copy, "full", systemClock);
  try {
    const found = await findIn(engine);
    const faults = ledger.faultsOf(found);
    ledger.absorb(found);
    return [...faults, ...(await faultsOfClaims(engine, ledger, "certain"))];
  } finally {
    await engine.close();
  }
}
