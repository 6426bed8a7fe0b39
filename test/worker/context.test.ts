import { describe, expect, test } from "bun:test";
import type { Log, LogFields } from "../../src/log.ts";
import { createLog } from "../../src/log-output.ts";
import { Context, LINE_LENGTH_MAX } from "../../src/worker/context.ts";

const FACTS = { id: "task-1", type: "email", queue: "mail", attempt: 2, maxRetries: 3 };

interface Scene {
  readonly context: Context;
  readonly signal: AbortSignal;
  /** What was logged, line by line. */
  readonly lines: readonly string[];
  /** What was shown, text by text. */
  readonly shown: readonly string[];
}

function aContext(progressBytesMax = 100): Scene {
  const lines: string[] = [];
  const shown: string[] = [];
  const { signal } = new AbortController();
  const log = createLog({ level: "info", isForPeople: false, write: (line) => lines.push(line) });
  const context = new Context({ task: FACTS, signal }, { log, progressBytesMax }, (text) =>
    shown.push(text),
  );
  return { context, signal, lines, shown };
}

describe("the context of a handler", () => {
  test("shows the task, the number of the attempt and its signal", () => {
    const { context, signal } = aContext();

    const { id, type, queue, attempt, maxRetries } = context;

    expect({ id, type, queue, attempt, maxRetries }).toEqual(FACTS);
    expect(context.signal).toBe(signal);
  });

  test("has a log whose lines name the task, whatever the handler calls its fields", () => {
    const { context, lines } = aContext();

    context.log.warn("sent", { to: 7, id: "forged" });

    expect(JSON.parse(lines.join(""))).toMatchObject({
      level: "warn",
      event: "sent",
      to: 7,
      id: "task-1",
      type: "email",
      attempt: 2,
    });
  });

  test.each(["debug", "info", "warn", "error"] as const)(
    "has a log that takes anything: %s",
    (level) => {
      const { context, lines } = aContext();
      const cyclic: Record<string, unknown> = { big: 10n, none: undefined, null: null };
      cyclic["self"] = cyclic;

      context.log[level](Symbol("odd") as unknown as string, cyclic as LogFields);

      if (level === "debug") expect(lines).toEqual([]);
      else
        expect(JSON.parse(lines.join(""))).toMatchObject({
          event: "Symbol(odd)",
          big: "10",
          null: null,
        });
    },
  );

  test("cuts a line that is too long, and keeps the fields that name the task", () => {
    const { context, lines } = aContext();

    context.log.info("dump", { short: 1, text: "x".repeat(10 * LINE_LENGTH_MAX), next: "y" });

    const [line = ""] = lines;
    const { text, ...others } = JSON.parse(line);
    expect(others).toMatchObject({ event: "dump", short: 1, id: "task-1" });
    expect(others).not.toContainKey("next");
    expect(text).toEndWith("x…");
    expect(text.length).toBeWithin(LINE_LENGTH_MAX - 100, LINE_LENGTH_MAX);
  });

  test("keeps a line whole that just fits", () => {
    const { context, lines } = aContext();
    const text = "x".repeat(LINE_LENGTH_MAX - 100);

    context.log.info("dump", { text, next: "y" });

    expect(JSON.parse(lines.join(""))).toMatchObject({ text, next: "y" });
  });

  test.each<[string, (log: Log) => void]>([
    ["an endless event", (log) => log.info("x".repeat(10 * LINE_LENGTH_MAX), { a: 1 })],
    ["an endless name", (log) => log.info("dump", { ["x".repeat(10 * LINE_LENGTH_MAX)]: 1 })],
    [
      "endless fields",
      (log) =>
        log.info("dump", Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [i, ""]))),
    ],
  ])("bounds a line with %s", (_, write) => {
    const { context, lines } = aContext();

    write(context.log);

    expect(lines.join("").length).toBeWithin(1, LINE_LENGTH_MAX + 200);
  });

  test("says whether debug lines are written", () => {
    expect(aContext().context.log.isDebug).toBe(false);
  });

  test("passes progress on as JSON, also when it is taken apart", () => {
    const { context, shown } = aContext();
    const { progress } = context;

    progress({ done: 0.5 });
    progress(undefined);

    expect(shown).toEqual(['{"done":0.5}', "null"]);
  });

  test.each<[string, unknown, string]>([
    ["a BigInt", 10n, "BigInt"],
    ["a function", () => 1, "a function is not a JSON value"],
    ["what is too large", "x".repeat(99), "it has 101 bytes; the limit is 100"],
  ])("refuses %s as progress", (_, value, why) => {
    const { context, shown } = aContext();

    expect(() => context.progress(value)).toThrow(TypeError);
    expect(() => context.progress(value)).toThrow(why);
    expect(shown).toEqual([]);
  });
});
