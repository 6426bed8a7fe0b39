/** What an engine on a data file does while that can't be written. */

import { afterAll, describe, expect, test } from "bun:test";
import { createLog } from "../../../src/log-output.ts";
import { makeDataFolder } from "../../support/data-folder.ts";
import { aRequest, idsOf, REMOTE, REMOTE_TYPES } from "../../support/engine-harness.ts";
import { isPending, turn } from "../../support/manual-clock.ts";
import {
  openSqlite,
  type SqliteHarness,
  type SqliteOptions,
} from "../../support/sqlite-harness.ts";

const folder = makeDataFolder();
afterAll(() => folder.remove());

function open(options: SqliteOptions = {}): SqliteHarness {
  return openSqlite(folder, options);
}

test("everybody in the group is refused, and nothing is left of them", async () => {
  await using harness = open();
  harness.breakStorage();

  const answers = await Promise.all([
    harness.engine.enqueue([aRequest({ queue: "a" })]),
    harness.engine.enqueue([aRequest({ queue: "b" }), aRequest()], "key"),
    harness.engine.enqueue([aRequest({ queue: "b" }), aRequest()], "key"),
  ]);

  expect(new Set(answers.map(({ kind }) => kind))).toEqual(new Set(["storage_unavailable"]));
  expect(await harness.listAll()).toEqual([]);
  expect(await harness.engine.queues()).toEqual([]);
});

test("the engine says that it is not ready, refuses at once, and goes on reading", async () => {
  await using harness = open();
  const id = await harness.enqueue();
  harness.breakStorage();
  await harness.engine.enqueue([aRequest()]);

  expect(harness.engine.readiness).toBe("storage_unavailable");
  expect(harness.engine.enqueue([aRequest()])).toEqual({ kind: "storage_unavailable" });
  expect(await harness.statusOf(id)).toBe("queued");
  expect(await harness.listAll()).toEqual([id]);
});

test("nothing is claimed during an outage", async () => {
  await using harness = open();
  await harness.enqueue();
  harness.breakStorage();
  await harness.engine.enqueue([aRequest()]);

  expect(await harness.engine.claim({ lane: "loop", max: 1 })).toEqual({
    kind: "storage_unavailable",
  });
});

test("commands are refused during an outage, and change nothing", async () => {
  await using harness = open();
  const failed = await harness.enqueueIn("failed");
  const id = await harness.enqueue();
  harness.breakStorage();

  const answers = [
    await harness.engine.cancel(id),
    await harness.engine.retry(failed),
    await harness.engine.pause("default"),
    await harness.engine.purge("default"),
  ];

  expect(new Set(answers.map(({ kind }) => kind))).toEqual(new Set(["storage_unavailable"]));
  expect(await harness.statusOf(id)).toBe("queued");
  expect(await harness.statusOf(failed)).toBe("failed");
  expect((await harness.queue()).isPaused).toBe(false);
});

test("a command in a group that fails is refused with it, and is not done later", async () => {
  await using harness = open();
  const id = await harness.enqueue();
  const mend = harness.breakStorage();

  const [, cancelled] = await Promise.all([
    harness.engine.enqueue([aRequest()]),
    harness.engine.cancel(id),
  ]);

  expect(cancelled.kind).toBe("storage_unavailable");
  mend();
  await harness.advance(1000);
  expect(await harness.statusOf(id)).toBe("queued");
});

test("commands that would change nothing are answered during an outage", async () => {
  await using harness = open();
  const done = await harness.enqueueIn("done");
  harness.breakStorage();
  await harness.engine.enqueue([aRequest()]);

  expect((await harness.engine.cancel(done)).kind).toBe("finished");
  expect((await harness.engine.retry(done)).kind).toBe("not_retryable");
  expect((await harness.engine.purge("nowhere")).kind).toBe("unknown");
});

test("what a local worker did is kept, and on disk when writing works again", async () => {
  const harness = open();
  const id = await harness.enqueue();
  const claim = await harness.claim();
  const mend = harness.breakStorage();
  await harness.settleDone(claim, '"kept"');
  await turn();
  expect(await harness.statusOf(id)).toBe("done");
  mend();

  await harness.advance(1000);

  await using next = await harness.crash();
  expect(await next.task(id)).toMatchObject({ status: "done", result: '"kept"' });
});

test("the way back is found without traffic, and the workers hear of it", async () => {
  await using harness = open();
  const id = await harness.enqueue();
  const mend = harness.breakStorage();
  await harness.engine.enqueue([aRequest()]);
  const readyBefore = harness.worker.ready;
  await harness.advance(5000);
  expect(harness.engine.readiness).toBe("storage_unavailable");
  mend();

  await harness.advance(1000);

  expect(harness.engine.readiness).toBe("ready");
  await harness.worker.hearsOf(readyBefore + 1);
  expect(await harness.claimAll()).toEqual([id]);
});

test("the bounds and the key of what was refused are free again", async () => {
  await using harness = open({ queueSize: 1, queuesMax: 1 });
  const mend = harness.breakStorage();
  await harness.engine.enqueue([aRequest({ queue: "a" })], "key");
  mend();
  await harness.advance(1000);

  const answer = await harness.engine.enqueue([aRequest({ queue: "b" })], "key");

  expect(answer.kind).toBe("accepted");
});

test("the log says once that it began, and once that it is over", async () => {
  const events: string[] = [];
  const log = createLog({
    level: "info",
    isForPeople: false,
    write: (line) => events.push(JSON.parse(line).event),
  });
  await using harness = open({ log });
  const mend = harness.breakStorage();
  for (let tries = 0; tries < 3; tries += 1) await harness.engine.enqueue([aRequest()]);
  await harness.advance(3000);
  mend();
  await harness.advance(1000);

  expect(events).toEqual(["journal_loaded", "storage_unavailable", "storage_available"]);
});

test("a stop during an outage still ends, and says what could not be written", async () => {
  const events: string[] = [];
  const log = createLog({
    level: "error",
    isForPeople: false,
    write: (line) => events.push(JSON.parse(line).event),
  });
  const harness = open({ log });
  const id = await harness.enqueue();
  const claim = await harness.claim();
  const mend = harness.breakStorage();
  await harness.settleDone(claim);

  expect((await harness.close()).areLost).toBe(false);

  expect(events).toEqual(["storage_unavailable", "journal_incomplete"]);
  mend();
  await using next = openSqlite(folder, {}, harness.path, harness.clock);
  expect(await next.statusOf(id)).toBe("queued");
});

describe("long poll", () => {
  test("a long poll is answered when its task finishes during an outage", async () => {
    await using harness = open();
    const id = await harness.enqueue();
    const claim = await harness.claim();
    const poll = harness.poll(id);
    await beginOutage(harness);
    expect(await isPending(poll)).toBe(true);

    void harness.settleDone(claim);

    expect((await poll)?.status).toBe("done");
  });

  test("a long poll is answered when the end of its task is what can't be written", async () => {
    await using harness = open();
    const id = await harness.enqueue();
    const claim = await harness.claim();
    const poll = harness.poll(id);
    expect(await isPending(poll)).toBe(true);
    harness.breakStorage();

    void harness.settleDone(claim);

    expect((await poll)?.status).toBe("done");
  });

  test("a long poll that comes during an outage is answered by what memory knows", async () => {
    await using harness = open();
    const id = await harness.enqueue();
    const claim = await harness.claim();
    await beginOutage(harness);
    void harness.settleDone(claim);
    await turn();

    expect((await harness.poll(id))?.status).toBe("done");
  });

  test("a long poll ends with its time during an outage", async () => {
    await using harness = open();
    const id = await harness.enqueue();
    const poll = harness.poll(id, 500);
    await beginOutage(harness);

    await harness.advance(500);

    expect((await poll)?.status).toBe("queued");
  });
});

describe("remote claims", () => {
  const unavailable = { kind: "storage_unavailable" } as const;

  async function openWithClaim() {
    const harness = open({ types: REMOTE_TYPES });
    const id = await harness.enqueue({ type: "remote", timeoutMs: 60_000 });
    const claim = await harness.claimRemote();
    return { harness, id, claim };
  }

  test("a remote claim is answered storage_unavailable during an outage", async () => {
    await using harness = open({ types: REMOTE_TYPES });
    const id = await harness.enqueue({ type: "remote" });
    await beginOutage(harness);

    expect(await harness.engine.claim({ ...REMOTE, max: 1 })).toEqual(unavailable);

    expect(await harness.task(id)).toMatchObject({ status: "queued", attempt: 0 });
  });

  test("a claim that would wait is answered storage_unavailable during an outage", async () => {
    await using harness = open({ types: REMOTE_TYPES });
    await beginOutage(harness);

    expect(await harness.waitToClaim()).toEqual(unavailable);
  });

  test("a claim waits through an outage, and gets what is ready after it", async () => {
    await using harness = open({ types: REMOTE_TYPES });
    const id = await harness.enqueue({ type: "remote", delayMs: 5000 });
    const claim = harness.waitToClaim();
    const mend = await beginOutage(harness);
    await harness.advance(5000);
    expect(await harness.statusOf(id)).toBe("queued");
    expect(await isPending(claim)).toBe(true);

    mend();
    await harness.advance(1000);

    expect(idsOf(await claim)).toEqual([id]);
  });

  test("a claim whose time is up during an outage is answered storage_unavailable", async () => {
    await using harness = open({ types: REMOTE_TYPES });
    const claim = harness.waitToClaim({}, 5000);
    await beginOutage(harness);

    await harness.advance(5000);

    expect(await claim).toEqual(unavailable);
  });

  test("waiting claims take nothing of what can't be stored", async () => {
    await using harness = open({ types: REMOTE_TYPES });
    const claim = harness.waitToClaim();
    const mend = harness.breakStorage();

    expect(await harness.engine.enqueue([aRequest({ type: "remote" })])).toEqual(unavailable);

    expect(await isPending(claim)).toBe(true);
    mend();
    await harness.advance(1000);
    const id = await harness.enqueue({ type: "remote" });
    expect(idsOf(await claim)).toEqual([id]);
  });

  test.each([
    { kind: "done", result: null },
    { kind: "failed", code: "broken", message: "", retry: { kind: "backoff" } },
    { kind: "released" },
  ] as const)(
    "a remote settle is refused during an outage, and changes nothing: %p",
    async (word) => {
      const { harness, id, claim } = await openWithClaim();
      await using _ = harness;
      await beginOutage(harness);

      expect(await harness.settle(claim, word)).toEqual(unavailable);

      expect(await harness.task(id)).toMatchObject({ status: "running", errors: [] });
    },
  );

  test("a remote settle in the group that can't be written is refused with it", async () => {
    const { harness, id, claim } = await openWithClaim();
    await using _ = harness;
    harness.breakStorage();

    expect(await harness.settleDone(claim)).toEqual(unavailable);

    expect(await harness.statusOf(id)).toBe("running");
  });

  test("a remote settle that was refused can be sent again", async () => {
    const { harness, id, claim } = await openWithClaim();
    await using _ = harness;
    const mend = await beginOutage(harness);
    await harness.settleDone(claim);
    mend();
    await harness.advance(1000);

    expect((await harness.settleDone(claim, "1")).kind).toBe("settled");

    expect(await harness.task(id)).toMatchObject({ status: "done", result: "1" });
  });

  test("an extend is answered from memory during an outage", async () => {
    const { harness, claim } = await openWithClaim();
    await using _ = harness;
    await beginOutage(harness);

    const answer = await harness.engine.extend(claim.taskId, claim.fence, 20_000);

    expect(answer).toEqual({
      kind: "extended",
      leaseMs: 20_000,
      leaseEndsAtMs: harness.wallMs + 20_000,
    });
  });

  test("a stale extend is answered claim_lost during an outage, too", async () => {
    const { harness, claim } = await openWithClaim();
    await using _ = harness;
    await harness.release(claim);
    await beginOutage(harness);

    const answer = await harness.engine.extend(claim.taskId, claim.fence, 20_000);

    expect(answer).toEqual({ kind: "claim_lost", ended: "settled" });
  });

  test("no remote lease ends during an outage", async () => {
    const { harness, id } = await openWithClaim();
    await using _ = harness;
    const remote = harness.attach("remote");
    await beginOutage(harness);

    await harness.advance(30_000);

    expect(await harness.task(id)).toMatchObject({ status: "running", attempt: 1 });
    expect(remote.hasRevocations).toBe(false);
  });

  test("no remote timeout ends during an outage", async () => {
    const { harness, id } = await openWithClaim();
    await using _ = harness;
    await beginOutage(harness);

    await harness.advance(90_000);

    expect(await harness.task(id)).toMatchObject({ status: "running", errors: [] });
  });

  test("a claim that was extended during an outage goes on after it", async () => {
    const { harness, id, claim } = await openWithClaim();
    await using _ = harness;
    const mend = await beginOutage(harness);
    for (let round = 0; round < 5; round += 1) {
      await harness.advance(5000);
      await harness.engine.extend(claim.taskId, claim.fence, 10_000);
    }
    mend();
    await harness.advance(1000);

    expect((await harness.settleDone(claim)).kind).toBe("settled");

    expect(await harness.statusOf(id)).toBe("done");
  });

  test("a lease that nobody extended ends some time after the outage", async () => {
    const { harness, id } = await openWithClaim();
    await using _ = harness;
    const mend = await beginOutage(harness);
    await harness.advance(30_000);
    mend();

    await harness.advance(15_000);

    expect(await harness.task(id)).toMatchObject({ status: "queued", errors: [] });
  });

  test("a local timeout ends its attempt during an outage", async () => {
    await using harness = open();
    const id = await harness.enqueue({ timeoutMs: 5000, maxRetries: 0 });
    await harness.claim();
    await beginOutage(harness);

    await harness.advance(5000);

    expect(await harness.statusOf(id)).toBe("failed");
  });
});

/** Makes the storage fail and the engine notice it. Gives what mends it. */
async function beginOutage(harness: SqliteHarness): Promise<() => void> {
  const mend = harness.breakStorage();
  await harness.engine.enqueue([aRequest()]);
  expect(harness.engine.readiness).toBe("storage_unavailable");
  return mend;
}
