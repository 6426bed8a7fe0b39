import { expect, setDefaultTimeout, test } from "bun:test";
import { networkInterfaces } from "node:os";
import { createLog, createServer, defineHandlers, HandlersError, type Server } from "ringq";

setDefaultTimeout(60_000);

const handlers = defineHandlers({ double: (payload: number) => payload * 2 });

async function run(server: Server, type: string, payload: unknown): Promise<unknown> {
  const response = await fetch(`${server.url}/enqueue`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ type, payload }),
  });
  const { id } = (await response.json()) as { id: string };
  const task = await fetch(`${server.url}/tasks/${id}?wait_ms=60000`);
  return ((await task.json()) as { result: unknown }).result;
}

test("a server runs inside of a program, and stops when it is told", async () => {
  const server = await createServer({ handlers, port: 0 });
  const result = await run(server, "double", 21);
  const report = await server.stop();
  expect({ result, report }).toEqual({ result: 42, report: { unfinished: 0, areLost: true } });
  expect(fetch(`${server.url}/healthz`)).rejects.toThrow();
});

test("two servers in one program share nothing", async () => {
  const [first, second] = await Promise.all([
    createServer({ handlers, port: 0 }),
    createServer({ handlers, port: 0 }),
  ]);
  await run(first, "double", 1);
  const queues = await (await fetch(`${second.url}/queues`)).json();
  await Promise.all([first.stop(), second.stop()]);
  expect(queues).toEqual({ queues: [] });
});

test("handlers may be the path of their module", async () => {
  const server = await createServer({ handlers: "test/fixtures/outcomes.ts", port: 0, threads: 1 });
  const result = await run(server, "thread.returns", "p");
  await server.stop();
  expect(result).toEqual({ got: "p" });
});

test("handlers that can't be loaded are refused", async () => {
  expect(createServer({ handlers: "no/such/handlers.ts", port: 0 })).rejects.toThrow(HandlersError);
});

test("a port that is taken is refused, and the program goes on", async () => {
  const server = await createServer({ handlers, port: 0 });
  const port = Number(new URL(server.url).port);
  const second = createServer({ handlers: "test/fixtures/outcomes.ts", port, threads: 1 });
  await expect(second).rejects.toThrow();
  expect(await run(server, "double", 2)).toBe(4);
  await server.stop();
});

test("a log that is given hears every event", async () => {
  const events: unknown[] = [];
  const write = (line: string): void => {
    events.push((JSON.parse(line) as { event: string }).event);
  };
  const log = createLog({ level: "info", isForPeople: false, write });
  const server = await createServer({ handlers, port: 0, log });
  await server.stop();
  expect(events).toEqual(["server_listening", "stopping", "stopped"]);
});

const HAS_IPV6 = Object.values(networkInterfaces())
  .flat()
  .some((address) => address?.address === "::1");

test.skipIf(!HAS_IPV6)("a server at an IPv6 address says where it is with brackets", async () => {
  const urls: unknown[] = [];
  const write = (line: string): void => {
    urls.push((JSON.parse(line) as { url?: string }).url);
  };
  const log = createLog({ level: "info", isForPeople: false, write });

  const server = await createServer({ handlers, port: 0, host: "::1", log });

  expect(server.url).toMatch(/^http:\/\/\[::1\]:\d+$/);
  expect(urls).toEqual([server.url]);
  expect(await run(server, "double", 2)).toBe(4);
  await server.stop();
});
