import { afterAll, describe, expect, test } from "bun:test";
import type { Engine } from "../../../src/engine/engine.ts";
import { LIMITS } from "../../../src/engine/engine.ts";
import { createMemoryEngine } from "../../../src/engine/memory/engine.ts";
import { defineHandlers, remote } from "../../../src/index.ts";
import { makeDataFolder } from "../../support/data-folder.ts";
import { aRequest, someSettings } from "../../support/engine-harness.ts";
import {
  bodyOf,
  type ClaimsBody,
  expectProblem,
  openScene,
  openSceneOf,
  type Scene,
  type TaskBody,
} from "../../support/http-harness.ts";
import { isPending, ManualClock } from "../../support/manual-clock.ts";
import { RawSocket, requestText } from "../../support/socket.ts";
import { openSqlite } from "../../support/sqlite-harness.ts";

const RFC_3339_MS = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;
const TOKEN = /^[0-9a-f-]{36}\.[0-9]{1,16}$/;
const MIB = 1024 * 1024;
const LEASE_MS = 10_000;

const folder = makeDataFolder();
afterAll(() => folder.remove());

/** A scene whose tasks all run elsewhere. */
function openRemote(options: Parameters<typeof openScene>[0] = {}): Promise<Scene> {
  return openScene({ handlers: "none", ...options });
}

/** HTTP before an engine that goes by a manual clock, and that tells of the first claim that waits. */
function openOnClock() {
  const clock = new ManualClock();
  const engine = createMemoryEngine(
    someSettings(clock, { otherTypes: { lane: "remote" }, timeoutMs: 600_000 }),
  );
  return { clock, engine, waits: firstWait(engine), scene: openSceneOf(engine) };
}

/** Resolves once a claim waits. */
function firstWait(engine: Engine): Promise<void> {
  const first = Promise.withResolvers<void>();
  const ask = engine.claimOrWait.bind(engine);
  engine.claimOrWait = (request, waitMs, signal) => {
    const answer = ask(request, waitMs, signal);
    if (answer instanceof Promise) first.resolve();
    return answer;
  };
  return first.promise;
}

describe("POST /claims", () => {
  test("answers with the next task as it is, and its retries", async () => {
    await using scene = await openRemote({ leaseMs: 7000 });
    const id = await scene.enqueue({ payload: { to: "a" }, type: "mail", max_retries: 2 });

    const response = await scene.post("/claims", { worker: "mail 1" });

    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/json");
    const { claims } = await bodyOf<ClaimsBody>(response);
    expect(claims).toHaveLength(1);
    const [claim] = claims;
    expect(Object.keys(claim ?? {})).toEqual(["token", "lease_ms", "lease_ends_at", "task"]);
    expect(claim?.token).toMatch(TOKEN);
    expect(claim?.token).toStartWith(`${id}.`);
    expect(claim?.lease_ms).toBe(7000);
    expect(claim?.lease_ends_at).toMatch(RFC_3339_MS);
    expect(claim?.task).toEqual({ ...(await scene.task(id)), retries_left: 2 });
    expect(claim?.task).toMatchObject({ type: "mail", status: "running", payload: { to: "a" } });
  });

  test("answers without claims when there is nothing to do", async () => {
    await using scene = await openRemote();

    expect(await bodyOf<unknown>(await scene.post("/claims", {}))).toEqual({ claims: [] });
  });

  test.each<[string, Parameters<Scene["send"]>[2]]>([
    ["no body", {}],
    ["an empty body", { body: "" }],
    ["an empty body of another type", { body: "", headers: { "content-type": "text/plain" } }],
    ["an empty object", { json: {} }],
  ])("takes %s for a claim without wishes", async (_, options) => {
    await using scene = await openRemote();
    const id = await scene.enqueue();

    const response = await scene.send("POST", "/claims", options);

    expect(response.status).toBe(200);
    expect((await bodyOf<ClaimsBody>(response)).claims.map(({ task }) => task.id)).toEqual([id]);
  });

  test("answers with up to as many tasks as it asks for, in their order", async () => {
    await using scene = await openRemote();
    const ids = [await scene.enqueue(), await scene.enqueue(), await scene.enqueue()];

    const claims = await scene.claims({ max: 2 });

    expect(claims.map(({ task }) => task.id)).toEqual(ids.slice(0, 2));
    expect(await scene.claims({ max: 2 })).toHaveLength(1);
  });

  test("takes from the queues that it names, in their order", async () => {
    await using scene = await openRemote();
    await scene.enqueue({ queue: "c" });
    const a = await scene.enqueue({ queue: "a" });
    const b = await scene.enqueue({ queue: "b" });

    const claims = await scene.claims({ queues: ["b", "a", "nowhere"], max: 3 });

    expect(claims.map(({ task }) => task.id)).toEqual([b, a]);
  });

  test("takes tasks of the types that it names", async () => {
    await using scene = await openRemote();
    await scene.enqueue({ type: "x" });
    const id = await scene.enqueue({ type: "y" });

    expect((await scene.claims({ types: ["y", "z"], max: 3 })).map(({ task }) => task.id)).toEqual([
      id,
    ]);
  });

  test("grants the lease that it asks for, but none beyond the timeout", async () => {
    await using scene = await openRemote();
    await scene.enqueue({ timeout_ms: 60_000 });
    await scene.enqueue({ timeout_ms: 5000 });

    expect((await scene.claim({ lease_ms: 20_000 })).lease_ms).toBe(20_000);
    expect((await scene.claim({ lease_ms: 20_000 })).lease_ms).toBe(5000);
  });

  test("tells how many retries are left after failures", async () => {
    await using scene = await openRemote({ retryBaseMs: 0, retryJitterMs: 0 });
    const first = await scene.claimNew({ max_retries: 1 });
    await scene.settle(first, "failed");

    const second = await scene.claim({ wait_ms: 60_000 });

    expect(first.task.retries_left).toBe(1);
    expect(second.task).toMatchObject({ attempt: 2, retries_left: 0 });
  });

  test("ends an answer at 4 MiB of payloads", async () => {
    await using scene = await openRemote({ maxBodyBytes: 4 * MIB });
    for (let count = 0; count < 3; count += 1) {
      await scene.enqueue({ payload: "x".repeat(2 * MIB) });
    }

    expect(await scene.claims({ max: 3 })).toHaveLength(2);
    expect(await scene.claims({ max: 3 })).toHaveLength(1);
  });

  test("leaves local types to the process", async () => {
    const handlers = defineHandlers({ far: remote(), near: () => 1 });
    await using scene = await openScene({ handlers });
    const far = await scene.enqueue({ type: "far" });
    const near = await scene.enqueue({ type: "near" });

    expect((await scene.claims({ max: 5 })).map(({ task }) => task.id)).toEqual([far]);
    expect(await scene.finished(near)).toMatchObject({ status: "done", result: 1 });
  });

  test("takes tasks of all other types where these are remote", async () => {
    const handlers = defineHandlers({ near: () => 1 }, { otherTypes: "remote" });
    await using scene = await openScene({ handlers });
    const id = await scene.enqueue({ type: "unheard-of" });

    expect((await scene.claim()).task.id).toBe(id);
  });
});

describe("a claim with a fault", () => {
  const { leaseMs, claimTasks, claimNames, waitMs, worker, queue, type } = LIMITS;

  test.each<[string, string, unknown]>([
    ["too few tasks", "max", claimTasks.min - 1],
    ["too many tasks", "max", claimTasks.max + 1],
    ["half a task", "max", 1.5],
    ["a number in text", "max", "1"],
    ["null", "max", null],
    ["too short a lease", "lease_ms", leaseMs.min - 1],
    ["too long a lease", "lease_ms", leaseMs.max + 1],
    ["a negative wait", "wait_ms", waitMs.min - 1],
    ["too long a wait", "wait_ms", waitMs.max + 1],
    ["no name", "worker", ""],
    ["too long a name", "worker", "w".repeat(worker.lengthMax + 1)],
    ["a name that is not printable", "worker", "a\tb"],
    ["a name that is not ASCII", "worker", "ü"],
    ["no queues", "queues", []],
    ["too many queues", "queues", Array(claimNames.max + 1).fill("a")],
    ["a queue that is no list", "queues", "a"],
    ["no types", "types", []],
    ["too many types", "types", Array(claimNames.max + 1).fill("a")],
  ])("is refused: %s in %s", async (_, field, value) => {
    await using scene = await openRemote();
    await scene.enqueue();

    const { errors } = await expectProblem(
      scene.post("/claims", { [field]: value }),
      "invalid_request",
    );

    expect(errors?.map(({ path }) => path)).toEqual([`/${field}`]);
    expect((await scene.queue()).depth.running).toBe(0);
  });

  test.each<[string, unknown]>([
    ["/queues/1", { queues: ["a", "A"] }],
    ["/queues/0", { queues: ["q".repeat(queue.lengthMax + 1)] }],
    ["/queues/0", { queues: [7] }],
    ["/types/1", { types: ["a", "no type"] }],
    ["/types/0", { types: ["t".repeat(type.lengthMax + 1)] }],
    ["/wait", { wait: 1 }],
    ["/constructor", { constructor: 1 }],
  ])("is refused, and the path is %s", async (path, json) => {
    await using scene = await openRemote();

    const { errors } = await expectProblem(scene.post("/claims", json), "invalid_request");

    expect(errors?.[0]?.path).toBe(path);
  });

  test.each<[string, object]>([
    ["max", { max: claimTasks.min }],
    ["max", { max: claimTasks.max }],
    ["lease_ms", { lease_ms: leaseMs.min }],
    ["lease_ms", { lease_ms: leaseMs.max }],
    ["wait_ms", { wait_ms: waitMs.min }],
    ["wait_ms", { wait_ms: waitMs.max }],
    ["worker", { worker: " " }],
    ["worker", { worker: "~".repeat(worker.lengthMax) }],
    ["queues", { queues: ["default", ...Array(claimNames.max - 1).fill("a")] }],
    ["types", { types: ["default", ...Array(claimNames.max - 1).fill("a")] }],
  ])("has none at the bounds of %s", async (_, json) => {
    await using scene = await openRemote();
    await scene.enqueue();

    const response = await scene.post("/claims", json);

    expect(response.status).toBe(200);
    expect((await bodyOf<ClaimsBody>(response)).claims).toHaveLength(1);
  });

  test.each(["[]", "null", "1", '"x"'])("is refused: the body %s", async (body) => {
    await using scene = await openRemote();

    await expectProblem(scene.send("POST", "/claims", { body }), "invalid_request");
  });

  test("is refused: a body that is no JSON", async () => {
    await using scene = await openRemote();

    await expectProblem(scene.send("POST", "/claims", { body: "{" }), "invalid_json");
  });

  test("is refused: a body of another type", async () => {
    await using scene = await openRemote();
    const headers = { "content-type": "text/plain" };

    await expectProblem(
      scene.send("POST", "/claims", { body: "{}", headers }),
      "unsupported_media_type",
    );
  });

  test("is refused: a body that is too large", async () => {
    await using scene = await openRemote({ maxBodyBytes: 1024 });

    await expectProblem(scene.post("/claims", { worker: "w".repeat(2000) }), "body_too_large");
  });

  test("is refused: a query", async () => {
    await using scene = await openRemote();

    await expectProblem(scene.post("/claims?max=1", {}), "invalid_request");
  });

  test("is refused: a page of another site, without a body or a type", async () => {
    await using scene = await openRemote();
    const id = await scene.enqueue();

    await expectProblem(
      scene.send("POST", "/claims", { headers: { "sec-fetch-site": "cross-site" } }),
      "cross_site",
    );

    expect((await scene.task(id)).status).toBe("queued");
  });
});

describe("a claim where no type is remote", () => {
  test.each([
    ["with handlers", undefined],
    ["with the simulated handler", ""],
  ])("is refused, and told what to set: %s", async (_, handlers) => {
    await using scene = await openScene(handlers === "" ? { failureRate: 0 } : {});

    const { detail } = await expectProblem(scene.post("/claims", {}), "no_remote_types");

    expect(detail).toContain("HANDLERS=none");
    expect(detail).toContain('isolation: "remote"');
  });
});

describe("a claim that waits", () => {
  test("is answered when a task comes", async () => {
    await using scene = await openRemote();
    const claiming = scene.claims({ wait_ms: 60_000 });
    expect((await scene.get("/healthz")).status).toBe(200);
    expect(await isPending(claiming)).toBe(true);

    const id = await scene.enqueue();

    expect((await claiming).map(({ task }) => task.id)).toEqual([id]);
  });

  test("is answered when a task comes with a data file", async () => {
    await using scene = await openRemote({ dataFile: folder.newFile() });
    const claiming = scene.claims({ wait_ms: 60_000 });
    expect((await scene.get("/healthz")).status).toBe(200);
    expect(await isPending(claiming)).toBe(true);

    const id = await scene.enqueue();

    expect((await claiming).map(({ task }) => task.id)).toEqual([id]);
  });

  test("is answered without claims when its time is up", async () => {
    const { scene, clock, waits } = openOnClock();
    await using _ = scene;
    const claiming = scene.claims({ wait_ms: 5000 });
    await waits;

    await clock.advance(5000);

    expect(await claiming).toEqual([]);
  });

  test("shows on its queues", async () => {
    await using scene = await openRemote();
    await scene.enqueueWaiting({ queue: "a" });
    await scene.enqueueWaiting({ queue: "b" });
    const client = new AbortController();
    const json = { wait_ms: 60_000, queues: ["a"] };
    const waiting = scene.send("POST", "/claims", { json, signal: client.signal });
    await untilWaiting(scene, "a", 1);

    expect((await scene.queue("a")).claims).toEqual({ running: 0, waiting: 1 });
    expect((await scene.queue("b")).claims).toEqual({ running: 0, waiting: 0 });
    client.abort();
    await waiting.catch(() => undefined);
    await untilWaiting(scene, "a", 0);
  });

  test("is refused when as many wait as may", async () => {
    await using scene = await openRemote({ claimsWaitingMax: 1 });
    await scene.enqueueWaiting();
    const waiting = scene.claims({ wait_ms: 60_000, queues: ["default"] });
    await untilWaiting(scene, "default", 1);

    const { detail } = await expectProblem(
      scene.post("/claims", { wait_ms: 1, queues: ["a"] }),
      "too_many_waiting",
    );

    expect(detail).toContain("CLAIMS_WAITING_MAX");
    expect(await scene.claims()).toEqual([]);
    await scene.enqueue();
    expect(await waiting).toHaveLength(1);
  });

  test.each([
    ["closes its connection", (socket: RawSocket) => socket.close()],
    ["breaks its connection off", (socket: RawSocket) => socket.abort()],
  ])("gets no task once its client %s", async (_, leave) => {
    await using scene = await openRemote();
    await scene.enqueueWaiting();
    using socket = await RawSocket.open(scene.port);
    socket.send(requestText("POST", "/claims", {}, '{"wait_ms":60000}'));
    await untilWaiting(scene, "default", 1);

    leave(socket);

    await untilWaiting(scene, "default", 0);
    const id = await scene.enqueue();
    expect(await scene.task(id)).toMatchObject({ status: "queued", attempt: 0 });
  });

  test.each([
    ["closes its connection", (socket: RawSocket) => socket.close()],
    ["breaks its connection off", (socket: RawSocket) => socket.abort()],
  ])("loses no task to a client that %s as it comes", async (_, leave) => {
    const { scene, engine, waits } = openOnClock();
    await using __ = scene;
    using socket = await RawSocket.open(scene.port);
    socket.send(requestText("POST", "/claims", {}, '{"wait_ms":60000}'));
    await waits;

    leave(socket);
    const answer = await engine.enqueue([aRequest()]);

    const [receipt] = answer.kind === "accepted" ? answer.receipts : [];
    // The clock stands still, so no lease ends.
    const released = await scene.untilTask(
      receipt?.id ?? "",
      ({ status, attempt }) => status === "queued" && attempt === 1,
    );
    expect(released.claim).toBeNull();
    expect(await scene.claims()).toHaveLength(1);
  });
});

describe("an answer that its client does not read", () => {
  test("gives its tasks back at once when the client goes, and loses none", async () => {
    const payload = "x".repeat(16 * MIB);
    await using scene = await openRemote({
      maxBodyBytes: 32 * MIB,
      queueBytes: 64 * MIB,
      claimsWaitingMax: 1,
      leaseMs: LIMITS.leaseMs.max,
    });
    const id = await scene.enqueue({ payload, max_retries: 0, timeout_ms: LIMITS.timeoutMs.max });

    // Three lost claims would fail the task.
    for (let attempt = 1; attempt <= 4; attempt += 1) {
      using socket = await RawSocket.open(scene.port);
      socket.stopReading();
      socket.send(requestText("POST", "/claims", {}, "{}"));
      await untilRunning(scene, 1);

      socket.abort();

      await untilRunning(scene, 0);
      expect((await scene.queue()).depth.queued).toBe(1);
    }

    const { task } = await scene.claim();
    expect(task).toMatchObject({ id, attempt: 5, error: null, retries_left: 0 });
    expect((await scene.queue()).totals.interrupted).toBe(4);
  }, 30_000);

  test("has further claims refused while it takes all the room, and no task", async () => {
    await using scene = await openRemote({
      maxBodyBytes: 32 * MIB,
      queueBytes: 64 * MIB,
      answerBytesTotal: MIB,
    });
    await scene.enqueue({ payload: "x".repeat(16 * MIB) });
    using socket = await RawSocket.open(scene.port);
    socket.stopReading();
    socket.send(requestText("POST", "/claims", {}, "{}"));
    await untilRunning(scene, 1);
    const id = await scene.enqueue();

    await expectProblem(scene.post("/claims", {}), "overloaded");

    expect((await scene.task(id)).status).toBe("queued");
    socket.abort();
    await untilRunning(scene, 0);
    expect(await scene.claims()).toHaveLength(1);
  }, 30_000);
});

describe("a claimed task", () => {
  test("shows its worker and the end of its lease", async () => {
    await using scene = await openRemote();
    const id = await scene.enqueue();
    expect((await scene.task(id)).claim).toBeNull();

    const { lease_ends_at } = await scene.claim({ worker: "mail 1" });

    const claim = { worker: "mail 1", lease_ends_at };
    expect((await scene.task(id)).claim).toEqual(claim);
    expect((await scene.page()).tasks[0]?.claim).toEqual(claim);
    const cancelled = await bodyOf<TaskBody>(await scene.delete(`/tasks/${id}`));
    expect(cancelled.claim).toBeNull();
  });

  test("shows a worker that gave no name", async () => {
    await using scene = await openRemote();

    const { task } = await scene.claimNew();

    expect((await scene.task(task.id)).claim?.worker).toBeNull();
    expect(task.claim?.worker).toBeNull();
  });

  test("counts in its queue", async () => {
    await using scene = await openRemote();
    await scene.enqueue();

    const claim = await scene.claimNew();

    expect((await scene.queue()).claims).toEqual({ running: 1, waiting: 0 });
    await scene.settle(claim, "done");
    expect((await scene.queue()).claims).toEqual({ running: 0, waiting: 0 });
  });

  test("is one of at most CLAIMS_MAX in its queue", async () => {
    await using scene = await openRemote({ claimsMax: 2 });
    for (let count = 0; count < 3; count += 1) await scene.enqueue();

    expect(await scene.claims({ max: 3 })).toHaveLength(2);
  });

  test("is one of at most the size of its queue, unless that has another limit", async () => {
    const handlers = defineHandlers(
      {},
      { otherTypes: "remote", queues: { narrow: { claims: 1 }, short: { size: 2 } } },
    );
    await using scene = await openScene({ handlers, queueSize: 3 });

    for (const [queue, claims] of [
      ["narrow", 1] as const,
      ["short", 2] as const,
      ["a", 3] as const,
    ]) {
      // More than one queue may hold at a time: what is claimed makes room for the next.
      for (let count = 0; count < 5; count += 1) {
        await scene.post("/enqueue", { payload: null, queue });
        await scene.claims({ queues: [queue], max: 1 });
      }
      expect((await scene.queue(queue)).claims.running).toBe(claims);
    }
  });
});

describe("POST /claims/:token/extend", () => {
  test("extends the lease by its length from now", async () => {
    const { scene, clock } = openOnClock();
    await using _ = scene;
    const { token, task } = await scene.claimNew();
    await clock.advance(4000);

    const response = await scene.post(`/claims/${token}/extend`);

    expect(response.status).toBe(200);
    const lease_ends_at = new Date(clock.wallMs + LEASE_MS).toISOString();
    expect(await bodyOf<unknown>(response)).toEqual({ lease_ms: LEASE_MS, lease_ends_at });
    expect((await scene.task(task.id)).claim?.lease_ends_at).toBe(lease_ends_at);
    await clock.advance(LEASE_MS - 1);
    expect((await scene.task(task.id)).status).toBe("running");
    await clock.advance(1);
    expect((await scene.task(task.id)).status).toBe("queued");
  });

  test("extends the lease to the length that it asks for", async () => {
    await using scene = await openRemote();
    const { token } = await scene.claimNew();

    const response = await scene.post(`/claims/${token}/extend`, { lease_ms: 20_000 });

    expect(await bodyOf<unknown>(response)).toMatchObject({ lease_ms: 20_000 });
  });

  test("shows progress on the task", async () => {
    await using scene = await openRemote();
    const { token, task } = await scene.claimNew();

    for (const progress of [{ percent: 50 }, 0, null, "x"]) {
      await scene.expectStatus(200, scene.post(`/claims/${token}/extend`, { progress }));
      expect((await scene.task(task.id)).progress).toEqual(progress);
    }
  });

  test("leaves progress as it is when it brings none", async () => {
    await using scene = await openRemote();
    const { token, task } = await scene.claimNew();
    await scene.post(`/claims/${token}/extend`, { progress: 1 });

    await scene.post(`/claims/${token}/extend`);

    expect((await scene.task(task.id)).progress).toBe(1);
  });

  test.each<[string, unknown]>([
    ["is too large", "x".repeat(511)],
    ["is nested too deeply", nested(65)],
  ])("refuses progress that %s, and extends nothing", async (_, progress) => {
    const { scene, clock } = openOnClock();
    await using __ = scene;
    const { token, task } = await scene.claimNew();
    await clock.advance(4000);

    const { errors } = await expectProblem(
      scene.post(`/claims/${token}/extend`, { progress }),
      "invalid_request",
    );

    expect(errors?.[0]?.path).toBe("/progress");
    expect((await scene.task(task.id)).progress).toBeNull();
    await clock.advance(LEASE_MS - 4000);
    expect((await scene.task(task.id)).status).toBe("queued");
  });

  test.each<[string, unknown]>([
    ["of as many bytes as a result may have", "x".repeat(510)],
    ["of as many levels as a payload may have", nested(64)],
  ])("takes progress %s", async (_, progress) => {
    const { scene } = openOnClock();
    await using __ = scene;
    const { token, task } = await scene.claimNew();

    await scene.expectStatus(200, scene.post(`/claims/${token}/extend`, { progress }));

    expect((await scene.task(task.id)).progress).toEqual(progress);
  });

  test.each<[string, unknown, string]>([
    ["too short a lease", { lease_ms: LIMITS.leaseMs.min - 1 }, "/lease_ms"],
    ["too long a lease", { lease_ms: LIMITS.leaseMs.max + 1 }, "/lease_ms"],
    ["a lease in text", { lease_ms: "1000" }, "/lease_ms"],
    ["an unknown field", { lease: 1000 }, "/lease"],
  ])("refuses %s", async (_, json, path) => {
    await using scene = await openRemote();
    const { token } = await scene.claimNew();

    const { errors } = await expectProblem(
      scene.post(`/claims/${token}/extend`, json),
      "invalid_request",
    );

    expect(errors?.[0]?.path).toBe(path);
  });

  test("tells how a claim ended", async () => {
    const { scene, clock } = openOnClock();
    await using _ = scene;
    const { token } = await scene.claimNew();
    await clock.advance(LEASE_MS);

    const { ended } = await expectProblem(scene.post(`/claims/${token}/extend`), "claim_lost");

    expect(ended).toBe("expired");
  });

  test("shows no progress of a claim that has ended", async () => {
    const { scene, clock } = openOnClock();
    await using _ = scene;
    const { token, task } = await scene.claimNew();
    await clock.advance(LEASE_MS);
    await scene.claim();

    await expectProblem(scene.post(`/claims/${token}/extend`, { progress: 1 }), "claim_lost");

    expect((await scene.task(task.id)).progress).toBeNull();
  });
});

describe("with a data file", () => {
  test("a claim is refused while the server stops, and one that waits is told so", async () => {
    await using harness = openSqlite(folder, { otherTypes: { lane: "remote" } });
    const waits = firstWait(harness.engine);
    await using scene = openSceneOf(harness.engine);
    const { token } = await scene.claimNew();
    const waiting = scene.post("/claims", { wait_ms: 60_000 });
    await waits;

    harness.engine.stopIntake();

    await expectProblem(waiting, "shutting_down");
    await expectProblem(scene.post("/claims", {}), "shutting_down");
    await expectProblem(scene.post("/claims", { wait_ms: 60_000 }), "shutting_down");
    await scene.expectStatus(200, scene.post(`/claims/${token}/extend`));
    expect(await scene.settle({ token }, "done")).toMatchObject({ status: "done" });
  });

  test("a claim and a settle are refused during an outage, and an extend is answered", async () => {
    await using harness = openSqlite(folder, { otherTypes: { lane: "remote" } });
    await using scene = openSceneOf(harness.engine);
    const { token, task } = await scene.claimNew();
    harness.breakStorage();
    await expectProblem(scene.post("/enqueue", { payload: 1 }), "storage_unavailable");

    await expectProblem(scene.post("/claims", {}), "storage_unavailable");
    await expectProblem(scene.post("/claims", { wait_ms: 60_000 }), "storage_unavailable");
    for (const outcome of ["done", "failed", "released"]) {
      await expectProblem(scene.post(`/claims/${token}/${outcome}`), "storage_unavailable");
    }
    await scene.expectStatus(200, scene.post(`/claims/${token}/extend`, { progress: 1 }));

    expect(await scene.task(task.id)).toMatchObject({ status: "running", progress: 1 });
  });
});

function nested(levels: number): unknown {
  let value: unknown = null;
  for (let level = 0; level < levels; level += 1) value = [value];
  return value;
}

async function untilWaiting(scene: Scene, queue: string, waiting: number): Promise<void> {
  while ((await scene.queue(queue)).claims.waiting !== waiting);
}

async function untilRunning(scene: Scene, running: number): Promise<void> {
  while ((await scene.queue()).claims.running !== running);
}
