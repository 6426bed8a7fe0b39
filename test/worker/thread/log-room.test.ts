import { describe, expect, test } from "bun:test";
import { LENGTH_MAX, LINES_MAX, LogRoom } from "../../../src/worker/thread/log-room.ts";

/** The room as the thread and the process see it. */
function aRoom(): { readonly thread: LogRoom; readonly process: LogRoom } {
  const process = new LogRoom();
  return { thread: new LogRoom(process.memory), process };
}

/** Takes room for so many lines, and says how many got it. */
function takeAll(room: LogRoom, lines: number, length = 1): number {
  let taken = 0;
  for (let line = 0; line < lines; line += 1) if (room.take(length)) taken += 1;
  return taken;
}

describe("the room for log lines of a thread", () => {
  test("is bounded by lines", () => {
    expect(takeAll(aRoom().thread, 2 * LINES_MAX)).toBe(LINES_MAX);
  });

  test("is bounded by characters", () => {
    expect(takeAll(aRoom().thread, 20, LENGTH_MAX / 10)).toBe(10);
  });

  test("is endless while every line arrives before the next one", () => {
    const { thread, process } = aRoom();

    for (let line = 0; line < 3 * LINES_MAX; line += 1) {
      expect(thread.take(LENGTH_MAX)).toBe(true);
      process.giveBack(LENGTH_MAX);
    }

    expect(process.takeDropped()).toBe(0);
  });

  test("is closed from the first dropped line until all others have arrived", () => {
    const { thread, process } = aRoom();
    takeAll(thread, LINES_MAX + 1);

    for (let line = 1; line < LINES_MAX; line += 1) process.giveBack(1);
    expect(thread.take(1)).toBe(false);
    expect(process.takeDropped()).toBe(0);
    process.giveBack(1);

    expect(process.takeDropped()).toBe(2);
    expect(thread.take(1)).toBe(true);
  });

  test("reports each dropped line once", () => {
    const { thread, process } = aRoom();
    takeAll(thread, LINES_MAX + 5);
    for (let line = 0; line < LINES_MAX; line += 1) process.giveBack(1);

    expect([process.takeDropped(), process.takeDropped()]).toEqual([5, 0]);
  });

  test("counts lines as lost that a dead thread had under way or had dropped", () => {
    const { thread, process } = aRoom();
    takeAll(thread, LINES_MAX + 5);
    process.giveBack(1);

    expect([process.takeLost(), process.takeLost()]).toEqual([LINES_MAX + 4, 0]);
  });
});
