/** Reads the outcome of an attempt from the body of a settle. */

import type { Static } from "@sinclair/typebox";
import type { AttemptOutcome, Retry } from "../../engine/engine.ts";
import { failed, outcomeOfSentResult } from "../../engine/outcome.ts";
import { type Fault, shapeOf } from "../shape.ts";
import { invalidProblem, type Problem } from "./problem.ts";
import {
  type DoneBody,
  DoneSettle,
  type FailedBody,
  FailedSettle,
  type ReleasedBody,
  ReleasedSettle,
} from "./schemas.ts";

/** An outcome, or the problem of a body that can't be one. */
export type ReadOutcome =
  | { readonly kind: "outcome"; readonly outcome: AttemptOutcome }
  | { readonly kind: "problem"; readonly problem: Problem };

export interface OutcomeReader {
  done(body: Static<typeof DoneBody>): ReadOutcome;
  failed(body: Static<typeof FailedBody>): ReadOutcome;
  released(body: Static<typeof ReleasedBody>): ReadOutcome;
  /** Reads one of several settles. */
  any(settle: unknown): ReadOutcome;
}

export function outcomeReader(resultBytesMax: number): OutcomeReader {
  return {
    done: ({ result }) => found(outcomeOfSentResult(result, resultBytesMax)),
    failed({ code, message = "", retry, retry_after_ms: afterMs }) {
      if (retry !== undefined && afterMs !== undefined) {
        return invalid([{ path: "/retry_after_ms", message: "can't be combined with retry" }]);
      }
      return found(failed(code, message, retryOf(retry, afterMs)));
    },
    released: ({ delay_ms: delayMs = 0 }) => found({ kind: "released", delayMs }),
    any(settle) {
      if (doneShape.fits(settle)) return this.done(settle);
      if (failedShape.fits(settle)) return this.failed(settle);
      if (releasedShape.fits(settle)) return this.released(settle);
      return invalid(faultsOf(settle));
    },
  };
}

const doneShape = shapeOf(DoneSettle);
const failedShape = shapeOf(FailedSettle);
const releasedShape = shapeOf(ReleasedSettle);

function found(outcome: AttemptOutcome): ReadOutcome {
  return { kind: "outcome", outcome };
}

function invalid(faults: Iterable<Fault>): ReadOutcome {
  return { kind: "problem", problem: invalidProblem(faults) };
}

function retryOf(retry: "backoff" | "never" = "backoff", afterMs: number | undefined): Retry {
  return afterMs === undefined ? { kind: retry } : { kind: "after", ms: afterMs };
}

function faultsOf(settle: unknown): Iterable<Fault> {
  const { outcome } = settle as { readonly outcome?: unknown };
  switch (outcome) {
    case "done":
      return doneShape.errors(settle);
    case "failed":
      return failedShape.errors(settle);
    case "released":
      return releasedShape.errors(settle);
    default:
      return [{ path: "/outcome", message: "must be done, failed or released" }];
  }
}
