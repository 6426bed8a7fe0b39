import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Gate } from "../support/gate.ts";
import { startServerProcess } from "../support/server-process.ts";

setDefaultTimeout(60_000);

describe("webhooks", () => {
  const HANDLERS = "examples/webhooks.ts";

  /** Answers every webhook as the test says, and keeps what came. */
  class Receiver implements AsyncDisposable {
    readonly received: { readonly id: string | null; readonly body: unknown }[] = [];
    readonly #server: Bun.Server<undefined>;

    constructor(answer: () => Response) {
      this.#server = Bun.serve({
        port: 0,
        hostname: "127.0.0.1",
        fetch: async (request) => {
          const id = request.headers.get("webhook-id");
          this.received.push({ id, body: await request.json() });
          return answer();
        },
      });
    }

    get url(): string {
      return `http://127.0.0.1:${this.#server.port}/hook`;
    }

    async [Symbol.asyncDispose](): Promise<void> {
      await this.#server.stop(true);
    }
  }

  const webhook = (url: string) => ({
    type: "webhook.send",
    payload: { url, event: "order.paid", data: { order: 7 } },
  });

  test("one arrives with its body, under the id of its task", async () => {
    await using receiver = new Receiver(() => new Response(null, { status: 204 }));
    await using server = await startServerProcess(HANDLERS);
    const task = await server.run(webhook(receiver.url));
    expect(task).toMatchObject({
      status: "done",
      queue: "webhooks",
      result: { status: 204, attempts: 1 },
    });
    expect(receiver.received).toEqual([
      { id: task.id, body: { event: "order.paid", data: { order: 7 } } },
    ]);
  });

  test("one that the receiver calls wrong is not sent again", async () => {
    await using receiver = new Receiver(() => new Response(null, { status: 410 }));
    await using server = await startServerProcess(HANDLERS);
    const { status, attempt, error } = await server.run(webhook(receiver.url));
    expect([status, attempt, error?.message]).toEqual([
      "failed",
      1,
      `${new URL(receiver.url).host} answers 410`,
    ]);
  });

  test.each([
    [429, "120", 120_000, 120_000],
    // A fault, and a plea that names no time, get the backoff of the type.
    [429, "", 5000, 10_000],
    [500, "120", 5000, 10_000],
  ])("one that can't be taken now is sent again later: %p", async (status, after, minMs, maxMs) => {
    const headers = after === "" ? {} : { "retry-after": after };
    await using receiver = new Receiver(() => new Response(null, { status, headers }));
    await using server = await startServerProcess(HANDLERS);
    const id = await server.enqueue(webhook(receiver.url));
    const { run_at, error } = await server.taskThat(id, (task) => task.status === "retrying");
    const waitMs = Date.parse(run_at ?? "") - Date.parse(error?.at ?? "");
    expect(waitMs).toBeGreaterThanOrEqual(minMs);
    expect(waitMs).toBeLessThanOrEqual(maxMs);
  });

  test("a receiver that never answers is hung up on when the task is cancelled", async () => {
    await using gate = new Gate();
    await using server = await startServerProcess(HANDLERS);
    const id = await server.enqueue(webhook(`${gate.url}/hook`));
    const { signal } = await gate.visit("hook");
    const hungUp = new Promise((resolve) => signal.addEventListener("abort", resolve));
    await server.request(`/tasks/${id}`, { method: "DELETE" });
    await hungUp;
    expect((await server.task(id)).status).toBe("cancelled");
  });
});

describe("with files", () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "ringq-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test("hash-files: a file is hashed in a thread, and its progress ends at its size", async () => {
    const content = Buffer.alloc(3_000_000, "ringq");
    writeFileSync(join(folder, "backup.tar"), content);
    await using server = await startServerProcess("examples/hash-files.ts", {
      FILES_FOLDER: folder,
    });
    const task = await server.run({ type: "file.hash", payload: { file: "backup.tar" } });
    expect(task).toMatchObject({
      status: "done",
      progress: { bytes: 3_000_000, of: 3_000_000 },
      result: {
        file: "backup.tar",
        bytes: 3_000_000,
        sha256: new Bun.CryptoHasher("sha256").update(content).digest("hex"),
      },
    });
  });

  test.each([
    ["missing.tar", "there is no file missing.tar"],
    ["../secret", "../secret is outside of the folder"],
    ["link", "link is outside of the folder"],
  ])(
    "hash-files: what is not in the folder is not read, nor tried again: %s",
    async (file, message) => {
      writeFileSync(join(folder, "secret"), "secret");
      mkdirSync(join(folder, "files"));
      symlinkSync(join(folder, "secret"), join(folder, "files", "link"));
      await using server = await startServerProcess("examples/hash-files.ts", {
        FILES_FOLDER: join(folder, "files"),
      });
      const { status, attempt, error } = await server.run({ type: "file.hash", payload: { file } });
      expect([status, attempt, error?.message]).toEqual(["failed", 1, message]);
    },
  );

  test("nightly-report: the orders of a day are added up by product, and the report is written whole", async () => {
    const orders = Array.from({ length: 2500 }, (_, index) => ({
      product: index % 2 === 0 ? "tea" : "__proto__",
      pieces: 2,
      cents: 150,
    }));
    const lines = orders.map((order) => JSON.stringify(order)).join("\n");
    writeFileSync(join(folder, "orders-2026-01-31.ndjson"), `${lines}\n`);
    await using server = await startServerProcess("examples/nightly-report.ts", {
      ORDERS_FOLDER: folder,
    });
    const report = join(folder, "report-2026-01-31.json");
    const task = await server.run({ type: "report.daily", payload: { day: "2026-01-31" } });
    const sum = { pieces: 2500, cents: 187_500 };
    expect(task).toMatchObject({
      status: "done",
      progress: { percent: 100 },
      result: { report, orders: 2500, products: 2 },
    });
    expect(await Bun.file(report).text()).toBe(
      JSON.stringify({
        day: "2026-01-31",
        orders: 2500,
        products: { tea: sum, ["__proto__"]: sum },
      }),
    );
    expect(readdirSync(folder).toSorted()).toEqual([
      "orders-2026-01-31.ndjson",
      "report-2026-01-31.json",
    ]);
  });

  test("nightly-report: a line that is no order fails the report at once, and none is written", async () => {
    writeFileSync(join(folder, "orders-2026-01-31.ndjson"), '{"product":"tea"}\n');
    await using server = await startServerProcess("examples/nightly-report.ts", {
      ORDERS_FOLDER: folder,
    });
    const task = await server.run({ type: "report.daily", payload: { day: "2026-01-31" } });
    expect(task).toMatchObject({
      status: "failed",
      attempt: 1,
      error: { message: "line 1 is no order" },
    });
    expect(readdirSync(folder)).toEqual(["orders-2026-01-31.ndjson"]);
  });

  test("nightly-report: orders that are not there yet are waited for", async () => {
    await using server = await startServerProcess("examples/nightly-report.ts", {
      ORDERS_FOLDER: folder,
    });
    const id = await server.enqueue({ type: "report.daily", payload: { day: "2026-01-31" } });
    const { error } = await server.taskThat(id, ({ status }) => status === "retrying");
    expect(error?.code).toBe("ENOENT");
  });
});

test.each([
  ["embedded-server.ts", "202, then done: Hello, Ada!\nstopped, 0 unfinished\n"],
  [
    "embedded-queue.ts",
    'done in attempt 2: {\n  sentTo: "ada@example.com",\n}\nfirst it failed: the mail server is busy\n',
  ],
])("%s runs, says what it should, and ends by itself", async (file, output) => {
  const program = Bun.spawn([process.execPath, join("examples", file)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  expect(await new Response(program.stdout).text()).toBe(output);
  expect(await program.exited).toBe(0);
});
