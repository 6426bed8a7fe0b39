import { describe, expect, test } from "bun:test";
import type { Broker } from "../../src/core/broker.ts";
import type { Task } from "../../src/core/task.ts";
import {
  aBroker,
  aNewTask,
  aRemoteClaim,
  at,
  BROKEN,
  claim,
  claimAll,
  claimRemote,
  DONE,
  enqueue,
  FIRST_FENCE,
  LEASE_MS,
  NO_CHANCE,
  RELEASED,
  settle,
  TIMEOUT_MS,
} from "../support/builders.ts";

describe("Broker.settle, sent again", () => {
  test.each([
    ["done", DONE, "done", null],
    ["failed", BROKEN, "retrying", at(200).wallMs],
    ["released", RELEASED, "queued", null],
    ["released", { kind: "released", delayMs: 70 }, "retrying", at(70).wallMs],
  ] as const)(
    "a settle %s gets its receipt again and changes nothing",
    (outcome, body, status, runAtMs) => {
      const { broker, heard, task } = aRemoteClaim();
      const receipt = { outcome, status, runAtMs };

      const first = settle(broker, task, body);
      heard.length = 0;
      const again = settle(broker, task, body, at(5000));

      expect(first).toEqual({ kind: "settled", receipt });
      expect(again).toEqual({ kind: "repeated", receipt });
      expect(heard).toEqual([]);
      broker.verify();
    },
  );

  test("only the word of the outcome is compared, not the body", () => {
    const { broker, task } = aRemoteClaim();
    settle(broker, task, { kind: "done", result: "1" });

    const again = settle(broker, task, { kind: "done", result: "2" });

    expect(again.kind).toBe("repeated");
    expect(task.result).toBe("1");
  });

  test("another word about a settled claim is told that it is settled", () => {
    const { broker, task } = aRemoteClaim();
    settle(broker, task, DONE);

    expect([BROKEN, RELEASED].map((outcome) => settle(broker, task, outcome))).toEqual([
      { kind: "claim_lost", ended: "settled" },
      { kind: "claim_lost", ended: "settled" },
    ]);
  });

  test("a settle is repeated while the next attempt runs, and forgotten once that is settled", () => {
    const { broker, task } = aRemoteClaim();
    const first = task.fence;
    const settleFirst = () => broker.settle("a", first, RELEASED, at(0), NO_CHANCE);
    settleFirst();
    claimRemote(broker);

    const during = settleFirst();
    settle(broker, task, RELEASED);

    expect(during.kind).toBe("repeated");
    expect(settleFirst()).toEqual({ kind: "claim_lost", ended: "unknown" });
  });

  test("a settle is repeated after a later claim was lost", () => {
    const { broker, task } = aRemoteClaim();
    const first = task.fence;
    settle(broker, task, RELEASED);
    claimRemote(broker);
    broker.tick(at(LEASE_MS), NO_CHANCE);

    expect(broker.settle("a", first, RELEASED, at(LEASE_MS), NO_CHANCE).kind).toBe("repeated");
  });

  test("a settle is repeated after its task was retried by hand", () => {
    const { broker, task } = aRemoteClaim({ maxRetries: 0 });
    settle(broker, task, BROKEN);
    broker.retry("a", at(0));

    expect(settle(broker, task, BROKEN)).toMatchObject({
      kind: "repeated",
      receipt: { outcome: "failed", status: "failed" },
    });
  });

  test("the fence of another task settles nothing", () => {
    const broker = aBroker();
    for (const id of ["a", "b"]) enqueue(broker, id);
    const a = claim(broker);
    const b = claim(broker);

    const answer = broker.settle("a", b.fence, DONE, at(0), NO_CHANCE);

    expect(answer).toEqual({ kind: "claim_lost", ended: "unknown" });
    expect([a.status, b.status]).toEqual(["running", "running"]);
    broker.verify();
  });

  test("a done settle finds its task among more claims than are found without a search", () => {
    const broker = aBroker();
    for (let n = 0; n < 70; n += 1) enqueue(broker, `t${n}`);
    const claims = broker.claim({ lane: "loop", max: 70 }, at(0));

    const answers = claims.map((task) => settle(broker, task).kind);

    expect(new Set(answers)).toEqual(new Set(["settled"]));
    broker.verify();
  });

  test("a settle of a task that is forgotten is of an unknown claim", () => {
    const { broker, task } = aRemoteClaim({}, {}, { retainTasks: 0 });
    settle(broker, task);

    expect(settle(broker, task)).toEqual({ kind: "claim_lost", ended: "unknown" });
  });
});

describe("Broker.settle, of a lost claim", () => {
  const losses: Readonly<Record<string, (broker: Broker) => void>> = {
    expired: (broker) => broker.tick(at(LEASE_MS), NO_CHANCE),
    timeout: (broker) => broker.tick(at(TIMEOUT_MS), NO_CHANCE),
    cancelled: (broker) => void broker.cancel("a", at(0)),
  };

  test.each(Object.entries(losses))(
    "a claim that was %s says so, and nothing changes",
    (ended, lose) => {
      const { broker, heard, task } = aRemoteClaim();
      const { fence } = task;
      lose(broker);
      heard.length = 0;
      const lost: unknown = { kind: "claim_lost", ended };

      expect<unknown>(broker.settle("a", fence, DONE, at(TIMEOUT_MS), NO_CHANCE)).toEqual(lost);
      expect<unknown>(broker.extend("a", fence, LEASE_MS, at(TIMEOUT_MS))).toEqual(lost);
      expect<unknown>(broker.noteProgress("a", fence, "1")).toEqual(lost);
      expect(heard).toEqual([]);
      expect([task.result, task.progress]).toEqual([null, null]);
    },
  );

  test("a lost claim does not settle the next attempt", () => {
    const { broker, task } = aRemoteClaim();
    const { fence } = task;
    broker.tick(at(LEASE_MS), NO_CHANCE);
    claimRemote(broker, at(LEASE_MS));

    expect(broker.settle("a", fence, DONE, at(LEASE_MS), NO_CHANCE)).toEqual({
      kind: "claim_lost",
      ended: "expired",
    });
    expect(task.status).toBe("running");
  });

  test("a claim that was never made is unknown, even when its fence is nothing", () => {
    const broker = aBroker();
    enqueue(broker, "a");

    for (const fence of [0, 1, -1, FIRST_FENCE]) {
      expect(broker.settle("a", fence, DONE, at(0), NO_CHANCE)).toEqual({
        kind: "claim_lost",
        ended: "unknown",
      });
    }
  });
});

describe("Broker.settle, released with a delay", () => {
  test("the task waits for that long, costs no retry and goes to the back", () => {
    const { broker, task } = aRemoteClaim({ maxRetries: 0 });
    settle(broker, task, { kind: "released", delayMs: 1000 });
    enqueue(broker, "b", { lane: "remote" });
    const during = [task.status, task.runAtMs, broker.msToNextDue(at(0))];

    broker.tick(at(1000), NO_CHANCE);

    expect(during).toEqual(["retrying", at(1000).wallMs, 1000]);
    expect(task.failures).toBe(0);
    expect(broker.findQueue("default")?.totals).toMatchObject({ interrupted: 1, retried: 0 });
    expect(claimAll(broker, { lane: "remote" })).toEqual(["b", "a"]);
    broker.verify();
  });
});

describe("Broker.settle, released", () => {
  test("released tasks come before the rest, in their original order", () => {
    const broker = aBroker();
    for (const id of ["a", "b", "c", "d"]) enqueue(broker, id);
    const [a, b, c] = broker.claim({ lane: "loop", max: 3 }, at(0)) as [Task, Task, Task];

    for (const task of [b, c, a]) settle(broker, task, RELEASED);

    expect(claimAll(broker)).toEqual(["a", "b", "c", "d"]);
    broker.verify();
  });

  test("a released task counts as waiting, beyond the size of its queue", () => {
    const broker = aBroker({ queue: { size: 1 } });
    enqueue(broker, "a");
    const task = claim(broker);
    enqueue(broker, "b");

    settle(broker, task, RELEASED);

    expect(broker.findQueue("default")).toMatchObject({ waiting: 2, counts: { queued: 2 } });
    expect(broker.enqueue([aNewTask({ id: "c" })], at(0))).toMatchObject({ bound: "queue_size" });
    broker.verify();
  });
});

describe("Broker.planSettle", () => {
  test("a plan changes nothing until it is taken", () => {
    const { broker, heard, task } = aRemoteClaim();

    const plan = broker.planSettle("a", task.fence, DONE, at(0), NO_CHANCE);
    const before = [task.status, task.settledFence, [...heard]];
    if (plan.kind !== "step") throw new Error(`not a step, but ${plan.kind}`);
    broker.take(plan, at(0));

    expect(before).toEqual(["running", 0, []]);
    expect(heard).toEqual(["a: running → done"]);
    broker.verify();
  });
});

describe("Broker.onStep", () => {
  test("the observer hears each step with the moment of it", () => {
    const heard: unknown[] = [];
    const broker = aBroker(
      {},
      {
        onStep: ({ status }, from, now) => heard.push([from, status, now]),
        onRevoke: () => undefined,
      },
    );

    enqueue(broker, "a", {}, at(1));
    settle(broker, claim(broker, at(2)), DONE, at(3));

    expect(heard).toEqual([
      [null, "queued", at(1)],
      ["queued", "running", at(2)],
      ["running", "done", at(3)],
    ]);
  });
});
