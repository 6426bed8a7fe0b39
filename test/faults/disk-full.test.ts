/** A disk that has no room, or fails, under a server that goes on. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Log } from "../../src/log.ts";
import { createLog } from "../../src/log-output.ts";
import type { ServerOptions } from "../../src/server.ts";
import {
  type BatchReceiptBody,
  bodyOf,
  expectProblem,
  openScene,
  type ReceiptBody,
  type Scene,
} from "../support/http-harness.ts";
import { type DiskFault, DiskRecorder, ERRNO, findRecorderObstacle } from "./disk-recorder.ts";
import { makeScratch, type Scratch } from "./scratch.ts";

const obstacle = findRecorderObstacle();
if (obstacle !== null) process.stderr.write(`Failing disks are not tested: ${obstacle}.\n`);

const FAULTS: readonly (readonly [name: string, fault: DiskFault])[] = [
  ["a full disk", { kinds: ["write"], errno: ERRNO.ENOSPC }],
  [
    "a full disk that takes half of a write",
    { kinds: ["write"], errno: ERRNO.ENOSPC, isShort: true },
  ],
  ["a disk that can't write", { kinds: ["write"], errno: ERRNO.EIO }],
  ["a disk that can't sync", { kinds: ["sync"], errno: ERRNO.EIO }],
];

/** Getting well takes the time until the next look at the disk, and is the same whatever it was. */
const FAULTS_HEALED: typeof FAULTS = FAULTS.filter(([name]) => /full disk$|can't sync/.test(name));

describe.skipIf(obstacle !== null).each(FAULTS)("%s", (_, fault) => {
  test("refuses everyone who asks, by name, and keeps nothing of it", async () => {
    await using disk = await openDiskScene();
    const before = await disk.scene.enqueueWaiting();

    disk.fail(fault);
    const body = { payload: null, delay_ms: 3_600_000 };
    const refused = await Promise.all([
      disk.scene.post("/enqueue", body),
      disk.scene.post("/enqueue", body, { "idempotency-key": "one" }),
      disk.scene.post("/enqueue/batch", { tasks: [body, body, body] }),
      disk.scene.post("/enqueue", { ...body, queue: "another" }),
    ]);

    for (const response of refused) await expectProblem(response, "storage_unavailable");
    expect(await idsIn(disk.scene)).toEqual([before]);
    expect(await queuesIn(disk.scene)).toEqual(["default"]);
    expect((await disk.scene.queue()).waiting.tasks).toBe(1);
  });

  test("refuses what an operator asks for, and changes nothing", async () => {
    await using disk = await openDiskScene();
    const waiting = await disk.scene.enqueueWaiting();
    const failed = await disk.scene.enqueue({ type: "fail" });
    await disk.scene.finished(failed);

    disk.fail(fault);
    await expectProblem(disk.scene.delete(`/tasks/${waiting}`), "storage_unavailable");
    await expectProblem(disk.scene.post(`/tasks/${failed}/retry`), "storage_unavailable");
    await expectProblem(disk.scene.post("/queues/default/pause"), "storage_unavailable");
    await expectProblem(disk.scene.delete("/queues/default/tasks"), "storage_unavailable");

    expect((await disk.scene.task(waiting)).status).toBe("scheduled");
    expect((await disk.scene.task(failed)).status).toBe("failed");
    expect((await disk.scene.queue()).paused).toBe(false);
  });

  test("lets reads go on", async () => {
    await using disk = await openDiskScene();
    const id = await disk.scene.enqueueWaiting();

    disk.fail(fault);
    await expectProblem(disk.scene.post("/enqueue", { payload: null }), "storage_unavailable");

    expect((await disk.scene.task(id)).status).toBe("scheduled");
    for (const path of ["/healthz", "/tasks", "/queues", `/tasks/${id}?wait_ms=1`]) {
      expect((await disk.scene.get(path)).status).toBe(200);
    }
  });

  test("does not hold up a stop, and leaves what was accepted", async () => {
    await using disk = await openDiskScene();
    const accepted = await disk.scene.enqueueWaiting();

    disk.fail(fault);
    await expectProblem(disk.scene.post("/enqueue", { payload: null }), "storage_unavailable");
    await disk.scene.server.stop();
    disk.heal();
    await disk.restart();

    expect(await idsIn(disk.scene)).toEqual([accepted]);
  });
});

describe.skipIf(obstacle !== null).each(FAULTS_HEALED)("%s", (_, fault) => {
  test("shows on /readyz, until there is room again, without anybody asking for more", async () => {
    await using disk = await openDiskScene();

    disk.fail(fault);
    await expectProblem(disk.scene.post("/enqueue", { payload: null }), "storage_unavailable");
    await expectProblem(disk.scene.get("/readyz"), "storage_unavailable");
    disk.heal();

    await disk.untilAvailable();
  });

  test("is over without a restart, and what was refused may be asked for again", async () => {
    await using disk = await openDiskScene();
    const body = { payload: null, delay_ms: 3_600_000 };
    const key = { "idempotency-key": "one" };

    disk.fail(fault);
    await expectProblem(disk.scene.post("/enqueue", body, key), "storage_unavailable");
    disk.heal();
    await disk.untilAvailable();
    const first = await bodyOf<ReceiptBody>(await disk.scene.post("/enqueue", body, key));
    const again = await bodyOf<ReceiptBody>(await disk.scene.post("/enqueue", body, key));
    const batch = { tasks: [body, body] };
    const { tasks } = await bodyOf<BatchReceiptBody>(
      await disk.scene.post("/enqueue/batch", batch),
    );

    expect(again.id).toBe(first.id);
    expect(await idsIn(disk.scene)).toEqual([first.id, ...tasks.map(({ id }) => id)].reverse());
  });

  test("leaves after a restart what was accepted, and nothing that was refused", async () => {
    await using disk = await openDiskScene();
    const accepted = [await disk.scene.enqueueWaiting()];

    disk.fail(fault);
    for (let times = 0; times < 3; times += 1) {
      await expectProblem(disk.scene.post("/enqueue", { payload: null }), "storage_unavailable");
    }
    disk.heal();
    await disk.untilAvailable();
    accepted.push(await disk.scene.enqueueWaiting());
    await disk.restart();

    expect(await idsIn(disk.scene)).toEqual(accepted.reverse());
  });

  test("does not lose the result of a handler that finished meanwhile", async () => {
    await using disk = await openDiskScene();
    const id = await disk.scene.enqueueHeld();

    disk.fail(fault);
    await expectProblem(disk.scene.post("/enqueue", { payload: null }), "storage_unavailable");
    disk.scene.release();
    disk.heal();
    await disk.untilAvailable();
    expect((await disk.scene.finished(id)).status).toBe("done");
    await disk.restart();

    expect(await disk.scene.task(id)).toMatchObject({ status: "done", attempt: 1 });
  });

  test("starts nothing new until it is over", async () => {
    await using disk = await openDiskScene({ workers: 1 });
    const held = await disk.scene.enqueueHeld();
    const next = await disk.scene.enqueue({ type: "echo" });

    disk.fail(fault);
    await expectProblem(disk.scene.post("/enqueue", { payload: null }), "storage_unavailable");
    disk.scene.release();
    await disk.scene.finished(held);
    expect(await disk.scene.task(next)).toMatchObject({ status: "queued", attempt: 0 });
    disk.heal();

    expect(await disk.scene.finished(next)).toMatchObject({ status: "done", attempt: 1 });
  });

  test("is logged once when it begins and once when it is over", async () => {
    await using disk = await openDiskScene();

    disk.fail(fault);
    for (let times = 0; times < 3; times += 1) {
      await expectProblem(disk.scene.post("/enqueue", { payload: null }), "storage_unavailable");
    }
    disk.heal();
    await disk.untilAvailable();

    expect(disk.events.filter((event) => event.startsWith("storage_"))).toEqual([
      "storage_unavailable",
      "storage_available",
    ]);
  });
});

async function openDiskScene(options: ServerOptions = {}): Promise<DiskScene> {
  const scratch = makeScratch();
  const recorder = DiskRecorder.open(scratch.folder);
  recorder.setRecording(false);
  recorder.setSkippingSyncs(true);
  const disk = new DiskScene(scratch, recorder, options);
  await disk.start();
  return disk;
}

/** A server over a data file on a disk that fails when it is told to. */
class DiskScene implements AsyncDisposable {
  /** The names of what was logged. */
  readonly events: string[] = [];
  readonly #scratch: Scratch;
  readonly #recorder: DiskRecorder;
  readonly #log: Log;
  readonly #options: ServerOptions;
  #scene: Scene | null = null;
  #onAvailable = Promise.withResolvers<void>();

  constructor(scratch: Scratch, recorder: DiskRecorder, options: ServerOptions) {
    this.#options = options;
    this.#scratch = scratch;
    this.#recorder = recorder;
    this.#log = createLog({
      level: "info",
      isForPeople: false,
      write: (line) => {
        const { event } = JSON.parse(line) as { event: string };
        this.events.push(event);
        if (event === "storage_available") this.#onAvailable.resolve();
      },
    });
  }

  get scene(): Scene {
    if (this.#scene === null) throw new Error("the scene was not started");
    return this.#scene;
  }

  async start(): Promise<void> {
    const dataFile = join(this.#scratch.folder, "ringq.db");
    this.#scene = await openScene({ dataFile, log: this.#log, ...this.#options });
  }

  async restart(): Promise<void> {
    await this.scene.server.stop();
    await this.start();
  }

  fail(fault: DiskFault): void {
    this.#recorder.fail(fault);
  }

  heal(): void {
    this.#recorder.heal();
  }

  /** Returns once it has found out that the disk is well again. */
  async untilAvailable(): Promise<void> {
    await this.#onAvailable.promise;
    expect((await this.scene.get("/readyz")).status).toBe(200);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.heal();
    await this.#scene?.server.stop();
    this.#recorder[Symbol.dispose]();
    this.#scratch[Symbol.dispose]();
  }
}

async function idsIn(scene: Scene): Promise<readonly string[]> {
  return (await scene.page("?limit=500")).tasks.map(({ id }) => id);
}

async function queuesIn(scene: Scene): Promise<readonly string[]> {
  const { queues } = await bodyOf<{ queues: { name: string }[] }>(await scene.get("/queues"));
  return queues.map(({ name }) => name);
}
