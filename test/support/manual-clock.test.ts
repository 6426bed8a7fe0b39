import { describe, expect, test } from "bun:test";
import { ManualClock } from "./manual-clock.ts";

describe("the manual clock", () => {
  test("fires what is due in the order of its time, and of its arming for the same time", async () => {
    const clock = new ManualClock();
    const fired: string[] = [];
    clock.after(20, () => fired.push("late"));
    clock.after(10, () => fired.push("early"));
    clock.after(10, () => fired.push("early too"));
    clock.after(21, () => fired.push("never"));

    await clock.advance(20);

    expect(fired).toEqual(["early", "early too", "late"]);
    expect(clock.armed).toBe(1);
  });

  test("shows a timer the time that it was armed for", async () => {
    const clock = new ManualClock();
    const start = clock.now();
    let seen = start;
    clock.after(10, () => {
      seen = clock.now();
    });

    await clock.advance(25);

    expect(seen).toEqual({ monoMs: start.monoMs + 10, wallMs: start.wallMs + 10 });
    expect(clock.now()).toEqual({ monoMs: start.monoMs + 25, wallMs: start.wallMs + 25 });
  });

  test("fires in the same advance what a timer arms, once it is due", async () => {
    const clock = new ManualClock();
    const fired: number[] = [];
    clock.after(10, () => {
      clock.after(10, () => fired.push(20));
      clock.after(11, () => fired.push(21));
    });

    await clock.advance(20);

    expect(fired).toEqual([20]);
  });

  test("does not fire what was cancelled", async () => {
    const clock = new ManualClock();
    const fired: string[] = [];
    const cancel = clock.after(10, () => fired.push("cancelled"));
    cancel();

    await clock.advance(10);

    expect(fired).toEqual([]);
  });

  test("moves only the wall clock when that jumps", () => {
    const clock = new ManualClock();
    const start = clock.now();

    clock.jumpWall(-5000);

    expect(clock.now()).toEqual({ monoMs: start.monoMs, wallMs: start.wallMs - 5000 });
  });

  test("refuses to go on for ever with a timer that arms itself for at once", async () => {
    const clock = new ManualClock();
    const again = (): void => {
      clock.after(0, again);
    };
    again();

    expect(clock.advance(1)).rejects.toThrow("again and again");
  });
});
