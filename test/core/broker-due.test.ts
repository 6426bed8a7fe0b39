import { describe, expect, test } from "bun:test";
import { TICK_MAX } from "../../src/core/broker.ts";
import { aBroker, aNewTask, at, claim, enqueue, NO_CHANCE } from "../support/builders.ts";

describe("Broker.tick", () => {
  test("due tasks are queued in the order of its time, then of its arrival", () => {
    const broker = aBroker();
    for (const [id, delayMs] of Object.entries({ a: 30, b: 10, c: 30, d: 20 })) {
      enqueue(broker, id, { when: { kind: "after", delayMs } });
    }

    broker.tick(at(30), NO_CHANCE);

    expect([1, 2, 3, 4].map(() => claim(broker).id)).toEqual(["b", "d", "a", "c"]);
  });

  test("a delay does not care where the wall clock goes", () => {
    const broker = aBroker();
    enqueue(broker, "a", { when: { kind: "after", delayMs: 100 } });

    broker.tick(at(99, 3_600_000), NO_CHANCE);
    const before = broker.find("a")?.status;
    broker.tick(at(100, -3_600_000), NO_CHANCE);

    expect(before).toBe("scheduled");
    expect(broker.find("a")?.status).toBe("queued");
  });

  test("a time asked for comes when the wall clock is set forward, and no sooner when it is set back", () => {
    const broker = aBroker();
    enqueue(broker, "a", { when: { kind: "at", wallMs: at(1000).wallMs } });

    broker.tick(at(2000, -2000), NO_CHANCE);
    const afterSetBack = broker.find("a")?.status;
    broker.tick(at(2001, 0), NO_CHANCE);

    expect(afterSetBack).toBe("scheduled");
    expect(broker.find("a")?.status).toBe("queued");
  });

  test("one tick moves no more tasks than it may, and the next one goes on", () => {
    const broker = aBroker({ queue: { size: 2 * TICK_MAX, bytes: 1e9 } });
    const when = { kind: "after", delayMs: 1 } as const;
    const batch = Array.from({ length: TICK_MAX + 1 }, (_, n) => aNewTask({ id: `t${n}`, when }));
    broker.enqueue(batch, at(0));

    broker.tick(at(1), NO_CHANCE);
    const afterOne = broker.findQueue("default")?.counts.queued;
    broker.tick(at(1), NO_CHANCE);

    expect(afterOne).toBe(TICK_MAX);
    expect(broker.findQueue("default")?.counts.queued).toBe(TICK_MAX + 1);
  });
});

describe("Broker.hasWorkWithin", () => {
  const later = { when: { kind: "after", delayMs: 100 } } as const;

  test("an empty broker has no work", () => {
    expect(aBroker().hasWorkWithin(1e9, at(0))).toBe(false);
  });

  test("a ready task is work, whichever lane it is for", () => {
    const broker = aBroker();
    enqueue(broker, "a", { lane: "thread" });

    expect(broker.hasWorkWithin(0, at(0))).toBe(true);
  });

  test("a running task is work, however long its timeout is", () => {
    const broker = aBroker();
    enqueue(broker, "a", { timeoutMs: 1e9 });
    claim(broker);

    expect(broker.hasWorkWithin(0, at(0))).toBe(true);
  });

  test("a delayed task is work if it is due in the time there is", () => {
    const broker = aBroker();
    enqueue(broker, "a", later);

    expect([99, 100].map((ms) => broker.hasWorkWithin(ms, at(0)))).toEqual([false, true]);
  });

  test("a task in a paused queue is no work", () => {
    const broker = aBroker();
    enqueue(broker, "a");

    broker.pause("default", at(0));

    expect(broker.hasWorkWithin(1e9, at(0))).toBe(false);
  });
});

describe("Broker.msToNextDue", () => {
  test("nothing is ever due in an empty broker", () => {
    expect(aBroker().msToNextDue(at(0))).toBe(Number.POSITIVE_INFINITY);
  });

  test("a late task is due at once", () => {
    const broker = aBroker();
    enqueue(broker, "a", { when: { kind: "after", delayMs: 100 } });

    expect(broker.msToNextDue(at(500))).toBe(0);
  });

  test("the next thing due may be that a finished task is forgotten", () => {
    const broker = aBroker({ retainMs: 1000 });
    enqueue(broker, "a");
    broker.cancel("a", at(0));

    expect(broker.msToNextDue(at(400))).toBe(600);
  });

  test("the wall clock counts only while a task waits for it", () => {
    const broker = aBroker();
    enqueue(broker, "a", { when: { kind: "at", wallMs: at(100).wallMs } });
    const before = [broker.followsWallClock, broker.msToNextDue(at(0, 40))];
    broker.cancel("a", at(0));

    expect(before).toEqual([true, 60]);
    expect(broker.followsWallClock).toBe(false);
  });
});
