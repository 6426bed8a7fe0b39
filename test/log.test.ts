import { describe, expect, test } from "bun:test";
import {
  BoundedWriter,
  createLog,
  LOG_LEVELS,
  type Log,
  type LogFields,
  type LogLevel,
  silentLog,
  withFields,
} from "../src/log.ts";

const ESC = "\x1b";

interface Written {
  readonly log: Log;
  readonly lines: readonly string[];
}

function aLog(level: LogLevel = "info", isForPeople = false): Written {
  const lines: string[] = [];
  return { log: createLog({ level, isForPeople, write: (line) => lines.push(line) }), lines };
}

/** What a machine reads of one event. */
function asJson(event: string, fields?: LogFields): Record<string, unknown> {
  const { log, lines } = aLog();
  log.info(event, fields);
  const [line = ""] = lines;
  return JSON.parse(line);
}

/** What a person reads of one event, without its time and colours. */
function asText(event: string, fields?: LogFields): string {
  const { log, lines } = aLog("info", true);
  log.info(event, fields);
  return lines
    .join("")
    .replaceAll(new RegExp(`${ESC}\\[\\d*m`, "g"), "")
    .slice("00:00:00 ".length);
}

describe("a log line for machines", () => {
  test("is one line of JSON that begins with its time, level and event", () => {
    const { log, lines } = aLog();

    log.warn("task_failed", { id: "7", attempt: 2, code: null });

    expect(lines).toHaveLength(1);
    const time = '"time":"\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z"';
    const rest = '"level":"warn","event":"task_failed","id":"7","attempt":2,"code":null';
    expect(lines[0]).toMatch(new RegExp(`^\\{${time},${rest}\\}\\n$`));
  });

  test("leaves out a field without a value", () => {
    expect(asJson("task_done", { code: undefined })).not.toContainKey("code");
  });

  test("stays one line whatever its texts hold", () => {
    const { log, lines } = aLog();

    log.info("a\nb", { "c\r\nd": "e\nf\u2028g" });

    expect(lines[0]?.match(/\n/g)).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ event: "a\nb", "c\r\nd": "e\nf\u2028g" });
  });

  test("lets no field pass for its time, level or event", () => {
    const forged = asJson("task_done", {
      time: "never",
      level: "error",
      event: "server_listening",
    });

    expect(forged).toMatchObject({ level: "info", event: "task_done" });
    expect(forged["time"]).not.toBe("never");
  });

  test("keeps a field of the name __proto__ as a field", () => {
    const fields = JSON.parse('{ "__proto__": "text" }');

    expect(Object.entries(asJson("odd", fields))).toContainEqual(["__proto__", "text"]);
  });
});

describe("a log line for people", () => {
  test("has the time of day, a coloured level, the event and its fields", () => {
    const { log, lines } = aLog("info", true);

    log.error("server_failed_to_start", { host: "::1", port: 80 });

    const dim = (text: string): string => `${ESC}[2m${text}${ESC}[0m`;
    const [line = ""] = lines;
    expect(line).toStartWith(`${ESC}[2m`);
    expect(line.slice(`${ESC}[2m`.length, `${ESC}[2m00:00:00`.length)).toMatch(/^\d\d:\d\d:\d\d$/);
    expect(line).toEndWith(
      ` ${ESC}[31merror${ESC}[0m server_failed_to_start ${dim("host=")}::1 ${dim("port=")}80\n`,
    );
  });

  test("leaves out a field without a value", () => {
    expect(asText("task_done", { code: undefined })).toBe("info  task_done\n");
  });

  test("quotes a value with blanks", () => {
    expect(asText("stopped", { why: "all done" })).toBe('info  stopped why="all done"\n');
  });

  test.each([
    ["a newline", "a\nb", '"a\\nb"'],
    ["an escape sequence", `${ESC}[2J`, '"\\u001b[2J"'],
    ["DEL", "a\x7fb", '"a\\u007fb"'],
    ["the control sequence introducer of Latin 1", "\u009b2J", '"\\u009b2J"'],
    ["a line separator", "a\u2028b", '"a\\u2028b"'],
    ["a change of the writing direction", "a\u202eb", '"a\\u202eb"'],
    ["a quote and a newline", '"\n', '"\\"\\n"'],
    ["nothing", "", '""'],
  ])("escapes %s in a value, an event and a name", (_, text, escaped) => {
    expect(asText(text, { [text]: text })).toBe(`info  ${escaped} ${escaped}=${escaped}\n`);
  });
});

describe("the level of a log", () => {
  const EVENTS = ["debug", "info", "warn", "error"] as const;

  test.each(LOG_LEVELS.map((level, index) => [level, EVENTS.slice(index)] as const))(
    "%s writes what is at least as serious",
    (level, written) => {
      const { log, lines } = aLog(level);

      for (const each of EVENTS) log[each](`an_event`);

      expect(lines.map((line) => JSON.parse(line).level)).toEqual([...written]);
    },
  );

  test("says whether debug events are worth computing", () => {
    expect(LOG_LEVELS.filter((level) => aLog(level).log.isDebug)).toEqual(["debug"]);
  });
});

test("the silent log is not to debug, and takes every event", () => {
  expect(silentLog.isDebug).toBe(false);
  for (const level of ["debug", "info", "warn", "error"] as const) {
    expect(() => silentLog[level]("an_event")).not.toThrow();
  }
});

describe("a log with fields of its own", () => {
  test("adds them to every event of every level, and its own win", () => {
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

  test("says the same of debugging as the log below", () => {
    expect(withFields(aLog("debug").log, {}).isDebug).toBe(true);
    expect(withFields(aLog("info").log, {}).isDebug).toBe(false);
  });
});

describe("the outlet of a log", () => {
  const KIB = 1024;

  /** A stream whose reader reads a line when the test says so. */
  class SlowReader {
    readonly read: string[] = [];
    readonly dropped: number[] = [];
    readonly outlet = new BoundedWriter(
      (line, onWritten) => this.#waiting.push([line, onWritten]),
      (dropped) => this.dropped.push(dropped),
    );
    readonly #waiting: [string, () => void][] = [];

    get waiting(): number {
      return this.#waiting.length;
    }

    readAll(): void {
      for (const [line, onWritten] of this.#waiting.splice(0)) {
        this.read.push(line);
        onWritten();
      }
    }
  }

  const aLine = (name: string): string => name.padEnd(KIB, ".");

  test("passes on every line to a reader that keeps up", () => {
    const reader = new SlowReader();

    for (let index = 0; index < 5000; index += 1) {
      reader.outlet.write(aLine(String(index)));
      reader.readAll();
    }

    expect(reader.read).toHaveLength(5000);
    expect(reader.dropped).toEqual([]);
  });

  test("lets no more than a mebibyte wait for a reader that does not", () => {
    const reader = new SlowReader();

    for (let index = 0; index < 5000; index += 1) reader.outlet.write(aLine(String(index)));

    expect(reader.waiting).toBe(1024);
  });

  test("tells how many lines it dropped once there is room, and goes on", () => {
    const reader = new SlowReader();
    for (let index = 0; index < 1030; index += 1) reader.outlet.write(aLine(String(index)));

    reader.readAll();
    reader.outlet.write(aLine("next"));
    reader.readAll();

    expect(reader.dropped).toEqual([6]);
    expect(reader.read).toHaveLength(1025);
    expect(reader.read.at(-1)).toBe(aLine("next"));
  });

  test("drops a short line too while it drops, so that there is one gap", () => {
    const reader = new SlowReader();
    for (let index = 0; index < 1025; index += 1) reader.outlet.write(aLine(String(index)));

    reader.outlet.write("short");
    reader.readAll();

    expect(reader.dropped).toEqual([2]);
  });
});
