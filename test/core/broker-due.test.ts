import { describe, expect, test } from "bun:test";
import { TICK_MAX } from "../../src/core/broker.ts";
import { aBroker, aNewTask, at, claim, enqueue, NO_CHANCE } from "../support/builders.ts";

describe("what is due", () => {
  test("is queued in the order of its time, then of its arrival", () => {
    const broker = aBroker();
    for (const [id, delayMs] of Object.entries({ a: 30, b: 10, c: 30, d: 20 })) {
      enqueue(broker, id, { when: { kind: "after", delayMs } });
    }

    broker.tick(at(30), NO_CHANCE);

    expect([1, 2, 3, 4].map(() => claim(broker).id)).toEqual(["b", "d", "a", "c"]);
  });

  test("by a delay does not care where the wall clock goes", () => {
    const broker = aBroker();
    enqueue(broker, "a", { when: { kind: "after", delayMs: 100 } });

    broker.tick(at(99, 3_600_000), NO_CHANCE);
    const before = broker.find("a")?.status;
    broker.tick(at(100, -3_600_000), NO_CHANCE);

    expect(before).toBe("scheduled");
    expect(broker.find("a")?.status).toBe("queued");
  });

  test("by the wall clock comes when that is set forward, and no sooner when it is set back", () => {
    const broker = aBroker();
    enqueue(broker, "a", { when: { kind: "at", wallMs: at(1000).wallMs } });

    broker.tick(at(2000, -2000), NO_CHANCE);
    const afterSetBack = broker.find("a")?.status;
    broker.tick(at(2001, 0), NO_CHANCE);

    expect(afterSetBack).toBe("scheduled");
    expect(broker.find("a")?.status).toBe("queued");
  });

  test("moves no further in one tick than it may, and goes on in the next", () => {
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

describe("whether there is work", () => {
  const later = { when: { kind: "after", delayMs: 100 } } as const;

  test("is no for nothing", () => {
    expect(aBroker().hasWorkWithin(1e9, at(0))).toBe(false);
  });

  test("is yes for what can be claimed, whichever lane it is for", () => {
    const broker = aBroker();
    enqueue(broker, "a", { lane: "thread" });

    expect(broker.hasWorkWithin(0, at(0))).toBe(true);
  });

  test("is yes for what runs, however long its lease is", () => {
    const broker = aBroker();
    enqueue(broker, "a", { timeoutMs: 1e9 });
    claim(broker);

    expect(broker.hasWorkWithin(0, at(0))).toBe(true);
  });

  test("depends on the time there is for what is delayed", () => {
    const broker = aBroker();
    enqueue(broker, "a", later);

    expect([99, 100].map((ms) => broker.hasWorkWithin(ms, at(0)))).toEqual([false, true]);
  });

  test("is no for what waits behind a pause", () => {
    const broker = aBroker();
    enqueue(broker, "a");

    broker.setPaused("default", true, at(0));

    expect(broker.hasWorkWithin(1e9, at(0))).toBe(false);
  });
});

describe("how long it is until something is due", () => {
  test("is for ever when nothing is", () => {
    expect(aBroker().msToNextDue(at(0))).toBe(Number.POSITIVE_INFINITY);
  });

  test("is nothing when it is late", () => {
    const broker = aBroker();
    enqueue(broker, "a", { when: { kind: "after", delayMs: 100 } });

    expect(broker.msToNextDue(at(500))).toBe(0);
  });

  test("is the time until a finished task is forgotten when nothing else is due", () => {
    const broker = aBroker({ retainMs: 1000 });
    enqueue(broker, "a");
    broker.cancel("a", at(0));

    expect(broker.msToNextDue(at(400))).toBe(600);
  });

  test("depends on the wall clock only while a task waits for it", () => {
    const broker = aBroker();
    enqueue(broker, "a", { when: { kind: "at", wallMs: at(100).wallMs } });
    const before = [broker.followsWallClock, broker.msToNextDue(at(0, 40))];
    broker.cancel("a", at(0));

    expect(before).toEqual([true, 60]);
    expect(broker.followsWallClock).toBe(false);
  });
});
