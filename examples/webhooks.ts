/**
 * Sends webhooks: a JSON body to the URL of somebody who wants to hear of an event.
 *
 *   HANDLERS=examples/webhooks.ts bun run start
 *   curl localhost:8080/enqueue -H content-type:application/json \
 *     -d '{"type":"webhook.send","payload":{"url":"https://example.com/hook","event":"order.paid","data":{"order":7}}}'
 *
 * A receiver that is down is tried again for hours, ever more seldom. One that says when to come back is taken at its
 * word, and one that says that the request is wrong is not bothered again. Before you send to URLs of strangers, keep them
 * out of your own network: this example does not.
 */

import { Type } from "@sinclair/typebox";
import { defineHandlers, NonRetryableError, RetryAfterError } from "ringq";

const Webhook = Type.Object({
  url: Type.String({ pattern: "^https?://" }),
  event: Type.String({ minLength: 1 }),
  data: Type.Unknown(),
});

/** The statuses that ask for patience instead of telling of a fault: request timeout, too early, too many requests. */
const PATIENCE = new Set([408, 425, 429]);

export default defineHandlers(
  {
    "webhook.send": {
      schema: Webhook,
      queue: "webhooks",
      timeoutMs: 10_000,
      maxRetries: 10,
      backoff: { baseMs: 5000, jitterMs: 5000, maxMs: 3_600_000 },
      handler: async ({ url, event, data }, { id, attempt, signal, log }) => {
        // The signal ends the request when the time is up, the task is cancelled or the server stops.
        const response = await fetch(url, {
          method: "POST",
          // Delivery is at least once: by its id the receiver knows a webhook that it has seen before.
          headers: { "content-type": "application/json", "webhook-id": id },
          body: JSON.stringify({ event, data }),
          redirect: "manual",
          signal,
        });
        const { status } = response;
        if (response.ok) {
          log.info("webhook_delivered", { status });
          return { status, attempts: attempt };
        }
        const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
        const says = `${new URL(url).host} answers ${status}`;
        if (PATIENCE.has(status) && seconds >= 0 && seconds <= 86_400) {
          throw new RetryAfterError(seconds * 1000, says);
        }
        if (status < 500 && !PATIENCE.has(status)) throw new NonRetryableError(says);
        throw new Error(says);
      },
    },
  },
  // Receivers are slow: many wait at the same time, and none of them holds up another queue.
  { queues: { webhooks: { concurrency: 16, size: 10_000 } } },
);
