import { describe, expect, test } from "bun:test";
import { expectProblem, openScene } from "../../support/http-harness.ts";

/** Every route that changes or shows something. */
const ROUTES: readonly (readonly [method: string, path: string, json?: object])[] = [
  ["POST", "/enqueue", { payload: 1 }],
  ["POST", "/enqueue/", { payload: 1 }],
  ["POST", "/enqueue/batch", { tasks: [{ payload: 1 }] }],
  ["GET", "/tasks"],
  ["HEAD", "/tasks"],
  ["GET", "/tasks/x"],
  ["DELETE", "/tasks/x"],
  ["POST", "/tasks/x/retry"],
  ["GET", "/queues"],
  ["GET", "/queues/x"],
  ["POST", "/queues/x/pause"],
  ["POST", "/queues/x/resume"],
  ["DELETE", "/queues/x/tasks"],
];

describe.each(ROUTES)("%s %s", (method, path, json) => {
  test.each(["status=failed&no_such=1", "no_such", "no_such=", "__proto__=1", "no_such=%zz"])(
    "refuses ?%s by name",
    async (query) => {
      await using scene = await openScene();

      const response = await scene.send(method, `${path}?${query}`, { json });

      expect(response.status).toBe(422);
      if (method === "HEAD") return;
      const { errors } = await expectProblem(response, "invalid_request");
      const name = query.startsWith("__proto__") ? "__proto__" : "no_such";
      expect(errors).toContainEqual({ path: name, message: "Unknown query parameter" });
      expect((await scene.page()).tasks).toEqual([]);
    },
  );

  test("takes a query without anything in it", async () => {
    await using scene = await openScene();

    const plain = await scene.send(method, path, { json });
    const { status } = await scene.send(method, `${path}?`, { json });

    expect(status).toBe(plain.status);
    expect(status).not.toBe(422);
  });
});

test.each([
  ["/tasks", "status=queued&status=done", "status"],
  ["/tasks", "limit=1&queue=a&limit=1", "limit"],
  ["/tasks", "queue=a&qu%65ue=b", "queue"],
  ["/tasks/x", "wait_ms=1&wait_ms=2", "wait_ms"],
])("GET %s?%s is refused, as one of them would be ignored", async (path, query, name) => {
  await using scene = await openScene();

  const { errors } = await expectProblem(scene.get(`${path}?${query}`), "invalid_request");

  expect(errors).toEqual([{ path: name, message: "is given more than once" }]);
});

test("a purge with a filter that it does not know cancels nothing", async () => {
  await using scene = await openScene();
  const id = await scene.enqueueWaiting();

  await expectProblem(scene.delete("/queues/default/tasks?status=retrying"), "invalid_request");

  expect((await scene.task(id)).status).toBe("scheduled");
});

test.each(["/healthz", "/readyz", "/openapi.json", "/docs"])(
  "GET %s takes no notice of a query",
  async (path) => {
    await using scene = await openScene();

    expect((await scene.get(`${path}?at=1&at=2`)).status).toBe(200);
  },
);
