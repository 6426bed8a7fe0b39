/** The real process, killed by SIGKILL again and again. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { ServerProcess, startServerProcess } from "../support/server-process.ts";
import { type ChainReport, runChain } from "./crash-chain.ts";
import { Dice, seedOf } from "./dice.ts";
import { makeScratch } from "./scratch.ts";

const TIMEOUT_MS = 600_000;

const CYCLES = 200;
const CYCLES_PER_CHAIN = 20;
const CHAINS_AT_A_TIME = 2;

const HANDLERS = join(import.meta.dir, "../fixtures/crash.ts");

const seed = seedOf(process.env["SEED"]);

test(
  "200 crashes lose no accepted task, invent none, and let all of them finish",
  async () => {
    const reports: ChainReport[] = [];
    let next = 0;
    const runChains = async (): Promise<void> => {
      while (next < CYCLES / CYCLES_PER_CHAIN) {
        const chain = next;
        next += 1;
        const report = await runChain({ cycles: CYCLES_PER_CHAIN, dice: new Dice(seed + chain) });
        reports.push(report);
        expect({ seed: seed + chain, faults: report.faults }).toEqual({
          seed: seed + chain,
          faults: [],
        });
      }
    };
    await Promise.all(Array.from({ length: CHAINS_AT_A_TIME }, runChains));

    const sum = (of: (report: ChainReport) => number) =>
      reports.reduce((total, report) => total + of(report), 0);
    expect(sum(({ cycles }) => cycles)).toBe(CYCLES);
    expect(sum(({ accepted, finished }) => accepted - finished)).toBe(0);
    // A run in which hardly anything was asked for would prove nothing.
    expect(sum(({ accepted }) => accepted)).toBeGreaterThan(CYCLES * 10);
    expect(new Set(reports.flatMap(({ kills }) => [...kills.keys()])).size).toBe(4);
  },
  TIMEOUT_MS,
);

test(
  "without DATA_FILE the same is caught losing what it had accepted",
  async () => {
    const report = await runChain({
      cycles: 5,
      dice: new Dice(1),
      settings: { DATA_FILE: "" },
    });
    expect(report.faults.join()).toContain("lost");
  },
  TIMEOUT_MS,
);

test(
  "a task that kills the process three times fails with crash_loop, and the others go on",
  async () => {
    using scratch = makeScratch();
    const settings = { DATA_FILE: join(scratch.folder, "ringq.db"), WORKERS: "1" };
    const first = await startServerProcess(HANDLERS, settings);
    await first.run({ type: "work", payload: { number: 1 } });
    await first.post("/queues/default/pause");
    const other = await first.enqueue({ type: "work", payload: { number: 2 }, priority: -1 });
    const deadly = await first.enqueue({ type: "deadly", payload: { number: 3 }, max_retries: 0 });
    // The process may be gone before it can answer.
    await Promise.allSettled([first.post("/queues/default/resume")]);
    await first.ended();
    for (let crashes = 1; crashes < 3; crashes += 1) {
      // It may die before it listens, so nobody waits for that.
      await using again = new ServerProcess(HANDLERS, settings);
      await again.ended();
    }

    await using last = await startServerProcess(HANDLERS, settings);
    expect(await last.finished(deadly)).toMatchObject({
      status: "failed",
      attempt: 3,
      error: { code: "crash_loop" },
    });
    expect(await last.finished(other)).toMatchObject({ status: "done", attempt: 1 });
  },
  TIMEOUT_MS,
);
