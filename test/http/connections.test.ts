import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { makeScratch } from "../faults/scratch.ts";
import { openScene } from "../support/http-harness.ts";
import { RawSocket, requestText } from "../support/socket.ts";

describe("a Host header", () => {
  test.each(["a", "localhost", "x.localhost:1", "[::1]:80", "127.0.0.1:8080", "a".repeat(255)])(
    "of %s makes no difference",
    async (host) => {
      await using scene = await openScene();
      using socket = await RawSocket.open(scene.port);

      socket.send(requestText("POST", "/enqueue", { host }, '{"payload":1}'));
      expect((await socket.answer()).status).toBe(202);
      socket.send(requestText("GET", "/nope", { host }));
      expect((await socket.answer()).status).toBe(404);
      socket.send(requestText("PUT", "/queues/a", { host }));
      expect(await socket.answer()).toMatchObject({
        status: 405,
        headers: { allow: "GET, HEAD" },
      });
    },
  );

  test("of a single letter moves no path", async () => {
    await using scene = await openScene();
    using socket = await RawSocket.open(scene.port);

    socket.send(requestText("GET", "/xy/tasks", { host: "a" }));

    expect((await socket.answer()).status).toBe(404);
  });

  test.each(["", "a/b", "a?b", "a#b", "a b", "@", "::", "%", "\u00ff", "a/tasks"])(
    "of %p that is no host is refused",
    async (host) => {
      await using scene = await openScene();
      using socket = await RawSocket.open(scene.port);

      socket.send(requestText("GET", "/queues", { host }));

      expect((await socket.answer()).status).toBe(421);
      socket.send(requestText("POST", "/enqueue", { host }, '{"payload":1}'));
      expect((await socket.answer()).status).toBe(421);
      socket.send(requestText("GET", "/healthz", { host }));
      expect((await socket.answer()).status).toBe(200);
    },
  );

  test("that is missing is refused before HTTP/1.1, but to a probe", async () => {
    await using scene = await openScene();

    const statuses: number[] = [];
    for (const path of ["/queues", "/healthz", "/readyz"]) {
      using socket = await RawSocket.open(scene.port);
      socket.send(`GET ${path} HTTP/1.0\r\n\r\n`);
      statuses.push((await socket.answer()).status);
    }

    expect(statuses).toEqual([421, 200, 200]);
  });

  test("that is missing in HTTP/1.1 makes a bad request", async () => {
    await using scene = await openScene();
    using socket = await RawSocket.open(scene.port);

    socket.send("GET /healthz HTTP/1.1\r\n\r\n");

    expect((await socket.answer()).status).toBe(400);
  });
});

describe("a connection", () => {
  test("carries one request after the other", async () => {
    await using scene = await openScene();
    using socket = await RawSocket.open(scene.port);

    const statuses: number[] = [];
    for (let index = 0; index < 100; index += 1) {
      socket.send(requestText("POST", "/enqueue", {}, '{"payload":1,"delay_ms":0}'));
      statuses.push((await socket.answer()).status);
    }

    expect(statuses).toEqual(Array(100).fill(202));
  });

  test("that sends before it has its answers gets each of them where none has to wait", async () => {
    await using scene = await openScene();
    using socket = await RawSocket.open(scene.port);

    socket.send(requestText("POST", "/enqueue", {}, '{"payload":1}').repeat(3));

    const statuses: number[] = [];
    for (let index = 0; index < 3; index += 1) statuses.push((await socket.answer()).status);
    expect(statuses).toEqual([202, 202, 202]);
  });

  test("that sends before an answer that waits for the disk is closed, and its key tells what was done", async () => {
    using scratch = makeScratch();
    await using scene = await openScene({ dataFile: join(scratch.folder, "ringq.db") });
    using socket = await RawSocket.open(scene.port);
    const ask = (key: string) =>
      requestText("POST", "/enqueue", { "idempotency-key": key }, '{"payload":1}');

    socket.send(ask("first") + ask("second"));
    await socket.closed();

    const replayed: boolean[] = [];
    for (const key of ["first", "second"]) {
      const response = await scene.post("/enqueue", { payload: 1 }, { "idempotency-key": key });
      expect(response.status).toBe(202);
      replayed.push(response.headers.get("idempotency-replayed") === "true");
    }
    expect(replayed).toEqual([true, false]);
  });

  test("that sends before an answer that waits for a task is closed", async () => {
    await using scene = await openScene();
    using socket = await RawSocket.open(scene.port);
    const id = await scene.enqueueHeld();

    socket.send(requestText("GET", `/tasks/${id}?wait_ms=60000`).repeat(2));

    await socket.closed();
  });

  test("carries on after every refusal of a body", async () => {
    await using scene = await openScene({ maxBodyBytes: 1024 });
    using socket = await RawSocket.open(scene.port);
    const bodies = ["{", "[]", JSON.stringify({ payload: "x".repeat(2000) }), '{"payload":1}'];

    const statuses: number[] = [];
    for (const body of bodies) {
      socket.send(requestText("POST", "/enqueue", {}, body));
      statuses.push((await socket.answer()).status);
    }

    expect(statuses).toEqual([400, 422, 413, 202]);
  });

  test("may bring its request byte by byte", async () => {
    await using scene = await openScene();
    using socket = await RawSocket.open(scene.port);

    for (const byte of requestText("POST", "/enqueue", {}, '{"payload":"slow"}')) {
      socket.send(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }

    expect((await socket.answer()).status).toBe(202);
  });

  test("that breaks off in the middle of a body enqueues nothing", async () => {
    await using scene = await openScene();
    using socket = await RawSocket.open(scene.port);
    socket.send(requestText("POST", "/enqueue", { "content-length": "100" }, '{"payload":1}'));
    await scene.get("/healthz");

    socket.abort();

    expect((await scene.get("/healthz")).status).toBe(200);
    expect((await scene.page()).tasks).toEqual([]);
  });

  test("that breaks off in the middle of a chunked body enqueues nothing", async () => {
    await using scene = await openScene();
    using socket = await RawSocket.open(scene.port);
    socket.send(
      "POST /enqueue HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" +
        'transfer-encoding: chunked\r\n\r\nd\r\n{"payload":1}\r\n',
    );
    await scene.get("/healthz");

    socket.abort();

    expect((await scene.get("/healthz")).status).toBe(200);
    expect((await scene.page()).tasks).toEqual([]);
  });

  test("that sends half a body holds up nobody else", async () => {
    await using scene = await openScene();
    const sockets = await Promise.all(
      Array.from({ length: 100 }, () => RawSocket.open(scene.port)),
    );
    for (const socket of sockets) {
      socket.send(requestText("POST", "/enqueue", { "content-length": "100" }, '{"payload":'));
    }

    expect((await scene.finished(await scene.enqueue())).status).toBe("done");

    for (const socket of sockets) socket.abort();
  });

  test("that sends half a head holds up nobody else", async () => {
    await using scene = await openScene();
    const sockets = await Promise.all(
      Array.from({ length: 100 }, () => RawSocket.open(scene.port)),
    );
    for (const socket of sockets) socket.send("POST /enqueue HTTP/1.1\r\nhost: x\r\nx-");

    expect((await scene.finished(await scene.enqueue())).status).toBe("done");

    for (const socket of sockets) socket.abort();
  });

  test("gets all its answers in order when it sends many requests at once", async () => {
    await using scene = await openScene();
    using socket = await RawSocket.open(scene.port);

    socket.send(requestText("GET", "/healthz").repeat(20) + requestText("GET", "/nope"));

    const statuses: number[] = [];
    for (let index = 0; index < 21; index += 1) statuses.push((await socket.answer()).status);
    expect(statuses).toEqual([...Array(20).fill(200), 404]);
  });

  test.each([
    ["many headers", Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`x-${i}`, "y"]))],
    ["a large header", { "x-large": "y".repeat(200_000) }],
    ["a large cookie", { cookie: "a=b; ".repeat(10_000) }],
  ])("with %s is refused, and the server lives", async (_, headers) => {
    await using scene = await openScene();
    using socket = await RawSocket.open(scene.port);

    socket.send(requestText("POST", "/enqueue", headers, '{"payload":1}'));

    await socket.closed();
    expect((await scene.get("/healthz")).status).toBe(200);
    expect((await scene.page()).tasks).toEqual([]);
  });

  test.each([
    ["no HTTP at all", "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\r\n\r\n"],
    ["no version", "GET /healthz\r\n\r\n"],
    ["a negative length", "POST /enqueue HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n{}"],
    ["a length that is none", "POST /enqueue HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n{}"],
    [
      "two lengths",
      "POST /enqueue HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x",
    ],
    [
      "a length and chunks",
      "POST /enqueue HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" +
        "content-length: 13\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    [
      "a chunk size that is none",
      "POST /enqueue HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" +
        "transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    ],
    ["a NUL in a header", "GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: a\u0000b\r\n\r\n"],
  ])("with %s is closed, and the server lives", async (_, text) => {
    await using scene = await openScene();
    using socket = await RawSocket.open(scene.port);

    socket.send(text);

    await socket.closed();
    expect((await scene.get("/healthz")).status).toBe(200);
    expect((await scene.page()).tasks).toEqual([]);
  });
});
