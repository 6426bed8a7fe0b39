import { afterAll, describe, expect, test } from "bun:test";
import { type Engine, LIMITS } from "../../../src/engine/engine.ts";
import { createMemoryEngine } from "../../../src/engine/memory/engine.ts";
import { makeDataFolder } from "../../support/data-folder.ts";
import { someSettings } from "../../support/engine-harness.ts";
import {
  bodyOf,
  expectProblem,
  type GivenClaim,
  openScene,
  openSceneOf,
  type Scene,
} from "../../support/http-harness.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const folder = makeDataFolder();
afterAll(() => folder.remove());

const LEASE_MS = 10_000;
const TIMEOUT_MS = 600_000;

const OUTCOMES = ["done", "failed", "released"] as const;

/** A token of the right form that no claim has. */
const UNKNOWN = "01920000-0000-7000-8000-000000000000.1";

/** A scene whose tasks all run elsewhere. */
function openRemote(options: Parameters<typeof openScene>[0] = {}): Promise<Scene> {
  return openScene({ handlers: "none", ...options });
}

/** HTTP before an engine that goes by a manual clock, without jitter. */
function openOnClock(): { scene: Scene; clock: ManualClock; engine: Engine } {
  const clock = new ManualClock();
  const engine = createMemoryEngine(
    someSettings(clock, { otherTypes: { lane: "remote" }, timeoutMs: TIMEOUT_MS }),
  );
  return { scene: openSceneOf(engine), clock, engine };
}

function timeIn(clock: ManualClock, ms: number): string {
  return new Date(clock.wallMs + ms).toISOString();
}

/** The results of several settles. */
async function settleAll(scene: Scene, settles: readonly unknown[]): Promise<readonly unknown[]> {
  const response = await scene.expectStatus(200, scene.post("/claims/settle", { settles }));
  return (await bodyOf<{ readonly results: readonly unknown[] }>(response)).results;
}

function nested(levels: number): unknown {
  let value: unknown = null;
  for (let level = 0; level < levels; level += 1) value = [value];
  return value;
}

describe("POST /claims/:token/done", () => {
  test("ends the task with its result", async () => {
    await using scene = await openRemote();
    const { token, task } = await scene.claimNew();

    const response = await scene.post(`/claims/${token}/done`, { result: { sent: true } });

    expect(response.status).toBe(200);
    expect(await bodyOf<unknown>(response)).toEqual({ id: task.id, status: "done", run_at: null });
    expect(await scene.task(task.id)).toMatchObject({
      status: "done",
      result: { sent: true },
      attempt: 1,
      claim: null,
    });
  });

  test.each<[string, object | undefined]>([
    ["no body", undefined],
    ["an empty object", {}],
    ["null", { result: null }],
  ])("ends the task without a result: %s", async (_, json) => {
    await using scene = await openRemote();
    const { token, task } = await scene.claimNew();

    await scene.settle({ token }, "done", json);

    expect(await scene.task(task.id)).toMatchObject({ status: "done", result: null });
  });

  test.each<[string, unknown, string]>([
    ["is too large", "x".repeat(1024), "result_too_large"],
    ["is nested too deeply", nested(65), "invalid_result"],
  ])("fails the attempt whose result %s", async (_, result, code) => {
    await using scene = await openRemote({ resultBytesMax: 1024 });
    const { token, task } = await scene.claimNew({ max_retries: 0 });

    expect(await scene.settle({ token }, "done", { result })).toMatchObject({ status: "failed" });

    expect(await scene.task(task.id)).toMatchObject({
      status: "failed",
      result: null,
      error: { code, attempt: 1 },
    });
  });

  test("fails the attempt whose result is a number that JSON would lose", async () => {
    await using scene = await openRemote();
    const { token, task } = await scene.claimNew({ max_retries: 0 });

    await scene.expectStatus(
      200,
      scene.send("POST", `/claims/${token}/done`, { body: '{"result":{"n":1e400}}' }),
    );

    const { error } = await scene.task(task.id);
    expect(error?.code).toBe("invalid_result");
    expect(error?.message).toContain("/n is a number beyond the range of a double");
  });

  test("retries an attempt whose result is too large, as any failed one", async () => {
    await using scene = await openRemote({ resultBytesMax: 1024 });
    const { token, task } = await scene.claimNew({ max_retries: 1 });

    const receipt = await scene.settle({ token }, "done", { result: "x".repeat(2000) });

    expect(receipt).toMatchObject({ id: task.id, status: "retrying" });
    expect(receipt.run_at).not.toBeNull();
  });

  test.each<[string, unknown]>([
    ["as many bytes as it may", "x".repeat(1022)],
    ["as many levels as it may", nested(64)],
    ["names of every object", JSON.parse('{"__proto__":1,"constructor":2}') as unknown],
  ])("keeps a result with %s", async (_, result) => {
    await using scene = await openRemote({ resultBytesMax: 1024 });
    const { token, task } = await scene.claimNew();

    await scene.expectStatus(
      200,
      scene.send("POST", `/claims/${token}/done`, { body: `{"result":${JSON.stringify(result)}}` }),
    );

    expect(JSON.stringify((await scene.task(task.id)).result)).toBe(JSON.stringify(result));
  });

  test("walks through no megabyte of brackets", async () => {
    await using scene = await openRemote();
    const { token, task } = await scene.claimNew({ max_retries: 0 });
    const levels = 500_000;
    const body = `{"result":${"[".repeat(levels)}${"]".repeat(levels)}}`;

    await scene.expectStatus(200, scene.send("POST", `/claims/${token}/done`, { body }));

    expect((await scene.task(task.id)).error?.message).toContain("nested deeper than 64 levels");
  });
});

describe("POST /claims/:token/failed", () => {
  test("retries the task after its backoff", async () => {
    const { scene, clock } = openOnClock();
    await using _ = scene;
    const { token, task } = await scene.claimNew();

    const receipt = await scene.settle({ token }, "failed", { code: "smtp", message: "no route" });

    const run_at = timeIn(clock, 200);
    expect(receipt).toEqual({ id: task.id, status: "retrying", run_at });
    expect(await scene.task(task.id)).toMatchObject({
      status: "retrying",
      run_at,
      error: { code: "smtp", message: "no route", attempt: 1 },
    });
  });

  test("retries the task after its backoff when asked for that by name", async () => {
    const { scene, clock } = openOnClock();
    await using _ = scene;
    const claim = await scene.claimNew();

    const receipt = await scene.settle(claim, "failed", { retry: "backoff" });

    expect(receipt).toMatchObject({ status: "retrying", run_at: timeIn(clock, 200) });
  });

  test("fails the task for good when it is not to be retried", async () => {
    await using scene = await openRemote();
    const claim = await scene.claimNew({ max_retries: 5 });

    const receipt = await scene.settle(claim, "failed", { retry: "never" });

    expect(receipt).toEqual({ id: claim.task.id, status: "failed", run_at: null });
  });

  test("fails the task for good when no retry is left", async () => {
    await using scene = await openRemote();
    const claim = await scene.claimNew({ max_retries: 0 });

    expect(await scene.settle(claim, "failed")).toMatchObject({ status: "failed", run_at: null });
  });

  test.each([LIMITS.retryAfterMs.min, 5000, LIMITS.retryAfterMs.max])(
    "retries the task after %d ms",
    async (retry_after_ms) => {
      const { scene, clock } = openOnClock();
      await using _ = scene;
      const claim = await scene.claimNew();

      const receipt = await scene.settle(claim, "failed", { retry_after_ms });

      expect(receipt).toMatchObject({
        status: "retrying",
        run_at: timeIn(clock, retry_after_ms),
      });
    },
  );

  test.each<[string, object | undefined, object]>([
    ["nothing", undefined, { code: "handler_error", message: "" }],
    ["an empty code", { code: "" }, { code: "handler_error" }],
    ["a code with a blank", { code: "a b" }, { code: "handler_error" }],
    [
      "too long a code",
      { code: "c".repeat(LIMITS.errorCode.lengthMax + 1) },
      { code: "handler_error" },
    ],
    [
      "the longest code",
      { code: "c".repeat(LIMITS.errorCode.lengthMax) },
      { code: "c".repeat(LIMITS.errorCode.lengthMax) },
    ],
    ["every letter of a code", { code: "Aa0_.:-" }, { code: "Aa0_.:-" }],
    ["a message of any letters", { message: "käßé 😀\n\u0000" }, { message: "käßé 😀\n\u0000" }],
    ["the longest message", { message: "m".repeat(1000) }, { message: "m".repeat(1000) }],
    ["a longer message", { message: "m".repeat(1001) }, { message: `${"m".repeat(999)}…` }],
  ])("records the error of %s", async (_, json, error) => {
    await using scene = await openRemote();
    const claim = await scene.claimNew({ max_retries: 0 });

    await scene.settle(claim, "failed", json);

    expect((await scene.task(claim.task.id)).error).toMatchObject(error);
  });
});

describe("POST /claims/:token/released", () => {
  test.each<[string, object | undefined]>([
    ["no body", undefined],
    ["no delay", { delay_ms: 0 }],
  ])("queues the task again without spending a retry: %s", async (_, json) => {
    await using scene = await openRemote();
    const claim = await scene.claimNew({ max_retries: 1 });

    const receipt = await scene.settle(claim, "released", json);

    expect(receipt).toEqual({ id: claim.task.id, status: "queued", run_at: null });
    expect((await scene.claim()).task).toMatchObject({
      id: claim.task.id,
      attempt: 2,
      retries_left: 1,
      errors: [],
    });
  });

  test("puts the task before those that came after it", async () => {
    await using scene = await openRemote();
    const claim = await scene.claimNew();
    await scene.enqueue();

    await scene.settle(claim, "released");

    expect((await scene.claim()).task.id).toBe(claim.task.id);
  });

  test.each([1, LIMITS.retryAfterMs.max])("waits for %d ms", async (delay_ms) => {
    const { scene, clock } = openOnClock();
    await using _ = scene;
    const claim = await scene.claimNew();

    const receipt = await scene.settle(claim, "released", { delay_ms });

    const run_at = timeIn(clock, delay_ms);
    expect(receipt).toEqual({ id: claim.task.id, status: "retrying", run_at });
    expect(await scene.task(claim.task.id)).toMatchObject({ status: "retrying", errors: [] });
  });
});

describe("a settle with a fault", () => {
  const { min, max } = LIMITS.retryAfterMs;

  const FAULTS: readonly (readonly [outcome: string, path: string, json: object])[] = [
    ["done", "/results", { results: 1 }],
    ["done", "/message", { message: "x" }],
    ["failed", "/code", { code: 7 }],
    ["failed", "/code", { code: null }],
    ["failed", "/message", { message: 7 }],
    ["failed", "/retry", { retry: "later" }],
    ["failed", "/retry_after_ms", { retry_after_ms: min - 1 }],
    ["failed", "/retry_after_ms", { retry_after_ms: max + 1 }],
    ["failed", "/retry_after_ms", { retry_after_ms: 0.5 }],
    ["failed", "/retry_after_ms", { retry_after_ms: 0, retry: "backoff" }],
    ["failed", "/retry_after_ms", { retry_after_ms: 5, retry: "never" }],
    ["failed", "/result", { result: 1 }],
    ["released", "/delay_ms", { delay_ms: min - 1 }],
    ["released", "/delay_ms", { delay_ms: max + 1 }],
    ["released", "/delay_ms", { delay_ms: "5" }],
    ["released", "/delay", { delay: 5 }],
  ];

  test.each(FAULTS)("is refused as %s, with the path %s: %j", async (outcome, path, json) => {
    await using scene = await openRemote();
    const { token, task } = await scene.claimNew();

    const { errors } = await expectProblem(
      scene.post(`/claims/${token}/${outcome}`, json),
      "invalid_request",
    );

    expect(errors?.[0]?.path).toBe(path);
    expect((await scene.task(task.id)).status).toBe("running");
  });

  test.each(FAULTS)("is refused among several as %s, with the path %s: %j", async (...row) => {
    const [outcome, path, json] = row;
    await using scene = await openRemote();
    const { token, task } = await scene.claimNew();

    const [result] = await settleAll(scene, [{ token, outcome, ...json }]);

    expect(result).toMatchObject({
      token,
      problem: { status: 422, code: "invalid_request", errors: [{ path }] },
    });
    expect((await scene.task(task.id)).status).toBe("running");
  });

  test.each(OUTCOMES)("is refused with a body that is none: %s", async (outcome) => {
    await using scene = await openRemote({ maxBodyBytes: 1024 });
    const { token, task } = await scene.claimNew();
    const path = `/claims/${token}/${outcome}`;
    const headers = { "content-type": "text/plain" };

    await expectProblem(scene.send("POST", path, { body: "{" }), "invalid_json");
    await expectProblem(scene.send("POST", path, { body: "[]" }), "invalid_request");
    await expectProblem(
      scene.send("POST", path, { body: "{}", headers }),
      "unsupported_media_type",
    );
    await expectProblem(scene.post(path, { x: "x".repeat(2000) }), "body_too_large");
    await expectProblem(scene.post(`${path}?x=1`), "invalid_request");

    expect((await scene.task(task.id)).status).toBe("running");
  });
});

describe("a settle that comes again", () => {
  test.each(OUTCOMES)("gets the first receipt: %s", async (outcome) => {
    await using scene = await openRemote();
    const claim = await scene.claimNew({ max_retries: 1 });
    const first = await scene.settle(claim, outcome);

    expect(await scene.settle(claim, outcome)).toEqual(first);

    expect((await scene.task(claim.task.id)).errors).toHaveLength(outcome === "failed" ? 1 : 0);
  });

  test.each(["failed", "released"] as const)(
    "gets it while another attempt runs: %s",
    async (outcome) => {
      const { scene, clock } = openOnClock();
      await using _ = scene;
      const claim = await scene.claimNew();
      const first = await scene.settle(claim, outcome);
      await clock.advance(200);
      const second = await scene.claim();

      expect(await scene.settle(claim, outcome)).toEqual(first);

      expect((await scene.task(claim.task.id)).status).toBe("running");
      expect(await scene.settle(second, "done")).toMatchObject({ status: "done" });
    },
  );

  test("is compared by its outcome alone", async () => {
    await using scene = await openRemote();
    const claim = await scene.claimNew();
    await scene.settle(claim, "done", { result: 1 });

    await scene.settle(claim, "done", { result: 2 });

    expect((await scene.task(claim.task.id)).result).toBe(1);
  });

  test.each(OUTCOMES)(
    "with another outcome is told that the claim was settled: %s",
    async (first) => {
      await using scene = await openRemote();
      const { token } = await scene.claimNew();
      await scene.settle({ token }, first);

      for (const outcome of OUTCOMES.filter((other) => other !== first)) {
        const { ended } = await expectProblem(
          scene.post(`/claims/${token}/${outcome}`),
          "claim_lost",
        );
        expect(ended).toBe("settled");
      }
      const { ended } = await expectProblem(scene.post(`/claims/${token}/extend`), "claim_lost");
      expect(ended).toBe("settled");
    },
  );
});

describe("a claim that has ended", () => {
  type Ended = "expired" | "timeout" | "cancelled" | "unknown";

  const ENDS: readonly (readonly [
    ended: Ended,
    how: string,
    end: (opened: ReturnType<typeof openOnClock>, claim: GivenClaim) => unknown,
  ])[] = [
    ["expired", "its lease ended", ({ clock }) => clock.advance(LEASE_MS)],
    [
      "expired",
      "its lease ended and another has the task",
      async ({ clock, scene }) => {
        await clock.advance(LEASE_MS);
        await scene.claim();
      },
    ],
    [
      "timeout",
      "the attempt took too long",
      async ({ clock, scene }, { token }) => {
        await scene.post(`/claims/${token}/extend`, { lease_ms: TIMEOUT_MS });
        await clock.advance(TIMEOUT_MS);
      },
    ],
    [
      "cancelled",
      "its task was cancelled",
      ({ scene }, { task }) => scene.delete(`/tasks/${task.id}`),
    ],
    [
      "unknown",
      "its task is forgotten",
      async ({ clock, scene }, { task }) => {
        await scene.delete(`/tasks/${task.id}`);
        await clock.advance(3_600_000);
      },
    ],
  ];

  test.each(ENDS)("answers %s: %s", async (ended, _, end) => {
    const opened = openOnClock();
    const { scene } = opened;
    await using __ = scene;
    const claim = await scene.claimNew();

    await end(opened, claim);

    const before = await (await scene.get(`/tasks/${claim.task.id}`)).text();
    for (const call of [...OUTCOMES, "extend"]) {
      const problem = await expectProblem(
        scene.post(`/claims/${claim.token}/${call}`),
        "claim_lost",
      );
      expect(problem.ended).toBe(ended);
      expect(problem.detail).toStartWith("The claim is over. ");
    }
    const [result] = await settleAll(scene, [{ token: claim.token, outcome: "done" }]);
    expect(result).toMatchObject({ problem: { code: "claim_lost", status: 409, ended } });
    expect(await (await scene.get(`/tasks/${claim.task.id}`)).text()).toBe(before);
  });

  test.each([...OUTCOMES, "extend"])("is unknown when it never was: %s", async (call) => {
    await using scene = await openRemote();

    const { ended } = await expectProblem(scene.post(`/claims/${UNKNOWN}/${call}`), "claim_lost");

    expect(ended).toBe("unknown");
  });

  test("is unknown when only its task is known", async () => {
    await using scene = await openRemote();
    const { token, task } = await scene.claimNew();

    const { ended } = await expectProblem(scene.post(`/claims/${task.id}.1/done`), "claim_lost");

    expect(ended).toBe("unknown");
    await scene.settle({ token }, "done");
  });

  test("is unknown for a task that runs in the process", async () => {
    await using scene = await openScene();
    const id = await scene.enqueueHeld();

    await expectProblem(scene.post(`/claims/${id}.1/done`), "claim_lost");
    await expectProblem(scene.post(`/claims/${id}.1/extend`), "claim_lost");

    expect((await scene.task(id)).status).toBe("running");
  });
});

describe("POST /claims/settle", () => {
  test("settles each claim on its own, and answers in the order of the request", async () => {
    const { scene, clock } = openOnClock();
    await using _ = scene;
    const [done, failed, never, later, released, delayed] = await claimMany(scene, 6);

    const results = await settleAll(scene, [
      { token: delayed?.token, outcome: "released", delay_ms: 5000 },
      { token: done?.token, outcome: "done", result: { a: 1 } },
      { token: UNKNOWN, outcome: "done" },
      { token: failed?.token, outcome: "failed", code: "x", message: "y", retry: "backoff" },
      { token: "no token", outcome: "done" },
      { token: never?.token, outcome: "failed", retry: "never" },
      { token: later?.token, outcome: "failed", retry_after_ms: 7000 },
      { token: released?.token, outcome: "released" },
    ]);

    expect(results).toEqual([
      receipt(delayed, "retrying", timeIn(clock, 5000)),
      receipt(done, "done", null),
      {
        token: UNKNOWN,
        problem: {
          type: "about:blank",
          title: "Claim lost",
          status: 409,
          code: "claim_lost",
          detail: "The claim is over. The task or the claim is not known.",
          ended: "unknown",
        },
      },
      receipt(failed, "retrying", timeIn(clock, 200)),
      {
        token: "no token",
        problem: {
          type: "about:blank",
          title: "Not found",
          status: 404,
          code: "not_found",
          detail: "This is not the token of a claim.",
        },
      },
      receipt(never, "failed", null),
      receipt(later, "retrying", timeIn(clock, 7000)),
      receipt(released, "queued", null),
    ]);
    expect((await scene.task(done?.task.id ?? "")).result).toEqual({ a: 1 });
    expect((await scene.task(failed?.task.id ?? "")).error).toMatchObject({
      code: "x",
      message: "y",
    });
  });

  test.each<[string, () => string | null]>([
    ["in memory", () => null],
    ["with a data file", () => folder.newFile()],
  ])("settles a claim that comes twice once, %s", async (_, newFile) => {
    await using scene = await openRemote({ dataFile: newFile() });
    const { token, task } = await scene.claimNew();

    const results = await settleAll(scene, [
      { token, outcome: "done", result: 1 },
      { token, outcome: "done", result: 2 },
      { token, outcome: "failed" },
    ]);

    const settled = { token, id: task.id, status: "done", run_at: null };
    expect(results.slice(0, 2)).toEqual([settled, settled]);
    expect(results[2]).toMatchObject({ token, problem: { code: "claim_lost", ended: "settled" } });
    expect((await scene.task(task.id)).result).toBe(1);
  });

  test("settles as many claims as one request may have", async () => {
    await using scene = await openRemote({ queueSize: LIMITS.claimTasks.max });
    const claims = await claimMany(scene, LIMITS.claimTasks.max);

    const results = await settleAll(
      scene,
      claims.map(({ token }) => ({ token, outcome: "done" })),
    );

    expect(results).toEqual(claims.map((claim) => receipt(claim, "done", null)));
  });

  test.each([0, LIMITS.claimTasks.max + 1])("refuses %d settles", async (count) => {
    await using scene = await openRemote();
    const { token, task } = await scene.claimNew();
    const settles = Array(count).fill({ token, outcome: "done" });

    const { errors } = await expectProblem(
      scene.post("/claims/settle", { settles }),
      "invalid_request",
    );

    expect(errors?.[0]?.path).toBe("/settles");
    expect((await scene.task(task.id)).status).toBe("running");
  });

  test.each<[string, object]>([
    ["no outcome", {}],
    ["an unknown outcome", { outcome: "gone" }],
    ["an outcome that every object has", { outcome: "constructor" }],
    ["an outcome that is no text", { outcome: ["done"] }],
  ])("refuses a settle with %s, and takes the others", async (_, fields) => {
    await using scene = await openRemote();
    const [bad, good] = await claimMany(scene, 2);

    const results = await settleAll(scene, [
      { token: bad?.token, ...fields },
      { token: good?.token, outcome: "done" },
    ]);

    expect(results).toMatchObject([
      { token: bad?.token, problem: { code: "invalid_request", errors: [{ path: "/outcome" }] } },
      { token: good?.token, status: "done" },
    ]);
    expect((await scene.task(bad?.task.id ?? "")).status).toBe("running");
  });

  test.each<[string, unknown, string]>([
    ["no settles", {}, "/settles"],
    ["settles that are no list", { settles: {} }, "/settles"],
    ["an unknown field", { settles: [{ token: UNKNOWN, outcome: "done" }], x: 1 }, "/x"],
    ["a settle that is none", { settles: [1] }, "/settles/0"],
    ["a settle without a token", { settles: [{ outcome: "done" }] }, "/settles/0/token"],
    ["a token that is no text", { settles: [{ token: 1, outcome: "done" }] }, "/settles/0/token"],
  ])("refuses %s", async (_, json, path) => {
    await using scene = await openRemote();

    const { errors } = await expectProblem(scene.post("/claims/settle", json), "invalid_request");

    expect(errors?.[0]?.path).toBe(path);
  });

  test("refuses a request without a body", async () => {
    await using scene = await openRemote();

    await expectProblem(scene.post("/claims/settle"), "unsupported_media_type");
  });

  test("refuses a body that is too large, and settles nothing", async () => {
    await using scene = await openRemote({ maxBodyBytes: 1024 });
    const { token, task } = await scene.claimNew();
    const settles = [{ token, outcome: "done", result: "x".repeat(2000) }];

    await expectProblem(scene.post("/claims/settle", { settles }), "body_too_large");

    expect((await scene.task(task.id)).status).toBe("running");
  });

  test("fails an attempt whose result is too large, and takes the others", async () => {
    await using scene = await openRemote({ resultBytesMax: 100 });
    const [large, small] = await claimMany(scene, 2, { max_retries: 0 });

    const results = await settleAll(scene, [
      { token: large?.token, outcome: "done", result: "x".repeat(99) },
      { token: small?.token, outcome: "done", result: "x".repeat(98) },
    ]);

    expect(results).toEqual([receipt(large, "failed", null), receipt(small, "done", null)]);
    expect((await scene.task(large?.task.id ?? "")).error?.code).toBe("result_too_large");
  });
});

function receipt(claim: GivenClaim | undefined, status: string, run_at: string | null): object {
  return { token: claim?.token, id: claim?.task.id, status, run_at };
}

/** Enqueues so many tasks and claims them all. */
async function claimMany(
  scene: Scene,
  count: number,
  fields: object = {},
): Promise<readonly GivenClaim[]> {
  for (let made = 0; made < count; made += 1) await scene.enqueue(fields);
  const claims = await scene.claims({ max: count });
  expect(claims).toHaveLength(count);
  return claims;
}
