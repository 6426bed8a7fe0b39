/**
 * What an HTTP test stands on: a server that really listens, on a port that the system picks, with
 * handlers that do what the test asks of them.
 */

import { expect } from "bun:test";
import type { Static } from "@sinclair/typebox";
import type { Engine } from "../../src/engine/engine.ts";
import { PROBLEMS, type ProblemCode, type ProblemSchema } from "../../src/http/api/problem.ts";
import type {
  BatchReceipt,
  ClaimBody,
  ClaimsJson,
  EnqueueBody,
  QueueJson,
  Receipt,
  SettleReceiptJson,
  TaskJson,
  TaskPageJson,
} from "../../src/http/api/schemas.ts";
import { createApp } from "../../src/http/app.ts";
import {
  createServer,
  defineHandlers,
  type Log,
  NonRetryableError,
  type Server,
  type StopReport,
} from "../../src/index.ts";
import { silentLog } from "../../src/log.ts";
import type { ServerOptions } from "../../src/server.ts";

export type TaskBody = Static<typeof TaskJson>;
export type QueueBody = Static<typeof QueueJson>;
export type PageBody = Static<typeof TaskPageJson>;
export type ReceiptBody = Static<typeof Receipt>;
export type BatchReceiptBody = Static<typeof BatchReceipt>;
export type ClaimsBody = Static<typeof ClaimsJson>;
/** A claim as a remote worker gets it. */
export type GivenClaim = ClaimsBody["claims"][number];
export type SettleReceiptBody = Static<typeof SettleReceiptJson>;
export type ProblemBody = Static<typeof ProblemSchema>;

export interface RequestOptions {
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent as it is, as application/json unless `headers` say otherwise. */
  readonly body?: string | Uint8Array<ArrayBuffer> | ReadableStream;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** Opens a scene: `await using scene = await openScene()`. */
export async function openScene(options: ServerOptions = {}): Promise<Scene> {
  const gate = Promise.withResolvers<void>();
  const handlers = defineHandlers({
    default: () => undefined,
    echo: (payload) => payload,
    fail: () => {
      throw new NonRetryableError("it broke");
    },
    /** Runs until the test releases it, or until it is told to stop. */
    hold: (_, { signal }) =>
      new Promise<void>((resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
        void gate.promise.then(resolve);
      }),
  });
  const server = await createServer({ port: 0, shutdownGraceMs: 0, handlers, ...options });
  return new Scene(server, gate.resolve);
}

/** A scene of HTTP alone, before an engine that the test brings, and without workers. */
export function openSceneOf(engine: Engine, log: Log = silentLog): Scene {
  const app = createApp({
    engine,
    hasRemoteTypes: true,
    leaseMs: 10_000,
    resultBytesMax: 512,
    bodyBytesMax: 1024,
    answerBytesTotal: 1024 * 1024,
    access: { host: "127.0.0.1", allowedHosts: [], corsOrigins: [] },
    version: "0.0.0",
    log,
  });
  app.listen({ port: 0, hostname: "127.0.0.1", development: false });
  const { server } = app;
  if (server === null) throw new Error("the HTTP server did not start");
  const stop = async (): Promise<StopReport> => {
    await server.stop(true);
    return { unfinished: 0, areLost: false };
  };
  return new Scene({ url: `http://127.0.0.1:${server.port}`, stop }, () => undefined);
}

export class Scene implements AsyncDisposable {
  readonly server: Server;
  /** Lets every task of type `hold` finish. */
  readonly release: () => void;

  constructor(server: Server, release: () => void) {
    this.server = server;
    this.release = release;
  }

  get url(): string {
    return this.server.url;
  }

  get port(): number {
    return Number(new URL(this.server.url).port);
  }

  send(method: string, path: string, options: RequestOptions = {}): Promise<Response> {
    const { json, headers, body = json === undefined ? undefined : JSON.stringify(json) } = options;
    const { signal } = options;
    return fetch(`${this.server.url}${path}`, {
      method,
      redirect: "manual",
      headers: {
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body }),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  get(path: string): Promise<Response> {
    return this.send("GET", path);
  }

  post(path: string, json?: unknown, headers: Record<string, string> = {}): Promise<Response> {
    return this.send("POST", path, { json, headers });
  }

  delete(path: string): Promise<Response> {
    return this.send("DELETE", path);
  }

  /** Enqueues a task that has to be accepted, and gives its id. */
  async enqueue(fields: Partial<EnqueueBody> = {}): Promise<string> {
    const response = await this.post("/enqueue", { payload: null, ...fields });
    expect(response.status).toBe(202);
    return (await bodyOf<ReceiptBody>(response)).id;
  }

  /** The claims of one call of a remote worker. */
  async claims(fields?: ClaimBody): Promise<readonly GivenClaim[]> {
    const response = await this.expectStatus(200, this.post("/claims", fields));
    return (await bodyOf<ClaimsBody>(response)).claims;
  }

  /** Claims a task that has to be there, as a remote worker. */
  async claim(fields?: ClaimBody): Promise<GivenClaim> {
    const [claim] = await this.claims(fields);
    if (claim === undefined) throw new Error("there is nothing to claim");
    return claim;
  }

  /** Enqueues a task of a remote type and claims it. */
  async claimNew(fields: Partial<EnqueueBody> = {}): Promise<GivenClaim> {
    await this.enqueue(fields);
    return this.claim();
  }

  /** The answer to a settle that has to be taken. */
  async settle(
    { token }: Pick<GivenClaim, "token">,
    outcome: "done" | "failed" | "released",
    fields?: object,
  ): Promise<SettleReceiptBody> {
    const settling = this.post(`/claims/${token}/${outcome}`, fields);
    return bodyOf<SettleReceiptBody>(await this.expectStatus(200, settling));
  }

  /** Enqueues a task and holds it running. */
  async enqueueHeld(fields: Partial<EnqueueBody> = {}): Promise<string> {
    const id = await this.enqueue({ type: "hold", ...fields });
    await this.untilTask(id, ({ status }) => status === "running");
    return id;
  }

  /** Enqueues a task that waits for as long as the test takes. */
  enqueueWaiting(fields: Partial<EnqueueBody> = {}): Promise<string> {
    return this.enqueue({ delay_ms: 3_600_000, ...fields });
  }

  async task(id: string): Promise<TaskBody> {
    return bodyOf<TaskBody>(await this.expectStatus(200, this.get(`/tasks/${id}`)));
  }

  /** The task once it has finished. */
  async finished(id: string): Promise<TaskBody> {
    return bodyOf<TaskBody>(await this.expectStatus(200, this.get(`/tasks/${id}?wait_ms=60000`)));
  }

  /**
   * The task once it is as `is` says. Every look costs a turn of the server's event loop, so that
   * it goes on.
   */
  async untilTask(id: string, is: (task: TaskBody) => boolean): Promise<TaskBody> {
    while (true) {
      const task = await this.task(id);
      if (is(task)) return task;
    }
  }

  async queue(name = "default"): Promise<QueueBody> {
    return bodyOf<QueueBody>(await this.expectStatus(200, this.get(`/queues/${name}`)));
  }

  async page(query = ""): Promise<PageBody> {
    return bodyOf<PageBody>(await this.expectStatus(200, this.get(`/tasks${query}`)));
  }

  async expectStatus(status: number, answering: Promise<Response>): Promise<Response> {
    const response = await answering;
    expect(response.status).toBe(status);
    return response;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
  }
}

export async function bodyOf<T>(response: Response): Promise<T> {
  return (await response.json()) as T;
}

/** Expects a problem of this code in every respect that all problems share, and gives its body. */
export async function expectProblem(
  answering: Response | Promise<Response>,
  code: ProblemCode,
): Promise<ProblemBody> {
  const response = await answering;
  const { status, title } = PROBLEMS[code];
  const body = await bodyOf<ProblemBody>(response);
  expect(body).toMatchObject({ type: "about:blank", status, title, code });
  expect(response.status).toBe(status);
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  expect(response.headers.get("retry-after")).toBe(status === 503 ? "1" : null);
  expect(response.headers.has("allow")).toBe(status === 405);
  const fields = ["type", "title", "status", "code", "detail"];
  if (code === "invalid_request") fields.push("errors");
  if (code === "claim_lost") fields.push("ended");
  expect(Object.keys(body)).toEqual(fields);
  expect(body.detail).not.toBe("");
  return body;
}
