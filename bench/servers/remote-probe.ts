/** A remote worker that waits for tasks, and tells how long after their due time it started them. */

import { Client, Worker } from "../../src/client/index.ts";
import { sharedMs } from "../kit/clock.ts";

const delays: number[] = [];
const [, , url = ""] = process.argv;
const worker = new Worker(new Client(url), {
  handlers: {
    remote: ({ atMs }: { readonly atMs: number }) => {
      delays.push(sharedMs() - atMs);
    },
  },
  concurrency: 100,
  signals: false,
});
worker.start();

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  development: false,
  idleTimeout: 60,
  routes: {
    "/delays": async (request) => {
      const count = Number(new URL(request.url).searchParams.get("count"));
      while (delays.length < count) await Bun.sleep(5);
      return Response.json({ ms: delays });
    },
  },
});
console.log(JSON.stringify({ event: "server_listening", url: server.url.origin }));
