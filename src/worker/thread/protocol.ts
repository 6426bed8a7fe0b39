/**
 * The messages between the process and its threads. Payloads, results and progress travel as JSON
 * text.
 *
 * The messages use a separate port. The thread's global postMessage and onmessage belong to its
 * handlers and their libraries: messages posted there are not read.
 */

import type { AttemptOutcome } from "../../engine/engine.ts";
import type { EventLevel, LogFields } from "../../log.ts";
import type { StopReason } from "../attempt.ts";
import type { AttemptTask } from "../context.ts";

/**
 * The first message, with the module of handlers and the bounds. It is the only one that does not
 * use the port.
 */
export interface Load {
  readonly port: MessagePort;
  readonly path: string;
  readonly resultBytesMax: number;
  readonly isDebug: boolean;
  /** The memory of the {@link LogRoom}. */
  readonly logRoom: SharedArrayBuffer;
}

export type ToThread =
  | { readonly kind: "run"; readonly task: AttemptTask; readonly payload: string }
  /** Stops the running attempt. */
  | { readonly kind: "stop"; readonly reason: StopReason };

export type FromThread =
  | { readonly kind: "ready" }
  | { readonly kind: "not_loaded"; readonly why: string }
  | { readonly kind: "ended"; readonly outcome: AttemptOutcome }
  | { readonly kind: "progress"; readonly text: string }
  | {
      readonly kind: "log";
      readonly level: EventLevel;
      readonly event: string;
      readonly fields: LogFields;
      /** The room that the line took. */
      readonly length: number;
    }
  /**
   * An error escaped the handler: the state of the thread is unknown, and the thread asks to be
   * ended.
   */
  | { readonly kind: "fault"; readonly why: string };
