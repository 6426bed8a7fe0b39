/**
 * Publishes the steps of tasks: each once, with its time. Log lines and long polls are subscribers;
 * metrics and event streams will be. An event is published when it may be visible outside: in
 * memory at once, with a store after it is written.
 */

import type { Instant } from "../core/instant.ts";
import type { TaskStatus } from "../core/status.ts";
import type { Task } from "../core/task.ts";

/** One step of a task. */
export interface TaskEvent {
  readonly taskId: string;
  readonly type: string;
  readonly queue: string;
  /** The status after the step. */
  readonly status: TaskStatus;
  /** The status before the step; null for a task that was just accepted. */
  readonly from: TaskStatus | null;
  readonly attempt: number;
  /** The error code of a failed attempt. */
  readonly code: string | undefined;
  /** Wall-clock milliseconds. */
  readonly atMs: number;
  /** The time in the queue, when the task has just started. */
  readonly waitMs: number | null;
  /** The duration of the attempt, when one has just ended. */
  readonly runMs: number | null;
}

export interface EventSubscriber {
  /**
   * Whether the subscriber wants this step. Called at every step, so that no event is made without
   * a subscriber.
   */
  wants(status: TaskStatus, from: TaskStatus | null): boolean;
  /** Must not call the engine from inside. */
  onTask(event: TaskEvent): void;
}

export class EventPublisher {
  readonly #subscribers: EventSubscriber[] = [];
  /** Events that may not be published yet, with the subscribers that want them. */
  #held: { readonly event: TaskEvent; readonly wanted: readonly EventSubscriber[] }[] = [];
  readonly #holds: () => boolean;

  /** While `holds` returns true, events wait for {@link release}. */
  constructor(holds: () => boolean) {
    this.#holds = holds;
  }

  subscribe(subscriber: EventSubscriber): void {
    this.#subscribers.push(subscriber);
  }

  /** Publishes a step that a task has just taken, or holds its event. */
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

  /** Publishes the held events, in their order. */
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
