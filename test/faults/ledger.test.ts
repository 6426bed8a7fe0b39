import { expect, test } from "bun:test";
import { type AskedTask, type EnqueueAsked, type Found, type FoundTask, Ledger } from "./ledger.ts";

test("what was accepted and is there is right, whatever it did meanwhile", () => {
  const { ledger } = aLedger([1, 2]);
  expect(ledger.faultsOf(found(1, 2))).toEqual([]);
  expect(
    ledger.faultsOf(foundTasks(isDone(1), aFound({ number: 2, status: "queued", attempt: 1 }))),
  ).toEqual([]);
});

test("an accepted task that is missing is lost", () => {
  const { ledger } = aLedger([1, 2]);
  expect(ledger.faultsOf(found(2))).toEqual(["lost: only 1 of 2 tasks from 1 are there"]);
});

test("a task that nobody asked for comes from nowhere", () => {
  const { ledger } = aLedger([1]);
  expect(ledger.faultsOf(found(1, 2))).toEqual([
    "task 2 (work, queued, attempt 0) comes from nowhere",
  ]);
});

test("one task is not there twice, not even under another id", () => {
  const { ledger } = aLedger([1]);
  const faults = ledger.faultsOf(
    foundTasks(aFound({ number: 1 }), aFound({ number: 1, id: "another" })),
  );
  expect(faults).toEqual(["task 1 (work, queued, attempt 0) is there twice"]);
});

test("a batch without an answer is there whole or not at all", () => {
  const ledger = new Ledger(ENDINGS);
  ledger.enqueueAsked([1, 2, 3].map(asked), null);
  expect(ledger.faultsOf(found())).toEqual([]);
  expect(ledger.faultsOf(found(1, 2, 3))).toEqual([]);
  expect(ledger.faultsOf(found(1, 3))).toEqual(["half a batch: 2 of 3 tasks from 1"]);
});

test("what was refused is not there", () => {
  const ledger = new Ledger(ENDINGS);
  ledger.refused(ledger.enqueueAsked([asked(1)], null));
  expect(ledger.faultsOf(found(1))).toEqual(["refused, but 1 of 1 tasks from 1 are there"]);
});

test("a task is what was asked for, under the id that was answered", () => {
  const { ledger } = aLedger([1, 2]);
  const faults = ledger.faultsOf(
    foundTasks(aFound({ number: 1, id: "another" }), aFound({ number: 2, priority: 5 })),
  );
  expect(faults).toEqual([
    "task 1 (work, queued, attempt 0) was accepted as id-1",
    "task 2 (work, queued, attempt 0) has priority 5, not 0",
  ]);
});

test("a finished state that a client was told stays", () => {
  const { ledger } = aLedger([1]);
  ledger.finished(1, "done");
  expect(ledger.faultsOf(foundTasks(isDone(1)))).toEqual([]);
  expect(ledger.faultsOf(found(1))).toEqual(["task 1 (work, queued, attempt 0) was done before"]);
});

test("a task that is to be retried is as it was or waits, until the retry is answered", () => {
  const { ledger } = aLedger([1]);
  ledger.cancelAsked(1);
  ledger.cancelAnswered(1);
  ledger.retryAsked(1);
  expect(ledger.faultsOf(found(1))).toEqual([]);
  expect(ledger.faultsOf(foundTasks(isCancelled(1)))).toEqual([]);
  ledger.retryAnswered(1);
  expect(ledger.faultsOf(found(1))).toEqual([]);
  expect(ledger.faultsOf(foundTasks(isCancelled(1)))).toHaveLength(1);
});

test("an attempt that had started counts", () => {
  const { ledger } = aLedger([1]);
  ledger.started(1, 2);
  expect(ledger.faultsOf(foundTasks(aFound({ number: 1, attempt: 1 })))).toEqual([
    "task 1 (work, queued, attempt 1) has 1 attempts, and 2 had started",
  ]);
});

test("a task ends only as its type can, or was asked to, or after three crashes", () => {
  const { ledger } = aLedger([1]);
  const failed = (attempt: number, lastErrorCode: string) =>
    ledger.faultsOf(foundTasks(aFound({ number: 1, status: "failed", attempt, lastErrorCode })));
  expect(failed(3, "crash_loop")).toEqual([]);
  expect(failed(2, "crash_loop")).toHaveLength(1);
  expect(failed(3, "error")).toHaveLength(1);
  expect(ledger.faultsOf(foundTasks(isCancelled(1)))).toHaveLength(1);
  expect(
    ledger.faultsOf(foundTasks(aFound({ number: 1, status: "done", result: "null" }))),
  ).toHaveLength(1);
});

test("what was purged does not wait for its first attempt", () => {
  const { ledger } = aLedger([1]);
  ledger.purgeAsked("default");
  expect(ledger.faultsOf(found(1))).toEqual([]);
  expect(ledger.faultsOf(foundTasks(isCancelled(1)))).toEqual([]);
  ledger.purgeAnswered("default");
  expect(ledger.faultsOf(found(1))).toEqual([
    "task 1 (work, queued, attempt 0) waits, and was purged",
  ]);
});

test("what was purged and is to be retried may wait again, and does when that was found", () => {
  const { ledger } = aLedger([1]);
  ledger.purgeAsked("default");
  ledger.purgeAnswered("default");
  ledger.finished(1, "cancelled");
  ledger.retryAsked(1);
  expect(ledger.faultsOf(found(1))).toEqual([]);
  ledger.absorb(found(1));
  expect(ledger.faultsOf(found(1))).toEqual([]);
  expect(ledger.faultsOf(foundTasks(isCancelled(1)))).toHaveLength(1);
});

test("a queue is paused as was answered, and either while the answer is open", () => {
  const ledger = new Ledger(ENDINGS);
  const paused = { tasks: [], paused: new Set(["side"]) };
  expect(ledger.faultsOf(paused)).toHaveLength(1);
  ledger.pauseAsked("side", true);
  expect([...ledger.faultsOf(paused), ...ledger.faultsOf(found())]).toEqual([]);
  ledger.pauseAnswered("side", true);
  expect(ledger.faultsOf(paused)).toEqual([]);
  expect(ledger.faultsOf(found())).toEqual(["queue side is not paused, and should not be"]);
});

test("what was open is decided by what was found", () => {
  const ledger = new Ledger(ENDINGS);
  ledger.enqueueAsked([asked(1)], null);
  ledger.enqueueAsked([asked(2)], null);
  ledger.absorb(found(1));
  expect(ledger.faultsOf(found(1))).toEqual([]);
  expect(ledger.faultsOf(found(1, 2))).toEqual(["refused, but 1 of 1 tasks from 2 are there"]);
  expect(ledger.faultsOf(found())).toEqual(["lost: only 0 of 1 tasks from 1 are there"]);
});

const ENDINGS = { work: { mayBeDone: true, mayFail: false } };

/** A ledger with one batch of these tasks, accepted. */
function aLedger(numbers: readonly number[]): { ledger: Ledger; enqueue: EnqueueAsked } {
  const ledger = new Ledger(ENDINGS);
  const enqueue = ledger.enqueueAsked(numbers.map(asked), null);
  ledger.accepted(
    enqueue,
    numbers.map((number) => `id-${number}`),
  );
  return { ledger, enqueue };
}

function asked(number: number): AskedTask {
  return { number, type: "work", queue: "default", priority: 0, maxRetries: 3 };
}

function aFound(task: Partial<FoundTask> & { number: number }): FoundTask {
  return {
    ...asked(task.number),
    id: `id-${task.number}`,
    status: "queued",
    attempt: 0,
    lastErrorCode: null,
    result: "null",
    ...task,
  };
}

function isDone(number: number): FoundTask {
  return aFound({ number, status: "done", attempt: 1, result: `{"answer":${number}}` });
}

function isCancelled(number: number): FoundTask {
  return aFound({ number, status: "cancelled" });
}

function found(...numbers: readonly number[]): Found {
  return foundTasks(...numbers.map((number) => aFound({ number })));
}

function foundTasks(...tasks: readonly FoundTask[]): Found {
  return { tasks, paused: new Set() };
}
