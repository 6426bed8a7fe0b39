/**
 * Checks the walls between the rooms of src/: which file may import what. Patterns read the imports
 * from the text, since Bun's own scanner drops those of types. They report one too many, as from
 * inside a string, rather than miss one.
 */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join, posix, resolve } from "node:path";

type Rooms = Readonly<Record<string, string>>;

/**
 * Rooms of src/ as patterns of files, and what each may import besides its own files: rooms, single
 * files of rooms, and packages with their subpaths. A row names only rooms above it, so no import
 * runs upward. A file with a row of its own does not belong to the room of its folder.
 */
const ROOMS: Rooms = {
  "core/*": "",
  "client/*": "",
  "clock.ts": "core/instant.ts",
  "log*.ts": "",
  "config.ts": "log.ts core/limits.ts node:net",
  "engine/*": "core/* log.ts",
  "engine/host/*": "engine/* core/* log.ts clock.ts",
  "engine/memory/*": "engine/host/* engine/* core/* log.ts clock.ts",
  "engine/sqlite/*": `engine/host/* engine/* core/* log.ts clock.ts
    bun:sqlite node:fs node:path node:url`,
  "engine/postgres/*": "engine/* core/* log.ts clock.ts bun",
  "worker/**": `engine/* log.ts clock.ts
    @sinclair/typebox node:path node:url node:timers/promises`,
  "http/*": "engine/* log.ts elysia @sinclair/typebox node:net",
  "http/api/*": "http/* engine/* log.ts elysia @elysiajs @sinclair/typebox",
  // Composes the bindings.
  "http/app.ts": "http/* http/api/* engine/* log.ts elysia @sinclair/typebox",
  // Composes the engines and the workers.
  "runtime.ts": `engine/* engine/host/* engine/memory/* engine/sqlite/* engine/postgres/*
    worker/** config.ts log*.ts clock.ts node:path`,
  "embedded.ts": "runtime.ts engine/* worker/** config.ts log*.ts",
  "server.ts": `http/app.ts runtime.ts engine/* worker/** config.ts log*.ts
    ../package.json`,
  "cli.ts": "engine/sqlite/* config.ts log*.ts ../package.json",
  "main.ts": `cli.ts server.ts runtime.ts engine/sqlite/data-file.ts config.ts log*.ts
    node:fs`,
  "index.ts": `server.ts embedded.ts runtime.ts engine/* engine/sqlite/data-file.ts worker/**
    log*.ts`,
};

/** Comments at the start of a line. Others stay: a string such as "src/**" looks like one. */
const COMMENTS = /^\s*(?:\/\*[\s\S]*?\*\/|\/\/(?!\/).*)/gm;

const GAP = String.raw`\s*(?:/\*[\s\S]*?\*/\s*)*`;

const FORMS = [
  // import "x", import … from "x", export … from "x", import("x"), typeof import("x")
  String.raw`(?<![.\w$])(?:import|from)${GAP}\(?${GAP}`,
  String.raw`\brequire(?:\.resolve)?${GAP}\(${GAP}`,
  String.raw`\bimport\.meta\.(?:require|resolve)${GAP}\(${GAP}`,
  String.raw`\bnew\s+URL${GAP}\(${GAP}(?=["'\`][^"'\`]*["'\`]\s*,\s*import\.meta\b)`,
  String.raw`///\s*<reference\s+\w+\s*=\s*`,
].map((form) => new RegExp(String.raw`${form}(?<quote>["'\`])(?<path>.*?)\k<quote>`, "g"));

/** Returns the paths that a file imports, in any form. */
function importsOf(text: string): readonly string[] {
  const code = text.replace(COMMENTS, "");
  const matches = FORMS.flatMap((form) => [...code.matchAll(form)]);
  return matches.map(({ groups }) => groups?.["path"] ?? "");
}

/** Returns what a room may import besides itself. */
function entriesOf(room: string, rooms: Rooms): readonly string[] {
  return (rooms[room] ?? "").split(/\s+/).filter((entry) => entry !== "");
}

function roomOf(file: string, rooms: Rooms): string | undefined {
  if (file in rooms) return file;
  return Object.keys(rooms).find((room) => new Bun.Glob(room).match(file));
}

/** Returns a sentence for each forbidden import of a file; `file` is its path in src/. */
function faultsOf(file: string, text: string, rooms: Rooms = ROOMS): readonly string[] {
  const room = roomOf(file, rooms);
  if (room === undefined) return [`${file} is in no room: give it a row in ${import.meta.file}`];
  const allowed = entriesOf(room, rooms);
  const only = allowed.join(", ") || "nothing";
  return importsOf(text)
    .map((path) => (path.startsWith(".") ? posix.join(posix.dirname(file), path) : path))
    .filter((target) => {
      const targetRoom = roomOf(target, rooms);
      if (targetRoom === room) return false;
      return !allowed.some(
        (entry) => entry === target || entry === targetRoom || target.startsWith(`${entry}/`),
      );
    })
    .map((target) => `${file} imports ${target}, but ${room} may import only: ${only}`);
}

/** Returns the entries that name a room which is not above their row. */
function upwardRows(rooms: Rooms): readonly string[] {
  const names = Object.keys(rooms);
  return names.flatMap((room, index) =>
    entriesOf(room, rooms)
      .map((entry) => (entry in rooms ? entry : roomOf(entry, rooms)))
      .filter((above) => above !== undefined && names.indexOf(above) >= index)
      .map((above) => `${room} names ${above}`),
  );
}

const SRC = resolve(import.meta.dir, "../../src");
const SOURCES = Array.from(new Bun.Glob("**/*.{ts,tsx,mts,js}").scanSync(SRC), (path) => {
  const file = path.replaceAll("\\", "/");
  return { file, text: readFileSync(join(SRC, path), "utf8") };
});

describe("src/", () => {
  const faults = SOURCES.flatMap(({ file, text }) => faultsOf(file, text)).sort();

  test("has no import that the table of rooms does not allow", () => {
    expect(faults).toEqual([]);
  });

  test("has no import that only Bun's scanner sees", () => {
    const scanner = new Bun.Transpiler({ loader: "ts" });
    const missed = SOURCES.flatMap(({ file, text }) => {
      const seen = importsOf(text);
      const paths = scanner.scanImports(text.replace(/^#!.*/, "")).map(({ path }) => path);
      return paths.filter((path) => !seen.includes(path)).map((path) => `${file}: ${path}`);
    });
    expect(missed).toEqual([]);
  });
});

describe("a table of rooms", () => {
  test("names only rooms above the row", () => {
    expect(upwardRows(ROOMS)).toEqual([]);
  });

  test("with a cycle is refused", () => {
    expect(upwardRows({ "low/*": "high.ts", "high.ts": "low/a.ts" })).toEqual([
      "low/* names high.ts",
    ]);
  });
});

describe("an upward import is found", () => {
  test.each([
    [`import { Engine } from "../engine/engine.ts";`],
    [`import type { Engine } from "../engine/engine.ts";`],
    [`import {\n  type Engine,\n} from\n  '../engine/engine.ts';`],
    [`import * as engine from "../engine/engine.ts" with { type: "text" };`],
    [`import "../engine/engine.ts";`],
    [`import /* why */ "../engine/engine.ts";`],
    [`/* why */ import "../engine/engine.ts";`],
    [`export * from "../engine/engine.ts";`],
    [`export type { Engine } from "../engine/engine.ts";`],
    [`let engine: import("../engine/engine.ts").Engine;`],
    ["const engine = await import(/* now */ `../engine/engine.ts`);"],
    [`const engine = require("../engine/engine.ts");`],
    [`const path = import.meta.resolve("../engine/engine.ts");`],
    [`new Worker(new URL("../engine/engine.ts", import.meta.url));`],
    [`/// <reference path="../engine/engine.ts" />`],
    [`import { task } from "./../engine/engine.ts";`],
    [`import { task } from "./task.ts";import "../engine/engine.ts";`],
  ])("%s", (text) => {
    expect(faultsOf("core/task.ts", text)).toEqual([
      "core/task.ts imports engine/engine.ts, but core/* may import only: nothing",
    ]);
  });
});

describe("a wall", () => {
  const rooms: Rooms = {
    "core/*": "",
    "log.ts": "",
    "engine/*": "core/a.ts log.ts elysia",
    "deep/**": "core/*",
  };

  test.each([
    ["a neighbour", "engine/engine.ts", `import "./intake.ts";`],
    ["a room that the row names", "deep/down/here.ts", `import "../../core/b.ts";`],
    ["a file that the row names", "engine/engine.ts", `import "../core/a.ts";`],
    ["a part of a package that the row names", "engine/engine.ts", `import "elysia/types";`],
    ["an address", "core/a.ts", `new URL("../log.ts", base); Array.from("../log.ts");`],
    ["a comment", "core/a.ts", `/**\n * import "../log.ts";\n */\n// from "../log.ts"\n`],
  ])("allows %s", (_, file, text) => {
    expect(faultsOf(file, text, rooms)).toEqual([]);
  });

  test.each([
    ["another file of a room", "engine/engine.ts", "../core/b.ts"],
    ["a folder inside of a room", "deep/here.ts", "../core/sub/a.ts"],
    ["a file outside of src/", "engine/engine.ts", "../../test/a.ts"],
    ["a package", "core/a.ts", "elysia"],
    ["a package with a longer name", "engine/engine.ts", "elysia-more"],
    ["a module of Bun", "core/a.ts", "bun:sqlite"],
    ["a module of node", "core/a.ts", "node:fs"],
    ["this package by its name", "engine/engine.ts", "ringq"],
    ["an absolute path", "engine/engine.ts", "/src/log.ts"],
  ])("refuses %s", (_, file, path) => {
    expect(faultsOf(file, `import "${path}";`, rooms)).toHaveLength(1);
  });

  test("refuses a file in a folder that the table does not know", () => {
    expect(faultsOf("engine/host/new.ts", "", rooms)).toEqual([
      "engine/host/new.ts is in no room: give it a row in walls.test.ts",
    ]);
  });
});
