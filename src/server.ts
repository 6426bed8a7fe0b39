/** HTTP for a running queue: starts to listen, and stops in the right order. */

import packageJson from "../package.json" with { type: "json" };
import { type Config, configOf } from "./config.ts";
import type { MaybePromise } from "./engine/engine.ts";
import { createApp } from "./http/app.ts";
import { type Log, shielded, silentLog } from "./log.ts";
import { type Runtime, type StopReport, startRuntime } from "./runtime.ts";
import type { Handlers } from "./worker/handlers/define.ts";

type BunServer = Bun.Server<unknown>;

export interface Server {
  /** The address of the server, as in `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Stops gracefully, once; every later call gets the same promise. */
  stop(): Promise<StopReport>;
}

/**
 * All settings, under their names in {@link Config}, and the options that only a program can give.
 */
export type ServerOptions = Partial<Omit<Config, "handlers">> & {
  /** Handlers, or the path of their module. Types with `isolation: "thread"` need the path. */
  readonly handlers?: Handlers | string;
  /** Receives every event. Default: no log. */
  readonly log?: Log;
};

/**
 * The time for open connections to read their last answer. A client that never reads must not delay
 * the stop.
 */
const CLOSE_GRACE_MS = 1000;

/**
 * The quiet time before the server stops listening, and the longest time to wait for it. Clients
 * that keep a connection alive may already have sent their next request. During the stop each such
 * request gets an answer, which is the last one on its connection. If the server closed at once,
 * these requests would get no answer.
 */
const QUIET_MS = 100;
const LINGER_MS_MAX = 1000;

/**
 * A connection without traffic for this many seconds is closed. This is long enough for clients
 * that keep connections alive between tasks; long polls set their own limit.
 */
const IDLE_TIMEOUT_S = 30;

/**
 * Starts a server inside this program. Rejects with a RangeError for options out of bounds, a
 * {@link HandlersError} for unusable handlers, and the system's error when it can't listen.
 */
export async function createServer({
  handlers,
  log = silentLog,
  ...options
}: ServerOptions = {}): Promise<Server> {
  const path = typeof handlers === "string" ? handlers : null;
  const config = configOf({ ...options, handlers: path });
  return startServer(
    config,
    shielded(log),
    typeof handlers === "string" ? null : (handlers ?? null),
  );
}

/** Starts a server with a complete configuration. `handlers` replace the module that it names. */
export async function startServer(
  config: Config,
  log: Log,
  handlers: Handlers | null = null,
): Promise<Server> {
  const runtime = await startRuntime(config, handlers, log, { hasHttp: true });
  try {
    return listen(config, runtime, log);
  } catch (error) {
    await runtime.stop();
    throw error;
  }
}

function listen(config: Config, runtime: Runtime, log: Log): Server {
  const { version } = packageJson;
  const app = createApp({
    engine: runtime.engine,
    hasRemoteTypes: runtime.hasRemoteTypes,
    leaseMs: config.leaseMs,
    resultBytesMax: config.resultBytesMax,
    bodyBytesMax: config.maxBodyBytes,
    answerBytesTotal: config.answerBytesTotal,
    access: config,
    version,
    log,
  });
  app.listen({
    port: config.port,
    hostname: config.host,
    // Elysia shares the port by default: a second server would start without an error and take half
    // of the tasks.
    reusePort: false,
    development: false,
    idleTimeout: IDLE_TIMEOUT_S,
    // http/body.ts bounds bodies itself: Bun's own 413 has no body that gives the reason.
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  });
  const { server } = app;
  if (server === null) throw new Error("the HTTP server did not start");
  // An IPv6 address has brackets here, but not in the hostname.
  const url = server.url.origin;
  log.info("server_listening", {
    url,
    version,
    workers: config.workers,
    queue_size: config.queueSize,
    handlers: runtime.handlers,
    pid: process.pid,
  });
  let stopping: Promise<StopReport> | null = null;
  const stopOnce = (): Promise<StopReport> => {
    const untilQuiet = answerForTheLastTime(server, (request) => app.fetch(request));
    return runtime.stop(async () => {
      await untilQuiet(Math.min(LINGER_MS_MAX, config.shutdownGraceMs));
      await closeConnections(server);
    });
  };
  return {
    url,
    stop: () => {
      stopping ??= stopOnce();
      return stopping;
    },
  };
}

/**
 * Makes every answer the last one on its connection. The returned promise resolves when no request
 * has come for a while, or after the given milliseconds.
 */
function answerForTheLastTime(
  server: BunServer,
  answer: (request: Request) => MaybePromise<Response>,
): (msMax: number) => Promise<void> {
  const startedMs = performance.now();
  let askedMs = startedMs;
  server.reload({
    routes: {},
    async fetch(request) {
      askedMs = performance.now();
      const response = await answer(request);
      response.headers.set("connection", "close");
      return response;
    },
  });
  return async (msMax) => {
    while (true) {
      const untilMs = Math.min(askedMs + QUIET_MS, startedMs + msMax);
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) return;
      await new Promise((resolve) => setTimeout(resolve, leftMs));
    }
  };
}

async function closeConnections(server: BunServer): Promise<void> {
  let timer: Timer | undefined;
  const isOver = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, CLOSE_GRACE_MS);
  });
  await Promise.race([server.stop(), isOver]);
  clearTimeout(timer);
  await server.stop(true);
}
