import { describe, expect, test } from "bun:test";
import { claimOfToken, tokenOf } from "../../../src/http/api/token.ts";
import { expectProblem, openScene } from "../../support/http-harness.ts";
import { RawSocket, requestText } from "../../support/socket.ts";

const ID = "01920000-0000-7000-8000-000000000abc";

/** One more than the largest fence: 2⁵³. */
const TOO_LARGE = "9007199254740992";

/** Text that has not the form of a token, as it is. */
const NO_TOKENS: readonly string[] = [
  "x",
  ".",
  ".1",
  "constructor",
  ID,
  `${ID}.`,
  `${ID}..1`,
  `${ID}.1.`,
  `${ID}.1.2`,
  `${ID}-1`,
  `${ID}.0`,
  `${ID}.01`,
  `${ID}.-1`,
  `${ID}.+1`,
  `${ID}.1e1.`,
  `${ID}.a`,
  `${ID}.1a`,
  `${ID}.0x1`,
  `${ID}.${TOO_LARGE}`,
  `${ID}.9999999999999999`,
  `${ID}.${"1".repeat(17)}`,
  `${ID}.${"1".repeat(500)}`,
  `x${ID}.1`,
  `${ID.toUpperCase()}.1`,
  `{${ID}}.1`,
  `${ID.replaceAll("-", "")}.1`,
  // Version 4, and a variant that does not exist.
  "01920000-0000-4000-8000-000000000abc.1",
  "01920000-0000-7000-7000-000000000abc.1",
  `${ID.slice(1)}.1`,
  `0${ID}.1`,
  `${ID}.1${"x".repeat(5000)}`,
];

/** Text that is no token once it is decoded, or only once it is decoded. */
const ENCODED: readonly string[] = [
  `${ID}%2E1%2E`,
  `${ID}.1%20`,
  `%20${ID}.1`,
  `${ID}.1%0A`,
  `${ID}.1%00`,
  `${ID}.%EF%BC%91`,
  `${ID}.1%2Fdone`,
  `${ID}.1%`,
  `${ID}.1%zz`,
  `${ID}.1%FF`,
  "%2e%2e",
];

describe("a token", () => {
  test.each([1, 35, 36, 2 ** 52, Number.MAX_SAFE_INTEGER])("stands for the fence %d", (fence) => {
    expect(claimOfToken(tokenOf({ taskId: ID, fence }))).toEqual({ taskId: ID, fence });
  });

  test("has its fence in decimal", () => {
    expect(tokenOf({ taskId: ID, fence: 36 })).toBe(`${ID}.36`);
    expect(tokenOf({ taskId: ID, fence: Number.MAX_SAFE_INTEGER })).toBe(`${ID}.9007199254740991`);
  });

  test.each(NO_TOKENS)("is not %p", (text) => {
    expect(claimOfToken(text)).toBeNull();
  });

  test.each([`${ID}.1\n`, `\n${ID}.1`, ` ${ID}.1`, `${ID}.1 `, `${ID}.١`])(
    "has no blanks and no foreign digits: %p",
    (text) => {
      expect(claimOfToken(text)).toBeNull();
    },
  );
});

describe("a call for text that is no token", () => {
  test.each(NO_TOKENS.filter((text) => text !== "."))("is not found: %s", async (text) => {
    await using scene = await openScene({ handlers: "none" });
    using socket = await RawSocket.open(scene.port);

    // A client of a library would rewrite some of these paths.
    for (const call of ["extend", "done", "failed", "released"]) {
      socket.send(requestText("POST", `/claims/${text}/${call}`, {}, "{}"));
      const { status, body } = await socket.answer();
      expect(status).toBe(404);
      expect(JSON.parse(body)).toMatchObject({ code: "not_found" });
      expect(body).not.toContain(text);
    }
  });

  test.each(ENCODED)("is not found: %s", async (text) => {
    await using scene = await openScene({ handlers: "none" });
    using socket = await RawSocket.open(scene.port);

    socket.send(requestText("POST", `/claims/${text}/done`, {}, "{}"));

    const { status, body } = await socket.answer();
    expect(status).toBe(404);
    expect(JSON.parse(body)).toMatchObject({ code: "not_found" });
  });

  test("comes after the checks of its body", async () => {
    await using scene = await openScene({ handlers: "none" });

    await expectProblem(scene.post("/claims/x/done", { results: 1 }), "invalid_request");
    await expectProblem(scene.post("/claims/x/done", { result: 1 }), "not_found");
    await expectProblem(scene.post("/claims/x/failed", { retry: "never" }), "not_found");
  });
});

describe("a token in another form", () => {
  test.each<[string, (token: string) => string]>([
    ["as it is", (token) => token],
    ["with its dot encoded", (token) => token.replace(".", "%2E")],
    ["with all of it encoded", (token) => token.replace(/./g, percentEncoded)],
  ])("settles its claim: %s", async (_, form) => {
    await using scene = await openScene({ handlers: "none" });
    const { token, task } = await scene.claimNew();
    using socket = await RawSocket.open(scene.port);

    socket.send(requestText("POST", `/claims/${form(token)}/done`, {}, "{}"));

    expect((await socket.answer()).status).toBe(200);
    expect((await scene.task(task.id)).status).toBe("done");
  });
});

function percentEncoded(letter: string): string {
  return `%${letter.charCodeAt(0).toString(16)}`;
}
