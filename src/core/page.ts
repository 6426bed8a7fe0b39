/**
 * Builds one page of a list of tasks. Both its length and the number of tasks it examines are
 * bounded.
 */

import type { TaskStatus } from "./status.ts";
import type { Task } from "./task.ts";

export interface ListFilter {
  readonly status?: TaskStatus | undefined;
  readonly queue?: string | undefined;
  readonly type?: string | undefined;
  /** One of its tags. */
  readonly tag?: string | undefined;
}

export interface TaskPage {
  readonly tasks: readonly Task[];
  /** The start of the next page, or null after the last one. */
  readonly nextBeforeSeq: number | null;
}

/**
 * The number of tasks that one page examines. So a page may be short, or empty, and still have a
 * next one: a filter with few matches must not block the event loop while it passes a million
 * tasks.
 */
export const LIST_SCAN_MAX = 10_000;

/**
 * A page ends early at this number of payload and result bytes, so that a page of large tasks does
 * not fill the memory.
 */
export const LIST_BYTES_MAX = 4 * 1024 * 1024;

/**
 * The first `limit` of these tasks that match the filter, or fewer when the bounds of a page end
 * it.
 */
export function pageOf(tasks: Iterable<Task>, filter: ListFilter, limit: number): TaskPage {
  const page: Task[] = [];
  let scanned = 0;
  let bytes = 0;
  let lastSeq = 0;
  for (const task of tasks) {
    if (page.length === limit || scanned === LIST_SCAN_MAX || bytes >= LIST_BYTES_MAX) {
      return { tasks: page, nextBeforeSeq: lastSeq };
    }
    scanned += 1;
    lastSeq = task.seq;
    if (!passes(task, filter)) continue;
    page.push(task);
    bytes += task.retainedBytes;
  }
  return { tasks: page, nextBeforeSeq: null };
}

function passes(task: Task, { status, queue, type, tag }: ListFilter): boolean {
  return (
    (status === undefined || task.status === status) &&
    (queue === undefined || task.queue.name === queue) &&
    (type === undefined || task.settings.type === type) &&
    (tag === undefined || task.settings.tags.includes(tag))
  );
}
