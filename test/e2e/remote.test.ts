/** Remote workers of a server in a process of its own: how it starts, stops and goes on. */

import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { makeDataFolder } from "../support/data-folder.ts";
import { type ServerProcess, startServerProcess } from "../support/server-process.ts";

/** Starting a process takes its time on a busy machine. */
setDefaultTimeout(60_000);

const NONE = "none";

/** Long enough for every test: what it waits for comes by itself. */
const LONG_MS = 60_000;

const folder = makeDataFolder();
afterAll(() => folder.remove());

/** A module with a local type that runs until it is cancelled, beside remote ones. */
const mixed = `${folder.newFile()}.ts`;
writeFileSync(
  mixed,
  `import { defineHandlers, remote } from ${JSON.stringify(resolve("src/index.ts"))};
   export default defineHandlers({
     hold: (_, { signal }) => new Promise((_, reject) => {
       signal.addEventListener("abort", () => reject(signal.reason));
     }),
     mail: remote(),
   }, { otherTypes: "remote" });`,
);

interface GivenClaim {
  readonly token: string;
  readonly task: { readonly id: string; readonly payload: unknown; readonly attempt: number };
}

async function claims(server: ServerProcess, fields: object = {}): Promise<readonly GivenClaim[]> {
  const response = await server.post("/claims", fields);
  expect(response.status).toBe(200);
  return ((await response.json()) as { claims: GivenClaim[] }).claims;
}

/** Claims a task that has to be there. */
async function claim(server: ServerProcess, fields: object = {}): Promise<GivenClaim> {
  const [first] = await claims(server, fields);
  if (first === undefined) throw new Error("there is nothing to claim");
  return first;
}

async function settle(server: ServerProcess, { token }: GivenClaim, result?: unknown) {
  const response = await server.post(`/claims/${token}/done`, { result });
  return { status: response.status, body: (await response.json()) as object };
}

async function codeOf(answering: Promise<Response>): Promise<string> {
  const response = await answering;
  expect(response.headers.get("retry-after")).toBe("1");
  return ((await response.json()) as { code: string }).code;
}

/** Resolves once so many claims wait for a task of this queue. */
async function untilWaiting(server: ServerProcess, queue: string, count: number): Promise<void> {
  for (;;) {
    const response = await server.request(`/queues/${queue}`);
    const { claims } = (await response.json()) as { claims: { waiting: number } };
    if (claims.waiting === count) return;
  }
}

describe("a server", () => {
  test("with HANDLERS=none leaves every type to remote workers, and says so", async () => {
    await using server = await startServerProcess(NONE);
    const id = await server.enqueue({ type: "any.type", payload: { a: 1 } });
    await server.enqueue({ type: "default" });

    const [first, second] = await claims(server, { max: 2, worker: "w1" });

    expect(first?.task).toMatchObject({ id, payload: { a: 1 }, attempt: 1 });
    if (first === undefined || second === undefined) throw new Error("both are claimed");
    expect(await settle(server, first, "sent")).toMatchObject({ status: 200 });
    expect(await server.task(id)).toMatchObject({ status: "done", result: "sent" });
    await settle(server, second);
    const { handlers } = await server.event("server_listening");
    expect(handlers).toBe("none: remote workers run every task");
    const { exitCode, stderr } = await server.stop();
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  });

  test("runs its own types beside remote ones, and names both", async () => {
    await using server = await startServerProcess(mixed);
    const held = await server.enqueue({ type: "hold" });
    const mail = await server.enqueue({ type: "mail" });
    const other = await server.enqueue({ type: "other" });

    const given = await claims(server, { max: 5 });

    expect(given.map(({ task }) => task.id)).toEqual([mail, other]);
    await server.taskThat(held, ({ status }) => status === "running");
    const { handlers } = await server.event("server_listening");
    expect(handlers).toBe(`${mixed}: hold, mail (remote), all others (remote)`);
  });

  test("lends tasks for LEASE_MS, and at most CLAIMS_MAX of a queue", async () => {
    await using server = await startServerProcess(NONE, { LEASE_MS: "4321", CLAIMS_MAX: "2" });
    for (let count = 0; count < 3; count += 1) await server.enqueue({ type: "x" });

    const given = await claims(server, { max: 3 });

    expect(given).toMatchObject([{ lease_ms: 4321 }, { lease_ms: 4321 }]);
  });

  test("has no more claims wait than CLAIMS_WAITING_MAX", async () => {
    await using server = await startServerProcess(NONE, { CLAIMS_WAITING_MAX: "1" });
    await server.enqueue({ type: "x", delay_ms: 3_600_000 });
    const waiting = server.post("/claims", { wait_ms: LONG_MS });
    await untilWaiting(server, "default", 1);

    expect(await codeOf(server.post("/claims", { wait_ms: LONG_MS }))).toBe("too_many_waiting");

    await server.enqueue({ type: "x" });
    expect((await waiting).status).toBe(200);
  });
});

describe("a server in memory that stops", () => {
  test("has remote workers finish what runs and what waits, and ends with 0", async () => {
    await using server = await startServerProcess(NONE, { SHUTDOWN_GRACE_MS: "600000" });
    const ids = [await server.enqueue({ type: "x" }), await server.enqueue({ type: "x" })];
    const running = await claim(server);
    server.signal("SIGTERM");
    await server.event("stopping");
    const polls = ids.map((id) => server.finished(id));

    const waiting = await claim(server);
    expect(await claims(server)).toEqual([]);
    for (const each of [running, waiting]) {
      expect((await server.post(`/claims/${each.token}/extend`)).status).toBe(200);
      expect(await settle(server, each)).toMatchObject({ body: { status: "done" } });
    }

    expect(await Promise.all(polls)).toMatchObject([{ status: "done" }, { status: "done" }]);
    const { exitCode, lines } = await server.ended();
    expect(exitCode).toBe(0);
    expect(lines.at(-1)).toMatchObject({ event: "stopped", finished: 2, unfinished: 0 });
  });

  test("lets claims wait on, and others begin to wait", async () => {
    await using server = await startServerProcess(NONE, { SHUTDOWN_GRACE_MS: "600000" });
    await server.enqueue({ type: "x" });
    await server.enqueue({ type: "y" });
    const x = await claim(server, { types: ["x"] });
    const y = await claim(server, { types: ["y"] });
    const early = claim(server, { wait_ms: LONG_MS, types: ["x"] });
    await untilWaiting(server, "default", 1);
    server.signal("SIGTERM");
    await server.event("stopping");
    const late = claim(server, { wait_ms: LONG_MS, types: ["y"] });
    await untilWaiting(server, "default", 2);

    await server.post(`/claims/${x.token}/released`);
    await server.post(`/claims/${y.token}/released`);

    const again = [await early, await late];
    expect(again).toMatchObject([
      { task: { id: x.task.id, attempt: 2 } },
      { task: { id: y.task.id, attempt: 2 } },
    ]);
    for (const each of again) await settle(server, each);
    expect((await server.ended()).exitCode).toBe(0);
  });

  test("tells claims that wait when its grace is over, and ends with 1", async () => {
    await using server = await startServerProcess(NONE, { SHUTDOWN_GRACE_MS: "100" });
    await server.enqueue({ type: "x" });
    await claim(server);
    const waiting = server.post("/claims", { wait_ms: LONG_MS });
    await untilWaiting(server, "default", 1);

    server.signal("SIGTERM");

    expect(await codeOf(waiting)).toBe("shutting_down");
    const { exitCode, lines } = await server.ended();
    expect(exitCode).toBe(1);
    expect(lines.at(-1)).toMatchObject({ event: "stopped", unfinished: 1 });
  });
});

describe("a server with a data file that stops", () => {
  test("hands out nothing more, while settles and extends go on", async () => {
    await using server = await startServerProcess(mixed, {
      DATA_FILE: folder.newFile(),
      SHUTDOWN_GRACE_MS: "600000",
    });
    const held = await server.enqueue({ type: "hold" });
    await server.taskThat(held, ({ status }) => status === "running");
    const id = await server.enqueue({ type: "mail" });
    const running = await claim(server);
    await server.enqueue({ type: "mail" });
    const waiting = server.post("/claims", { wait_ms: LONG_MS, types: ["other"] });
    await untilWaiting(server, "default", 1);

    server.signal("SIGTERM");

    expect(await codeOf(waiting)).toBe("shutting_down");
    expect(await codeOf(server.post("/claims"))).toBe("shutting_down");
    expect(await codeOf(server.post("/claims", { wait_ms: LONG_MS }))).toBe("shutting_down");
    expect((await server.post(`/claims/${running.token}/extend`)).status).toBe(200);
    expect(await settle(server, running)).toMatchObject({ body: { id, status: "done" } });
    await server.request(`/tasks/${held}`, { method: "DELETE" });
    const { exitCode, lines } = await server.ended();
    expect(exitCode).toBe(0);
    expect(lines.at(-1)).toMatchObject({ event: "stopped", finished: 2, unfinished: 1 });
  });

  test("does not wait for remote workers, and their claims go on with the next start", async () => {
    const settings = { DATA_FILE: folder.newFile(), SHUTDOWN_GRACE_MS: "600000" };
    const given = await (async () => {
      await using server = await startServerProcess(NONE, settings);
      for (let count = 0; count < 3; count += 1) await server.enqueue({ type: "x" });
      const claimed = await claims(server, { max: 2, lease_ms: 3_600_000, worker: "w1" });
      const { exitCode, lines } = await server.stop();
      expect(exitCode).toBe(0);
      expect(lines.at(-1)).toMatchObject({ event: "stopped", level: "info", unfinished: 3 });
      return claimed;
    })();

    await using server = await startServerProcess(NONE, settings);

    const [first, second] = given;
    if (first === undefined || second === undefined) throw new Error("two are claimed");
    expect((await server.post(`/claims/${first.token}/extend`)).status).toBe(200);
    const receipt = { status: 200, body: { id: first.task.id, status: "done", run_at: null } };
    expect(await settle(server, first, 1)).toEqual(receipt);
    expect(await settle(server, first, 2)).toEqual(receipt);
    expect(await server.task(first.task.id)).toMatchObject({ status: "done", result: 1 });
    const released = await server.post(`/claims/${second.token}/released`);
    expect(released.status).toBe(200);
    expect(await claims(server, { max: 5 })).toHaveLength(2);
    expect((await server.stop()).exitCode).toBe(0);
  });

  test("gives a receipt that holds after a kill", async () => {
    const settings = { DATA_FILE: folder.newFile() };
    const given = await (async () => {
      await using server = await startServerProcess(NONE, settings);
      await server.enqueue({ type: "x" });
      const claimed = await claim(server);
      await settle(server, claimed, 1);
      server.kill();
      await server.ended();
      return claimed;
    })();

    await using server = await startServerProcess(NONE, settings);

    expect(await settle(server, given, 2)).toMatchObject({ status: 200, body: { status: "done" } });
    expect(await server.task(given.task.id)).toMatchObject({ status: "done", result: 1 });
  });
});
