/**
 * A worker with the client library. It counts words, and measures web pages.
 *
 *   HANDLERS=none npm start
 *   bun examples/worker.ts
 *   curl localhost:8080/enqueue -H content-type:application/json \
 *     -d '{"type":"pages.measure","payload":{"urls":["https://example.com"]}}'
 *
 * On Node 20 or newer:
 *
 *   bun build examples/worker.ts --target=node --outfile=worker.js
 *   node worker.js
 *
 * After SIGTERM or SIGINT it claims no more tasks, finishes those in hand, and ends by the signal.
 */

import { Client, NonRetryableError, RetryAfterError, type TaskTypes, Worker } from "ringq/client";

/** The payload of each type. A `Client<Types>` in another program checks what it enqueues. */
type Types = TaskTypes<{
  "words.count": { text: string };
  "pages.measure": { urls: readonly string[] };
}>;

const client = new Client<Types>(process.env["RINGQ_URL"] ?? "http://localhost:8080");

const worker = new Worker(client, {
  name: `pages-${process.pid}`,
  concurrency: 20,
  handlers: {
    "words.count": ({ text }) => ({ words: text.split(/\s+/).filter(Boolean).length }),
    "pages.measure": async ({ urls }, { signal, progress }) => {
      let bytes = 0;
      for (const [index, url] of urls.entries()) {
        // The signal ends the request when the task is cancelled, times out, or is lost.
        const response = await fetch(url, { signal });
        const message = `${url} answers ${response.status}`;
        if (response.status === 429) {
          throw new RetryAfterError(1000 * secondsToWait(response), message);
        }
        if (response.status >= 500) throw new Error(message); // Retried, after the usual backoff.
        if (!response.ok) throw new NonRetryableError(message);
        bytes += (await response.arrayBuffer()).byteLength;
        progress({ pages: index + 1, of: urls.length });
      }
      return { bytes };
    },
  },
});

worker.start();

function secondsToWait({ headers }: Response): number {
  const seconds = Number(headers.get("retry-after") ?? "60");
  return seconds >= 0 && seconds <= 86_400 ? seconds : 60;
}
