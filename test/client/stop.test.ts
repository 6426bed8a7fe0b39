import { describe, expect, test } from "bun:test";
import { isPending } from "../support/manual-clock.ts";
import { aProblem, claimed, FakeServer, settled } from "./fake-server.ts";
import { HeldHandler, settleDown, startWorker, until } from "./worker-harness.ts";

const CLAIM = "POST /claims";
const SETTLE = "POST /claims/settle";

const NOTHING_LEFT = { released: 0, unsettled: 0 };

describe("a worker that stops", () => {
  test("ends its waiting claim at once, and claims no more", async () => {
    await using server = new FakeServer();
    const { worker, clock } = startWorker(server, { handlers: { t: () => 1 } });
    const claim = await server.nth(CLAIM, 1);
    await clock.advance(100);

    const stopping = worker.stop();
    await clock.advance(0);

    expect(await stopping).toEqual(NOTHING_LEFT);
    expect(claim.signal.aborted).toBe(true);
    expect(clock.armed).toBe(0);
    expect(server.of(CLAIM)).toHaveLength(1);
  });

  test("waits for the answer to a claim that it has just sent, and gives the tasks back", async () => {
    await using server = new FakeServer();
    const answer = Promise.withResolvers<void>();
    server.answer(CLAIM, async () => {
      await answer.promise;
      return claimed(["a"]);
    });
    const { worker, clock } = startWorker(server, { handlers: { t: () => 1 } });
    await server.nth(CLAIM, 1);

    const stopping = worker.stop();
    await clock.advance(99);
    answer.resolve();

    expect(await stopping).toEqual(NOTHING_LEFT);
    expect(server.settles).toEqual([{ token: "a", outcome: "released" }]);
  });

  test("starts no handler of a batch whose handlers block", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a", "b"]));
    let blockedMs = 0;
    const block = (): void => {
      blockedMs = 20;
      void worker.stop();
    };
    const { worker } = startWorker(server, { handlers: { t: block } }, (manual) => ({
      now: () => ({ monoMs: manual.now().monoMs + blockedMs }),
      after: (delayMs, fire) => manual.after(delayMs, fire),
    }));
    await server.until(() => server.settles.length === 2);

    expect(server.settles).toEqual([
      { token: "a", outcome: "done" },
      { token: "b", outcome: "released" },
    ]);
  });

  test("does not wait for its next try, when the server is away", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, aProblem(503, "shutting_down", {}, { "retry-after": "60" }));
    const { worker, clock, lines } = startWorker(server, { handlers: { t: () => 1 } });
    await until(() => lines.some(({ event }) => event === "requests_fail"));

    await worker.stop();

    expect(clock.armed).toBe(0);
  });

  test("lets running handlers end, and extends their leases meanwhile", async () => {
    await using server = new FakeServer();
    const held = new HeldHandler();
    server.answer(CLAIM, claimed(["a"]));
    const { worker, clock } = startWorker(server, { handlers: { t: held.run } });
    await until(() => held.signals.length === 1);

    const stopping = worker.stop({ graceMs: 10_000 });
    await clock.advance(3000);
    await server.nth("POST /claims/:token/extend", 1);
    expect(held.signals[0]?.aborted).toBe(false);
    held.end();

    expect(await stopping).toEqual(NOTHING_LEFT);
    expect(server.settles).toEqual([{ token: "a", outcome: "done" }]);
  });

  test("gives tasks back after the grace, and aborts their handlers", async () => {
    await using server = new FakeServer();
    const held = new HeldHandler();
    server.answer(CLAIM, claimed(["a", "b"]));
    const { worker, clock, lines } = startWorker(server, { handlers: { t: held.run } });
    await until(() => held.signals.length === 2);
    held.end();
    await server.nth(SETTLE, 1);

    const stopping = worker.stop({ graceMs: 2000 });
    await clock.advance(1999);
    expect(held.signals.map(({ aborted }) => aborted)).toEqual([false, false]);
    await clock.advance(1);

    expect(await stopping).toEqual({ released: 1, unsettled: 0 });
    expect(held.signals[1]?.reason).toMatchObject({ name: "AbortError", message: "shutdown" });
    expect(server.settles).toEqual([
      { token: "a", outcome: "done" },
      { token: "b", outcome: "released" },
    ]);
    // A late end changes nothing.
    held.end();
    await settleDown(server);
    expect(server.of(SETTLE)).toHaveLength(2);
    expect(lines.at(-1)).toMatchObject({ event: "worker_stopped", fields: { released: 1 } });
  });

  test("tries at once to deliver what the server did not take before", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a"]));
    server.answer(SETTLE, aProblem(503, "storage_unavailable", {}, { "retry-after": "60" }));
    const { worker, clock, lines } = startWorker(server, { handlers: { t: () => 1 } });
    await until(() => lines.some(({ event }) => event === "requests_fail"));

    const stopping = worker.stop();
    await server.nth(SETTLE, 2);
    await clock.advance(100);

    expect(await stopping).toEqual(NOTHING_LEFT);
  });

  test("tries again to deliver them, with backoff", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a"]));
    const away = aProblem(503, "storage_unavailable");
    server.answer(SETTLE, away, away);
    const { worker, clock, lines } = startWorker(server, { handlers: { t: () => 1 } });
    await until(() => lines.some(({ event }) => event === "requests_fail"));

    const stopping = worker.stop();
    await server.nth(SETTLE, 2);
    await settleDown(server);
    await clock.advance(1000);

    expect(await stopping).toEqual(NOTHING_LEFT);
    expect(server.settles).toHaveLength(3);
  });

  test("gives up what the server does not take within 5 s", async () => {
    await using server = new FakeServer();
    server.answer(CLAIM, claimed(["a", "b"]));
    server.answer(SETTLE, ({ signal }) => {
      return new Promise((resolve) => {
        signal.addEventListener("abort", () =>
          resolve(settled()({ body: { settles: [] } } as never)),
        );
      });
    });
    const { worker, clock } = startWorker(server, { handlers: { t: () => 1 } });
    const settle = await server.nth(SETTLE, 1);

    const stopping = worker.stop();
    await clock.advance(100);
    // The worker learns of the end of its claim.
    await settleDown(server);
    await clock.advance(4999);
    expect(await isPending(stopping)).toBe(true);
    await clock.advance(1);

    expect(await stopping).toEqual({ released: 0, unsettled: 2 });
    await until(() => settle.signal.aborted);
  });

  test("although a handler rejects afterwards", async () => {
    await using server = new FakeServer();
    const late = Promise.withResolvers<void>();
    const started = Promise.withResolvers<void>();
    server.answer(CLAIM, claimed(["a"]));
    const handler = (): Promise<void> => {
      started.resolve();
      return late.promise;
    };
    const { worker, clock } = startWorker(server, { handlers: { t: handler } });
    await started.promise;

    const stopping = worker.stop({ graceMs: 0 });
    await clock.advance(100);
    const report = await stopping;
    late.reject(new Error("too late"));
    // An unhandled rejection would fail this test.
    await settleDown(server);

    expect(report).toEqual({ released: 1, unsettled: 0 });
    expect(server.settles).toEqual([{ token: "a", outcome: "released" }]);
  });

  test("is stopped by a signal, and leaves the process to other listeners", async () => {
    await using server = new FakeServer();
    const before = process.listenerCount("SIGTERM");
    const seen: string[] = [];
    const own = (signal: string): void => void seen.push(signal);
    process.on("SIGTERM", own);
    const { clock, lines } = startWorker(server, { handlers: { t: () => 1 }, signals: true });
    const isStopped = (): boolean => lines.some(({ event }) => event === "worker_stopped");

    process.emit("SIGTERM", "SIGTERM");
    await clock.advance(100);
    await until(isStopped);
    process.off("SIGTERM", own);

    expect(seen).toEqual(["SIGTERM"]);
    expect(process.listenerCount("SIGTERM")).toBe(before);
  });

  test("listens to signals only while it runs, and only if it may", async () => {
    await using server = new FakeServer();
    const before = process.listenerCount("SIGTERM");
    const counts = [true, false].map(async (signals) => {
      const { worker, clock } = startWorker(server, { handlers: { t: () => 1 }, signals });
      const running = process.listenerCount("SIGTERM") - before;
      const stopping = worker.stop();
      const stopped = process.listenerCount("SIGTERM") - before;
      await clock.advance(100);
      await stopping;
      return [running, stopped];
    });
    expect(await Promise.all(counts)).toEqual([
      [1, 0],
      [0, 0],
    ]);
  });

  test("stops once, and can't start again", async () => {
    await using server = new FakeServer();
    const { worker, clock } = startWorker(server, { handlers: { t: () => 1 } });
    worker.start();
    await server.nth(CLAIM, 1);
    await clock.advance(100);
    const stopping = worker.stop();
    await clock.advance(0);
    expect(worker.stop()).toBe(stopping);
    await stopping;
    expect(() => worker.start()).toThrow("can't start again");
  });
});
