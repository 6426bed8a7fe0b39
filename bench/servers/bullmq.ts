/**
 * What many would build instead: an Elysia route over BullMQ on Redis, with the worker in the same process and the same
 * limits as a measured ringq has: four tasks at once, four attempts, the last ten thousand finished ones kept.
 */

import { Queue, Worker } from "bullmq";
import { Elysia, t } from "elysia";

const connection = {
  host: "127.0.0.1",
  port: Number(process.env["REDIS_PORT"]),
  maxRetriesPerRequest: null,
};
const queue = new Queue("default", { connection });
const worker = new Worker("default", async () => undefined, { connection, concurrency: 4 });
worker.on("error", (error) => console.error(error));

const app = new Elysia({ precompile: true, normalize: false })
  .post(
    "/enqueue",
    async ({ body }) => {
      const { id } = await queue.add(body.type, body.payload, {
        attempts: 4,
        backoff: { type: "exponential", delay: 200 },
        removeOnComplete: 10_000,
      });
      return Response.json(
        { id, status: "queued" },
        { status: 202, headers: { location: `/tasks/${id}` } },
      );
    },
    {
      parse: "json",
      body: t.Object({ payload: t.Unknown(), type: t.String() }, { additionalProperties: false }),
    },
  )
  .get("/waiting", async () => (await queue.getWaitingCount()) + (await queue.getActiveCount()))
  .listen({ port: 0, hostname: "127.0.0.1", reusePort: false, development: false });

await worker.waitUntilReady();
const url = `http://127.0.0.1:${app.server?.port}`;
console.log(JSON.stringify({ event: "server_listening", url }));
