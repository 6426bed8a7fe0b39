import { Database } from "bun:sqlite";
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { openDataFile } from "../../src/engine/sqlite/data-file.ts";
import { MIGRATIONS } from "../../src/engine/sqlite/migrations.ts";
import { makeDataFolder } from "../support/data-folder.ts";
import { startServerProcess } from "../support/server-process.ts";

const MAIN = join(import.meta.dir, "../../src/main.ts");
const HANDLERS = join(import.meta.dir, "../fixtures/echo.ts");
/** Somebody who may not write everywhere, as root may. */
const USER = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

// Every run of ringq is a process of its own, which may take a second on a busy machine.
setDefaultTimeout(60_000);

const folder = makeDataFolder();
const readonlyPlaces: string[] = [];
afterAll(() => {
  for (const place of readonlyPlaces) chmodSync(place, 0o755);
  folder.remove();
});

function aDataFile(): string {
  const path = folder.newFile();
  openDataFile(path, "full").close();
  return path;
}

/** Runs ringq with these arguments to its end. */
function ringq(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  user: Partial<typeof USER> = {},
) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, MAIN, ...args], {
    env: { ...env, PORT: "0" },
    ...user,
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
      stdout: `Copied ${path} to ${copy}\n`,
      stderr: "",
    });
    expect(ringq(["verify", copy]).exitCode).toBe(0);
  });

  test("refuses to write over a file", () => {
    const copy = aDataFile();

    expect(ringq(["backup", copy], { DATA_FILE: aDataFile() })).toEqual({
      exitCode: 1,
      stdout: "",
      stderr: `ringq: ${copy} already exists\n`,
    });
  });

  test.each<
    readonly [
      name: string,
      pathsOf: () => readonly [from: string, to: string],
      says: (from: string, to: string) => string,
    ]
  >([
    [
      "a link that leads nowhere in its place",
      () => {
        const to = folder.newFile();
        symlinkSync(`${to}.none`, to);
        return [aDataFile(), to];
      },
      (_, to) => `${to} already exists`,
    ],
    ["a folder in its place", () => [aDataFile(), folder.path], (_, to) => `${to} already exists`],
    [
      "no folder for it",
      () => [aDataFile(), `${folder.path}/no/x`],
      (_, to) => `${dirname(to)} is not a folder`,
    ],
    [
      "a file on the way to it",
      () => [aDataFile(), `${aDataFile()}/no/x`],
      (from, to) =>
        `${from} can't be copied to ${to}: ENOTDIR: not a directory, stat '${dirname(to)}'`,
    ],
    [
      "no data file",
      () => [`${folder.path}/none.db`, folder.newFile()],
      (from) => `${from} does not exist`,
    ],
    [
      "a folder for a data file",
      () => [folder.path, folder.newFile()],
      (from) => `${from} is not a file`,
    ],
  ])("with %s says so in a sentence", (_, pathsOf, says) => {
    const [from, to] = pathsOf();

    const { exitCode, stderr } = ringq(["backup", to], { DATA_FILE: from });

    expect(stderr).toBe(`ringq: ${says(from, to)}\n`);
    expect(exitCode).toBe(1);
  });

  test("needs to know which file", () => {
    const copy = folder.newFile();

    expect(ringq(["backup", copy])).toEqual({
      exitCode: 2,
      stdout: "",
      stderr: "ringq: DATA_FILE is not set. Set it to the path of the file to copy\n",
    });
    expect(existsSync(copy)).toBe(false);
  });
});

describe("ringq verify", () => {
  test("says what is in a sound file", () => {
    const path = aDataFile();

    const { exitCode, stdout } = ringq(["verify", path]);

    expect(exitCode).toBe(0);
    expect(stdout).toStartWith(`version: ${MIGRATIONS.length}\nscheduled: 0\nqueued: 0\n`);
    expect(stdout).toEndWith(`paused queues: 0\n${path} is sound\n`);
  });

  test("says what is wrong with one that is not", () => {
    const path = aDataFile();
    const file = openDataFile(path, "full");
    file.db.run(
      "INSERT INTO states (seq, status, attempt, failures, losses, started_at, finished_at, errors) VALUES (1, 'done', 1, 0, 0, 0, 0, '[]')",
    );
    file.close();

    const { exitCode, stderr } = ringq(["verify", path]);

    expect(exitCode).toBe(1);
    expect(stderr).toBe(`ringq: ${path}: states without a task: 1\n`);
  });

  test.each([
    ["a folder", () => folder.path, "is not a file"],
    ["nothing", () => `${folder.path}/none.db`, "does not exist"],
    ["a file in a folder that is missing", () => `${folder.path}/none/x.db`, "does not exist"],
  ])("of %s says so in a sentence", (_, pathOf, says) => {
    expect(ringq(["verify", pathOf()])).toEqual({
      exitCode: 1,
      stdout: "",
      stderr: `ringq: ${pathOf()} ${says}\n`,
    });
  });

  test("refuses what is no data file", () => {
    const path = folder.newFile();
    writeFileSync(path, "text");

    expect(ringq(["verify", path])).toEqual({
      exitCode: 1,
      stdout: "",
      stderr: `ringq: ${path} is not a ringq data file\n`,
    });
  });
});

describe("ringq verify of a file in a place that can't be written", () => {
  const canRunAsUser = ringq(["--help"], {}, USER).exitCode === 0;

  /**
   * A folder with a stopped data file in it that everybody may read, and nobody else may write to.
   */
  function aReadonlyFolder(): string {
    const place = folder.newFile();
    mkdirSync(place);
    copyFileSync(aDataFile(), `${place}/ringq.db`);
    chmodSync(folder.path, 0o755);
    chmodSync(`${place}/ringq.db`, 0o444);
    chmodSync(place, 0o555);
    readonlyPlaces.push(place);
    return place;
  }

  test.skipIf(!canRunAsUser)("works, and so does a backup of it", () => {
    const place = aReadonlyFolder();
    const elsewhere = folder.newFile();
    mkdirSync(elsewhere);
    chmodSync(elsewhere, 0o777);

    const verified = ringq(["verify", `${place}/ringq.db`], {}, USER);
    const env = { DATA_FILE: `${place}/ringq.db` };
    const copied = ringq(["backup", `${elsewhere}/copy.db`], env, USER);

    expect([verified.exitCode, copied.exitCode]).toEqual([0, 0]);
    expect(readdirSync(place)).toEqual(["ringq.db"]);
    expect(ringq(["verify", `${elsewhere}/copy.db`]).exitCode).toBe(0);
  });

  test.skipIf(!canRunAsUser)("says so when there is a log that only a writer can read", () => {
    const place = aReadonlyFolder();
    chmodSync(place, 0o755);
    const file = openDataFile(aDataFile(), "full");
    copyFileSync(`${file.path}-wal`, `${place}/ringq.db-wal`);
    file.close();
    chmodSync(place, 0o555);

    const { exitCode, stderr } = ringq(["verify", `${place}/ringq.db`], {}, USER);

    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^ringq: \S+ringq\.db can't be read: [^\n]+\n$/);
  });

  test.skipIf(!canRunAsUser)("a backup into it is refused in a sentence", () => {
    const place = aReadonlyFolder();
    const env = { DATA_FILE: `${place}/ringq.db` };

    const { exitCode, stderr } = ringq(["backup", `${place}/copy.db`], env, USER);

    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^ringq: \S+ can't be copied to \S+: EACCES[^\n]+\n$/);
  });
});

test("ringq verify misses the log in a copy, and moves one that a reader left", async () => {
  const path = folder.newFile();
  await using server = await startServerProcess(HANDLERS, { DATA_FILE: path });
  await server.enqueue({ type: "echo", delay_ms: 3_600_000 });
  const reader = new Database(path, { readonly: true });
  reader.run("BEGIN");
  reader.query("SELECT * FROM tasks").values();
  await server.enqueue({ type: "echo", delay_ms: 3_600_000 });
  expect((await server.stop()).exitCode).toBe(0);
  reader.close();
  expect(statSync(`${path}-wal`).size).toBeGreaterThan(0);
  const [early, late] = [folder.newFile(), folder.newFile()];
  copyFileSync(path, early);

  const inPlace = ringq(["verify", path]);

  copyFileSync(path, late);
  expect(inPlace.exitCode).toBe(0);
  expect(inPlace.stdout).toContain("scheduled: 2\n");
  expect(ringq(["verify", early])).toMatchObject({
    exitCode: 1,
    stderr:
      `ringq: ${early}: may have been copied or moved without its log (${early}-wal): ` +
      "tasks may be missing. Copy both files\n",
  });
  expect(ringq(["verify", late])).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining("scheduled: 2\n"),
  });
});

test.each(["verify", "backup", "backup ", "frob x", "verify a b"])(
  "ringq %s says how it is used",
  (line) => {
    const { exitCode, stderr } = ringq(line.split(" "));

    expect(exitCode).toBe(2);
    expect(stderr).toStartWith("Usage:\n  ringq ");
  },
);

test("a data file that can't be used ends the start, by name", () => {
  const path = folder.newFile();
  writeFileSync(path, "text");

  expect(ringq([], { DATA_FILE: path })).toEqual({
    exitCode: 2,
    stdout: "",
    stderr: `ringq: DATA_FILE: ${path} is not a ringq data file\n`,
  });
});
