import { describe, expect, test } from "bun:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import { openScene, type Scene } from "../../support/http-harness.ts";

interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly responses: Readonly<Record<string, { readonly headers?: object }>>;
}

interface Document {
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
      "POST /enqueue": "202 400 413 415 422 503",
      "POST /enqueue/batch": "202 400 413 415 422 503",
      "GET /tasks": "200 422",
      "GET /tasks/{id}": "200 404 422",
      "DELETE /tasks/{id}": "200 404 409 503",
      "POST /tasks/{id}/retry": "202 404 409 503",
      "GET /queues": "200",
      "GET /queues/{name}": "200 404",
      "POST /queues/{name}/pause": "200 404 503",
      "POST /queues/{name}/resume": "200 404 503",
      "DELETE /queues/{name}/tasks": "200 404 503",
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
      "limit",
      "cursor",
    ]);
    expect(paths["/tasks/{id}"]?.["get"]?.parameters?.map(({ name }) => name)).toEqual([
      "id",
      "wait_ms",
    ]);
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
