import { describe, expect, test } from "bun:test";
import { expectProblem, openScene } from "../../support/http-harness.ts";

const ID = "01920000-0000-7000-8000-000000000000";

/** Every path there is, with the methods that it answers. */
const PATHS: readonly (readonly [path: string, methods: readonly string[]])[] = [
  ["/healthz", ["GET", "HEAD"]],
  ["/readyz", ["GET", "HEAD"]],
  ["/enqueue", ["POST"]],
  ["/enqueue/batch", ["POST"]],
  ["/tasks", ["GET", "HEAD"]],
  [`/tasks/${ID}`, ["GET", "HEAD", "DELETE"]],
  [`/tasks/${ID}/retry`, ["POST"]],
  ["/queues", ["GET", "HEAD"]],
  ["/queues/default", ["GET", "HEAD"]],
  ["/queues/default/pause", ["POST"]],
  ["/queues/default/resume", ["POST"]],
  ["/queues/default/tasks", ["DELETE"]],
  ["/claims", ["POST"]],
  [`/claims/${ID}.1/extend`, ["POST"]],
  [`/claims/${ID}.1/done`, ["POST"]],
  [`/claims/${ID}.1/failed`, ["POST"]],
  [`/claims/${ID}.1/released`, ["POST"]],
  ["/claims/settle", ["POST"]],
  ["/openapi.json", ["GET", "HEAD"]],
  ["/docs", ["GET", "HEAD"]],
];

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

describe("GET /healthz", () => {
  test("answers 200 with an empty body", async () => {
    await using scene = await openScene();

    const response = await scene.get("/healthz");

    expect(response.status).toBe(200);
    expect(await response.text()).toBe("");
    expect(response.headers.get("content-length")).toBe("0");
  });
});

describe("GET /readyz", () => {
  test("answers 200 with an empty body while tasks are taken", async () => {
    await using scene = await openScene();

    const response = await scene.get("/readyz");

    expect(response.status).toBe(200);
    expect(await response.text()).toBe("");
  });

  test("is ready with a full queue, since only that queue is full", async () => {
    await using scene = await openScene({ queueSize: 1 });
    await scene.enqueueWaiting();

    expect((await scene.get("/readyz")).status).toBe(200);
  });
});

describe.each(PATHS)("%s", (path, methods) => {
  test("answers 405 to other methods, and says which it answers", async () => {
    await using scene = await openScene();

    for (const method of METHODS.filter((each) => !methods.includes(each))) {
      const response = await scene.send(method, path);
      expect(response.headers.get("allow")).toBe(methods.join(", "));
      if (method === "HEAD" || method === "TRACE") expect(response.status).toBe(405);
      else await expectProblem(response, "method_not_allowed");
    }
  });

  test("answers its own methods with a slash at its end as well as without", async () => {
    await using scene = await openScene();

    for (const method of methods) {
      const plain = await scene.send(method, path);
      const slashed = await scene.send(method, `${path}/`);
      expect(slashed.status).toBe(plain.status);
      expect(slashed.status).not.toBe(405);
      expect(await slashed.text()).toBe(await plain.text());
    }
  });

  test("answers 405 with a slash at its end too", async () => {
    await using scene = await openScene();

    const response = await scene.send("PUT", `${path}/`);

    expect(response.headers.get("allow")).toBe(methods.join(", "));
    await expectProblem(response, "method_not_allowed");
  });
});

describe("HEAD", () => {
  test.each(PATHS.filter(([, methods]) => methods.includes("GET")).map(([path]) => path))(
    "%s answers as GET does, without a body",
    async (path) => {
      await using scene = await openScene();
      const got = await scene.get(path);

      const head = await scene.send("HEAD", path);

      expect(head.status).toBe(got.status);
      expect(head.headers.get("content-type")).toBe(got.headers.get("content-type"));
      expect(Number(head.headers.get("content-length"))).toBe((await got.bytes()).byteLength);
      expect(await head.text()).toBe("");
    },
  );
});

describe("a path that is none", () => {
  test.each([
    "/",
    "/nope",
    "/TASKS",
    "/tasks/a/b",
    "/tasks/a/retry/b",
    "/queues/a/b",
    "/enqueue/x",
    "/enqueue/batch/x",
    "/claims/a",
    "/claims/a/b",
    "/claims/a/settle",
    "/claims/a/done/b",
    "/claims//done",
    "/claims/a",
    "/claims/a/b",
    "/claims/a/settle",
    "/claims/a/done/b",
    "/claims//done",
    "/healthz/x",
    "/%74asks",
    "/%",
    "/%00",
    "/tasks%2Fx",
    "/__proto__",
    "/constructor",
    "/docs/json",
    "/openapi",
    "/*",
    "/:id",
    `/${"x".repeat(10_000)}`,
    "/?tasks",
  ])("%s is not found, whatever the method", async (path) => {
    await using scene = await openScene();

    await expectProblem(scene.get(path), "not_found");
    await expectProblem(scene.post(path, {}), "not_found");
  });

  test("is not repeated in the answer", async () => {
    await using scene = await openScene();

    const { detail } = await expectProblem(scene.get("/<script>alert(1)"), "not_found");

    expect(detail).toBe("No route matches this path.");
  });
});
