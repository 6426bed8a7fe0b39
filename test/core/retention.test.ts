import { describe, expect, test } from "bun:test";
import { Retention, type RetentionLimits } from "../../src/core/retention.ts";
import type { Task } from "../../src/core/task.ts";
import { aTask } from "../support/builders.ts";

function aRetention(limits: Partial<RetentionLimits> = {}): Retention {
  return new Retention({ tasks: 100, bytes: 10_000, ageMs: 1000, ...limits });
}

/** Keeps a task of so many bytes that has finished then. */
function keep(retention: Retention, seq: number, payloadBytes = 4, nowMs = 0): Task {
  const task = aTask({ seq, payloadBytes });
  retention.add(task, nowMs);
  return task;
}

/** Forgets what is to be forgotten by then, and gives their numbers. */
function forget(retention: Retention, nowMs = 0): number[] {
  const seqs: number[] = [];
  for (
    let task = retention.nextToForget(nowMs);
    task !== undefined;
    task = retention.nextToForget(nowMs)
  ) {
    retention.remove(task);
    seqs.push(task.seq);
  }
  retention.verify();
  return seqs;
}

describe("Retention", () => {
  test("a finished task is kept while there are no more than may be", () => {
    const retention = aRetention({ tasks: 3 });
    for (const seq of [1, 2, 3]) keep(retention, seq);

    expect(forget(retention)).toEqual([]);
    expect(retention.size).toBe(3);
  });

  test("a finished task is forgotten when there are too many, the first to finish first", () => {
    const retention = aRetention({ tasks: 2 });
    for (const seq of [3, 1, 4, 2]) keep(retention, seq);

    expect(forget(retention)).toEqual([3, 1]);
  });

  test("a finished task is kept while all together hold no more bytes than they may", () => {
    const retention = aRetention({ bytes: 30 });
    for (const seq of [1, 2, 3]) keep(retention, seq, 10);

    expect(forget(retention)).toEqual([]);
  });

  test("a finished task is forgotten when all together hold too many bytes", () => {
    const retention = aRetention({ bytes: 30 });
    keep(retention, 1, 10);
    keep(retention, 2, 10);
    keep(retention, 3, 11);

    expect(forget(retention)).toEqual([1]);
  });

  test("a finished task counts with its result and its progress", () => {
    const retention = aRetention({ bytes: 10 });
    const task = aTask({ payloadBytes: 4 });
    task.result = "12345";
    task.progress = "67";
    retention.add(task, 0);

    expect(forget(retention)).toEqual([1]);
  });

  test("a finished task is forgotten once its time is up, and not before", () => {
    const retention = aRetention({ ageMs: 1000 });
    keep(retention, 1, 4, 500);

    expect(forget(retention, 1499)).toEqual([]);
    expect(forget(retention, 1500)).toEqual([1]);
  });

  test("a finished task says when its time is up", () => {
    const retention = aRetention({ ageMs: 1000 });

    expect(retention.nextExpiryMs()).toBe(Number.POSITIVE_INFINITY);
    keep(retention, 1, 4, 500);
    expect(retention.nextExpiryMs()).toBe(1500);
  });

  test("a finished task frees its place and its bytes when it is retried", () => {
    const retention = aRetention({ tasks: 1, bytes: 10 });
    const task = keep(retention, 1, 10);
    retention.remove(task);

    keep(retention, 2, 10);

    expect(forget(retention)).toEqual([]);
  });

  test("a finished task is never kept when none may be", () => {
    const retention = aRetention({ tasks: 0 });
    keep(retention, 1);

    expect(forget(retention)).toEqual([1]);
  });
});

describe("Retention.verify", () => {
  test("verify finds bytes that changed while the task was kept", () => {
    const retention = aRetention();
    const task = keep(retention, 1);

    task.result = "more";

    expect(() => retention.verify()).toThrow("retention counts its bytes");
  });

  test("verify finds a task too many", () => {
    const retention = aRetention({ tasks: 0 });

    keep(retention, 1);

    expect(() => retention.verify()).toThrow("retention keeps no more tasks than it may");
  });
});
