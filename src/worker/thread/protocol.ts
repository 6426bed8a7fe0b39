/**
 * The messages between the process and its threads. Payloads, results and progress travel as JSON
 * text.
 *
 * They go through a port of their own. The thread's global postMessage and onmessage belong to its
 * handlers and their libraries: nothing that is posted there is read.
 */

import type { AttemptOutcome } from "../../engine/engine.ts";
import type { EventLevel, LogFields } from "../../log.ts";
import type { StopReason } from "../attempt.ts";
import type { AttemptTask } from "../context.ts";

/**
 * The first message, and the only one that does not come through the port: which handlers to load,
 * and the bounds.
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
  /** Stop what runs. */
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
      /** The room that it took. */
      readonly length: number;
    }
  /**
   * Something escaped the handler: the thread is in a state that nobody knows, and asks to be
   * ended.
   */
  | { readonly kind: "fault"; readonly why: string };
