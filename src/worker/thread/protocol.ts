/**
 * What the process and its threads say to each other. Payloads, results and progress travel as JSON text.
 *
 * They say it through a port of their own. The thread's global postMessage and onmessage belong to its handlers and the
 * libraries that these use: what is said there is not heard.
 */

import type { Outcome } from "../../engine/engine.ts";
import type { EventLevel, LogFields } from "../../log.ts";
import type { StopReason } from "../attempt.ts";
import type { AttemptFacts } from "../context.ts";

/** The first message, and the only one that does not come through the port: which handlers to load, and the bounds. */
export interface Load {
  readonly port: MessagePort;
  readonly path: string;
  readonly resultBytesMax: number;
  readonly isDebug: boolean;
}

export type ToThread =
  | { readonly kind: "run"; readonly facts: AttemptFacts; readonly payload: string }
  /** Stop what runs. */
  | { readonly kind: "stop"; readonly reason: StopReason };

export type FromThread =
  | { readonly kind: "ready" }
  | { readonly kind: "not_loaded"; readonly why: string }
  | { readonly kind: "ended"; readonly outcome: Outcome }
  | { readonly kind: "progress"; readonly text: string }
  | {
      readonly kind: "log";
      readonly level: EventLevel;
      readonly event: string;
      readonly fields: LogFields;
    }
  /** Something escaped the handler: the thread is in a state that nobody knows, and asks to be ended. */
  | { readonly kind: "fault"; readonly why: string };
