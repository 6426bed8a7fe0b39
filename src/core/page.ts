/**
 * One page of a list of tasks, bounded in what it returns and in what it looks at.
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
  /** Where the next page starts, or null after the last one. */
  readonly nextBeforeSeq: number | null;
}

/**
 * How many tasks one page looks at. A page may so come out short, or empty, and still have a next one: a filter that
 * matches little must not hold up the event loop while a million tasks go by.
 */
export const LIST_SCAN_MAX = 10_000;

/** How many payload and result bytes end a page early, so that no page of large tasks fills the memory with its text. */
export const LIST_BYTES_MAX = 4 * 1024 * 1024;

/** The first `limit` of these tasks that pass the filter, or fewer where a page's bounds end it. */
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
