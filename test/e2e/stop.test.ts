import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { ServerProcess, startServerProcess } from "../support/server-process.ts";
import { RawSocket, requestText } from "../support/socket.ts";

/** Starting a process takes its time on a busy machine. */
setDefaultTimeout(60_000);

const SIMULATED = "";

/** No task ends by itself while a test looks. */
const ENDLESS = { FAILURE_RATE: "0", SIMULATED_WORK_MS: "600000", TASK_TIMEOUT_MS: "600000" };
const QUICK = { FAILURE_RATE: "0", SIMULATED_WORK_MS: "0" };

function start(settings: Record<string, string>): Promise<ServerProcess> {
  return startServerProcess(SIMULATED, settings);
}

async function enqueueRunning(server: ServerProcess): Promise<string> {
  const id = await server.enqueue({ type: "x" });
  await server.taskThat(id, ({ status }) => status === "running");
  return id;
}

describe.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)("%s", (signal) => {
  test("ends an idle process with 0", async () => {
    await using server = await start(QUICK);

    server.signal(signal);

    const { exitCode, stderr, lines } = await server.ended();
    expect(exitCode).toBe(0);
    expect(stderr).toBe("");
    expect(lines.map(({ event }) => event)).toEqual([
      "server_listening",
      "signal_received",
      "stopping",
      "stopped",
    ]);
    expect(lines[1]).toMatchObject({ signal });
    expect(lines[3]).toMatchObject({ level: "info", finished: 0, interrupted: 0, unfinished: 0 });
  });

  test("ends a process that still starts with 0", async () => {
    await using server = new ServerProcess("./test/fixtures/endless-start.ts", {});
    await server.event("loading");

    server.signal(signal);

    expect((await server.ended()).exitCode).toBe(0);
  });

  test("lets running and waiting tasks finish, and ends with 0", async () => {
    await using server = await start({ FAILURE_RATE: "0", SIMULATED_WORK_MS: "100", WORKERS: "2" });
    const ids: string[] = [];
    for (let index = 0; index < 6; index += 1) ids.push(await server.enqueue({ type: "x" }));
    const polls = ids.map((id) => server.finished(id));
    await server.request("/healthz");

    server.signal(signal);

    const tasks = await Promise.all(polls);
    expect(tasks.map(({ status }) => status)).toEqual(Array(6).fill("done"));
    const { exitCode, lines } = await server.ended();
    expect(exitCode).toBe(0);
    expect(lines.at(-1)).toMatchObject({ event: "stopped", interrupted: 0, unfinished: 0 });
  });

  test("ends a process that stops already at once with 130", async () => {
    await using server = await start(ENDLESS);
    await enqueueRunning(server);
    server.signal(signal);
    await server.event("stopping");

    server.signal(signal === "SIGHUP" ? "SIGTERM" : signal);

    const { exitCode, lines } = await server.ended();
    expect(exitCode).toBe(130);
    expect(lines.some(({ event }) => event === "stopped")).toBe(false);
  });
});

describe("SIGHUP", () => {
  test("comes twice from a terminal that closes, and the second changes nothing", async () => {
    await using server = await start(ENDLESS);
    const id = await enqueueRunning(server);
    server.signal("SIGHUP");
    await server.event("stopping");

    server.signal("SIGHUP");
    await server.request(`/tasks/${id}`, { method: "DELETE" });

    const { exitCode, lines } = await server.ended();
    expect(exitCode).toBe(0);
    expect(lines.filter(({ event }) => event === "signal_received")).toHaveLength(1);
  });

  test("does not stop a process that was started to ignore it, as by nohup", async () => {
    const command = `trap '' HUP; exec ${process.execPath} src/main.ts`;
    const server = Bun.spawn(["sh", "-c", command], {
      cwd: `${import.meta.dir}/../..`,
      env: { PATH: process.env["PATH"] ?? "", PORT: "0" },
      stdio: ["ignore", "pipe", "ignore"],
    });
    const reader = server.stdout.getReader();
    const first = new TextDecoder().decode((await reader.read()).value);

    server.kill("SIGHUP");
    const { url } = JSON.parse(first) as { url: string };
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    server.kill("SIGTERM");

    let rest = "";
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      rest += new TextDecoder().decode(read.value);
    }
    expect(await server.exited).toBe(0);
    expect(rest).toContain('"signal":"SIGTERM"');
    expect(rest).not.toContain("SIGHUP");
  });
});

describe("a process that stops", () => {
  test("ends at once with 130 at a second signal of another kind", async () => {
    await using server = await start(ENDLESS);
    await enqueueRunning(server);
    server.signal("SIGTERM");
    await server.event("stopping");

    server.signal("SIGINT");

    expect((await server.ended()).exitCode).toBe(130);
  });

  test("refuses new tasks and is not ready, while reads go on", async () => {
    await using server = await start(ENDLESS);
    const id = await enqueueRunning(server);
    server.signal("SIGTERM");
    await server.event("stopping");

    for (const answering of [
      server.request("/readyz"),
      server.post("/enqueue", { payload: 1 }),
      server.post("/enqueue/batch", { tasks: [{ payload: 1 }] }),
      server.post(`/tasks/${id}/retry`),
    ]) {
      const response = await answering;
      expect(response.status).toBe(503);
      expect(response.headers.get("retry-after")).toBe("1");
      expect(response.headers.get("content-type")).toBe("application/problem+json");
      expect(await response.json()).toMatchObject({ code: "shutting_down", status: 503 });
    }
    expect((await server.request("/healthz")).status).toBe(200);
    expect((await server.task(id)).status).toBe("running");
    expect((await server.request("/tasks")).status).toBe(200);
    expect((await server.request("/queues")).status).toBe(200);
  });

  test("closes each connection with its next answer", async () => {
    await using server = await start(ENDLESS);
    await enqueueRunning(server);
    using socket = await RawSocket.open(Number(new URL(server.url).port));
    socket.send(requestText("GET", "/healthz"));
    expect((await socket.answer()).headers["connection"]).toBeUndefined();
    server.signal("SIGTERM");
    await server.event("stopping");

    socket.send(requestText("GET", "/healthz"));

    expect(await socket.answer()).toMatchObject({ status: 200, headers: { connection: "close" } });
    await socket.closed();
  });

  test("ends once the task that it waits for is cancelled", async () => {
    await using server = await start({ ...ENDLESS, WORKERS: "1" });
    const running = await enqueueRunning(server);
    server.signal("SIGTERM");
    await server.event("stopping");

    await server.request(`/tasks/${running}`, { method: "DELETE" });

    const { exitCode, lines } = await server.ended();
    expect(exitCode).toBe(0);
    expect(lines.at(-1)).toMatchObject({ event: "stopped", finished: 1, unfinished: 0 });
  });

  test("releases running tasks when the grace is over, and ends with 1", async () => {
    await using server = await start({ ...ENDLESS, WORKERS: "1", SHUTDOWN_GRACE_MS: "50" });
    await enqueueRunning(server);
    await server.enqueue({ type: "x" });

    server.signal("SIGTERM");

    const { exitCode, lines } = await server.ended();
    expect(exitCode).toBe(1);
    expect(lines.at(-1)).toMatchObject({
      event: "stopped",
      level: "warn",
      interrupted: 1,
      unfinished: 2,
    });
  });

  test("does not wait for a task that can't start within the grace, and ends with 1", async () => {
    await using server = await start({ ...QUICK, SHUTDOWN_GRACE_MS: "600000" });
    await server.enqueue({ type: "x", delay_ms: 86_400_000 });

    server.signal("SIGTERM");

    const { exitCode, lines } = await server.ended();
    expect(exitCode).toBe(1);
    expect(lines.at(-1)).toMatchObject({ interrupted: 0, unfinished: 1 });
  });

  test("ends with 0 when a task failed, since its end is known", async () => {
    await using server = await start({
      FAILURE_RATE: "1",
      SIMULATED_WORK_MS: "50",
      MAX_RETRIES: "1",
    });
    const poll = server.finished(await server.enqueue({ type: "x" }));
    await server.request("/healthz");

    server.signal("SIGTERM");

    expect(await poll).toMatchObject({ status: "failed", attempt: 2 });
    expect((await server.ended()).exitCode).toBe(0);
  });

  test("answers a long poll when its grace is over", async () => {
    await using server = await start({ ...ENDLESS, SHUTDOWN_GRACE_MS: "50" });
    const id = await enqueueRunning(server);
    using socket = await RawSocket.open(Number(new URL(server.url).port));
    socket.send(requestText("GET", `/tasks/${id}?wait_ms=60000`));
    await server.request("/healthz");

    server.signal("SIGTERM");

    const { status, body } = await socket.answer();
    expect(status).toBe(200);
    expect(JSON.parse(body)).toMatchObject({ id, status: "running" });
    expect((await server.ended()).exitCode).toBe(1);
  });

  test("is not held up by clients that are idle, halfway through a request, or do not read", async () => {
    await using server = await start(QUICK);
    const port = Number(new URL(server.url).port);
    using idle = await RawSocket.open(port);
    idle.send(requestText("GET", "/healthz"));
    await idle.answer();
    using halfway = await RawSocket.open(port);
    halfway.send(requestText("POST", "/enqueue", { "content-length": "1000" }, "{"));
    using deaf = await RawSocket.open(port);
    deaf.stopReading();
    deaf.send(requestText("GET", "/docs").repeat(500));
    await server.request("/healthz");

    server.signal("SIGTERM");

    expect((await server.ended()).exitCode).toBe(0);
  });
});

describe("SIGTERM under load", () => {
  const CLIENTS = 64;

  test("leaves no request without an answer and loses no task that it accepted", async () => {
    await using server = await start({ ...QUICK, QUEUE_SIZE: "1000000", WORKERS: "8" });
    const counts = { sent: 0, accepted: 0, refused: 0 };
    const under = Promise.withResolvers<void>();
    const client = async (): Promise<void> => {
      while (true) {
        counts.sent += 1;
        const response = await server.post("/enqueue", { payload: counts.sent });
        const body = (await response.json()) as { code?: string };
        if (response.status === 202) counts.accepted += 1;
        else {
          expect(body.code).toBe("shutting_down");
          counts.refused += 1;
          return;
        }
        if (counts.accepted === 20 * CLIENTS) under.resolve();
      }
    };
    const clients = Promise.all(Array.from({ length: CLIENTS }, client));
    await under.promise;

    server.signal("SIGTERM");

    await clients;
    expect(counts.refused).toBe(CLIENTS);
    expect(counts.accepted + counts.refused).toBe(counts.sent);
    const { exitCode, lines } = await server.ended();
    expect(exitCode).toBe(0);
    expect(lines.at(-1)).toMatchObject({ event: "stopped", interrupted: 0, unfinished: 0 });
  });

  test("finishes all accepted tasks that can finish within the grace", async () => {
    await using server = await start({
      ...QUICK,
      SIMULATED_WORK_MS: "5",
      WORKERS: "4",
      QUEUE_SIZE: "1000",
      SHUTDOWN_GRACE_MS: "600000",
      LOG_LEVEL: "debug",
    });
    const tasks = Array.from({ length: 200 }, (_, payload) => ({ payload }));
    const response = await server.post("/enqueue/batch", { tasks });
    const receipts = ((await response.json()) as { tasks: { id: string }[] }).tasks;

    server.signal("SIGTERM");

    const { exitCode, lines } = await server.ended();
    const done = lines.filter(({ event }) => event === "task_done").map(({ id }) => id);
    expect(done.toSorted()).toEqual(receipts.map(({ id }) => id).toSorted());
    expect(exitCode).toBe(0);
  });
});
