import { expect, test } from "bun:test";
import { systemClock } from "../../src/engine/clock.ts";
import { turn } from "./manual-clock.ts";

/** Resolves with the names of the timers in the order in which they fired, once `last` has. */
function firingOrder(delaysMs: Readonly<Record<string, number>>, last: string): Promise<string[]> {
  const fired: string[] = [];
  return new Promise((resolve) => {
    const cancels = Object.entries(delaysMs).map(([name, delayMs]) =>
      systemClock.after(delayMs, () => {
        fired.push(name);
        if (name !== last) return;
        for (const cancel of cancels) cancel();
        resolve(fired);
      }),
    );
  });
}

test("the system clock fires sooner what is due sooner", async () => {
  expect(await firingOrder({ late: 30, early: 1 }, "late")).toEqual(["early", "late"]);
});

test("the system clock does not fire what was cancelled", async () => {
  const fired: string[] = [];
  const cancel = systemClock.after(1, () => fired.push("cancelled"));
  cancel();

  await firingOrder({ later: 5 }, "later");

  expect(fired).toEqual([]);
});

test("the system clock does not fire at once what is due in a month, or never", async () => {
  const delaysMs = { month: 2 ** 31, never: Number.POSITIVE_INFINITY, soon: 5 };

  expect(await firingOrder(delaysMs, "soon")).toEqual(["soon"]);
});

test("the system clock's monotonic time does not go back", async () => {
  const before = systemClock.now();

  await turn();

  expect(systemClock.now().monoMs).toBeGreaterThanOrEqual(before.monoMs);
  expect(before.wallMs).toBeGreaterThan(before.monoMs);
});
