/**
 * The engine and its workers: starts them, connects them, and stops them in order. The server adds
 * HTTP; createQueue returns the runtime directly.
 */

import { resolve } from "node:path";
import { systemClock } from "./clock.ts";
import type { Config } from "./config.ts";
import type { Engine } from "./engine/engine.ts";
import { createMemoryEngine } from "./engine/memory/engine.ts";
import { createSqliteEngine } from "./engine/sqlite/engine.ts";
import type { Log } from "./log.ts";
import { runOnEventLoop } from "./worker/event-loop.ts";
import {
  defineHandlers,
  type Handlers,
  hasRemoteTypes,
  limitsOf,
  NO_HANDLERS,
  queueLimits,
  typeRules,
} from "./worker/handlers/define.ts";
import { loadHandlers } from "./worker/handlers/load.ts";
import { watchLoopLag } from "./worker/loop-lag.ts";
import { Pool } from "./worker/pool.ts";
import { runSimulated } from "./worker/simulated.ts";
import { ThreadPool } from "./worker/thread/pool.ts";

export interface Runtime {
  readonly engine: Engine;
  /** A short description of the handlers. */
  readonly handlers: string;
  /** Whether remote workers run the tasks of any type. */
  readonly hasRemoteTypes: boolean;
  /**
   * Stops gracefully: accepts nothing more, finishes what it can within the grace period, gives the
   * rest back, and closes `doors` before the engine. It runs once; every later call gets the same
   * promise.
   */
  stop(doors?: () => Promise<void>): Promise<StopReport>;
}

export interface StopReport {
  /** Accepted tasks that are not finished. */
  readonly unfinished: number;
  /** Whether these are lost with the process. */
  readonly areLost: boolean;
}

/** The handlers can't be used: their module does not load, or contains an invalid definition. */
export class HandlersError extends Error {
  override readonly name = "HandlersError";
}

/** The value of `handlers` that runs no code in the process. */
const RUN_NOTHING = "none";

/**
 * Starts the engine and the workers. `given` are the caller's own handlers; without them,
 * `config.handlers` names the module. Without HTTP there are no remote workers, so remote types are
 * refused.
 */
export async function startRuntime(
  settings: Config,
  given: Handlers | null,
  log: Log,
  { hasHttp }: { readonly hasHttp: boolean },
): Promise<Runtime> {
  const config = withAbsolutePaths(settings);
  const handlers = given ?? (await load(config.handlers, log));
  if (handlers !== null && !hasHttp) refuseRemoteTypes(handlers);
  const engine = makeEngine(config, handlers ?? defineHandlers({}), log);
  const run =
    handlers === null
      ? runSimulated({ failureRate: config.failureRate, workMs: config.simulatedWorkMs })
      : runOnEventLoop({
          engine,
          handlers,
          resultBytesMax: config.resultBytesMax,
          progressBytesMax: config.resultBytesMax,
          log,
        });
  let threads: ThreadPool | null = null;
  try {
    if (handlers !== null) threads = await startThreads(config, handlers, engine, log);
  } catch (error) {
    await engine.close();
    throw error;
  }
  const pools = [new Pool({ engine, lane: "loop", run, loops: config.workers })];
  if (threads !== null) {
    pools.push(
      new Pool({
        engine,
        lane: "thread",
        run: (attempt, loop) => attempt.follow(threads.run(attempt, loop)),
        loops: config.threads,
        untilReady: (loop) => threads.untilReady(loop),
      }),
    );
  }
  for (const pool of pools) pool.start();
  const stopWatching = watchLoopLag(() => pools[0]?.takeActiveTypes() ?? [], log);

  const stopOnce = async (doors?: () => Promise<void>): Promise<StopReport> => {
    const startedMs = performance.now();
    log.info("stopping", { grace_ms: config.shutdownGraceMs });
    engine.stopIntake();
    await engine.drain(config.shutdownGraceMs);
    const interrupted = await Promise.all(pools.map((pool) => pool.releaseAll()));
    stopWatching();
    await doors?.();
    await threads?.stop();
    const { finishedWhileStopping, unfinished, areLost, isStoreWhole } = await engine.close();
    log[unfinished > 0 && areLost ? "warn" : "info"]("stopped", {
      finished: finishedWhileStopping,
      interrupted: interrupted.reduce((sum, count) => sum + count, 0),
      unfinished,
      // Logged only when a copy of the data file alone would be incomplete.
      log_left: isStoreWhole ? undefined : true,
      took_ms: Math.round(performance.now() - startedMs),
    });
    return { unfinished, areLost };
  };
  let stopping: Promise<StopReport> | null = null;
  return {
    engine,
    handlers: describeHandlers(config, handlers),
    hasRemoteTypes: handlers !== null && hasRemoteTypes(handlers),
    stop: (doors) => {
      stopping ??= stopOnce(doors);
      return stopping;
    },
  };
}

/**
 * Resolves the paths before any handler runs: a handler may change the working directory of the
 * process.
 */
function withAbsolutePaths(config: Config): Config {
  const { handlers, dataFile } = config;
  return {
    ...config,
    handlers: handlers === null || handlers === RUN_NOTHING ? handlers : resolve(handlers),
    dataFile: dataFile === null ? null : resolve(dataFile),
  };
}

async function load(path: string | null, log: Log): Promise<Handlers | null> {
  if (path === null) return null;
  if (path === RUN_NOTHING) return NO_HANDLERS;
  const loaded = await loadHandlers(path, () => log.warn("handlers_slow_to_load", { path }));
  if (loaded.kind === "failed") throw new HandlersError(loaded.why);
  return loaded.handlers;
}

function refuseRemoteTypes({ types, otherTypes }: Handlers): void {
  const remote = [...types].filter(([, { isolation }]) => isolation === "remote");
  const names = remote.map(([type]) => type);
  if (otherTypes === "remote") names.push("all other types");
  if (names.length === 0) return;
  throw new HandlersError(
    `${names.join(", ")}: remote workers run these, and they need HTTP; use createServer`,
  );
}

function makeEngine(config: Config, handlers: Handlers, log: Log): Engine {
  const queue = {
    size: config.queueSize,
    bytes: config.queueBytes,
    concurrency: Number.POSITIVE_INFINITY,
    claims: config.claimsMax,
  };
  const backoff = {
    baseMs: config.retryBaseMs,
    jitterMs: config.retryJitterMs,
    maxMs: config.retryMaxMs,
  };
  const options = {
    limits: {
      queue: limitsOf(queue, {}),
      queues: queueLimits(handlers, queue),
      queuesMax: config.maxQueues,
      retainTasks: config.retainTasks,
      retainBytes: config.retainBytes,
      retainMs: config.retainMs,
      claimsWaitingMax: config.claimsWaitingMax,
    },
    defaults: { maxRetries: config.maxRetries, timeoutMs: config.taskTimeoutMs, backoff },
    types: typeRules(handlers, backoff),
    otherTypes: { lane: handlers.otherTypes },
    log,
  };
  const { dataFile, durability } = config;
  return dataFile === null
    ? createMemoryEngine(options)
    : createSqliteEngine({ ...options, path: dataFile, durability });
}

/**
 * Starts the threads if any type needs one. Threads load their handlers themselves, so the handlers
 * have to be in a module.
 */
async function startThreads(
  config: Config,
  handlers: Handlers,
  engine: Engine,
  log: Log,
): Promise<ThreadPool | null> {
  const types = Array.from(handlers.types).filter(([, { isolation }]) => isolation === "thread");
  const [first] = types;
  if (first === undefined) return null;
  if (config.handlers === null) {
    throw new HandlersError(
      `${first[0]} has isolation "thread": pass the path of the handlers module, so that threads can load it`,
    );
  }
  const threads = new ThreadPool({
    path: config.handlers,
    size: config.threads,
    engine,
    resultBytesMax: config.resultBytesMax,
    log,
    clock: systemClock,
  });
  const why = await threads.start();
  if (why === null) return threads;
  await threads.stop();
  throw new HandlersError(`in a thread: ${why}`);
}

function describeHandlers(config: Config, handlers: Handlers | null): string {
  if (handlers === null) return `simulated, failure rate ${config.failureRate}`;
  if (handlers === NO_HANDLERS) return "none: remote workers run every task";
  const types = Array.from(handlers.types, ([type, { isolation }]) =>
    isolation === "remote" ? `${type} (remote)` : type,
  );
  if (handlers.otherTypes === "remote") types.push("all others (remote)");
  return `${config.handlers ?? "given"}: ${types.join(", ")}`;
}
