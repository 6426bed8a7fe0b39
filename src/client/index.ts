/**
 * The client library: a typed client of the HTTP API, and the remote worker. It runs on Bun, Node,
 * Deno and in browsers, and imports nothing.
 */

export type { HandlerContext } from "./attempt.ts";
export { Client } from "./client.ts";
export type { Clock } from "./clock.ts";
export {
  type ClaimEnd,
  NonRetryableError,
  type Problem,
  RetryAfterError,
  RingqError,
} from "./errors.ts";
export type { CallOptions, ClientOptions, Fetch } from "./http.ts";
export type { Log, LogFields } from "./log.ts";
export type {
  Claim,
  ClaimRequest,
  EnqueueOptions,
  EnqueueRequest,
  Failure,
  Lease,
  ListOptions,
  Queue,
  Receipt,
  Settle,
  SettleReceipt,
  SettleResult,
  Task,
  TaskError,
  TaskFilter,
  TaskOptions,
  TaskPage,
  TaskStatus,
  TaskTypes,
  WaitOptions,
} from "./types.ts";
export { Worker, type WorkerStopReport } from "./worker.ts";
export type { HandlerFunction, WorkerHandlers, WorkerOptions } from "./worker-options.ts";
