/**
 * Puts the parts together, and starts and stops them in the right order.
 */

import packageJson from "../package.json" with { type: "json" };
import type { Config } from "./config.ts";
import { LocalEngine } from "./engine/local.ts";
import { createApp } from "./http/app.ts";
import type { Log } from "./log.ts";
import { Pool } from "./worker/pool.ts";
import { simulatedHandler } from "./worker/simulated.ts";

export interface Server {
  /** Where it listens, as in `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Stops gracefully, once; every later call gets the same promise. */
  stop(): Promise<StopReport>;
}

export interface StopReport {
  /** Accepted tasks that are not finished. */
  readonly unfinished: number;
  /** Whether these are lost with the process. */
  readonly areLost: boolean;
}

/** How long open connections get to read their last answer. A client that never reads must not hold up the stop. */
const CLOSE_GRACE_MS = 1000;

/**
 * A connection that has been silent for so long is closed, in seconds. Long enough for clients that keep connections
 * alive between tasks; long polls set their own.
 */
const IDLE_TIMEOUT_S = 30;

/** Starts to listen and to work. Throws when it can't listen. */
export function startServer(config: Config, log: Log): Server {
  const engine = new LocalEngine({
    limits: {
      queue: {
        size: config.queueSize,
        bytes: config.queueBytes,
        concurrency: Number.POSITIVE_INFINITY,
      },
      queues: new Map(),
      queuesMax: config.maxQueues,
      retainTasks: config.retainTasks,
      retainBytes: config.retainBytes,
      retainMs: config.retainMs,
    },
    defaults: {
      maxRetries: config.maxRetries,
      timeoutMs: config.taskTimeoutMs,
      backoff: {
        baseMs: config.retryBaseMs,
        jitterMs: config.retryJitterMs,
        maxMs: config.retryMaxMs,
      },
    },
    log,
  });
  const handler = simulatedHandler({
    failureRate: config.failureRate,
    workMs: config.simulatedWorkMs,
  });
  const pool = new Pool({ engine, lane: "loop", handler, loops: config.workers });
  const app = createApp({
    engine,
    bodyBytesMax: config.maxBodyBytes,
    version: packageJson.version,
    log,
  });

  app.listen({
    port: config.port,
    hostname: config.host,
    // Elysia shares the port by default: a second server would start in silence and take half of the tasks.
    reusePort: false,
    development: false,
    idleTimeout: IDLE_TIMEOUT_S,
    // http/body.ts bounds bodies itself: Bun's own 413 has no body that says so.
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  });
  const { server } = app;
  if (server === null) throw new Error("the HTTP server did not start");
  pool.start();

  const url = `http://${server.hostname}:${server.port}`;
  log.info("server_listening", {
    url,
    version: packageJson.version,
    workers: config.workers,
    queue_size: config.queueSize,
    handlers: `simulated, failure rate ${config.failureRate}`,
    pid: process.pid,
  });

  const stopOnce = async (): Promise<StopReport> => {
    const startedMs = performance.now();
    log.info("server_stopping", { grace_ms: config.shutdownGraceMs });
    engine.stopIntake();
    await engine.drain(config.shutdownGraceMs);
    const interrupted = await pool.interrupt();
    await closeConnections(server);
    const { finishedWhileStopping, unfinished, areLost } = await engine.close();
    log[unfinished > 0 && areLost ? "warn" : "info"]("server_stopped", {
      finished: finishedWhileStopping,
      interrupted,
      unfinished,
      took_ms: Math.round(performance.now() - startedMs),
    });
    return { unfinished, areLost };
  };
  let stopping: Promise<StopReport> | null = null;
  return {
    url,
    stop: () => {
      stopping ??= stopOnce();
      return stopping;
    },
  };
}

async function closeConnections(server: {
  stop(closeActive?: boolean): Promise<void>;
}): Promise<void> {
  let timer: Timer | undefined;
  const isOver = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, CLOSE_GRACE_MS);
  });
  await Promise.race([server.stop(), isOver]);
  clearTimeout(timer);
  await server.stop(true);
}
