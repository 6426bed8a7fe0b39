import { expect, test } from "bun:test";
import { type Clock, clockInSteps, systemClock } from "../src/clock.ts";
import { turn } from "./support/manual-clock.ts";

/** Resolves with the names of the timers in the order in which they fired, once `last` has. */
function firingOrder(
  delaysMs: Readonly<Record<string, number>>,
  last: string,
  clock: Clock = systemClock,
): Promise<string[]> {
  const fired: string[] = [];
  return new Promise((resolve) => {
    const cancels = Object.entries(delaysMs).map(([name, delayMs]) =>
      clock.after(delayMs, () => {
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

test("a wait that is longer than a timer can be ends, and not before its time", async () => {
  const clock = clockInSteps(1);
  const startedMs = clock.now().monoMs;

  await firingOrder({ long: 20 }, "long", clock);

  expect(clock.now().monoMs).toBeGreaterThanOrEqual(startedMs + 20);
});

test("a wait in steps can be cancelled in the middle", async () => {
  const clock = clockInSteps(1);
  const fired: string[] = [];
  let cancel = (): void => undefined;
  // Armed first, so that it comes first even if all three are late.
  clock.after(5, () => cancel());
  cancel = clock.after(30, () => fired.push("cancelled"));

  await firingOrder({ last: 40 }, "last", clock);

  expect(fired).toEqual([]);
});

test("the system clock's monotonic time does not go back", async () => {
  const before = systemClock.now();

  await turn();

  expect(systemClock.now().monoMs).toBeGreaterThanOrEqual(before.monoMs);
  expect(before.wallMs).toBeGreaterThan(before.monoMs);
});
