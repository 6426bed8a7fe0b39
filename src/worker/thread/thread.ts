/**
 * One thread, seen from the process: it loads, runs one attempt at a time, and ends. Once ended it
 * is of no more use.
 */

import type { Clock } from "../../clock.ts";
import type { AttemptOutcome, TaskView } from "../../engine/engine.ts";
import type { Log } from "../../log.ts";
import type { StopReason } from "../attempt.ts";
import { failed } from "../outcome.ts";
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
 * How long a thread that is to end may go on to load. A module that never ends to load must not
 * hold up the stop.
 */
const LOAD_GRACE_MS = 1000;

interface Run {
  readonly task: TaskView;
  readonly resolve: (outcome: AttemptOutcome) => void;
  readonly noteProgress: (text: string) => void;
}

export class Thread {
  /** Resolves when the handlers are loaded: with null, or with what went wrong. */
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
    // What the thread could not tell itself. Unhandled here, it would end the process instead.
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
   * Whether an attempt has ended in it, or it in an attempt. One that dies before that dies of what
   * it loads, and its successor will too.
   */
  get hasWorked(): boolean {
    return this.#hasWorked;
  }

  /** Why it has ended, or null. */
  get endReason(): string | null {
    return this.#endReason;
  }

  /** Runs an attempt. Whatever becomes of the thread, an outcome comes. */
  run(task: TaskView, noteProgress: (text: string) => void): Promise<AttemptOutcome> {
    const { id, type, queue, attempt, maxRetries, payload } = task;
    return new Promise((resolve) => {
      this.#run = { task, resolve, noteProgress };
      this.#say({ kind: "run", task: { id, type, queue, attempt, maxRetries }, payload });
    });
  }

  /** Aborts the signal of what runs. */
  stop(reason: StopReason): void {
    this.#say({ kind: "stop", reason });
  }

  /** Ends it in the middle of whatever it does. */
  kill(): void {
    this.#terminate("it was killed because its handler did not stop");
  }

  /**
   * Ends it for good, once it has loaded: a thread that is terminated while it loads can take the
   * process with it.
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
        // It is not left to end itself: its handlers may have taken process.exit away.
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
