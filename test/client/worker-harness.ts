/** A worker before a fake server, with a clock that stands still and a log that is kept. */

import {
  Client,
  type Clock,
  type Log,
  type LogFields,
  Worker,
  type WorkerOptions,
} from "../../src/client/index.ts";
import { ManualClock, turn } from "../support/manual-clock.ts";
import type { FakeServer } from "./fake-server.ts";

export interface LogLine {
  readonly level: string;
  readonly event: string;
  readonly fields: LogFields;
}

export interface WorkerScene {
  readonly worker: Worker;
  readonly clock: ManualClock;
  readonly lines: readonly LogLine[];
}

/** `timeOf` can give the worker another view of the clock. */
export function startWorker(
  server: FakeServer,
  options: WorkerOptions,
  timeOf: (clock: ManualClock) => Clock = (clock) => clock,
): WorkerScene {
  const clock = new ManualClock();
  const { log, lines } = aLog();
  const client = new Client(server.url, { clock: timeOf(clock) });
  const worker = new Worker(client, { signals: false, log, ...options });
  worker.start();
  return { worker, clock, lines };
}

export function aLog(): { readonly log: Log; readonly lines: readonly LogLine[] } {
  const lines: LogLine[] = [];
  const at =
    (level: string) =>
    (event: string, fields: LogFields = {}): void => {
      lines.push({ level, event, fields });
    };
  const [debug, info, warn, error] = [at("debug"), at("info"), at("warn"), at("error")];
  return { log: { isDebug: true, debug, info, warn, error }, lines };
}

/** A handler that runs until the test ends it, even if its signal aborts. */
export class HeldHandler {
  readonly #ends: (() => void)[] = [];
  /** The signals of the attempts, in the order of their starts. */
  readonly signals: AbortSignal[] = [];

  readonly run = async (
    _: unknown,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<void> => {
    this.signals.push(signal);
    await new Promise<void>((resolve) => this.#ends.push(resolve));
  };

  /** Ends the attempt that started first. */
  end(): void {
    this.#ends.shift()?.();
  }
}

/** Lets the event loop turn until the condition is met. */
export async function until(isMet: () => boolean): Promise<void> {
  while (!isMet()) await turn();
}

/** Lets requests that should not come arrive: several others take their way meanwhile. */
export async function settleDown(server: FakeServer): Promise<void> {
  for (let trips = 0; trips < 5; trips += 1) await (await fetch(server.url)).text();
}
