import { describe, expect, test } from "bun:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import { LIMITS, TASK_STATUSES } from "../../../src/engine/engine.ts";
import { PROBLEMS } from "../../../src/http/api/problem.ts";
import { openScene, type Scene } from "../../support/http-harness.ts";

interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly responses: Readonly<Record<string, { readonly headers?: object }>>;
}

interface Schema {
  readonly not?: object;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
}

interface Document {
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
  readonly openapi: string;
  readonly info: { readonly version: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

async function documentOf(scene: Scene): Promise<Document> {
  return (await (await scene.get("/openapi.json")).json()) as Document;
}

describe("the description of the API", () => {
  test("is a valid OpenAPI document", async () => {
    await using scene = await openScene();

    const result = await new Validator().validate({ ...(await documentOf(scene)) });

    expect(result).toEqual({ valid: true });
  });

  test("has every call, with every status that it answers", async () => {
    await using scene = await openScene();

    const { paths } = await documentOf(scene);

    const statuses = Object.entries(paths).flatMap(([path, operations]) =>
      Object.entries(operations).map(([method, { responses }]) => [
        `${method.toUpperCase()} ${path}`,
        Object.keys(responses).join(" "),
      ]),
    );
    expect(Object.fromEntries(statuses)).toEqual({
      "GET /healthz": "200",
      "GET /readyz": "200 503",
      "POST /enqueue": "202 400 413 415 421 422 503",
      "POST /enqueue/batch": "202 400 403 413 415 421 422 503",
      "GET /tasks": "200 421 422 503",
      "GET /tasks/{id}": "200 404 421 422 503",
      "DELETE /tasks/{id}": "200 403 404 409 421 422 503",
      "POST /tasks/{id}/retry": "202 403 404 409 421 422 503",
      "GET /queues": "200 421 422 503",
      "GET /queues/{name}": "200 404 421 422",
      "POST /queues/{name}/pause": "200 403 404 421 422 503",
      "POST /queues/{name}/resume": "200 403 404 421 422 503",
      "DELETE /queues/{name}/tasks": "200 403 404 421 422 503",
      "POST /claims": "200 400 403 409 413 415 421 422 503",
      "POST /claims/{token}/extend": "200 400 403 404 409 413 415 421 422",
      "POST /claims/{token}/done": "200 400 403 404 409 413 415 421 422 503",
      "POST /claims/{token}/failed": "200 400 403 404 409 413 415 421 422 503",
      "POST /claims/{token}/released": "200 400 403 404 409 413 415 421 422 503",
      "POST /claims/settle": "200 400 403 413 415 421 422",
    });
  });

  test("names the headers and parameters of a call", async () => {
    await using scene = await openScene();

    const { paths } = await documentOf(scene);

    const enqueue = paths["/enqueue"]?.["post"];
    expect(enqueue?.parameters).toMatchObject([{ name: "Idempotency-Key", in: "header" }]);
    expect(Object.keys(enqueue?.responses["202"]?.headers ?? {})).toEqual([
      "Location",
      "Idempotency-Replayed",
    ]);
    expect(Object.keys(enqueue?.responses["503"]?.headers ?? {})).toEqual(["Retry-After"]);
    expect(paths["/tasks"]?.["get"]?.parameters?.map(({ name }) => name)).toEqual([
      "status",
      "queue",
      "type",
      "tag",
      "limit",
      "cursor",
    ]);
    expect(paths["/tasks/{id}"]?.["get"]?.parameters?.map(({ name }) => name)).toEqual([
      "id",
      "wait_ms",
    ]);
  });

  test("says which fields exclude each other, and what a key and a cursor look like", async () => {
    await using scene = await openScene();

    const { components, paths } = await documentOf(scene);

    expect(components.schemas["EnqueueBody"]?.not).toEqual({ required: ["delay_ms", "run_at"] });
    expect(paths["/enqueue"]?.["post"]?.parameters).toMatchObject([
      { schema: { pattern: LIMITS.idempotencyKey.pattern, maxLength: 255 } },
    ]);
    const cursor = paths["/tasks"]?.["get"]?.parameters?.find(({ name }) => name === "cursor");
    expect(cursor).toMatchObject({ schema: { minLength: 1 } });
  });

  test("names every status of a task wherever tasks are counted", async () => {
    await using scene = await openScene();

    const { components } = await documentOf(scene);

    const { depth, totals } = components.schemas["Queue"]?.properties ?? {};
    expect(depth?.required).toEqual([...TASK_STATUSES]);
    const queue = await scene.enqueueWaiting().then(() => scene.queue());
    expect(Object.keys(depth?.properties ?? {})).toEqual(Object.keys(queue.depth));
    expect(Object.keys(totals?.properties ?? {})).toEqual(Object.keys(queue.totals));
  });

  test("names every code of a problem", async () => {
    await using scene = await openScene();

    const { components } = await documentOf(scene);

    const codes = components.schemas["Problem"]?.properties?.["code"];
    expect(codes).toMatchObject({ enum: Object.keys(PROBLEMS) });
  });

  test("carries the version of the package", async () => {
    await using scene = await openScene();

    const { info } = await documentOf(scene);

    const { version } = await Bun.file(`${import.meta.dir}/../../../package.json`).json();
    expect(info.version).toBe(version);
  });
});

describe("the page of the API", () => {
  test("shows every call and every schema, with no link that leads nowhere", async () => {
    await using scene = await openScene();

    const response = await scene.get("/docs");

    expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8");
    const page = await response.text();
    for (const path of Object.keys((await documentOf(scene)).paths)) {
      expect(page).toContain(`<code>${path}</code>`);
    }
    const targets = new Set(Array.from(page.matchAll(/ id="([^"]+)"/g), ([, id]) => id));
    const links = Array.from(page.matchAll(/href="#([^"]+)"/g), ([, id]) => id);
    expect(links.length).toBeGreaterThan(20);
    expect(links.filter((link) => !targets.has(link))).toEqual([]);
  });

  test("loads nothing and runs nothing", async () => {
    await using scene = await openScene();

    const response = await scene.get("/docs");

    expect(response.headers.get("content-security-policy")).toBe(
      "default-src 'none'; style-src 'unsafe-inline'",
    );
    expect(await response.text()).not.toMatch(/<script|<link|<img|@import|url\(|src=|https?:/i);
  });
});
