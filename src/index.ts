/** The exports of the package: handler definitions, and ringq inside another program. */

export {
  createQueue,
  type EnqueueOneAnswer,
  type Queue,
  type QueueOptions,
  type Task,
  type WithTask,
} from "./embedded.ts";
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
export { DataFileError } from "./engine/sqlite/data-file.ts";
export type { Log, LogFields, LogLevel } from "./log.ts";
export { createLog, type LogOptions } from "./log-output.ts";
export { HandlersError, type StopReport } from "./runtime.ts";
export { createServer, type Server, type ServerOptions } from "./server.ts";
export {
  defineHandlers,
  type HandlerContext,
  type HandlerFunction,
  type HandlerOptions,
  type Handlers,
  type RemoteOptions,
  remote,
} from "./worker/handlers/define.ts";
export { NonRetryableError, RetryAfterError } from "./worker/handlers/errors.ts";
