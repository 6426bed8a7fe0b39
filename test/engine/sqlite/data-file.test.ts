import { Database } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  type DataFile,
  DataFileError,
  migrate,
  openDataFile,
} from "../../../src/engine/sqlite/data-file.ts";
import { emptyLog } from "../../../src/engine/sqlite/file-log.ts";
import { MIGRATIONS } from "../../../src/engine/sqlite/migrations.ts";
import { makeDataFolder } from "../../support/data-folder.ts";

/** Of the files that may lie beside a data file, but for its lock. */
const SUFFIXES = ["-wal", "-shm", "-new"] as const;

const folder = makeDataFolder();
afterAll(() => folder.remove());

/** Opens and closes a data file, so that it is there. */
function aDataFile(): string {
  const path = folder.newFile();
  openDataFile(path, "full").close();
  return path;
}

/** Changes a closed data file from outside. */
function change(path: string, sql: string): void {
  const db = new Database(path);
  db.run(sql);
  db.close(true);
}

/** Expects that a file is refused, in these words, and that not a byte of it changes. */
function expectRefusal(path: string, why: string): void {
  const before = readFileSync(path);
  expect(() => openDataFile(path, "full")).toThrow(new DataFileError(`${path} ${why}`));
  expect(readFileSync(path).equals(before)).toBe(true);
  for (const suffix of SUFFIXES) expect(existsSync(path + suffix)).toBe(false);
}

const BREAK_MARK =
  "CREATE TRIGGER broken BEFORE UPDATE ON identity BEGIN SELECT RAISE(ABORT, 'broken'); END";

/** Writes something to an open data file, and to its log. */
function write({ db }: DataFile): void {
  db.run("INSERT INTO paused_queues VALUES (hex(randomblob(9)))");
}

/** Begins to read a file, and goes on until the returned connection is closed. */
function aReader(path: string): Database {
  const db = new Database(path, { readonly: true });
  db.run("BEGIN");
  db.query("SELECT * FROM paused_queues").values();
  return db;
}

/** A copy of a file without its log. */
function aCopyOf(path: string): string {
  const copy = folder.newFile();
  copyFileSync(path, copy);
  return copy;
}

/** How many paused queues a closed data file has, and whether it says that it is in use. */
function contentOf(path: string): readonly unknown[] {
  const db = new Database(aCopyOf(path));
  const [row] = db
    .query("SELECT (SELECT count(*) FROM paused_queues), in_use FROM identity")
    .values();
  db.close();
  return row ?? [];
}

function pragma(db: Database, name: string): unknown {
  return db.query(`PRAGMA ${name}`).values()[0]?.[0];
}

describe("a data file", () => {
  test("is made when there is none", () => {
    const path = folder.newFile();

    const file = openDataFile(path, "full");

    expect(file.db.query("SELECT count(*) FROM tasks").values()).toEqual([[0]]);
    file.close();
    expect(statSync(path).size).toBeGreaterThan(0);
  });

  test("is made in the place of an empty file", () => {
    const path = folder.newFile();
    writeFileSync(path, "");

    openDataFile(path, "full").close();

    expect(statSync(path).size).toBeGreaterThan(0);
  });

  test("is made although an earlier start died while making it", () => {
    const path = folder.newFile();
    writeFileSync(`${path}-new`, "half of something");

    openDataFile(path, "full").close();

    expect(existsSync(`${path}-new`)).toBe(false);
  });

  test.each([
    ["full", 2],
    ["normal", 1],
  ] as const)("is opened as %s asks for", (durability, synchronous) => {
    const file = openDataFile(folder.newFile(), durability);

    expect(pragma(file.db, "journal_mode")).toBe("wal");
    expect(pragma(file.db, "synchronous")).toBe(synchronous);
    expect(pragma(file.db, "trusted_schema")).toBe(0);
    file.close();
  });

  test("has a number of its own", () => {
    const ids = [aDataFile(), aDataFile()].map((path) => {
      const file = openDataFile(path, "full");
      const [[id] = []] = file.db.query("SELECT id FROM identity").values();
      file.close();
      return id;
    });

    expect(ids[0]).not.toBe(ids[1]);
  });

  test("that was closed can be opened again", () => {
    const path = aDataFile();

    openDataFile(path, "full").close();
  });
});

describe("a data file that is closed", () => {
  test("has everything, and says so", () => {
    const path = folder.newFile();
    const file = openDataFile(path, "full");
    write(file);

    expect(file.close()).toEqual({ isLogEmpty: true });

    expect(contentOf(path)).toEqual([1, 0]);
    expect(existsSync(`${path}-wal`)).toBe(false);
  });

  test("while somebody reads an earlier moment leaves its log, and says so", () => {
    const path = folder.newFile();
    const file = openDataFile(path, "full");
    write(file);
    const reader = aReader(path);
    write(file);

    expect(file.close()).toEqual({ isLogEmpty: false });

    expect(contentOf(path)).toEqual([expect.anything(), 1]);
    reader.close();
    const next = openDataFile(path, "full");
    expect(next.isLogMissing).toBe(false);
    expect(next.db.query("SELECT count(*) FROM paused_queues").values()).toEqual([[2]]);
    next.close();
    expect(contentOf(path)).toEqual([2, 0]);
  });

  test("while somebody reads the latest moment leaves its log, and says so", () => {
    const path = folder.newFile();
    const file = openDataFile(path, "full");
    write(file);
    const reader = aReader(path);

    expect(file.close()).toEqual({ isLogEmpty: false });

    expect(contentOf(path)).toEqual([1, 1]);
    reader.close();
  });

  test("when it can't be written leaves its log, and says so", () => {
    const path = folder.newFile();
    const file = openDataFile(path, "full");
    file.db.run(BREAK_MARK);

    expect(file.close()).toEqual({ isLogEmpty: false });
  });

  test("has everything before it says so, and a log until then", () => {
    const path = folder.newFile();
    const file = openDataFile(path, "full");
    write(file);
    file.db.run(BREAK_MARK);

    expect(emptyLog(file.db)).toBe(false);

    expect(contentOf(path)).toEqual([1, 1]);
    expect(statSync(`${path}-wal`).size).toBeGreaterThan(0);
    file.close();
  });
});

describe("a data file that is in use", () => {
  test("says so itself, without its log", () => {
    const path = folder.newFile();
    const file = openDataFile(path, "full");

    expect(contentOf(path)).toEqual([0, 1]);
    file.close();
  });

  test("has a log that is never empty, so that a crash leaves one", () => {
    const path = folder.newFile();
    const file = openDataFile(path, "full");

    expect(statSync(`${path}-wal`).size).toBeGreaterThan(0);
    file.close();
  });

  test("and copied without its log is told from one that crashed", () => {
    const path = folder.newFile();
    const file = openDataFile(path, "full");
    write(file);
    const copy = aCopyOf(path);
    const crashed = aCopyOf(path);
    copyFileSync(`${path}-wal`, `${crashed}-wal`);
    file.close();

    const [opened, recovered] = [openDataFile(copy, "full"), openDataFile(crashed, "full")];

    expect([opened.isLogMissing, recovered.isLogMissing]).toEqual([true, false]);
    opened.close();
    recovered.close();
    expect([contentOf(copy), contentOf(crashed)]).toEqual([
      [0, 0],
      [1, 0],
    ]);
  });
});

describe("only their owner may read", () => {
  function modeOf(path: string): string {
    return (statSync(path).mode & 0o777).toString(8);
  }

  test("a new data file and what lies beside it", () => {
    const path = folder.newFile();
    const file = openDataFile(path, "full");

    const modes = ["", "-wal", "-shm", "-lock"].map((suffix) => modeOf(path + suffix));

    expect(modes).toEqual(["600", "600", "600", "600"]);
    file.close();
  });

  test("one that was there keeps its mode, and its log has the same", () => {
    const path = aDataFile();
    chmodSync(path, 0o640);
    const file = openDataFile(path, "full");

    expect([modeOf(path), modeOf(`${path}-wal`)]).toEqual(["640", "640"]);
    file.close();
  });
});

describe("a link beside the data file", () => {
  test.each(["-wal", "-shm", "-lock"])("in the place of its %s is not followed", (suffix) => {
    const path = aDataFile();
    rmSync(path + suffix, { force: true });
    const target = folder.newFile();
    writeFileSync(target, "precious");
    symlinkSync(target, path + suffix);

    expect(() => openDataFile(path, "full")).toThrow(DataFileError);

    expect(readFileSync(target, "utf8")).toBe("precious");
  });

  test("in the place of a lock that leads nowhere makes no file", () => {
    const path = folder.newFile();
    const target = folder.newFile();
    symlinkSync(target, `${path}-lock`);

    expect(() => openDataFile(path, "full")).toThrow(
      new DataFileError(`${path}-lock can't be locked: it is not a file`),
    );

    expect(existsSync(target)).toBe(false);
  });

  test("in the place of a file that is being made is replaced", () => {
    const path = folder.newFile();
    const target = folder.newFile();
    writeFileSync(target, "precious");
    symlinkSync(target, `${path}-new`);

    openDataFile(path, "full").close();

    expect(readFileSync(target, "utf8")).toBe("precious");
  });
});

describe("in use, it is refused", () => {
  test("by its name", () => {
    const path = folder.newFile();
    const file = openDataFile(path, "full");

    expect(() => openDataFile(path, "full")).toThrow(
      new DataFileError(`${path} is in use by another process`),
    );
    file.close();
  });

  test("also by way of a symbolic link", () => {
    const path = aDataFile();
    const link = folder.newFile();
    symlinkSync(path, link);
    const file = openDataFile(path, "full");

    expect(() => openDataFile(link, "full")).toThrow(
      new DataFileError(`${path} is in use by another process`),
    );
    file.close();
  });
});

describe("refused, and left as it is, is", () => {
  test("a text file", () => {
    const path = folder.newFile();
    writeFileSync(path, "Dear diary,\n".repeat(100));

    expectRefusal(path, "is not a ringq data file");
    expect(existsSync(`${path}-lock`)).toBe(false);
  });

  test("a file that lost its data to another one since it was locked", () => {
    const path = aDataFile();
    writeFileSync(path, "Dear diary,\n".repeat(100));

    expectRefusal(path, "is not a ringq data file");
  });

  test("a file shorter than a header", () => {
    const path = folder.newFile();
    writeFileSync(path, "SQLite format 3\0");

    expectRefusal(path, "is an SQLite file of another program");
  });

  test("a database of another program", () => {
    const path = folder.newFile();
    change(path, "CREATE TABLE t (x)");

    expectRefusal(path, "is an SQLite file of another program");
  });

  test("a data file of a newer version", () => {
    const path = aDataFile();
    change(path, "PRAGMA user_version = 99");

    expectRefusal(
      path,
      `has version 99, but this ringq supports versions up to ${MIGRATIONS.length}. Use a newer ringq`,
    );
  });

  test("a data file with a second name", () => {
    const path = aDataFile();
    linkSync(path, folder.newFile());

    expectRefusal(path, "has a second hard link; remove that link");
  });

  test("a folder", () => {
    const path = folder.newFile();
    mkdirSync(path);

    expect(() => openDataFile(path, "full")).toThrow(new DataFileError(`${path} is not a file`));
    expect(existsSync(`${path}-lock`)).toBe(false);
  });

  test("a log without its data file", () => {
    const path = folder.newFile();
    writeFileSync(`${path}-wal`, "something");

    expect(() => openDataFile(path, "full")).toThrow(
      new DataFileError(`${path} is missing, but ${path}-wal is not. Restore both together`),
    );
    expect(readFileSync(`${path}-wal`, "utf8")).toBe("something");
  });

  test("a log whose data file is empty", () => {
    const path = folder.newFile();
    writeFileSync(path, "");
    writeFileSync(`${path}-wal`, "something");

    expect(() => openDataFile(path, "full")).toThrow(
      new DataFileError(`${path} is empty, but ${path}-wal is not. Restore both together`),
    );
  });

  test("a data file that was cut short", () => {
    const path = aDataFile();
    truncateSync(path, statSync(path).size - 4096);

    expect(() => openDataFile(path, "full")).toThrow(DataFileError);
    expect(statSync(path).size % 4096).toBe(0);
  });

  test("a data file with a damaged page", () => {
    const path = aDataFile();
    const bytes = readFileSync(path);
    bytes.fill(0xff, 4096, 4096 + 64);
    writeFileSync(path, bytes);

    expect(() => openDataFile(path, "full")).toThrow(DataFileError);
    expect(readFileSync(path).equals(bytes)).toBe(true);
  });

  test("a data file with a damaged page and a log", () => {
    const live = folder.newFile();
    const file = openDataFile(live, "full");
    write(file);
    const path = aCopyOf(live);
    copyFileSync(`${live}-wal`, `${path}-wal`);
    file.close();
    const bytes = readFileSync(path);
    bytes.fill(0xff, 4096, 4096 + 64);
    writeFileSync(path, bytes);
    const log = readFileSync(`${path}-wal`);

    expect(() => openDataFile(path, "full")).toThrow(DataFileError);

    expect(readFileSync(path).equals(bytes)).toBe(true);
    expect(readFileSync(`${path}-wal`).equals(log)).toBe(true);
  });

  test("a damaged file of an earlier version", () => {
    const path = aCopyOf(join(import.meta.dir, "../../fixtures/data-0.1.0/clean.db"));
    const bytes = readFileSync(path);
    bytes.fill(0xff, 4096, 4096 + 64);
    writeFileSync(path, bytes);

    expect(() => openDataFile(path, "full")).toThrow(DataFileError);

    expect(readFileSync(path).equals(bytes)).toBe(true);
  });

  test("a path whose folder does not exist", () => {
    const path = `${folder.newFile()}/none/x.db`;

    expect(() => openDataFile(path, "full")).toThrow(`${path} can't be found: ENOENT`);
  });

  test("a symbolic link that leads nowhere", () => {
    const link = folder.newFile();
    symlinkSync(folder.newFile(), link);

    expect(() => openDataFile(link, "full")).toThrow(DataFileError);
  });
});

test("after a refusal nobody is kept from the file", () => {
  const path = folder.newFile();
  writeFileSync(path, "text");
  expect(() => openDataFile(path, "full")).toThrow("is not a ringq data file");
  writeFileSync(path, "");

  openDataFile(path, "full").close();
});

describe("a migration", () => {
  const V1 = ["CREATE TABLE a (x)"];
  const V2 = [...V1, "ALTER TABLE a ADD COLUMN y; CREATE TABLE b (x)"];

  test("takes an older file to the newest version", () => {
    const db = new Database(folder.newFile());
    migrate(db, "file", V1);
    db.run("INSERT INTO a VALUES (1)");

    migrate(db, "file", V2);

    expect(db.query("SELECT x, y FROM a").values()).toEqual([[1, null]]);
    expect(pragma(db, "user_version")).toBe(2);
    db.close();
  });

  test("that fails leaves the file as it was", () => {
    const db = new Database(folder.newFile());
    migrate(db, "file", V1);

    expect(() => migrate(db, "file", [...V2, "NONSENSE"])).toThrow("syntax error");

    expect(pragma(db, "user_version")).toBe(1);
    expect(db.query("SELECT name FROM sqlite_schema").values()).toEqual([["a"]]);
    db.close();
  });

  test("of a newest file does nothing", () => {
    const db = new Database(folder.newFile());
    migrate(db, "file", V1);

    migrate(db, "file", V1);

    expect(pragma(db, "user_version")).toBe(1);
    db.close();
  });
});
