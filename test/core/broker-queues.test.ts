import { describe, expect, test } from "bun:test";
import { aBroker, aNewTask, at, claimAll, enqueue, NO_CHANCE } from "../support/builders.ts";

describe("Broker.pin", () => {
  test("a pinned queue stays, and in use, until its last pin goes", () => {
    const broker = aBroker({ retainMs: 1000, queuesMax: 1 });
    enqueue(broker, "a");
    broker.cancel("a", at(0));
    const queue = broker.findQueue("default");
    if (queue === undefined) throw new Error("the queue is gone");
    broker.pin(queue, at(0));
    broker.pin(queue, at(0));

    broker.tick(at(99_999), NO_CHANCE);
    broker.unpin(queue, at(99_999));
    broker.verify();
    const other = broker.enqueue([aNewTask({ id: "b", queue: "other" })], at(99_999));
    broker.unpin(queue, at(99_999));
    broker.tick(at(100_998), NO_CHANCE);
    const before = broker.findQueue("default");
    broker.tick(at(100_999), NO_CHANCE);

    expect(other).toMatchObject({ kind: "refused", bound: "queues_max", limit: 1 });
    expect(before).toBe(queue);
    expect(broker.findQueue("default")).toBeUndefined();
    broker.verify();
  });
});

describe("Broker.pause", () => {
  test("a paused queue hands out nothing, and everything again once it is resumed", () => {
    const broker = aBroker();
    enqueue(broker, "a");

    broker.pause("default", at(0));
    const during = claimAll(broker);
    broker.resume("default", at(0));

    expect([during, claimAll(broker)]).toEqual([[], ["a"]]);
  });

  test("a paused queue counts as in use, though it has nothing left to do", () => {
    const broker = aBroker({ queuesMax: 1 });
    enqueue(broker, "a");
    broker.pause("default", at(0));
    broker.cancel("a", at(0));
    const enqueueOther = () => broker.enqueue([aNewTask({ id: "b", queue: "other" })], at(0)).kind;

    const during = enqueueOther();
    broker.resume("default", at(0));

    expect([during, enqueueOther()]).toEqual(["refused", "accepted"]);
    broker.verify();
  });

  test("a queue that is unknown can be neither paused nor resumed", () => {
    expect(aBroker().pause("x", at(0))).toEqual({ kind: "unknown" });
    expect(aBroker().resume("x", at(0))).toEqual({ kind: "unknown" });
  });

  test("the observer hears of a resume, since no task takes a step", () => {
    const heard: string[] = [];
    const broker = aBroker(
      {},
      {
        onStep: () => undefined,
        onRevoke: () => undefined,
        onResume: ({ name }) => heard.push(name),
      },
    );
    enqueue(broker, "a");

    broker.pause("default", at(0));
    const before = [...heard];
    broker.resume("default", at(0));

    expect([before, heard]).toEqual([[], ["default"]]);
  });
});
