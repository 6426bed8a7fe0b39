import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { loadHandlers } from "../../src/worker/load.ts";

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

/** Why a module of this source can't be used. */
async function whyNot(name: string, source: string): Promise<string> {
  const path = await aModule(name, source);
  const loaded = await loadHandlers(path);
  if (loaded.kind === "loaded") throw new Error("it was loaded");
  return loaded.why.replace(path, name);
}

const HANDLERS_SOURCE = `
  export default {
    [Symbol.for("ringq.handlers")]: true,
    types: new Map([["a", { handler: () => 7 }]]),
    queues: new Map(),
  };`;

describe("a module of handlers", () => {
  test("is loaded with what it exports as its default", async () => {
    const loaded = await loadHandlers(await aModule("good.ts", HANDLERS_SOURCE));

    expect(loaded.kind === "loaded" && [...loaded.handlers.types.keys()]).toEqual(["a"]);
  });

  test("may be JavaScript, named from the working directory, with a blank and a # in its path", async () => {
    const path = await aModule("my #1 handlers.mjs", HANDLERS_SOURCE);

    expect((await loadHandlers(relative(process.cwd(), path))).kind).toBe("loaded");
  });

  test.each([
    ["nothing", "export const other = 1;", "it has no default export"],
    ["null", "export default null;", "that is null"],
    ["an object", "export default { a: () => 7 };", "that is of type object"],
    ["a function", "export default () => 7;", "that is of type function"],
  ])("that exports %s is refused", async (what, source, found) => {
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
  ])("that %s is refused, and says why", async (what, source, why) => {
    const name = `${what.replaceAll(" ", "-")}.ts`;

    const sentence = await whyNot(name, source);

    expect(sentence).toStartWith(`${name} can't be loaded: `);
    expect(sentence).toContain(why);
  });

  test("that is not there is refused by its name", async () => {
    const path = join(folder, "nowhere.ts");

    expect(await loadHandlers(path)).toEqual({
      kind: "failed",
      why: expect.stringContaining(`${path} can't be loaded: `),
    });
  });
});
