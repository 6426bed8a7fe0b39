/**
 * What the process and its threads say to each other. Payloads, results and progress travel as JSON text.
 */

import type { Outcome } from "../engine/engine.ts";
import type { LogFields } from "../log.ts";
import type { StopReason } from "./attempt.ts";
import type { AttemptFacts } from "./context.ts";

export type ToThread =
  /** The first message: which handlers to load, and the bounds. */
  | {
      readonly kind: "load";
      readonly path: string;
      readonly resultBytesMax: number;
      readonly isDebug: boolean;
    }
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
      readonly level: "debug" | "info" | "warn" | "error";
      readonly event: string;
      readonly fields: LogFields;
    }
  /** Something escaped the handler; the thread ends itself. */
  | { readonly kind: "fault"; readonly why: string };
