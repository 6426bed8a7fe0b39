/** Each call of SQLite to the disk fails once, or from then on for a while: whichever it is, the answers stay true. */

import { describe, expect, test } from "bun:test";
import { cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Engine } from "../../src/engine/engine.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { Dice } from "./dice.ts";
import { type DiskFault, DiskRecorder, ERRNO, findRecorderObstacle } from "./disk-recorder.ts";
import { openDurable } from "./open-durable.ts";
import { findIn, PowerLoad } from "./power-load.ts";
import { faultsOfClaims } from "./remote-claims.ts";
import { makeScratch } from "./scratch.ts";

const TIMEOUT_MS = 120_000;

const obstacle = findRecorderObstacle();
if (obstacle !== null) process.stderr.write(`Failing calls are not tested: ${obstacle}.\n`);

const FAULTS: readonly (readonly [name: string, fault: DiskFault])[] = [
  ["a write finds no room", { kinds: ["write"], errno: ERRNO.ENOSPC }],
  ["a write finds room for its half", { kinds: ["write"], errno: ERRNO.ENOSPC, isShort: true }],
  ["a write fails", { kinds: ["write"], errno: ERRNO.EIO }],
  ["a sync fails", { kinds: ["sync"], errno: ERRNO.EIO }],
];

/** How many calls succeed before the first that fails: past the end of what the load makes while it fails. */
const CALLS_MAX = 40;

const PROBE_MS = 1000;
const PAYLOAD_BYTES = 3000;

describe.skipIf(obstacle !== null).each(FAULTS)("when %s", (_, fault) => {
  const isSlow = fault.kinds.includes("sync");

  test(
    "once, nothing is lost and nothing of what was refused is there",
    async () => {
      for (let after = 0; after < (isSlow ? CALLS_MAX / 4 : CALLS_MAX); after += 1) {
        expect(await faultsWith({ ...fault, after, times: 1 })).toEqual([]);
      }
    },
    TIMEOUT_MS,
  );

  test(
    "for a while, nothing is lost and nothing of what was refused is there",
    async () => {
      for (let after = 0; after < (isSlow ? CALLS_MAX / 4 : CALLS_MAX); after += 1) {
        expect(await faultsWith({ ...fault, after })).toEqual([]);
      }
    },
    TIMEOUT_MS,
  );
});

/** Lives through a fault, and says what was wrong: during it, had the process been killed; after it; after a restart. */
async function faultsWith(fault: DiskFault): Promise<readonly string[]> {
  using scratch = makeScratch();
  const [folder, copy] = [join(scratch.folder, "live"), join(scratch.folder, "copy")];
  for (const each of [folder, copy]) mkdirSync(each);
  using recorder = DiskRecorder.open(folder);
  recorder.setRecording(false);
  recorder.setSkippingSyncs(true);
  const clock = new ManualClock();
  const load = new PowerLoad(new Dice(fault.after ?? 0), clock, () => 0, PAYLOAD_BYTES);
  const engine = open(folder, clock);
  for (let step = 0; step < 6; step += 1) await load.step(engine);

  recorder.fail(fault);
  for (let step = 0; step < 8; step += 1) await load.step(engine);
  // A process that was killed now would leave its files like this.
  cpSync(folder, copy, { recursive: true });
  const killed = await faultsIn(copy, load);
  recorder.heal();
  while (engine.readiness !== "ready") await clock.advance(PROBE_MS);
  for (let step = 0; step < 4; step += 1) await load.step(engine);

  const healed = load.ledger.faultsOf(await findIn(engine));
  await load.stop(engine);
  const restarted = await faultsIn(folder, load);
  return [
    ...killed.map((text) => `killed meanwhile: ${text}`),
    ...healed.map((text) => `healed: ${text}`),
    ...restarted.map((text) => `restarted: ${text}`),
  ].map((text) => `${JSON.stringify(fault)}: ${text}`);
}

async function faultsIn(folder: string, load: PowerLoad): Promise<readonly string[]> {
  const engine = open(folder, new ManualClock());
  try {
    return [
      ...load.ledger.faultsOf(await findIn(engine)),
      ...(await faultsOfClaims(engine, load.ledger, "certain")),
    ];
  } finally {
    await engine.close();
  }
}

function open(folder: string, clock: ManualClock): Engine {
  return openDurable(join(folder, "ringq.db"), "full", clock);
}
