/**
 * What a task costs, as counts and ratios that no machine changes much: so that something which makes its path grossly
 * slower is seen when it is made, and not by the next who measures. Every bound is about twice what is needed today; the
 * numbers themselves are the business of bench/.
 */

import { fullGC, heapStats } from "bun:jsc";
import { describe, expect, test } from "bun:test";
import { turn } from "../support/manual-clock.ts";
import { CountingClock, floorAnswer, leastRatio, requestOf, TaskPath } from "./path.ts";

/** Rounds whose lowest counts, after some in which the compiler learns. */
const ROUNDS = 7;
const WARM_UPS = 3;

describe("a task that is enqueued and run", () => {
  const TASKS = 1000;

  async function runAll(path: TaskPath): Promise<number> {
    let turns = 0;
    for (; path.done < TASKS; turns += 1) await turn();
    return turns;
  }

  test("reads the clock at most eight times", async () => {
    const clock = new CountingClock();
    await using path = new TaskPath(clock).start();
    path.enqueue(TASKS);

    await runAll(path);

    expect(clock.readings / TASKS).toBeLessThanOrEqual(8);
  });

  test("sets no timer of its own", async () => {
    const clock = new CountingClock();
    await using path = new TaskPath(clock).start();
    path.enqueue(TASKS);

    await runAll(path);

    expect(clock.timers).toBeLessThanOrEqual(10);
  });

  test("takes no turn of the event loop of its own", async () => {
    await using path = new TaskPath().start();
    path.enqueue(TASKS);

    expect(await runAll(path)).toBeLessThanOrEqual(10);
  });

  test("takes about as much of the CPU behind 200,000 that wait as behind 100", async () => {
    await using few = new TaskPath();
    await using many = new TaskPath();
    few.enqueue(100);
    many.enqueue(200_000);
    const run = (path: TaskPath) => () => {
      for (let count = 0; count < 5000; count += 1) {
        path.enqueue(1);
        path.work(1);
      }
    };

    const ratio = await leastRatio(run(many), run(few), { rounds: ROUNDS, warmUps: WARM_UPS });

    // Twice as much is the price of memory that fits no cache; a step that looks at every task would take a thousand times as much.
    expect(ratio).toBeLessThan(8);
  });
});

describe("a task that waits", () => {
  test("keeps at most six objects and 1,100 bytes of the heap", async () => {
    await using path = new TaskPath();
    path.enqueue(1000);
    const tasks = 20_000;
    fullGC();
    const before = heapStats();

    path.enqueue(tasks);

    fullGC();
    const after = heapStats();
    expect((after.objectCount - before.objectCount) / tasks).toBeLessThanOrEqual(6);
    expect((after.heapSize - before.heapSize) / tasks).toBeLessThanOrEqual(1100);
  });
});

describe("a request that enqueues a task", () => {
  test("takes at most seven times the CPU of a bare handler that parses and answers the same", async () => {
    await using path = new TaskPath().start();
    const many = (answer: (request: Request) => Promise<Response>) => async () => {
      for (let count = 0; count < 2000; count += 1) {
        const response = await answer(requestOf());
        if (response.status !== 202) throw new Error(`answered ${response.status}`);
        await response.text();
        if (count % 50 === 0) await turn();
      }
    };

    const ratio = await leastRatio(
      many((request) => path.answer(request)),
      many(floorAnswer),
      { rounds: ROUNDS, warmUps: WARM_UPS },
    );

    // It takes three to four times as much. With sockets in between, where both spend most, the ratio would be near one.
    expect(ratio).toBeLessThan(7);
  });
});
