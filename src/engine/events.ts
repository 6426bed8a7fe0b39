/**
 * What happened to tasks, once each, with the time. Log lines and long polls are subscribers; metrics and event streams
 * will be. An event is told when it may be known outside: in memory at once, with a store once it is written.
 */

import type { Instant } from "../core/instant.ts";
import type { TaskStatus } from "../core/status.ts";
import type { Task } from "../core/task.ts";

/** One step of a task. */
export interface TaskEvent {
  readonly taskId: string;
  readonly type: string;
  readonly queue: string;
  /** The status it has now. */
  readonly status: TaskStatus;
  /** The status it had before; null when it has just been accepted. */
  readonly from: TaskStatus | null;
  readonly attempt: number;
  /** The code of the error, after an attempt that failed. */
  readonly code: string | undefined;
  /** Wall-clock milliseconds. */
  readonly atMs: number;
  /** How long it was queued, when it has just started. */
  readonly waitMs: number | null;
  /** How long the attempt took, when one has just ended. */
  readonly runMs: number | null;
}

export interface EventSubscriber {
  /** Whether it wants to hear of this step. Asked at every step, so that an event nobody wants is never made. */
  wants(status: TaskStatus, from: TaskStatus | null): boolean;
  /** It must not call the engine from inside. */
  onTask(event: TaskEvent): void;
}

export class EventPublisher {
  readonly #subscribers: EventSubscriber[] = [];
  /** Events that are not to be told yet, with the subscribers that want them. */
  #held: { readonly event: TaskEvent; readonly wanted: readonly EventSubscriber[] }[] = [];
  readonly #holds: () => boolean;

  /** While `holds` says so, events wait for {@link release}. */
  constructor(holds: () => boolean) {
    this.#holds = holds;
  }

  subscribe(subscriber: EventSubscriber): void {
    this.#subscribers.push(subscriber);
  }

  /** Publishes a step that a task has just taken. */
  publish(task: Task, from: TaskStatus | null, now: Instant): void {
    let wanted: EventSubscriber[] | null = null;
    for (let index = 0; index < this.#subscribers.length; index += 1) {
      const subscriber = this.#subscribers[index] as EventSubscriber;
      if (!subscriber.wants(task.status, from)) continue;
      wanted ??= [];
      wanted.push(subscriber);
    }
    if (wanted === null) return;
    const event = eventOf(task, from, now);
    if (this.#holds()) this.#held.push({ event, wanted });
    else for (const subscriber of wanted) subscriber.onTask(event);
  }

  /** Tells the events that were held, in their order. */
  release(): void {
    if (this.#held.length === 0) return;
    for (const { event, wanted } of this.#held.splice(0)) {
      for (const subscriber of wanted) subscriber.onTask(event);
    }
  }
}

function eventOf(task: Task, from: TaskStatus | null, { monoMs, wallMs }: Instant): TaskEvent {
  const { id, settings, queue, status, attempt, errors, startedAtMs } = task;
  const hasFailed = status === "failed" || status === "retrying";
  return {
    taskId: id,
    type: settings.type,
    queue: queue.name,
    status,
    from,
    attempt,
    code: hasFailed ? errors.at(-1)?.code : undefined,
    atMs: wallMs,
    waitMs: status === "running" ? monoMs - task.queuedSinceMs : null,
    runMs: from === "running" && startedAtMs !== null ? Math.max(0, wallMs - startedAtMs) : null,
  };
}
