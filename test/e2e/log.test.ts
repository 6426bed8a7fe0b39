import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { startServerProcess } from "../support/server-process.ts";

/** Starting a process takes its time on a busy machine. */
setDefaultTimeout(60_000);

const RFC_3339_MS = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;
const SECRET = "s3cret";

describe("the log of the process", () => {
  test("is one line of JSON for each event, with its time, level and name", async () => {
    await using server = await startServerProcess("", { LOG_LEVEL: "debug", FAILURE_RATE: "1" });
    await server.run({ type: "x", max_retries: 1 });
    await server.request("/nope");

    const { lines, stderr } = await server.stop();

    expect(stderr).toBe("");
    expect(lines.map(({ event }) => event)).toEqual(
      expect.arrayContaining([
        "server_listening",
        "task_enqueued",
        "task_running",
        "task_retrying",
        "task_failed",
        "stopped",
      ]),
    );
    for (const line of lines) {
      expect(Object.keys(line).slice(0, 3)).toEqual(["time", "level", "event"]);
      expect(line["time"]).toMatch(RFC_3339_MS);
      expect(line.event).toMatch(/^[a-z]+(_[a-z]+)*$/);
    }
  });

  test("holds no payload, no result and no key, at any level", async () => {
    await using server = await startServerProcess("./test/fixtures/echo.ts", {
      LOG_LEVEL: "debug",
    });
    const body = { type: "echo", payload: { [SECRET]: SECRET } };
    const headers = { "content-type": "application/json", "idempotency-key": SECRET };
    const send = (text: string) =>
      server.request("/enqueue", { method: "POST", headers, body: text });
    const { id } = (await (await send(JSON.stringify(body))).json()) as { id: string };
    expect((await server.finished(id)).result).toEqual({ [SECRET]: SECRET });
    await send(`{"payload":"${SECRET}"}`);
    await send(`{"payload":"${SECRET}"`);
    await send(`{"payload":1,"${SECRET}":1}`);

    const { lines, stderr } = await server.stop();

    expect(lines.some(({ event }) => event === "task_done")).toBe(true);
    expect(JSON.stringify(lines) + stderr).not.toContain(SECRET);
  });

  test("is for people on a terminal", async () => {
    const output = Promise.withResolvers<string>();
    let text = "";
    const process_ = Bun.spawn([process.execPath, "src/main.ts"], {
      cwd: `${import.meta.dir}/../..`,
      env: { PATH: process.env["PATH"] ?? "", PORT: "0" },
      terminal: {
        data: (_, bytes) => {
          text += Buffer.from(bytes).toString();
          if (text.includes("\n")) output.resolve(text);
        },
      },
    });

    const line = Bun.stripANSI(await output.promise);

    expect(line).toMatch(/^\d\d:\d\d:\d\d info {2}server_listening url=http:\/\/127\.0\.0\.1:\d+ /);
    process_.kill("SIGTERM");
    expect(await process_.exited).toBe(0);
  });

  test("is nothing when its level is silent", async () => {
    await using other = await startServerProcess("");
    const { port } = new URL(other.url);
    const process_ = Bun.spawn([process.execPath, "src/main.ts"], {
      cwd: `${import.meta.dir}/../..`,
      env: { PATH: process.env["PATH"] ?? "", PORT: port, LOG_LEVEL: "silent" },
      stdio: ["ignore", "pipe", "pipe"],
    });

    expect(await process_.exited).toBe(1);
    expect(await new Response(process_.stdout).text()).toBe("");
    expect(await new Response(process_.stderr).text()).toBe("");
  });
});
