import { describe, expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import { type Body, withBody } from "../../src/http/body.ts";
import { shapeOf } from "../../src/http/shape.ts";
import { expectProblem, openScene } from "../support/http-harness.ts";
import { RawSocket, requestText } from "../support/socket.ts";

const PATHS = ["/enqueue", "/enqueue/batch"];

/** A body for `path` of exactly so many bytes. */
function aBodyOf(bytes: number, path: string): string {
  const [start, end] =
    path === "/enqueue" ? ['{"payload":"', '"}'] : ['{"tasks":[{"payload":"', '"}]}'];
  return start + "x".repeat(bytes - start.length - end.length) + end;
}

function aStreamOf(...chunks: (string | Uint8Array)[]): ReadableStream {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks)
        controller.enqueue(typeof chunk === "string" ? Buffer.from(chunk) : chunk);
      controller.close();
    },
  });
}

describe.each(PATHS)("the body of POST %s", (path) => {
  test.each([
    ["empty", ""],
    ["blank", "  \n"],
    ["cut off", '{"payload":'],
    ["two values", '{"payload":1}{"payload":2}'],
    ["a trailing comma", '{"payload":1,}'],
    ["single quotes", "{'payload':1}"],
    ["a comment", '{"payload":1 /* one */}'],
    ["NaN", '{"payload":NaN}'],
    ["a leading zero", '{"payload":01}'],
    ["a form", "payload=1"],
    ["a raw control character in a string", '{"payload":"\u0001"}'],
    ["a raw NUL", '{"payload":1}\u0000'],
  ])("that is %s is no JSON", async (_, body) => {
    await using scene = await openScene();

    await expectProblem(scene.send("POST", path, { body }), "invalid_json");
  });

  test("that is missing is no JSON", async () => {
    await using scene = await openScene();

    const headers = { "content-type": "application/json" };

    await expectProblem(scene.send("POST", path, { headers }), "invalid_json");
  });

  test("is quoted in no problem", async () => {
    await using scene = await openScene();

    const { detail } = await expectProblem(
      scene.send("POST", path, { body: '{"payload": s3cret}' }),
      "invalid_json",
    );

    expect(detail).toBe("The body is not JSON in UTF-8.");
  });

  test("that nests 100,000 levels is refused, and the server lives", async () => {
    await using scene = await openScene();
    const deep = "[".repeat(100_000) + "]".repeat(100_000);
    const body = path === "/enqueue" ? `{"payload":${deep}}` : `{"tasks":[{"payload":${deep}}]}`;

    const { errors } = await expectProblem(scene.send("POST", path, { body }), "invalid_request");

    expect(errors?.[0]?.path.length).toBeLessThanOrEqual(200);
    expect((await scene.get("/healthz")).status).toBe(200);
  });

  test("that nests 100,000 levels at its top is refused, and the server lives", async () => {
    await using scene = await openScene();
    const body = "[".repeat(100_000) + "]".repeat(100_000);

    await expectProblem(scene.send("POST", path, { body }), "invalid_request");

    expect((await scene.get("/healthz")).status).toBe(200);
  });

  test.each([
    "text/plain",
    "text/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonp",
    "application/json-seq",
    "application/problem+json",
    "application/xml",
    "application",
    "application/json, text/plain",
  ])("of the type %s is refused", async (type) => {
    await using scene = await openScene();

    await expectProblem(
      scene.send("POST", path, { body: '{"payload":1}', headers: { "content-type": type } }),
      "unsupported_media_type",
    );
  });

  test("of no type is refused", async () => {
    await using scene = await openScene();
    using socket = await RawSocket.open(scene.port);

    socket.send(
      `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 13\r\n\r\n{"payload":1}`,
    );

    const { status, body } = await socket.answer();
    expect(status).toBe(415);
    expect(JSON.parse(body)).toMatchObject({ code: "unsupported_media_type" });
  });

  test.each(["gzip", "br", "identity", ""])("with the encoding %p is refused", async (encoding) => {
    await using scene = await openScene();
    const headers = { "content-encoding": encoding };

    await expectProblem(
      scene.send("POST", path, { body: aBodyOf(100, path), headers }),
      "unsupported_media_type",
    );
  });

  test.each([
    "application/json; charset=utf-8",
    "application/json;charset=UTF-8",
    "application/json ; charset=utf-8",
    "Application/JSON",
  ])("of the type %s is taken", async (type) => {
    await using scene = await openScene();

    const response = await scene.send("POST", path, {
      body: aBodyOf(100, path),
      headers: { "content-type": type },
    });

    expect(response.status).toBe(202);
  });

  test("may be as large as the limit", async () => {
    await using scene = await openScene({ maxBodyBytes: 2048 });

    const response = await scene.send("POST", path, { body: aBodyOf(2048, path) });

    expect(response.status).toBe(202);
  });

  test("may not be a byte larger than the limit", async () => {
    await using scene = await openScene({ maxBodyBytes: 2048 });

    const { detail } = await expectProblem(
      scene.send("POST", path, { body: aBodyOf(2049, path) }),
      "body_too_large",
    );

    expect(detail).toBe("The body is larger than 2048 bytes.");
  });

  test("may come in chunks", async () => {
    await using scene = await openScene();
    const body = aBodyOf(100, path);

    const response = await scene.send("POST", path, {
      body: aStreamOf(body.slice(0, 30), body.slice(30)),
    });

    expect(response.status).toBe(202);
  });

  test("may come in chunks that cut a character in two", async () => {
    await using scene = await openScene();
    using socket = await RawSocket.open(scene.port);
    const bytes = Buffer.from(aBodyOf(60, path).replace("xx", "é")).toString("latin1");
    const cut = bytes.indexOf("\u00c3") + 1;
    const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;

    socket.send(
      `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n` +
        chunk(bytes.slice(0, cut)),
    );
    socket.send(`${chunk(bytes.slice(cut))}0\r\n\r\n`);

    expect((await socket.answer()).status).toBe(202);
    const [task] = (await scene.page()).tasks;
    expect(task?.payload).toStartWith("éxx");
  });

  test("may be as large as the limit in chunks", async () => {
    await using scene = await openScene({ maxBodyBytes: 2048 });
    const body = aBodyOf(2048, path);

    const response = await scene.send("POST", path, {
      body: aStreamOf(body.slice(0, 1000), body.slice(1000)),
    });

    expect(response.status).toBe(202);
  });

  test("may not be a byte larger than the limit in chunks", async () => {
    await using scene = await openScene({ maxBodyBytes: 2048 });
    const body = aBodyOf(2049, path);

    await expectProblem(
      scene.send("POST", path, { body: aStreamOf(body.slice(0, 1000), body.slice(1000)) }),
      "body_too_large",
    );
  });

  test("is refused for its length before it has come", async () => {
    await using scene = await openScene({ maxBodyBytes: 2048 });
    using socket = await RawSocket.open(scene.port);

    socket.send(requestText("POST", path, { "content-length": "2049" }, "{"));

    expect((await socket.answer()).status).toBe(413);
  });

  test("is refused as soon as its chunks are too large, though more would come", async () => {
    await using scene = await openScene({ maxBodyBytes: 1024 });
    using socket = await RawSocket.open(scene.port);

    socket.send(
      `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n` +
        `800\r\n${"x".repeat(0x800)}\r\n`,
    );

    expect((await socket.answer()).status).toBe(413);
  });

  test.each([
    ["with its length", (body: Uint8Array<ArrayBuffer>) => body],
    ["in chunks", (body: Uint8Array<ArrayBuffer>) => aStreamOf(body)],
  ])("may start with a byte order mark, %s", async (_, form) => {
    await using scene = await openScene();

    const response = await scene.send("POST", path, {
      body: form(Buffer.from(`\ufeff${aBodyOf(100, path)}`)),
    });

    expect(response.status).toBe(202);
  });

  test.each([
    ["with its length", (body: Uint8Array<ArrayBuffer>) => body],
    ["in chunks", (body: Uint8Array<ArrayBuffer>) => aStreamOf(body)],
  ])("with bytes that are no UTF-8 is no JSON, %s", async (_, form) => {
    await using scene = await openScene();
    const body = Buffer.from(aBodyOf(60, path).replace(/x+/, "a__b"));
    body.fill(0xff, body.indexOf("__"), body.indexOf("__") + 2);

    await expectProblem(scene.send("POST", path, { body: form(body) }), "invalid_json");

    expect((await scene.page()).tasks).toEqual([]);
    // The decoder is shared: it must not remember what it has refused.
    expect((await scene.send("POST", path, { body: aBodyOf(60, path) })).status).toBe(202);
  });

  test.each([
    ["with its length", (body: Uint8Array<ArrayBuffer>) => body],
    ["in chunks", (body: Uint8Array<ArrayBuffer>) => aStreamOf(body)],
  ])("may hold U+FFFD, which is a character like any other, %s", async (_, form) => {
    await using scene = await openScene();
    const body = Buffer.from(aBodyOf(60, path).replace(/x+/, "a\ufffdb"));

    expect((await scene.send("POST", path, { body: form(body) })).status).toBe(202);

    expect((await scene.page()).tasks).toMatchObject([{ payload: "a\ufffdb" }]);
  });
});

describe("a call that takes no body", () => {
  test.each([
    ["DELETE", "/tasks/x"],
    ["POST", "/tasks/x/retry"],
    ["POST", "/queues/x/pause"],
    ["POST", "/queues/x/resume"],
    ["DELETE", "/queues/x/tasks"],
  ])("does not look at one: %s %s", async (method, path) => {
    await using scene = await openScene();

    await expectProblem(scene.send(method, path, { body: "{broken" }), "not_found");
  });
});

describe("a body is a value before any binding puts it into words", () => {
  const shape = shapeOf(Type.Object({ a: Type.Number() }));

  function read(body: string, type = "application/json"): Promise<Body<{ a: number }>> {
    const headers = { "content-type": type, "content-length": String(body.length) };
    const request = new Request("http://localhost/", { method: "POST", headers, body });
    return withBody(request, shape, 100, (value) => value);
  }

  test("when it fits", async () => {
    expect(await read('{"a":1}')).toEqual({ kind: "body", value: { a: 1 } });
  });

  test.each([
    ["{}", "text/plain", "unsupported_media_type"],
    [" ".repeat(101), "application/json", "too_large"],
    ["{", "application/json", "invalid_json"],
    ["{}", "application/json", "misshapen"],
  ] as const)("when it does not: %p", async (body, type, kind) => {
    expect((await read(body, type)).kind).toBe(kind);
  });

  test("with its faults", async () => {
    const body = await read('{"a":"b"}');

    expect(body.kind === "misshapen" ? [...body.faults] : []).toEqual([
      { path: "/a", message: "Expected number" },
    ]);
  });
});
