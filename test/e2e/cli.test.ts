import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openDataFile } from "../../src/engine/sqlite/data-file.ts";
import { makeDataFolder } from "../support/data-folder.ts";

const MAIN = join(import.meta.dir, "../../src/main.ts");

const folder = makeDataFolder();
afterAll(() => folder.remove());

function aDataFile(): string {
  const path = folder.newFile();
  openDataFile(path, "full").close();
  return path;
}

/** Runs ringq with these arguments to its end. */
function ringq(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, MAIN, ...args], {
    env: { ...env, PORT: "0" },
  });
  return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

describe("ringq backup", () => {
  test("copies the data file, also while it is in use", () => {
    const path = folder.newFile();
    const file = openDataFile(path, "full");
    const copy = folder.newFile();

    const run = ringq(["backup", copy], { DATA_FILE: path });

    file.close();
    expect(run).toEqual({
      exitCode: 0,
      stdout: `${path} was copied to ${copy}\n`,
      stderr: "",
    });
    expect(ringq(["verify", copy]).exitCode).toBe(0);
  });

  test("refuses to write over a file", () => {
    const copy = aDataFile();

    expect(ringq(["backup", copy], { DATA_FILE: aDataFile() })).toEqual({
      exitCode: 1,
      stdout: "",
      stderr: `ringq: ${copy} exists already\n`,
    });
  });

  test("needs to know which file", () => {
    const copy = folder.newFile();

    expect(ringq(["backup", copy])).toEqual({
      exitCode: 2,
      stdout: "",
      stderr: "ringq: DATA_FILE says which file to copy, and is not set\n",
    });
    expect(existsSync(copy)).toBe(false);
  });
});

describe("ringq verify", () => {
  test("says what is in a sound file", () => {
    const path = aDataFile();

    const { exitCode, stdout } = ringq(["verify", path]);

    expect(exitCode).toBe(0);
    expect(stdout).toStartWith("version 1\n0 scheduled\n0 queued\n");
    expect(stdout).toEndWith(`0 paused queues\n${path} is sound\n`);
  });

  test("says what is wrong with one that is not", () => {
    const path = aDataFile();
    const file = openDataFile(path, "full");
    file.db.run("INSERT INTO states VALUES (1, 'done', 1, 0, 0, NULL, 0, 0, NULL, NULL, '[]')");
    file.close();

    const { exitCode, stderr } = ringq(["verify", path]);

    expect(exitCode).toBe(1);
    expect(stderr).toBe(`ringq: ${path}: 1 states belong to no task\n`);
  });

  test("refuses what is no data file", () => {
    const path = folder.newFile();
    writeFileSync(path, "text");

    expect(ringq(["verify", path])).toEqual({
      exitCode: 1,
      stdout: "",
      stderr: `ringq: ${path} is not a data file of ringq\n`,
    });
  });
});

test.each(["verify", "backup", "frob x", "verify a b"])("ringq %s says how it is used", (line) => {
  const { exitCode, stderr } = ringq(line.split(" "));

  expect(exitCode).toBe(2);
  expect(stderr).toStartWith("Usage:\n  ringq ");
});

test("a data file that can't be used ends the start, by name", () => {
  const path = folder.newFile();
  writeFileSync(path, "text");

  expect(ringq([], { DATA_FILE: path })).toEqual({
    exitCode: 2,
    stdout: "",
    stderr: `ringq: DATA_FILE: ${path} is not a data file of ringq\n`,
  });
});
