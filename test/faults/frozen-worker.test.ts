/** Remote workers that are stopped by SIGSTOP until their lease has ended, and then go on. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { startServerProcess } from "../support/server-process.ts";
import { faultsOfFreezes } from "./frozen-worker.ts";
import { makeScratch } from "./scratch.ts";

const TIMEOUT_MS = 120_000;
const TRIES = 20;

test(
  "20 workers that stood still are told that their claim has expired, and another's result counts",
  async () => {
    using scratch = makeScratch();
    const settings = { DATA_FILE: join(scratch.folder, "ringq.db") };
    await using server = await startServerProcess("none", settings);

    const faults = await faultsOfFreezes(server.url, TRIES);

    expect(faults).toEqual(new Array(TRIES).fill(null));
  },
  TIMEOUT_MS,
);
