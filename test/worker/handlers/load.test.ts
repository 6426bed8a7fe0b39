import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { type Loaded, loadHandlers, SLOW_LOAD_MS } from "../../../src/worker/handlers/load.ts";
import { ManualClock } from "../../support/manual-clock.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "ringq-load-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Writes a module of this name and source, and says where it is. */
async function aModule(name: string, source: string): Promise<string> {
  const path = join(folder, name);
  await Bun.write(path, source);
  return path;
}

function load(path: string): Promise<Loaded> {
  return loadHandlers(path, () => undefined, new ManualClock());
}

/** Why a module of this source can't be used. */
async function whyNot(name: string, source: string): Promise<string> {
  const path = await aModule(name, source);
  const loaded = await load(path);
  if (loaded.kind === "loaded") throw new Error("it was loaded");
  return loaded.why.replace(path, name);
}

const GATE = "ringq-load-gate";

const HANDLERS_SOURCE = `
  export default {
    [Symbol.for("ringq.handlers")]: true,
    types: new Map([["a", { handler: () => 7 }]]),
    queues: new Map(),
  };`;

describe("the onSlow of loadHandlers", () => {
  test("is called once for a module that takes its time, which is loaded all the same", async () => {
    const gate = Promise.withResolvers<void>();
    Object.assign(globalThis, { [GATE]: gate.promise });
    const path = await aModule(
      "slow.ts",
      `await globalThis[${JSON.stringify(GATE)}];${HANDLERS_SOURCE}`,
    );
    const clock = new ManualClock();
    let calls = 0;
    const loading = loadHandlers(path, () => (calls += 1), clock);

    await clock.advance(SLOW_LOAD_MS - 1);
    expect(calls).toBe(0);
    await clock.advance(2 * SLOW_LOAD_MS);
    expect(calls).toBe(1);
    gate.resolve();

    expect((await loading).kind).toBe("loaded");
  });

  test("is not called for a module that is fast", async () => {
    const clock = new ManualClock();
    let calls = 0;
    await loadHandlers(await aModule("fast.ts", HANDLERS_SOURCE), () => (calls += 1), clock);
    await clock.advance(2 * SLOW_LOAD_MS);

    expect(calls).toBe(0);
  });
});

describe("loadHandlers", () => {
  test("loads the default export of a module", async () => {
    const loaded = await load(await aModule("good.ts", HANDLERS_SOURCE));

    expect(loaded.kind === "loaded" && [...loaded.handlers.types.keys()]).toEqual(["a"]);
  });

  test("loads JavaScript by a relative path with a blank and a # in it", async () => {
    const path = await aModule("my #1 handlers.mjs", HANDLERS_SOURCE);

    expect((await load(relative(process.cwd(), path))).kind).toBe("loaded");
  });

  test.each([
    ["nothing", "export const other = 1;", "it has no default export"],
    ["null", "export default null;", "that is null"],
    ["an object", "export default { a: () => 7 };", "that is of type object"],
    ["a function", "export default () => 7;", "that is of type function"],
  ])("refuses a module that exports %s", async (what, source, found) => {
    const name = `exports ${what}.ts`;

    expect(await whyNot(name, source)).toBe(
      `${name} must export defineHandlers(…) as its default, but ${found}`,
    );
  });

  test.each([
    ["throws", 'throw new Error("no database");', "no database"],
    ["throws null", "throw null;", "null"],
    ["rejects", 'await Promise.reject(new Error("no database"));', "no database"],
    ["imports what is not there", 'import "./nowhere.ts";', "nowhere"],
    ["is no program", "export default {", "Expected"],
  ])("refuses a module that %s, and says why", async (what, source, why) => {
    const name = `${what.replaceAll(" ", "-")}.ts`;

    const sentence = await whyNot(name, source);

    expect(sentence).toStartWith(`${name} can't be loaded: `);
    expect(sentence).toContain(why);
  });

  test("names a module that does not exist", async () => {
    const path = join(folder, "nowhere.ts");

    expect(await load(path)).toEqual({
      kind: "failed",
      why: expect.stringContaining(`${path} can't be loaded: `),
    });
  });
});
