import { describe, expect, test } from "bun:test";
import { LIST_BYTES_MAX, LIST_SCAN_MAX, pageOf, type TaskPage } from "../../src/core/page.ts";
import type { Task } from "../../src/core/task.ts";
import { aQueue, aTask, someTasks } from "../support/builders.ts";

/** Tasks as an index gives them: the newest, with the largest number, first. */
function newestFirst(tasks: readonly Task[]): Task[] {
  return [...tasks].reverse();
}

function seqsOf({ tasks }: TaskPage): number[] {
  return tasks.map(({ seq }) => seq);
}

describe("pageOf", () => {
  test("a page of nothing is empty and the last", () => {
    expect(pageOf([], {}, 10)).toEqual({ tasks: [], nextBeforeSeq: null });
  });

  test("a page holds as many tasks as it may, and says where the next one starts", () => {
    const page = pageOf(newestFirst(someTasks(5)), {}, 2);

    expect(seqsOf(page)).toEqual([5, 4]);
    expect(page.nextBeforeSeq).toBe(4);
  });

  test("a page that just holds the rest is the last", () => {
    const page = pageOf(newestFirst(someTasks(2)), {}, 2);

    expect(seqsOf(page)).toEqual([2, 1]);
    expect(page.nextBeforeSeq).toBeNull();
  });

  test("a page looks at no more tasks than it may, though none of them passes", () => {
    const tasks = someTasks(LIST_SCAN_MAX + 1, { type: "other" });

    const page = pageOf(newestFirst(tasks), { type: "wanted" }, 10);

    expect(page).toEqual({ tasks: [], nextBeforeSeq: 2 });
  });

  test("a page ends after the task that fills its bytes", () => {
    const tasks = someTasks(5, { payloadBytes: LIST_BYTES_MAX / 2 });

    const page = pageOf(newestFirst(tasks), {}, 500);

    expect(seqsOf(page)).toEqual([5, 4]);
    expect(page.nextBeforeSeq).toBe(4);
  });

  test("a page holds one task however large it is", () => {
    const tasks = someTasks(2, { payloadBytes: 2 * LIST_BYTES_MAX });

    expect(seqsOf(pageOf(newestFirst(tasks), {}, 500))).toEqual([2]);
  });
});

describe("ListFilter", () => {
  const mail = aQueue({}, "mail");
  const tasks = [
    aTask({ seq: 4, type: "x" }),
    aTask({ seq: 3, type: "y", queue: mail }),
    aTask({ seq: 2, type: "x", queue: mail }),
    aTask({ seq: 1, type: "x", queue: mail }),
  ];
  (tasks[3] as Task).status = "running";

  test("a filter lets everything pass when it says nothing", () => {
    expect(seqsOf(pageOf(tasks, {}, 10))).toEqual([4, 3, 2, 1]);
  });

  test("a filter by status, by queue or by type lets only those pass", () => {
    expect(seqsOf(pageOf(tasks, { status: "queued" }, 10))).toEqual([4, 3, 2]);
    expect(seqsOf(pageOf(tasks, { queue: "mail" }, 10))).toEqual([3, 2, 1]);
    expect(seqsOf(pageOf(tasks, { type: "x" }, 10))).toEqual([4, 2, 1]);
  });

  test("a filter by a tag lets pass what has it among its tags, in any place", () => {
    const tagged = [
      aTask({ seq: 4, tags: ["red"] }),
      aTask({ seq: 3, tags: ["blue", "red"] }),
      aTask({ seq: 2, tags: ["reddish"] }),
      aTask({ seq: 1 }),
    ];

    expect(seqsOf(pageOf(tagged, { tag: "red" }, 10))).toEqual([4, 3]);
    expect(seqsOf(pageOf(tagged, { tag: "re" }, 10))).toEqual([]);
  });

  test("a filter by several lets only pass what passes each", () => {
    const filter = { status: "queued", queue: "mail", type: "x" } as const;

    expect(seqsOf(pageOf(tasks, filter, 10))).toEqual([2]);
  });
});
