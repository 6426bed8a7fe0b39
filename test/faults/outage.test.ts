/** What clients are answered while nothing can be written, and when the running file is what fails. */

import { describe, expect, test } from "bun:test";
import { cpSync, existsSync } from "node:fs";
import { join } from "node:path";
import type { Claim, ClaimRequest, Engine, TypeRules } from "../../src/engine/engine.ts";
import { BrokerHost, STORAGE_UNAVAILABLE } from "../../src/engine/host/broker-host.ts";
import { createSqliteEngine } from "../../src/engine/sqlite/engine.ts";
import { type EngineOptions, someSettings } from "../support/engine-harness.ts";
import { isPending, ManualClock, turn } from "../support/manual-clock.ts";
import { DiskRecorder, ERRNO, findRecorderObstacle } from "./disk-recorder.ts";
import { fillDescriptorOf } from "./failing-descriptor.ts";
import { makeScratch, type Scratch } from "./scratch.ts";

const obstacle = findRecorderObstacle();
if (obstacle !== null) process.stderr.write(`Outages are not tested: ${obstacle}.\n`);
const describeHere = describe.skipIf(obstacle !== null);

const PROBE_MS = 1000;
const DAY_MS = 24 * 3_600_000;
const FULL_DISK = { kinds: ["write"], errno: ERRNO.ENOSPC } as const;
const DONE = { kind: "done", result: null } as const;
const FAR: ClaimRequest = { lane: "remote", max: 1, leaseMs: 60_000, worker: "w1" };
const TYPES: Readonly<Record<string, TypeRules>> = { far: { lane: "remote" } };

describeHere("when the running file can't be written", () => {
  test("whoever waits for this tick's group is answered, and nothing of it is kept", async () => {
    await using store = openStore();
    const [claimable, cancellable] = await store.enqueue({}, { delayMs: 60_000 });
    const engine = store.engine;
    const heal = fillDescriptorOf(`${store.path}-running`);

    const enqueue = Promise.resolve(engine.enqueue([{ payload: null }], "key"));
    const same = Promise.resolve(engine.enqueue([{ payload: null }], "key"));
    const cancel = Promise.resolve(engine.cancel(cancellable ?? ""));
    const claim = engine.claim({ lane: "loop", max: 1 });
    await turn();

    expect(await claim).toEqual({ kind: "storage_unavailable" });
    for (const answer of [enqueue, same, cancel]) {
      expect(await isPending(answer)).toBe(false);
      expect(await answer).toEqual({ kind: "storage_unavailable" });
    }
    heal();
    await store.clock.advance(PROBE_MS);
    expect(engine.readiness).toBe("ready");
    expect((await engine.find(cancellable ?? ""))?.status).toBe("scheduled");
    expect((await engine.find(claimable ?? ""))?.status).toBe("queued");
    store.verify();
  });

  test("a read that waits for an end of this tick is answered", async () => {
    await using store = openStore();
    const [first] = await store.enqueue({}, {});
    const claim = await store.claim({ lane: "loop", max: 1 });
    const heal = fillDescriptorOf(`${store.path}-running`);

    void store.engine.settle(claim.taskId, claim.fence, DONE);
    const reads = [
      Promise.resolve(store.engine.find(first ?? "")),
      Promise.resolve(store.engine.queues()),
    ];
    void store.engine.claim({ lane: "loop", max: 1 });
    await turn();

    for (const read of reads) expect(await isPending(read)).toBe(false);
    heal();
  });

  test("an extend is answered, and the claim goes on", async () => {
    await using store = openStore();
    await store.enqueue({ type: "far" });
    const claim = await store.claim(FAR);
    const heal = fillDescriptorOf(`${store.path}-running`);

    expect(await store.engine.extend(claim.taskId, claim.fence, 60_000)).toMatchObject({
      kind: "extended",
    });
    expect(store.engine.readiness).toBe("storage_unavailable");
    heal();
    await store.clock.advance(PROBE_MS);

    expect(await store.engine.settle(claim.taskId, claim.fence, DONE)).toMatchObject({
      kind: "settled",
    });
  });
});

describeHere("a crash", () => {
  test("leaves the lease as it was extended", async () => {
    await using store = openStore();
    await store.enqueue({ type: "far" });
    const { taskId, fence } = await store.claim(FAR);
    const extended = await store.engine.extend(taskId, fence, 3_600_000);

    await using next = store.crashed();

    const claim = (await next.engine.find(taskId))?.claim;
    expect(extended).toMatchObject({ kind: "extended", leaseEndsAtMs: claim?.leaseEndsAtMs });
  });
});

describeHere("during an outage", () => {
  test("an extend and a crash after it leave the claim to its worker", async () => {
    await using store = openStore();
    await store.enqueue({ type: "far" });
    const claim = await store.claim(FAR);
    await store.breakDisk();

    await store.engine.extend(claim.taskId, claim.fence, 120_000);
    await using next = store.crashed();

    expect(await next.engine.extend(claim.taskId, claim.fence, 60_000)).toMatchObject({
      kind: "extended",
    });
    expect(await next.engine.settle(claim.taskId, claim.fence, DONE)).toMatchObject({
      kind: "settled",
    });
  });

  test("a drain ends, and what workers did is written when the disk is well again", async () => {
    await using store = openStore();
    const [id] = await store.enqueue({});
    const claim = await store.claim({ lane: "loop", max: 1 });
    await store.breakDisk();
    void store.engine.settle(claim.taskId, claim.fence, DONE);

    await store.engine.drain(0);
    store.heal();
    await store.clock.advance(PROBE_MS);
    await using next = store.crashed();

    expect((await next.engine.find(id ?? ""))?.status).toBe("done");
  });

  test("a long poll is answered when its task finishes", async () => {
    await using store = openStore();
    const [id] = await store.enqueue({});
    const { taskId, fence } = await store.claim();
    const poll = store.engine.waitFor(id ?? "", DAY_MS, new AbortController().signal);
    await store.breakDisk();

    void store.engine.settle(taskId, fence, DONE);

    expect(await isPending(poll)).toBe(false);
    expect((await poll)?.status).toBe("done");
  });

  test("a close answers the commands that wait", async () => {
    await using store = openStore();
    const [a, b] = await store.enqueue({}, {});
    store.recorder.fail(FULL_DISK);

    const answers = [store.engine.cancel(a ?? ""), store.engine.cancel(b ?? "")];
    const again = store.engine.cancel(a ?? "");
    await store.engine.close();

    for (const answer of [...answers, again]) expect(await answer).toEqual(STORAGE_UNAVAILABLE);
  });
});

describeHere("a close", () => {
  test("does and answers all commands that wait, several on one task too", async () => {
    await using store = openStore();
    const [id, far] = await store.enqueue({}, { type: "far" });
    const claim = await store.claim(FAR);

    const answers = [
      store.engine.cancel(id ?? ""),
      store.engine.retry(id ?? ""),
      store.engine.cancel(id ?? ""),
      store.engine.pause("default"),
      store.engine.settle(claim.taskId, claim.fence, DONE),
      store.engine.settle(claim.taskId, claim.fence, DONE),
    ];
    await store.engine.close();

    const kinds = (await Promise.all(answers)).map(({ kind }) => kind);
    expect(kinds).toEqual(["cancelled", "queued", "cancelled", "set", "settled", "repeated"]);
    await using next = store.again();
    expect((await next.engine.find(id ?? ""))?.status).toBe("cancelled");
    expect((await next.engine.find(far ?? ""))?.status).toBe("done");
    expect(await next.engine.queue("default")).toMatchObject({ isPaused: true });
  });

  test("leaves no read waiting for what is never written", async () => {
    await using store = openStore();
    const [id] = await store.enqueue({});
    const claim = await store.claim({ lane: "loop", max: 1 });
    await store.engine.close();

    void store.engine.settle(claim.taskId, claim.fence, DONE);
    const reads = [
      Promise.resolve(store.engine.find(id ?? "")),
      Promise.resolve(store.engine.queues()),
      Promise.resolve(store.engine.list({ limit: 1 })),
      store.engine.waitFor(id ?? "", 60_000, new AbortController().signal),
    ];

    for (const read of reads) expect(await isPending(read)).toBe(false);
  });
});

describeHere("commands of one tick", () => {
  test("purge with a pending remote settle of the same queue", async () => {
    await using store = openStore();
    const [far, waiting] = await store.enqueue({ type: "far" }, { type: "far" });
    const claim = await store.claim(FAR);

    const answers = await Promise.all([
      store.engine.settle(claim.taskId, claim.fence, { kind: "released" }),
      store.engine.purge("default"),
      store.engine.settle(claim.taskId, claim.fence, { kind: "released" }),
    ]);
    await using next = store.crashed();

    expect(answers.map(({ kind }) => kind)).toEqual(["settled", "purged", "repeated"]);
    const statuses = async (engine: Engine) => [
      (await engine.find(far ?? ""))?.status,
      (await engine.find(waiting ?? ""))?.status,
    ];
    expect(await statuses(next.engine)).toEqual(await statuses(store.engine));
    store.verify();
  });

  test("pauses and resumes of idle queues do not pass MAX_QUEUES together", async () => {
    await using store = openStore({ queuesMax: 1 });
    const [id] = await store.enqueue({ queue: "idle" });
    await store.engine.cancel(id ?? "");
    await store.enqueue({ queue: "used", delayMs: DAY_MS });

    const answers = await Promise.all([
      store.engine.resume("idle"),
      store.engine.pause("idle"),
      store.engine.pause("used"),
      store.engine.resume("used"),
      store.engine.pause("used"),
    ]);
    await using next = store.crashed();

    expect(answers.map(({ kind }) => kind)).toEqual(["set", "refused", "set", "set", "set"]);
    store.verify();
    const paused = (await next.engine.queues()).filter(({ isPaused }) => isPaused);
    expect(paused.map(({ name }) => name)).toEqual(["used"]);
  });

  test("400 retries by hand are at most a few commits", async () => {
    await using store = openStore({ queueSize: 1000 });
    const ids = await store.enqueue(...new Array(400).fill({}));
    await Promise.all(ids.map((id) => store.engine.cancel(id)));
    await turn();
    store.recorder.setSkippingSyncs(false);
    store.recorder.take();
    store.recorder.setRecording(true);

    const answers = await Promise.all(ids.map((id) => store.engine.retry(id)));

    const syncs = store.recorder.take().filter(({ kind }) => kind === "sync");
    expect(answers.every(({ kind }) => kind === "queued")).toBe(true);
    expect(syncs.length).toBeLessThanOrEqual(3);
  });
});

describeHere("an answer to a remote worker", () => {
  test("is stored first, also when its type runs in the process by now", async () => {
    await using store = openStore();
    await store.enqueue({ type: "far" });
    const claim = await store.claim(FAR);
    await using next = store.crashed({ types: {} });
    next.recorder.fail(FULL_DISK);

    const answer = await next.engine.settle(claim.taskId, claim.fence, DONE);

    expect(answer.kind).toBe("storage_unavailable");
  });
});

describeHere("no read shows an end that is not stored", () => {
  test.each(["queues", "queue", "list"] as const)(
    "%s, when another comes right after its group",
    async (read) => {
      await using store = openStore();
      await store.enqueue({}, {});
      const [a, b] = [await store.claim(), await store.claim()];
      const settle = ({ taskId, fence }: Claim) => store.engine.settle(taskId, fence, DONE);

      void settle(a);
      const enqueued = Promise.resolve(store.engine.enqueue([{ payload: null }]));
      const shown = endsShown(store.engine, read).then((ends) => ({
        ends,
        // As the files are at the moment of the answer.
        next: store.crashed(),
      }));
      void enqueued.then(() => settle(b));
      const { ends, next } = await shown;

      expect(await endsShown(next.engine, "list")).toBe(ends);
      await next[Symbol.asyncDispose]();
    },
  );
});

async function endsShown(engine: Engine, read: "queues" | "queue" | "list"): Promise<number> {
  if (read === "list") {
    const answer = await engine.list({ limit: 100 });
    if (answer.kind !== "page") throw new Error(`a list was answered ${answer.kind}`);
    return answer.tasks.filter(({ status }) => status === "done").length;
  }
  const queue = read === "queue" ? await engine.queue("default") : (await engine.queues())[0];
  return queue?.counts.done ?? 0;
}

/** An engine on a disk that fails when it is told to. */
interface Store extends AsyncDisposable {
  readonly engine: Engine;
  readonly clock: ManualClock;
  readonly path: string;
  readonly recorder: DiskRecorder;
  enqueue(...requests: readonly object[]): Promise<readonly string[]>;
  claim(request?: ClaimRequest): Promise<Claim>;
  /** Lets every write fail from now on, and an outage begin. */
  breakDisk(): Promise<void>;
  heal(): void;
  /** The next engine if the process were killed now. */
  crashed(options?: EngineOptions): Store;
  /** The next engine on the same file. */
  again(): Store;
  verify(): void;
}

function openStore(options: EngineOptions = {}): Store {
  const scratch = makeScratch();
  const recorder = DiskRecorder.open(scratch.folder);
  recorder.setRecording(false);
  recorder.setSkippingSyncs(true);
  const owned = { [Symbol.dispose]: () => disposeBoth(recorder, scratch) };
  return storeOn(join(scratch.folder, "ringq.db"), recorder, options, new ManualClock(), owned);
}

function disposeBoth(recorder: DiskRecorder, scratch: Scratch): void {
  recorder[Symbol.dispose]();
  scratch[Symbol.dispose]();
}

function storeOn(
  path: string,
  recorder: DiskRecorder,
  options: EngineOptions,
  clock: ManualClock,
  owned: Disposable,
): Store {
  const settings = someSettings(clock, { types: TYPES, timeoutMs: DAY_MS, ...options });
  const engine = createSqliteEngine({ ...settings, path, durability: "full" });
  const none = { [Symbol.dispose]: () => undefined };
  let copies = 0;
  return {
    engine,
    clock,
    path,
    recorder,
    async enqueue(...requests) {
      const answer = await engine.enqueue(requests.map((each) => ({ payload: null, ...each })));
      if (answer.kind !== "accepted") throw new Error(`not accepted, but ${answer.kind}`);
      return answer.receipts.map(({ id }) => id);
    },
    async claim(request = { lane: "loop", max: 1 }) {
      const answer = await engine.claim(request);
      const [claim] = answer.kind === "claimed" ? answer.claims : [];
      if (claim === undefined) throw new Error("there is nothing to claim");
      return claim;
    },
    async breakDisk() {
      recorder.fail(FULL_DISK);
      await engine.enqueue([{ payload: null }]);
    },
    heal: () => recorder.heal(),
    crashed(more = {}) {
      copies += 1;
      const copy = `${path}.${copies}`;
      for (const suffix of ["", "-wal", "-running"])
        if (existsSync(path + suffix)) cpSync(path + suffix, copy + suffix);
      recorder.heal();
      return storeOn(copy, recorder, { ...options, ...more }, clock, none);
    },
    again: () => storeOn(path, recorder, options, clock, none),
    verify() {
      if (!(engine instanceof BrokerHost)) throw new Error("this engine hosts no broker");
      engine.broker.verify();
      for (const { reserved, pins } of engine.broker.queues())
        expect({ reserved, pins }).toEqual({ reserved: 0, pins: 0 });
    },
    async [Symbol.asyncDispose]() {
      recorder.heal();
      await engine.close();
      owned[Symbol.dispose]();
    },
  };
}
