/**
 * Who is answered: by the name in Host, by the site that a page is of, and by the origins that are
 * listed.
 */

import { describe, expect, test } from "bun:test";
import { bodyOf, expectProblem, openScene, type Scene } from "../../support/http-harness.ts";
import { RawSocket, requestText } from "../../support/socket.ts";

const ROUTES: readonly (readonly [method: string, path: string, json: object | undefined])[] = [
  ["POST", "/enqueue", { payload: 1 }],
  ["POST", "/enqueue/", { payload: 1 }],
  ["POST", "/enqueue/batch", { tasks: [{ payload: 1 }] }],
  ["GET", "/tasks", undefined],
  ["GET", "/tasks/x", undefined],
  ["DELETE", "/tasks/x", undefined],
  ["POST", "/tasks/x/retry", undefined],
  ["GET", "/queues", undefined],
  ["GET", "/queues/x", undefined],
  ["POST", "/queues/x/pause", undefined],
  ["POST", "/queues/x/resume", undefined],
  ["DELETE", "/queues/x/tasks", undefined],
  ["POST", "/claims", undefined],
  ["POST", "/claims/x/extend", undefined],
  ["POST", "/claims/x/done", undefined],
  ["POST", "/claims/x/failed", undefined],
  ["POST", "/claims/x/released", undefined],
  ["POST", "/claims/settle", { settles: [{ token: "x", outcome: "done" }] }],
  ["GET", "/openapi.json", undefined],
  ["GET", "/docs", undefined],
  ["GET", "/nope", undefined],
];

/** What a page of another site can send without a preflight, and what it can't. */
const CHANGES = ROUTES.filter(([method, path]) => method !== "GET" && !/^\/enqueue\/?$/.test(path));

const ORIGIN = "https://app.example";
const CROSS_SITE = { "sec-fetch-site": "cross-site", origin: ORIGIN };

async function statusFor(scene: Scene, host: string, path = "/queues"): Promise<number> {
  using socket = await RawSocket.open(scene.port);
  socket.send(requestText("GET", path, { host }));
  return (await socket.answer()).status;
}

describe("a request to a host that the server is not", () => {
  test.each(ROUTES)("is refused: %s %s", async (method, path, json) => {
    await using scene = await openScene();
    using socket = await RawSocket.open(scene.port);

    const body = json === undefined ? undefined : JSON.stringify(json);
    socket.send(requestText(method, path, { host: "evil.example" }, body));

    const answer = await socket.answer();
    expect(answer.status).toBe(421);
    expect(JSON.parse(answer.body)).toMatchObject({ code: "host_not_allowed" });
    expect((await scene.page()).tasks).toEqual([]);
  });

  test.each(["/healthz", "/readyz", "/healthz/", "/readyz?x=/queues"])(
    "is answered if it is a probe: %s",
    async (path) => {
      await using scene = await openScene();

      expect(await statusFor(scene, "evil.example", path)).toBe(200);
    },
  );

  test.each([
    "/queues?/healthz",
    "/queues#/healthz",
    "//healthz",
    "/healthz/../queues",
    "/x/healthz",
  ])("is no probe because it mentions one: %s", async (path) => {
    await using scene = await openScene();

    expect(await statusFor(scene, "evil.example", path)).toBe(421);
  });

  test("is answered under the names that are allowed, and no other", async () => {
    await using scene = await openScene({ allowedHosts: ["Ringq.example"] });

    expect(await statusFor(scene, "ringq.example:8080")).toBe(200);
    expect(await statusFor(scene, "www.ringq.example")).toBe(421);
  });

  test("is refused while the server stops as well", async () => {
    await using scene = await openScene({ workers: 1, shutdownGraceMs: 60_000 });
    await scene.enqueueHeld();
    const stopping = scene.server.stop();

    expect(await statusFor(scene, "evil.example")).toBe(421);

    scene.release();
    await stopping;
  });
});

describe("a change that a page of another site sends", () => {
  test.each(CHANGES)("is refused: %s %s", async (method, path, json) => {
    await using scene = await openScene();

    const sent = { headers: { "sec-fetch-site": "cross-site" }, json };

    await expectProblem(scene.send(method, path, sent), "cross_site");
    expect((await scene.page()).tasks).toEqual([]);
  });

  test("leaves a queue as it is", async () => {
    await using scene = await openScene();
    await scene.enqueueWaiting();
    const headers = { origin: "http://evil.example", "content-type": "text/plain" };

    await expectProblem(
      scene.send("POST", "/queues/default/pause", { headers, body: "" }),
      "cross_site",
    );

    expect((await scene.queue()).paused).toBe(false);
  });

  test("is no enqueue: its content type takes a preflight, and that is not granted", async () => {
    await using scene = await openScene();
    const ask = { ...CROSS_SITE, "access-control-request-method": "POST" };

    const preflight = await scene.send("OPTIONS", "/enqueue", { headers: ask });
    const simple = scene.send("POST", "/enqueue", {
      headers: { ...CROSS_SITE, "content-type": "text/plain" },
      body: '{"payload":1}',
    });

    expect(preflight.status).toBe(405);
    expect(preflight.headers.has("access-control-allow-origin")).toBe(false);
    await expectProblem(simple, "unsupported_media_type");
  });

  test("is a read that it can't see", async () => {
    await using scene = await openScene();

    const response = await scene.send("GET", "/tasks", { headers: CROSS_SITE });

    expect(response.status).toBe(200);
    expect(response.headers.has("access-control-allow-origin")).toBe(false);
  });
});

describe("a page of a listed origin", () => {
  const options = { corsOrigins: ["https://other.example", ORIGIN] };

  test.each(ROUTES.map(([, path]) => path))("may send to %s", async (path) => {
    await using scene = await openScene(options);
    const headers = { ...CROSS_SITE, "access-control-request-method": "POST" };

    const response = await scene.send("OPTIONS", path, { headers });

    expect(response.status).toBe(204);
    const { headers: answered } = response;
    expect(answered.get("access-control-allow-origin")).toBe(ORIGIN);
    expect(answered.get("access-control-allow-methods")).toBe("GET, POST, DELETE");
    expect(answered.get("access-control-allow-headers")).toBe(
      "content-type, idempotency-key, authorization",
    );
    expect(answered.get("vary")).toBe("origin");
    expect(await response.text()).toBe("");
  });

  test.each(ROUTES)("may read what %s %s answers", async (method, path, json) => {
    await using scene = await openScene(options);

    const response = await scene.send(method, path, { headers: CROSS_SITE, json });

    expect([200, 202, 404, 409]).toContain(response.status);
    expect(response.headers.get("access-control-allow-origin")).toBe(ORIGIN);
    expect(response.headers.get("access-control-expose-headers")).toBe(
      "location, idempotency-replayed, retry-after",
    );
    expect(response.headers.get("vary")).toBe("origin");
  });

  test("may read refusals, with all that they have", async () => {
    await using scene = await openScene({ ...options, queueSize: 1 });
    await scene.enqueueWaiting();

    const full = await scene.send("POST", "/enqueue", {
      headers: CROSS_SITE,
      json: { payload: 1 },
    });
    const none = await scene.send("PUT", "/queues/a", { headers: CROSS_SITE });
    const wrong = await scene.send("GET", "/tasks?limit=0", { headers: CROSS_SITE });

    for (const response of [full, none, wrong]) {
      expect(response.headers.get("access-control-allow-origin")).toBe(ORIGIN);
    }
    await expectProblem(full, "queue_full");
    await expectProblem(none, "method_not_allowed");
    await expectProblem(wrong, "invalid_request");
  });

  test("gets a receipt with its location", async () => {
    await using scene = await openScene(options);

    const response = await scene.send("POST", "/enqueue", {
      headers: CROSS_SITE,
      json: { payload: 1 },
    });

    const { id } = await bodyOf<{ id: string }>(response);
    expect(response.headers.get("location")).toBe(`/tasks/${id}`);
  });

  test("has no say for other hosts", async () => {
    await using scene = await openScene(options);
    using socket = await RawSocket.open(scene.port);
    const headers = { host: "evil.example", "access-control-request-method": "POST" };

    socket.send(requestText("OPTIONS", "/enqueue", { ...CROSS_SITE, ...headers }));

    expect((await socket.answer()).status).toBe(421);
  });
});

test.each(["https://evil.example", "http://app.example", "https://app.example:8443", "null"])(
  "a page of %s, which is not listed, gets no CORS headers but Vary",
  async (origin) => {
    await using scene = await openScene({ corsOrigins: [ORIGIN] });
    const headers = { origin, "sec-fetch-site": "cross-site" };

    const read = await scene.send("GET", "/tasks", { headers });
    const preflight = await scene.send("OPTIONS", "/enqueue", {
      headers: { ...headers, "access-control-request-method": "POST" },
    });
    const change = await scene.send("POST", "/queues/a/pause", { headers });

    for (const response of [read, preflight, change]) {
      expect(response.headers.has("access-control-allow-origin")).toBe(false);
      expect(response.headers.get("vary")).toBe("origin");
    }
    expect([read.status, preflight.status, change.status]).toEqual([200, 405, 403]);
  },
);
