import { expect, test } from "bun:test";
import { requestOf, wirePath } from "../../../src/http/api/json.ts";

test("a body becomes a request of the engine, field by field", () => {
  expect(
    requestOf({
      payload: { max_retries: 1 },
      type: "a",
      queue: "b",
      tags: ["c"],
      priority: 1,
      max_retries: 2,
      timeout_ms: 3,
      delay_ms: 4,
      run_at: "1970-01-01T00:00:00.005Z",
    }),
  ).toEqual({
    payload: { max_retries: 1 },
    type: "a",
    queue: "b",
    tags: ["c"],
    priority: 1,
    maxRetries: 2,
    timeoutMs: 3,
    delayMs: 4,
    runAtMs: 5,
  });
});

test("a body with no more than a payload asks for nothing else", () => {
  expect<unknown>(requestOf({ payload: null })).toEqual({ payload: null });
});

test.each([
  ["", ""],
  ["/payload", "/payload"],
  ["/maxRetries", "/max_retries"],
  ["/timeoutMs", "/timeout_ms"],
  ["/delayMs", "/delay_ms"],
  ["/runAtMs", "/run_at"],
  ["/payload/maxRetries/0", "/payload/maxRetries/0"],
  ["/payload/a~1b\n/c", "/payload/a~1b\n/c"],
  ["/payload//", "/payload//"],
  ["/constructor", "/constructor"],
])("a fault of the engine at %p is told at %p", (path, told) => {
  expect(wirePath(path)).toBe(told);
});
