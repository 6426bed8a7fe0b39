import { Database } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { DataFileError, migrate, openDataFile } from "../../../src/engine/sqlite/data-file.ts";
import { MIGRATIONS } from "../../../src/engine/sqlite/migrations.ts";
import { makeDataFolder } from "../../support/data-folder.ts";

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
  for (const suffix of ["-wal", "-shm", "-new"]) expect(existsSync(path + suffix)).toBe(false);
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

    expectRefusal(path, "is not a data file of ringq");
  });

  test("a file shorter than a header", () => {
    const path = folder.newFile();
    writeFileSync(path, "SQLite format 3\0");

    expectRefusal(path, "is a data file of another program");
  });

  test("a database of another program", () => {
    const path = folder.newFile();
    change(path, "CREATE TABLE t (x)");

    expectRefusal(path, "is a data file of another program");
  });

  test("a data file of a newer version", () => {
    const path = aDataFile();
    change(path, "PRAGMA user_version = 99");

    expectRefusal(
      path,
      `has version 99, and this ringq knows versions up to ${MIGRATIONS.length}: use a newer one`,
    );
  });

  test("a data file with a second name", () => {
    const path = aDataFile();
    linkSync(path, folder.newFile());

    expectRefusal(path, "has a second name (a hard link)");
  });

  test("a folder", () => {
    const path = folder.newFile();
    mkdirSync(path);

    expect(() => openDataFile(path, "full")).toThrow(new DataFileError(`${path} is not a file`));
  });

  test("a log without its data file", () => {
    const path = folder.newFile();
    writeFileSync(`${path}-wal`, "something");

    expect(() => openDataFile(path, "full")).toThrow(
      new DataFileError(`${path} is missing, but ${path}-wal is not: they belong together`),
    );
    expect(readFileSync(`${path}-wal`, "utf8")).toBe("something");
  });

  test("a log whose data file is empty", () => {
    const path = folder.newFile();
    writeFileSync(path, "");
    writeFileSync(`${path}-wal`, "something");

    expect(() => openDataFile(path, "full")).toThrow(
      new DataFileError(`${path} is empty, but ${path}-wal is not: they belong together`),
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
  expect(() => openDataFile(path, "full")).toThrow("is not a data file");
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
