import { afterAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { DataFileError } from "../../../src/engine/sqlite/data-file.ts";
import { RunningFile } from "../../../src/engine/sqlite/running-file.ts";
import { aTask } from "../../support/builders.ts";
import { makeDataFolder } from "../../support/data-folder.ts";

const FILE_ID = 123_456;

const MODULE = join(import.meta.dir, "../../../src/engine/sqlite/running-file.ts");

const folder = makeDataFolder();
afterAll(() => folder.remove());

function aRunningFile(path = folder.newFile(), fileId = FILE_ID): RunningFile {
  const file = new RunningFile(path, fileId);
  file.restart([]);
  return file;
}

const SLOT_BYTES = 7 * 8 + 128;

/** A task at its nth attempt. */
function running(seq: number, attempt = 1) {
  return Object.assign(aTask({ seq }), { attempt, startedAtMs: 1000 * seq });
}

/** A task that a worker elsewhere has claimed. */
function claimed(seq: number, fence: number, worker: string | null = "w1") {
  const lease = { lengthMs: 5000, endsAtMs: 1, endsAtWallMs: 9000, timeoutAtMs: 2, worker };
  return Object.assign(running(seq), { fence, lease });
}

/** What the next process finds in a running file. */
function claimsAt(path: string, fileId = FILE_ID) {
  const file = new RunningFile(path, fileId);
  const claims = file.earlierClaims();
  file.close();
  return Array.from(claims, ([seq, { attempt, startedAtMs, claim }]) => {
    return [seq, { attempt, startedAtMs, claim }] as const;
  });
}

describe("a running file", () => {
  test("has nothing in it when it is new", () => {
    expect(claimsAt(folder.newFile())).toEqual([]);
  });

  test("shows what was noted to whoever opens it next, without being closed", () => {
    const path = folder.newFile();
    const file = aRunningFile(path);

    file.note(running(7, 2));
    file.note(running(8));

    expect(claimsAt(path)).toEqual([
      [7, { attempt: 2, startedAtMs: 7000, claim: null }],
      [8, { attempt: 1, startedAtMs: 8000, claim: null }],
    ]);
  });

  test("shows the latest attempt at a task", () => {
    const path = folder.newFile();
    const file = aRunningFile(path);
    const task = running(7, 1);
    file.note(task);
    file.note(running(8));
    file.clear(task);
    file.clear(running(8));

    file.note(running(7, 2));

    expect(claimsAt(path)).toContainEqual([7, { attempt: 2, startedAtMs: 7000, claim: null }]);
  });

  test("uses the places of what is over again", () => {
    const path = folder.newFile();
    const file = aRunningFile(path);
    const { size } = statSync(path);
    for (let seq = 1; seq <= 10_000; seq += 1) {
      file.note(running(seq));
      file.clear(running(seq));
      file.written();
    }

    expect(statSync(path).size).toBe(size);
    expect(claimsAt(path)).toHaveLength(1);
  });

  test("keeps what is over until that is written", () => {
    const path = folder.newFile();
    const file = aRunningFile(path);
    file.note(running(7));
    file.clear(running(7));

    file.note(running(8));

    expect(claimsAt(path).map(([seq]) => seq)).toEqual([7, 8]);
  });

  test("has room for more than it reserved", () => {
    const path = folder.newFile();
    const file = aRunningFile(path);

    for (let seq = 1; seq <= 5000; seq += 1) file.note(running(seq));

    expect(claimsAt(path)).toHaveLength(5000);
  });

  test("shows a remote claim with its worker, its fence and its lease", () => {
    const path = folder.newFile();
    const file = aRunningFile(path);

    file.note(claimed(7, 2 ** 52 + 1));
    file.note(claimed(8, 12, null));

    const claim = { worker: "w1", leaseMs: 5000, leaseEndsAtMs: 9000, fence: 2 ** 52 + 1 };
    expect(claimsAt(path)).toEqual([
      [7, { attempt: 1, startedAtMs: 7000, claim }],
      [8, { attempt: 1, startedAtMs: 8000, claim: { ...claim, worker: null, fence: 12 } }],
    ]);
  });

  test("shows where a claim that was extended ends", () => {
    const path = folder.newFile();
    const file = aRunningFile(path);
    const task = claimed(7, 11);
    file.note(task);
    task.lease.endsAtWallMs = 12_000;

    file.note(task);

    expect(claimsAt(path).map(([, { claim }]) => claim?.leaseEndsAtMs)).toEqual([12_000]);
  });

  test("begins anew with the claims that go on", () => {
    const path = folder.newFile();
    const file = aRunningFile(path);
    file.note(running(6));
    const task = claimed(7, 11);

    file.restart([task]);
    file.note(running(8));
    file.note(task);

    expect(claimsAt(path).map(([seq, { claim }]) => [seq, claim?.fence])).toEqual([
      [7, 11],
      [8, undefined],
    ]);
  });

  test("has no claim of a slot whose worker's name was torn", () => {
    const path = folder.newFile();
    const file = aRunningFile(path);
    file.note(claimed(7, 11, "a-worker"));
    const bytes = readFileSync(path);
    const name = bytes.indexOf("a-worker");
    bytes.fill(0, name + 4, name + 8);
    writeFileSync(path, bytes);

    expect(claimsAt(path)).toEqual([]);
  });

  test("leaves nothing of a claim to the local attempt that gets its slot", () => {
    const path = folder.newFile();
    const file = aRunningFile(path);
    const task = claimed(7, 11, "x".repeat(128));
    file.note(task);
    file.clear(task);
    file.written();

    file.note(running(8));

    expect(claimsAt(path)).toEqual([[8, { attempt: 1, startedAtMs: 8000, claim: null }]]);
  });

  test("speaks of one data file only", () => {
    const path = folder.newFile();
    aRunningFile(path).note(running(7));

    expect(claimsAt(path, FILE_ID + 1)).toEqual([]);
  });

  test("shows nothing any more once it has begun anew", () => {
    const path = folder.newFile();
    const file = aRunningFile(path);
    file.note(running(7));

    file.restart([]);

    expect(claimsAt(path)).toEqual([]);
  });

  test("passes over a claim that was torn", () => {
    const path = folder.newFile();
    const file = aRunningFile(path);
    file.note(running(7));
    file.note(running(8));
    const bytes = readFileSync(path);
    bytes.fill(0, SLOT_BYTES + 8, SLOT_BYTES + 16);
    writeFileSync(path, bytes);

    expect(claimsAt(path)).toEqual([[8, { attempt: 1, startedAtMs: 8000, claim: null }]]);
  });

  test.each([
    ["number of a task", 0],
    ["attempt", 1],
    ["fence", 3],
  ])("passes over a claim whose %s has become a fraction", (_, index) => {
    const path = folder.newFile();
    const file = aRunningFile(path);
    // The sum of numbers as large as this fence does not show such a difference.
    file.note(claimed(7, 2 ** 52 - 2));
    file.note(claimed(8, 2 ** 52 - 2));
    const bytes = readFileSync(path);
    const at = SLOT_BYTES + index * 8;
    bytes.writeDoubleLE(bytes.readDoubleLE(at) + 0.5, at);
    writeFileSync(path, bytes);

    expect(claimsAt(path).map(([seq]) => seq)).toEqual([8]);
  });

  test("shows the claims that are whole when it was cut anywhere", () => {
    const path = folder.newFile();
    const file = aRunningFile(path);
    for (const seq of [1, 2, 3]) file.note(running(seq));
    const bytes = readFileSync(path);
    // Of a slot without a worker only the numbers count.
    const numbersBytes = 7 * 8;
    for (let length = 0; length < 5 * SLOT_BYTES; length += 1) {
      writeFileSync(path, bytes.subarray(0, length));
      const whole = Math.floor((length - numbersBytes) / SLOT_BYTES);
      expect(claimsAt(path)).toHaveLength(Math.max(0, Math.min(3, whole)));
    }
  });

  test.each([
    ["text", "Dear diary"],
    ["zeros", "\0".repeat(320)],
    ["nothing", ""],
  ])("takes a file of %s for an empty one", (_, content) => {
    const path = folder.newFile();
    writeFileSync(path, content);

    expect(claimsAt(path)).toEqual([]);
  });

  test("is gone when it is removed", () => {
    const path = folder.newFile();

    aRunningFile(path).remove();

    expect(existsSync(path)).toBe(false);
  });

  test("says why it can't be removed", () => {
    const path = folder.newFile();
    const file = aRunningFile(path);
    rmSync(path);
    mkdirSync(path);

    expect(file.remove()).toContain(path);
  });

  test("that takes only a part of a write fails", async () => {
    const script = `
      import { RunningFile } from ${JSON.stringify(MODULE)};
      try {
        new RunningFile(${JSON.stringify(folder.newFile())}, 1).restart([]);
      } catch (error) {
        console.log(error.message);
      }`;
    // A file of at most 1 KiB stands for a nearly full disk.
    const limited = [
      "bash",
      "-c",
      `trap "" XFSZ; ulimit -f 1; exec "$0" -e "$1"`,
      process.execPath,
    ];
    const child = Bun.spawn([...limited, script], { stdout: "pipe" });

    expect(await new Response(child.stdout).text()).toMatch(
      /^only 1024 of \d+ bytes were written\n$/,
    );
  });

  test("can be read by its owner only", () => {
    const path = folder.newFile();

    aRunningFile(path);

    expect((statSync(path).mode & 0o777).toString(8)).toBe("600");
  });

  test.each([
    ["a symbolic link", symlinkSync, "ELOOP"],
    ["a hard link", linkSync, "it has a second hard link; remove that link"],
  ] as const)("does not write over what %s leads to", (_, link, why) => {
    const target = folder.newFile();
    writeFileSync(target, "precious");
    const path = folder.newFile();
    link(target, path);

    expect(() => aRunningFile(path)).toThrow(`${path} can't be opened: ${why}`);

    expect(readFileSync(target, "utf8")).toBe("precious");
  });

  test("is not made of a folder", () => {
    expect(() => aRunningFile(folder.path)).toThrow(DataFileError);
  });
});
