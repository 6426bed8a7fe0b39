import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, linkSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { DataFileError } from "../../../src/engine/sqlite/data-file.ts";
import { RunningFile } from "../../../src/engine/sqlite/running-file.ts";
import { aTask } from "../../support/builders.ts";
import { makeDataFolder } from "../../support/data-folder.ts";

const FILE_ID = 123_456;

const folder = makeDataFolder();
afterAll(() => folder.remove());

function aBoard(path = folder.newFile(), fileId = FILE_ID): RunningFile {
  const board = new RunningFile(path, fileId);
  board.wipe();
  return board;
}

/** A task at its nth attempt. */
function running(seq: number, attempt = 1) {
  return Object.assign(aTask({ seq }), { attempt, startedAtMs: 1000 * seq });
}

/** What the next process finds on a board. */
function claimsAt(path: string, fileId = FILE_ID) {
  const board = new RunningFile(path, fileId);
  const claims = board.earlierClaims();
  board.close();
  return [...claims];
}

describe("a claim board", () => {
  test("has nothing on it when it is new", () => {
    expect(claimsAt(folder.newFile())).toEqual([]);
  });

  test("shows what was noted to whoever opens it next, without being closed", () => {
    const path = folder.newFile();
    const board = aBoard(path);

    board.note(running(7, 2));
    board.note(running(8));

    expect(claimsAt(path)).toEqual([
      [7, { attempt: 2, startedAtMs: 7000 }],
      [8, { attempt: 1, startedAtMs: 8000 }],
    ]);
  });

  test("shows the latest attempt at a task", () => {
    const path = folder.newFile();
    const board = aBoard(path);
    const task = running(7, 1);
    board.note(task);
    board.note(running(8));
    board.clear(task);
    board.clear(running(8));

    board.note(running(7, 2));

    expect(claimsAt(path)).toContainEqual([7, { attempt: 2, startedAtMs: 7000 }]);
  });

  test("uses the places of what is over again", () => {
    const path = folder.newFile();
    const board = aBoard(path);
    const { size } = statSync(path);
    for (let seq = 1; seq <= 10_000; seq += 1) {
      board.note(running(seq));
      board.clear(running(seq));
      board.written();
    }

    expect(statSync(path).size).toBe(size);
    expect(claimsAt(path)).toHaveLength(1);
  });

  test("keeps what is over until that is written", () => {
    const path = folder.newFile();
    const board = aBoard(path);
    board.note(running(7));
    board.clear(running(7));

    board.note(running(8));

    expect(claimsAt(path).map(([seq]) => seq)).toEqual([7, 8]);
  });

  test("has room for more than it reserved", () => {
    const path = folder.newFile();
    const board = aBoard(path);

    for (let seq = 1; seq <= 5000; seq += 1) board.note(running(seq));

    expect(claimsAt(path)).toHaveLength(5000);
  });

  test("speaks of one data file only", () => {
    const path = folder.newFile();
    aBoard(path).note(running(7));

    expect(claimsAt(path, FILE_ID + 1)).toEqual([]);
  });

  test("shows nothing any more once it is wiped", () => {
    const path = folder.newFile();
    const board = aBoard(path);
    board.note(running(7));

    board.wipe();

    expect(claimsAt(path)).toEqual([]);
  });

  test("passes over a claim that was torn", () => {
    const path = folder.newFile();
    const board = aBoard(path);
    board.note(running(7));
    board.note(running(8));
    const bytes = readFileSync(path);
    bytes.fill(0, 32 + 8, 32 + 16);
    writeFileSync(path, bytes);

    expect(claimsAt(path)).toEqual([[8, { attempt: 1, startedAtMs: 8000 }]]);
  });

  test("shows the claims that are whole when it was cut anywhere", () => {
    const path = folder.newFile();
    const board = aBoard(path);
    for (const seq of [1, 2, 3]) board.note(running(seq));
    const bytes = readFileSync(path);
    for (let length = 0; length < 5 * 32; length += 1) {
      writeFileSync(path, bytes.subarray(0, length));
      expect(claimsAt(path)).toHaveLength(Math.max(0, Math.min(3, Math.floor(length / 32) - 1)));
    }
  });

  test.each([
    ["text", "Dear diary"],
    ["zeros", "\0".repeat(320)],
    ["nothing", ""],
  ])("takes a file of %s for an empty board", (_, content) => {
    const path = folder.newFile();
    writeFileSync(path, content);

    expect(claimsAt(path)).toEqual([]);
  });

  test("is gone when it is removed", () => {
    const path = folder.newFile();

    aBoard(path).remove();

    expect(existsSync(path)).toBe(false);
  });

  test("can be read by its owner only", () => {
    const path = folder.newFile();

    aBoard(path);

    expect((statSync(path).mode & 0o777).toString(8)).toBe("600");
  });

  test.each([
    ["a symbolic link", symlinkSync, "ELOOP"],
    ["a hard link", linkSync, "it has a second name (a hard link)"],
  ] as const)("does not write over what %s leads to", (_, link, why) => {
    const target = folder.newFile();
    writeFileSync(target, "precious");
    const path = folder.newFile();
    link(target, path);

    expect(() => aBoard(path)).toThrow(`${path} can't be opened: ${why}`);

    expect(readFileSync(target, "utf8")).toBe("precious");
  });

  test("is not made of a folder", () => {
    expect(() => aBoard(folder.path)).toThrow(DataFileError);
  });
});
