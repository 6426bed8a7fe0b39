/**
 * One thread, as the process sees it: it loads, runs one attempt at a time, and ends. An ended
 * thread is not reused.
 */

import type { Clock } from "../../clock.ts";
import type { AttemptOutcome, TaskView } from "../../engine/engine.ts";
import { failed } from "../../engine/outcome.ts";
import type { Log } from "../../log.ts";
import type { StopReason } from "../attempt.ts";
import { LogRoom } from "./log-room.ts";
import type { FromThread, Load, ToThread } from "./protocol.ts";

export interface ThreadOptions {
  readonly path: string;
  readonly resultBytesMax: number;
  readonly log: Log;
  readonly clock: Clock;
  /** Called once, when the thread has ended by itself or was killed. */
  readonly onEnd: () => void;
}

/**
 * The time that a thread may continue to load before it is ended. A module that never finishes
 * loading must not delay the stop.
 */
const LOAD_GRACE_MS = 1000;

interface Run {
  readonly task: TaskView;
  readonly resolve: (outcome: AttemptOutcome) => void;
  readonly noteProgress: (text: string) => void;
}

export class Thread {
  /**
   * Resolves when the handlers are loaded: with null, or with the reason why they could not be
   * loaded.
   */
  readonly loaded: Promise<string | null>;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #options: ThreadOptions;
  readonly #logRoom = new LogRoom();
  #settleLoaded: (why: string | null) => void = () => undefined;
  #hasLoaded = false;
  #hasWorked = false;
  #isAlive = true;
  #run: Run | null = null;
  #endReason: string | null = null;

  constructor(options: ThreadOptions) {
    this.#options = options;
    this.loaded = new Promise((resolve) => {
      this.#settleLoaded = resolve;
    });
    this.#worker = new Worker(new URL("./main.ts", import.meta.url).href);
    this.#worker.addEventListener("close", (event) =>
      this.#ended(`it exited with code ${codeOf(event)}`),
    );
    // Errors that the thread could not report itself. Without this listener they would end the
    // process.
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#endReason ??= "it failed";
    });
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.onmessage = ({ data }: { readonly data: FromThread }) => this.#hear(data);
    const { path, resultBytesMax, log } = options;
    const { memory } = this.#logRoom;
    const load: Load = {
      port: port2,
      path,
      resultBytesMax,
      isDebug: log.isDebug,
      logRoom: memory,
    };
    this.#worker.postMessage(load, [port2]);
  }

  /** Whether it can run an attempt. */
  get isIdle(): boolean {
    return this.#isAlive && this.#hasLoaded && this.#run === null;
  }

  get hasLoaded(): boolean {
    return this.#hasLoaded;
  }

  /**
   * Whether an attempt has ended in the thread, or the thread during an attempt. If a thread dies
   * before that, its module is the cause, and the next thread will die as well.
   */
  get hasWorked(): boolean {
    return this.#hasWorked;
  }

  /** The reason why it has ended, or null. */
  get endReason(): string | null {
    return this.#endReason;
  }

  /** Runs an attempt. There is always an outcome, even if the thread dies. */
  run(task: TaskView, noteProgress: (text: string) => void): Promise<AttemptOutcome> {
    const { id, type, queue, attempt, maxRetries, payload } = task;
    return new Promise((resolve) => {
      this.#run = { task, resolve, noteProgress };
      this.#say({ kind: "run", task: { id, type, queue, attempt, maxRetries }, payload });
    });
  }

  /** Aborts the signal of the running attempt. */
  stop(reason: StopReason): void {
    this.#say({ kind: "stop", reason });
  }

  /** Ends the thread at once, even in the middle of an attempt. */
  kill(): void {
    this.#terminate("it was killed because its handler did not stop");
  }

  /**
   * Ends the thread for good, once it has loaded: terminating a thread while it loads can crash the
   * process.
   */
  async end(): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancelGrace = this.#options.clock.after(LOAD_GRACE_MS, resolve);
      void this.loaded.then(() => {
        cancelGrace();
        resolve();
      });
    });
    this.#terminate("the process is stopping");
  }

  #terminate(why: string): void {
    if (!this.#isAlive) return;
    this.#worker.terminate();
    this.#ended(why);
  }

  #say(message: ToThread): void {
    this.#port.postMessage(message);
  }

  #hear(message: FromThread): void {
    switch (message.kind) {
      case "ready":
        this.#hasLoaded = true;
        this.#settleLoaded(null);
        break;
      case "not_loaded":
        this.#terminate(message.why);
        break;
      case "ended":
        this.#hasWorked = true;
        this.#reportDropped(this.#logRoom.takeDropped());
        this.#finish(message.outcome);
        break;
      case "progress":
        this.#run?.noteProgress(message.text);
        break;
      case "log":
        this.#options.log[message.level](message.event, message.fields);
        this.#logRoom.giveBack(message.length);
        this.#reportDropped(this.#logRoom.takeDropped());
        break;
      case "fault":
        // The thread does not end itself: its handlers may have replaced process.exit.
        this.#terminate(message.why);
        break;
      default:
        message satisfies never;
    }
  }

  #reportDropped(lines: number): void {
    if (lines === 0) return;
    const { id, type } = this.#run?.task ?? {};
    this.#options.log.warn("log_lines_dropped", { lines, id, type });
  }

  #finish(outcome: AttemptOutcome): void {
    const run = this.#run;
    this.#run = null;
    run?.resolve(outcome);
  }

  #ended(why: string): void {
    if (!this.#isAlive) return;
    this.#isAlive = false;
    this.#port.close();
    this.#endReason ??= why;
    if (this.#run !== null) this.#hasWorked = true;
    this.#reportDropped(this.#logRoom.takeLost());
    this.#settleLoaded(this.#endReason);
    this.#options.onEnd();
    const message = `the thread ended during the attempt: ${this.#endReason}`;
    this.#finish(failed("thread_crashed", message, { kind: "backoff" }));
  }
}

function codeOf(event: Event): string {
  return "code" in event ? String(event.code) : "unknown";
}
