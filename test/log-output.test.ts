import { describe, expect, test } from "bun:test";
import { LOG_LEVELS, type Log, type LogFields, type LogLevel } from "../src/log.ts";
import { BoundedWriter, createLog } from "../src/log-output.ts";

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

describe("createLog for machines", () => {
  test("writes one line of JSON that begins with its time, level and event", () => {
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

  test("writes one line whatever the texts hold", () => {
    const { log, lines } = aLog();

    log.info("a\nb", { "c\r\nd": "e\nf\u2028g" });

    expect(lines[0]?.match(/\n/g)).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ event: "a\nb", "c\r\nd": "e\nf\u2028g" });
  });

  test("lets no field replace the time, level or event", () => {
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

describe("createLog for people", () => {
  test("writes the time of day, a coloured level, the event and its fields", () => {
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
    "%s lets events through that are at least as serious",
    (level, written) => {
      const { log, lines } = aLog(level);

      for (const each of EVENTS) log[each](`an_event`);

      expect(lines.map((line) => JSON.parse(line).level)).toEqual([...written]);
    },
  );

  test("says whether debug events are written", () => {
    expect(LOG_LEVELS.filter((level) => aLog(level).log.isDebug)).toEqual(["debug"]);
  });
});

describe("a bounded writer", () => {
  const KIB = 1024;

  /** A stream whose reader reads when the test says so, and whose disk may be full. */
  class SlowReader {
    readonly read: string[] = [];
    readonly losses: number[] = [];
    readonly failures: string[] = [];
    readonly writer = new BoundedWriter({
      write: (line, onWritten) => this.#waiting.push([line, onWritten]),
      onFailure: ({ message }) => this.failures.push(message),
      onLoss: (lines) => this.losses.push(lines),
    });
    readonly #waiting: [string, (error?: Error | null) => void][] = [];

    get waiting(): number {
      return this.#waiting.length;
    }

    readAll(): void {
      for (const [line, onWritten] of this.#waiting.splice(0)) {
        this.read.push(line);
        onWritten();
      }
    }

    failAll(): void {
      for (const [, onWritten] of this.#waiting.splice(0)) onWritten(new Error("disk full"));
    }
  }

  const aLine = (name: string): string => name.padEnd(KIB, ".");

  function write(reader: SlowReader, lines: number): void {
    for (let index = 0; index < lines; index += 1) reader.writer.write(aLine(String(index)));
  }

  test("passes on every line to a reader that keeps up", () => {
    const reader = new SlowReader();

    for (let index = 0; index < 5000; index += 1) {
      reader.writer.write(aLine(String(index)));
      reader.readAll();
    }

    expect(reader.read).toHaveLength(5000);
    expect(reader.losses).toEqual([]);
  });

  test("lets no more than a mebibyte wait for a reader that does not keep up", () => {
    const reader = new SlowReader();

    write(reader, 5000);

    expect(reader.waiting).toBe(1024);
  });

  test("says how many lines it dropped once there is room, and goes on", () => {
    const reader = new SlowReader();
    write(reader, 1030);

    reader.readAll();
    reader.writer.write(aLine("next"));
    reader.readAll();

    expect(reader.losses).toEqual([6]);
    expect(reader.read).toHaveLength(1025);
    expect(reader.read.at(-1)).toBe(aLine("next"));
  });

  test("drops a short line too while it drops, so that there is one gap", () => {
    const reader = new SlowReader();
    write(reader, 1025);

    reader.writer.write("short");
    reader.readAll();

    expect(reader.losses).toEqual([2]);
  });

  test("reports a failing disk once, and counts the lines that it costs", () => {
    const reader = new SlowReader();

    for (const _ of "123") {
      write(reader, 1);
      reader.failAll();
    }
    write(reader, 2);
    reader.readAll();

    expect(reader.failures).toEqual(["disk full"]);
    expect(reader.losses).toEqual([3]);
    expect(reader.read).toHaveLength(2);
  });

  test("reports a disk that fails again after it has worked", () => {
    const reader = new SlowReader();

    for (const _ of "12") {
      write(reader, 1);
      reader.failAll();
      write(reader, 1);
      reader.readAll();
    }

    expect(reader.failures).toHaveLength(2);
    expect(reader.losses).toEqual([1, 1]);
  });

  test("goes on after a failure of all that waited while it was full", () => {
    const reader = new SlowReader();
    write(reader, 1030);
    reader.failAll();

    write(reader, 1);
    reader.readAll();

    expect(reader.read).toHaveLength(1);
    expect(reader.losses).toEqual([1030]);
  });
});
