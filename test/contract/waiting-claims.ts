/** How every engine lets remote workers wait for a task. */

import { describe, expect, test } from "bun:test";
import { getEventListeners } from "node:events";
import type { TypeRules } from "../../src/engine/engine.ts";
import {
  type EngineHarness,
  type EngineOptions,
  idsOf,
  REMOTE,
  REMOTE_TYPES,
} from "../support/engine-harness.ts";
import { isPending, turn } from "../support/manual-clock.ts";
import type { Contract } from "./contract.ts";

const LEASE_MS: number = REMOTE.leaseMs;

/** Types whose tasks run elsewhere. */
const TYPES: Readonly<Record<string, TypeRules>> = {
  ...REMOTE_TYPES,
  x: { lane: "remote" },
  y: { lane: "remote" },
};

const NOTHING = { kind: "claimed", claims: [] } as const;

export function describeWaitingClaims(contract: Contract): void {
  const open = (options: EngineOptions = {}): Promise<EngineHarness> =>
    contract.open({ types: TYPES, ...options });

  describe("answer at once", () => {
    test("a claim is answered at once when a task is ready", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();

      expect(idsOf(await harness.waitToClaim())).toEqual([id]);
    });

    test("a claim is answered at once with as many tasks as are ready, up to its max", async () => {
      await using harness = await open();
      for (let count = 0; count < 3; count += 1) await harness.enqueueRemote();

      expect(idsOf(await harness.waitToClaim({ max: 2 }))).toHaveLength(2);
      expect(idsOf(await harness.waitToClaim({ max: 2 }))).toHaveLength(1);
    });

    test("a claim without time to wait is answered at once", async () => {
      await using harness = await open();

      expect(await harness.waitToClaim({}, 0)).toEqual(NOTHING);
    });

    test.each([
      ["max", { max: 0 }, "/max"],
      ["leaseMs", { leaseMs: 999 }, "/leaseMs"],
      ["worker", { worker: "ü" }, "/worker"],
      ["queues", { queues: [] }, "/queues"],
      ["types", { types: ["no type"] }, "/types/0"],
    ])("a claim with a fault in %s is answered at once", async (_, request, path) => {
      await using harness = await open();

      expect(await harness.waitToClaim(request)).toMatchObject({
        kind: "invalid",
        faults: [{ path }],
      });
    });

    test("a claim whose signal has aborted takes nothing", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();

      expect(await harness.waitToClaim({}, 60_000, AbortSignal.abort())).toEqual(NOTHING);

      expect(await harness.task(id)).toMatchObject({ status: "queued", attempt: 0 });
    });

    test("a claim whose signal has aborted does not wait", async () => {
      await using harness = await open();

      expect(await harness.waitToClaim({}, 60_000, AbortSignal.abort())).toEqual(NOTHING);
    });
  });

  describe("wait", () => {
    test("a claim waits, and gets the next task", async () => {
      await using harness = await open();
      const claim = harness.waitToClaim({ worker: "mail 1" });
      expect(await isPending(claim)).toBe(true);

      const id = await harness.enqueueRemote();

      expect(await claim).toMatchObject({
        kind: "claimed",
        claims: [{ taskId: id, task: { status: "running", claim: { worker: "mail 1" } } }],
      });
    });

    contract.orderTest("a claim waits for all tasks that come at once, up to its max", async () => {
      await using harness = await open();
      const claim = harness.waitToClaim({ max: 2 });
      expect(await isPending(claim)).toBe(true);

      const ids = await harness.enqueueAll([
        { type: "remote" },
        { type: "remote" },
        { type: "remote" },
      ]);

      expect(idsOf(await claim)).toEqual(ids.slice(0, 2));
    });

    contract.clockTest("a claim that waited has the whole of its lease", async () => {
      await using harness = await open();
      const claim = harness.waitToClaim();
      expect(await isPending(claim)).toBe(true);
      await harness.advance(30_000);

      await harness.enqueueRemote();

      expect(await claim).toMatchObject({
        claims: [{ leaseMs: LEASE_MS, leaseEndsAtMs: harness.wallMs + LEASE_MS }],
      });
    });

    test("a claim waits for no local task", async () => {
      await using harness = await open();
      const claim = harness.waitToClaim();

      await harness.enqueue();

      expect(await isPending(claim)).toBe(true);
      expect(await harness.claimAll()).toHaveLength(1);
    });

    contract.clockTest("a claim waits to its last millisecond, and is then empty", async () => {
      await using harness = await open();
      const claim = harness.waitToClaim({}, 5000);

      await harness.advance(4999);
      expect(await isPending(claim)).toBe(true);
      await harness.advance(1);

      expect(await claim).toEqual(NOTHING);
    });

    test("a claim whose time is up gets no task that comes later", async () => {
      await using harness = await open();
      const claim = harness.waitToClaim({}, 5000);
      await harness.advance(5000);
      await claim;

      const id = await harness.enqueueRemote();
      await turn();

      expect(await harness.statusOf(id)).toBe("queued");
    });

    test("a claim whose signal aborts gets no task that comes later", async () => {
      await using harness = await open();
      const client = new AbortController();
      const claim = harness.waitToClaim({}, 60_000, client.signal);
      expect(await isPending(claim)).toBe(true);

      client.abort();
      const id = await harness.enqueueRemote();
      await turn();

      expect(await claim).toEqual(NOTHING);
      expect(await harness.task(id)).toMatchObject({ status: "queued", attempt: 0 });
    });

    test("a claim whose signal aborts in the tick of a task leaves it to the next", async () => {
      await using harness = await open();
      const client = new AbortController();
      const claim = harness.waitToClaim({}, 60_000, client.signal);
      const next = harness.waitToClaim();
      expect(await isPending(Promise.race([claim, next]))).toBe(true);

      const enqueued = harness.enqueueRemote();
      client.abort();

      expect(await claim).toEqual(NOTHING);
      expect(idsOf(await next)).toEqual([await enqueued]);
    });
  });

  describe("wake", () => {
    test("a claim waits for a delayed task, and gets it when it is due", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote({ delayMs: 5000 });
      const claim = harness.waitToClaim();
      expect(await isPending(claim)).toBe(true);

      await harness.advance(5000);

      expect(idsOf(await claim)).toEqual([id]);
    });

    test("a claim waits for a retry, and gets it when it is due", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();
      await harness.settleFailed(await harness.claimRemote(), { kind: "after", ms: 5000 });
      const claim = harness.waitToClaim();
      expect(await isPending(claim)).toBe(true);

      await harness.advance(5000);

      expect(idsOf(await claim)).toEqual([id]);
    });

    test("a claim waits for a task that another worker releases", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();
      const first = await harness.claimRemote();
      const claim = harness.waitToClaim();
      expect(await isPending(claim)).toBe(true);

      await harness.release(first);

      expect(idsOf(await claim)).toEqual([id]);
    });

    test("a claim waits for a task whose lease is lost", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();
      await harness.claimRemote();
      const claim = harness.waitToClaim();
      expect(await isPending(claim)).toBe(true);

      await harness.advance(LEASE_MS);

      expect(idsOf(await claim)).toEqual([id]);
    });

    test("a claim waits for a task that is retried by hand", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();
      await harness.engine.cancel(id);
      const claim = harness.waitToClaim();
      expect(await isPending(claim)).toBe(true);

      await harness.engine.retry(id);

      expect(idsOf(await claim)).toEqual([id]);
    });

    test("a claim of a paused queue waits until it is resumed", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote({ queue: "a" });
      await harness.engine.pause("a");
      const claim = harness.waitToClaim({ queues: ["a"] });
      expect(await isPending(claim)).toBe(true);

      await harness.engine.resume("a");

      expect(idsOf(await claim)).toEqual([id]);
    });

    test("a claim of a paused queue gets nothing of what comes there", async () => {
      await using harness = await open();
      const first = await harness.enqueueRemote({ queue: "a" });
      await harness.engine.pause("a");
      const claim = harness.waitToClaim();
      await harness.enqueueRemote({ queue: "a" });
      expect(await isPending(claim)).toBe(true);

      await harness.engine.resume("a");

      expect(idsOf(await claim)).toEqual([first]);
    });

    test("a claim of an unknown queue waits until it exists", async () => {
      await using harness = await open();
      const claim = harness.waitToClaim({ queues: ["new"] });
      expect(await isPending(claim)).toBe(true);
      expect(await harness.engine.queues()).toEqual([]);

      const id = await harness.enqueueRemote({ queue: "new" });

      expect(idsOf(await claim)).toEqual([id]);
    });

    test("a claim of a queue at its limit of claims waits for the end of one", async () => {
      await using harness = await open({ queues: { narrow: { claims: 1 } } });
      await harness.enqueueRemote({ queue: "narrow" });
      const first = await harness.claimRemote();
      const id = await harness.enqueueRemote({ queue: "narrow" });
      const claim = harness.waitToClaim();
      expect(await isPending(claim)).toBe(true);

      await harness.settleDone(first);

      expect(idsOf(await claim)).toEqual([id]);
    });

    test.each(["by a local task", "by a remote task"])(
      "a claim of a queue at its limit of running tasks waits for an end %s",
      async (name) => {
        await using harness = await open({ queues: { narrow: { concurrency: 1 } } });
        const isLocal = name === "by a local task";
        await harness.enqueue({ queue: "narrow", ...(isLocal ? {} : { type: "remote" }) });
        const first = await (isLocal ? harness.claim() : harness.claimRemote());
        const id = await harness.enqueueRemote({ queue: "narrow" });
        const claim = harness.waitToClaim();
        expect(await isPending(claim)).toBe(true);

        await harness.settleDone(first);

        expect(idsOf(await claim)).toEqual([id]);
      },
    );

    test("several claims of a queue at its limit go on one by one", async () => {
      await using harness = await open({ queues: { narrow: { claims: 1 } } });
      const waiting = Array.from({ length: 3 }, () => harness.waitToClaim());
      await harness.enqueueAll(
        Array.from({ length: 3 }, () => ({ queue: "narrow", type: "remote" })),
      );

      for (const [index, claim] of waiting.entries()) {
        const answer = await claim;
        const later = waiting[index + 1];
        if (later !== undefined) expect(await isPending(later)).toBe(true);
        if (answer.kind !== "claimed" || answer.claims[0] === undefined) {
          throw new Error("a task was claimed");
        }
        await harness.settleDone(answer.claims[0]);
      }
    });
  });

  describe("order", () => {
    contract.orderTest("claims are served first come, first served", async () => {
      await using harness = await open();
      const waiting = Array.from({ length: 3 }, () => harness.waitToClaim());
      expect(await isPending(Promise.race(waiting))).toBe(true);

      const ids = await harness.enqueueAll(Array.from({ length: 3 }, () => ({ type: "remote" })));

      const answers = await Promise.all(waiting);
      expect(answers.flatMap(idsOf)).toEqual([...ids]);
    });

    test("tasks of several types that come at once go to those who wait for them", async () => {
      await using harness = await open();
      const forY = harness.waitToClaim({ types: ["y"] });
      const forX = harness.waitToClaim({ types: ["x"] });
      expect(await isPending(Promise.race([forX, forY]))).toBe(true);

      const [x = "", y = ""] = await harness.enqueueAll([{ type: "x" }, { type: "y" }]);

      expect([await forX, await forY].flatMap(idsOf)).toEqual([x, y]);
    });

    test("one task goes to the claim that came first", async () => {
      await using harness = await open();
      const first = harness.waitToClaim();
      const second = harness.waitToClaim();
      expect(await isPending(Promise.race([first, second]))).toBe(true);

      const id = await harness.enqueueRemote();

      expect(idsOf(await first)).toEqual([id]);
      expect(await isPending(second)).toBe(true);
    });

    contract.orderTest(
      "claims for different queues and types are served in one order",
      async () => {
        await using harness = await open();
        const first = harness.waitToClaim({ types: ["x"] });
        const second = harness.waitToClaim({ queues: ["default"] });
        const third = harness.waitToClaim();
        expect(await isPending(Promise.race([first, second, third]))).toBe(true);

        const ids: string[] = [];
        for (let count = 0; count < 3; count += 1) {
          ids.push(await harness.enqueue({ type: "x" }));
          await turn();
        }

        expect([await first, await second, await third].flatMap(idsOf)).toEqual(ids);
      },
    );

    contract.orderTest(
      "claims that differ and claims that are alike are served in one order",
      async () => {
        await using harness = await open({ queueSize: 20 });
        const kinds = [{}, { types: ["x"] }, { queues: ["default"] }, { types: ["x", "y"] }];
        const order = [0, 1, 1, 2, 3, 0, 2, 3, 3, 1, 0, 2];
        const waiting = order.map((kind) => harness.waitToClaim(kinds[kind]));
        expect(await isPending(Promise.race(waiting))).toBe(true);

        const ids = await harness.enqueueAll(order.map(() => ({ type: "x" })));

        expect((await Promise.all(waiting)).flatMap(idsOf)).toEqual([...ids]);
      },
    );

    test("a claim that would not take the task does not hold up later ones", async () => {
      await using harness = await open();
      const others = [
        harness.waitToClaim({ types: ["x"] }),
        harness.waitToClaim({ queues: ["a"] }),
        harness.waitToClaim({ queues: ["default"], types: ["y"] }),
      ];
      const claim = harness.waitToClaim({ types: ["remote"] });
      expect(await isPending(claim)).toBe(true);

      const id = await harness.enqueueRemote();

      expect(idsOf(await claim)).toEqual([id]);
      expect(await isPending(Promise.race(others))).toBe(true);
    });

    test("a claim that comes in the tick of a task waits behind the earlier ones", async () => {
      await using harness = await open();
      const early = harness.waitToClaim();
      expect(await isPending(early)).toBe(true);

      const enqueued = harness.enqueueRemote();
      const late = harness.waitToClaim({}, 0);

      expect(await late).toEqual(NOTHING);
      expect(idsOf(await early)).toEqual([await enqueued]);
    });

    test("a claim whose time is up in the tick of a task takes none from earlier ones", async () => {
      await using harness = await open();
      const early = harness.waitToClaim({}, 60_000);
      const late = harness.waitToClaim({}, 5000);
      expect(await isPending(Promise.race([early, late]))).toBe(true);

      const id = await harness.enqueueRemote();
      await harness.advance(5000);

      expect(idsOf(await early)).toEqual([id]);
      expect(await late).toEqual(NOTHING);
    });

    contract.orderTest("a claim takes from its queues strictly in their order", async () => {
      await using harness = await open();
      const claims = Array.from({ length: 2 }, () =>
        harness.waitToClaim({ queues: ["b", "a"], max: 2 }),
      );
      expect(await isPending(Promise.race(claims))).toBe(true);

      const [a = "", b1 = "", b2 = ""] = await harness.enqueueAll([
        { queue: "a", type: "remote" },
        { queue: "b", type: "remote" },
        { queue: "b", type: "remote" },
      ]);

      const answers = await Promise.all(claims);
      expect(answers.map(idsOf)).toEqual([[b1, b2], [a]]);
    });

    test("a claim waits for tasks of its types", async () => {
      await using harness = await open();
      const claim = harness.waitToClaim({ types: ["x", "y"] });
      await harness.enqueueRemote();
      expect(await isPending(claim)).toBe(true);

      const id = await harness.enqueue({ type: "y" });

      expect(idsOf(await claim)).toEqual([id]);
    });

    test.each([
      ["started", (harness: EngineHarness) => harness.claimRemote({ types: ["x"] })],
      [
        "were cancelled",
        async (harness: EngineHarness) => {
          const [newest = ""] = await harness.listAll({ type: "x" });
          await harness.engine.cancel(newest);
        },
      ],
    ])(
      "a claim by type gets a task that it can see because those before it %s",
      async (_, makeRoom) => {
        await using harness = await open({ queueSize: 2000, queueBytes: 100_000 });
        await harness.enqueueAll(Array.from({ length: 1000 }, () => ({ type: "x" })));
        await harness.enqueue({ type: "y" });
        const claim = harness.waitToClaim({ types: ["y"] });
        expect(await isPending(claim)).toBe(true);

        await makeRoom(harness);

        expect(idsOf(await claim)).toHaveLength(1);
      },
    );
  });

  describe("bound", () => {
    test("no more claims wait than may", async () => {
      await using harness = await open({ claimsWaitingMax: 2 });
      const waiting = [harness.waitToClaim(), harness.waitToClaim({ queues: ["a"] })];
      expect(await isPending(Promise.race(waiting))).toBe(true);

      expect(await harness.waitToClaim()).toEqual({ kind: "too_many_waiting", max: 2 });
    });

    test("a claim that does not wait is answered although as many wait as may", async () => {
      await using harness = await open({ claimsWaitingMax: 1 });
      const waiting = harness.waitToClaim({ queues: ["a"] });
      expect(await harness.waitToClaim({}, 0)).toEqual(NOTHING);
      const id = await harness.enqueueRemote();

      expect(idsOf(await harness.waitToClaim())).toEqual([id]);

      expect(await isPending(waiting)).toBe(true);
    });

    const ENDS: readonly (readonly [
      name: string,
      end: (harness: EngineHarness, client: AbortController) => unknown,
    ])[] = [
      ["got a task", (harness) => harness.enqueueRemote()],
      ["has run out of time", (harness) => harness.advance(1000)],
      ["was aborted", (_, client) => client.abort()],
    ];

    test.each(ENDS)("a claim that %s makes room for another", async (_, end) => {
      await using harness = await open({ claimsWaitingMax: 1 });
      const client = new AbortController();
      const waiting = harness.waitToClaim({}, 1000, client.signal);
      expect(await isPending(waiting)).toBe(true);

      await end(harness, client);
      await waiting;

      expect(await isPending(harness.waitToClaim())).toBe(true);
    });
  });

  describe("report", () => {
    test("a queue counts the claims that would take its tasks", async () => {
      await using harness = await open();
      await harness.enqueue({ queue: "a", delayMs: 60_000 });
      await harness.enqueue({ queue: "b", delayMs: 60_000 });
      const waiting = [
        harness.waitToClaim(),
        harness.waitToClaim({ queues: ["a"] }),
        harness.waitToClaim({ queues: ["a", "a", "b"] }),
        harness.waitToClaim({ types: ["x"] }),
      ];
      expect(await isPending(Promise.race(waiting))).toBe(true);

      expect((await harness.queue("a")).claimsWaiting).toBe(4);
      expect((await harness.queue("b")).claimsWaiting).toBe(3);
      expect((await harness.engine.queues()).map((queue) => queue.claimsWaiting)).toEqual([4, 3]);
    });

    test("a queue no longer counts claims that have ended", async () => {
      await using harness = await open();
      const client = new AbortController();
      const waiting = [
        harness.waitToClaim({ queues: ["default", "a"] }),
        harness.waitToClaim({}, 1000),
        harness.waitToClaim({ queues: ["default"] }, 60_000, client.signal),
      ];
      await harness.enqueueRemote();
      await harness.advance(1000);

      client.abort();

      await Promise.all(waiting);
      expect((await harness.queue()).claimsWaiting).toBe(0);
    });
  });

  describe("cleanup", () => {
    const ENDS: readonly (readonly [
      name: string,
      end: (harness: EngineHarness, client: AbortController) => unknown,
    ])[] = [
      ["a task", (harness) => harness.enqueue({ type: "x" })],
      ["the end of its time", (harness) => harness.advance(1000)],
      ["an abort", (_, client) => client.abort()],
      ["a stop", (harness) => harness.engine.drain(0)],
    ];

    test.each(ENDS)("a claim leaves no listener after %s", async (_, end) => {
      await using harness = await open();
      const client = new AbortController();
      const claim = harness.waitToClaim({ types: ["x"] }, 1000, client.signal);
      expect(await isPending(claim)).toBe(true);
      expect(getEventListeners(client.signal, "abort")).toHaveLength(1);

      await end(harness, client);
      await claim;

      expect(getEventListeners(client.signal, "abort")).toHaveLength(0);
    });

    contract.clockTest.each(ENDS)("a claim leaves no timer after %s", async (_, end) => {
      await using harness = await open();
      // The engine has a timer of its own while a task is scheduled or runs.
      await harness.enqueue({ delayMs: 600_000 });
      const armedBefore = harness.clock.armed;
      const client = new AbortController();
      const claim = harness.waitToClaim({ types: ["x"] }, 1000, client.signal);
      expect(await isPending(claim)).toBe(true);
      expect(harness.clock.armed).toBe(armedBefore + 1);

      await end(harness, client);
      await claim;

      expect(harness.clock.armed).toBe(armedBefore);
    });
  });

  describe("end", () => {
    test("waiting claims are answered when the engine has drained", async () => {
      await using harness = await open();
      const claims = [harness.waitToClaim(), harness.waitToClaim({ queues: ["a"] })];
      expect(await isPending(Promise.race(claims))).toBe(true);
      harness.engine.stopIntake();

      await harness.engine.drain(0);

      expect(await Promise.all(claims)).toEqual([{ kind: "stopping" }, { kind: "stopping" }]);
    });

    test("waiting claims are answered when the engine closes", async () => {
      await using harness = await open();
      const claim = harness.waitToClaim();
      expect(await isPending(claim)).toBe(true);

      await harness.close();

      expect(await claim).toEqual({ kind: "stopping" });
    });

    test("a claim that comes after the drain is answered at once", async () => {
      await using harness = await open();
      const id = await harness.enqueueRemote();
      harness.engine.stopIntake();
      const drained = harness.engine.drain(0);
      await harness.advance(0);
      await drained;

      expect(await harness.waitToClaim()).toEqual({ kind: "stopping" });

      expect(await harness.statusOf(id)).toBe("queued");
    });
  });
}

/** What a durable engine does with waiting claims while it stops: it hands out nothing more. */
export function describeStopOfClaims(contract: Contract): void {
  test("waiting claims are answered as soon as the intake stops", async () => {
    await using harness = await contract.open({ types: TYPES });
    const claim = harness.waitToClaim();
    expect(await isPending(claim)).toBe(true);

    harness.engine.stopIntake();

    expect(await claim).toEqual({ kind: "stopping" });
    expect(await harness.waitToClaim()).toEqual({ kind: "stopping" });
  });
}

/** What an engine that loses its tasks does with waiting claims while it stops: it goes on. */
export function describeClaimsUntilTheEnd(contract: Contract): void {
  test("claims wait on while the engine drains, and get what becomes ready", async () => {
    await using harness = await contract.open({ types: TYPES });
    const id = await harness.enqueueRemote({ delayMs: 5000 });
    const early = harness.waitToClaim();
    harness.engine.stopIntake();
    const drained = harness.engine.drain(60_000);
    const late = harness.waitToClaim();
    expect(await isPending(Promise.race([early, late, drained]))).toBe(true);

    await harness.advance(5000);

    const answer = await early;
    expect(idsOf(answer)).toEqual([id]);
    expect(await isPending(late)).toBe(true);
    if (answer.kind === "claimed" && answer.claims[0]) await harness.settleDone(answer.claims[0]);
    await drained;
    expect(await late).toEqual({ kind: "stopping" });
  });
}
