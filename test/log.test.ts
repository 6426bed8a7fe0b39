import { describe, expect, test } from "bun:test";
import { type Log, type LogLevel, silentLog, withFields } from "../src/log.ts";
import { createLog } from "../src/log-output.ts";

interface Written {
  readonly log: Log;
  readonly lines: readonly string[];
}

function aLog(level: LogLevel = "info"): Written {
  const lines: string[] = [];
  return {
    log: createLog({ level, isForPeople: false, write: (line) => lines.push(line) }),
    lines,
  };
}

test("the silent log takes every event and has no debug level", () => {
  expect(silentLog.isDebug).toBe(false);
  for (const level of ["debug", "info", "warn", "error"] as const) {
    expect(() => silentLog[level]("an_event")).not.toThrow();
  }
});

describe("withFields", () => {
  test("adds its fields to every event of every level, over fields of the same name", () => {
    const { log, lines } = aLog("debug");
    const own = withFields(log, { id: "7" });

    for (const level of ["debug", "info", "warn", "error"] as const) own[level](level, { id: "8" });
    own.info("without");

    expect(lines.map((line) => JSON.parse(line)).map(({ event, id }) => [event, id])).toEqual([
      ["debug", "7"],
      ["info", "7"],
      ["warn", "7"],
      ["error", "7"],
      ["without", "7"],
    ]);
  });

  test("has the debug level of the log below", () => {
    expect(withFields(aLog("debug").log, {}).isDebug).toBe(true);
    expect(withFields(aLog("info").log, {}).isDebug).toBe(false);
  });
});
