/** Two processes that want one data file: the second is refused by name, until the first is gone. */

import { expect, test } from "bun:test";
import { linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Ending,
  ServerProcess,
  startInVain,
  startServerProcess,
} from "../support/server-process.ts";
import { makeScratch } from "./scratch.ts";

const HANDLERS = join(import.meta.dir, "../fixtures/crash.ts");

const WAITS_FOR_EVER = { type: "work", payload: { number: 1 }, delay_ms: 3_600_000 };

test.each<readonly [name: string, pathOf: (folder: string, path: string) => string]>([
  ["by the same path", (_, path) => path],
  ["by a path with a detour", (folder) => `${folder}/../${folder.split("/").at(-1)}/./ringq.db`],
  [
    "by a symbolic link to it",
    (folder, path) => {
      symlinkSync(path, join(folder, "link.db"));
      return join(folder, "link.db");
    },
  ],
  [
    "by a symbolic link to its folder",
    (folder) => {
      symlinkSync(folder, join(folder, "there"));
      return join(folder, "there/ringq.db");
    },
  ],
])("a second process is refused %s, and the first goes on", async (_, pathOf) => {
  using scratch = makeScratch();
  const path = join(scratch.folder, "ringq.db");
  await using first = await startServerProcess(HANDLERS, { DATA_FILE: path });

  const second = await startInVain(HANDLERS, { DATA_FILE: pathOf(scratch.folder, path) });

  expect(second.stderr).toBe(`ringq: DATA_FILE: ${path} is in use by another process\n`);
  expect(second.exitCode).toBe(2);
  const id = await first.enqueue({ type: "work", payload: { number: 1 } });
  expect((await first.finished(id)).status).toBe("done");
});

test("a second name of the file, a hard link, is refused, whoever has it", async () => {
  using scratch = makeScratch();
  const path = join(scratch.folder, "ringq.db");
  await using first = await startServerProcess(HANDLERS, { DATA_FILE: path });
  linkSync(path, join(scratch.folder, "other.db"));

  const second = await startInVain(HANDLERS, { DATA_FILE: join(scratch.folder, "other.db") });

  expect(second.stderr).toContain("other.db has a second hard link; remove that link");
  expect(second.exitCode).toBe(2);
  expect((await first.request("/readyz")).status).toBe(200);
});

test("when the first is killed the next one starts, with what was accepted", async () => {
  using scratch = makeScratch();
  const settings = { DATA_FILE: join(scratch.folder, "ringq.db") };
  await using first = await startServerProcess(HANDLERS, settings);
  const id = await first.enqueue(WAITS_FOR_EVER);
  first.kill();
  await first.ended();

  await using second = await startServerProcess(HANDLERS, settings);

  expect((await second.task(id)).status).toBe("scheduled");
});

test("of several that start at once over a file that is still to be made, one gets it", async () => {
  using scratch = makeScratch();
  const settings = { DATA_FILE: join(scratch.folder, "ringq.db") };
  await using all = new AsyncDisposableStack();
  const processes = Array.from({ length: 4 }, () => all.use(new ServerProcess(HANDLERS, settings)));

  // One listens, and only the others end.
  const starts = await Promise.allSettled(processes.map((each) => each.event("server_listening")));
  const listening = processes.filter((_, index) => starts[index]?.status === "fulfilled");
  const refused = processes.filter((each) => !listening.includes(each));

  expect(listening).toHaveLength(1);
  const endings: readonly Ending[] = await Promise.all(refused.map((each) => each.ended()));
  expect(endings.map(({ exitCode }) => exitCode)).toEqual([2, 2, 2]);
  for (const { stderr } of endings) expect(stderr).toContain("is in use by another process");
});

test.each<readonly [name: string, make: (path: string) => void, says: string]>([
  ["a text", (path) => writeFileSync(path, "dear diary\n"), "is not a ringq data file"],
  ["a folder", (path) => mkdirSync(path), "is not a file"],
])("over %s the process ends before it listens, and says so", async (_, make, says) => {
  using scratch = makeScratch();
  const path = join(scratch.folder, "ringq.db");
  make(path);

  const ending = await startInVain(HANDLERS, { DATA_FILE: path });

  expect(ending.stderr).toBe(`ringq: DATA_FILE: ${path} ${says}\n`);
  expect(ending.exitCode).toBe(2);
});
