// Reads coverage/lcov.info and holds each room of src/ to its share of covered lines.
// bunfig.toml can state one threshold for everything; the rooms have different ones.
// A source file that no test loads is missing from the report: it counts as wholly uncovered here.

import { existsSync, readFileSync } from "node:fs";

const LCOV_FILE = "coverage/lcov.info";

/** Share of lines that tests must run. The core decides about tasks, so it is held to more. */
const LINES_MIN: Record<string, number> = { "src/core": 0.95, "all of src": 0.9 };

type Lines = { found: number; hit: number };

function linesByFile(lcov: string): Map<string, Lines> {
  const files = new Map<string, Lines>();
  for (const record of lcov.split("end_of_record")) {
    const file = /^SF:(.+)$/m.exec(record)?.[1]?.replaceAll("\\", "/");
    if (file === undefined) continue;
    files.set(file, {
      found: Number(/^LF:(\d+)$/m.exec(record)?.[1] ?? 0),
      hit: Number(/^LH:(\d+)$/m.exec(record)?.[1] ?? 0),
    });
  }
  return files;
}

/** Counts the lines of code in a file without its types and comments. */
function codeLines(file: string): number {
  const code = new Bun.Transpiler({ loader: "ts" }).transformSync(readFileSync(file, "utf8"));
  return code.split("\n").filter((line) => line.trim() !== "" && line.trim() !== "export {};")
    .length;
}

/** The room of a file is its folder right below src/: src/engine/sqlite/ counts to src/engine. */
function roomOf(file: string): string {
  const parts = file.split("/");
  return parts.length > 2 ? `src/${parts[1]}` : "src itself";
}

function fail(reason: string): never {
  console.log(`coverage: ${reason}`);
  process.exit(1);
}

if (!existsSync(LCOV_FILE)) fail(`${LCOV_FILE} is missing: run the tests with --coverage first.`);
const reported = linesByFile(readFileSync(LCOV_FILE, "utf8"));
if (![...reported.keys()].some((file) => file.startsWith("src/core/"))) {
  fail(`${LCOV_FILE} lists no file of src/core: it is not the report of this project's tests.`);
}

const rooms = new Map<string, Lines>();
const total: Lines = { found: 0, hit: 0 };
const unloaded: string[] = [];
for (const path of [...new Bun.Glob("src/**/*.ts").scanSync(".")].sort()) {
  const file = path.replaceAll("\\", "/");
  const lines = reported.get(file) ?? { found: codeLines(file), hit: 0 };
  if (!reported.has(file) && lines.found > 0) unloaded.push(file);
  const room = rooms.get(roomOf(file)) ?? { found: 0, hit: 0 };
  for (const sum of [room, total]) {
    sum.found += lines.found;
    sum.hit += lines.hit;
  }
  rooms.set(roomOf(file), room);
}
rooms.set("all of src", total);

let isBelow = false;
console.log("room         |   lines | covered | at least");
console.log("-------------|---------|---------|---------");
for (const [room, { found, hit }] of rooms) {
  const share = found === 0 ? 1 : hit / found;
  const shareMin = LINES_MIN[room];
  const isRoomBelow = shareMin !== undefined && share < shareMin;
  isBelow ||= isRoomBelow;
  // Rounded down, so that a share just below its threshold never prints as the threshold.
  const percent = (value: number) => `${(Math.floor(value * 1000) / 10).toFixed(1)} %`;
  console.log(
    [
      room.padEnd(12),
      String(found).padStart(7),
      percent(share).padStart(7),
      (shareMin === undefined ? "" : percent(shareMin)).padStart(8),
    ].join(" | ") + (isRoomBelow ? "  TOO LOW" : ""),
  );
}
for (const file of unloaded) console.log(`no test loads ${file}`);
if (isBelow) fail("too low.");
