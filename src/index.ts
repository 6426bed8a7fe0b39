/**
 * What the package exports: how to define handlers, and how to run ringq inside of another program.
 */

export { DataFileError } from "./engine/data-file.ts";
export type {
  CancelAnswer,
  EnqueueAnswer,
  EnqueueRequest,
  PauseAnswer,
  QueueReport,
  Receipt,
  RetryAnswer,
  TaskError,
  TaskStatus,
} from "./engine/engine.ts";
export { createLog, type Log, type LogFields, type LogLevel, type LogOptions } from "./log.ts";
export {
  createQueue,
  type Queue,
  type QueueOptions,
  type TaskSnapshot,
  type WithSnapshot,
} from "./queue.ts";
export { HandlersError, type StopReport } from "./runtime.ts";
export { createServer, type Server, type ServerOptions } from "./server.ts";
export { NonRetryableError, RetryAfterError } from "./worker/errors.ts";
export {
  defineHandlers,
  type HandlerContext,
  type HandlerFunction,
  type HandlerOptions,
  type Handlers,
} from "./worker/handlers.ts";
