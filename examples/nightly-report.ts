/**
 * A nightly report: adds up the orders of a day, from one JSON object a line, and writes what every product sold.
 *
 *   ORDERS_FOLDER=/srv/orders HANDLERS=examples/nightly-report.ts bun run start
 *
 * and in the crontab (`%` is written `\%` there):
 *
 *   5 0 * * *  curl -sf localhost:8080/enqueue -H content-type:application/json -H "idempotency-key: report-$(date -I)" \
 *                -d "{\"type\":\"report.daily\",\"payload\":{\"day\":\"$(date -I -d yesterday)\"}}"
 *
 * The key makes it safe to ask twice, and the report is written whole or not at all, so an attempt that is interrupted
 * leaves nothing half done. While it runs, the task shows how far it is; its result says where the report is.
 */

import { rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { defineHandlers, NonRetryableError } from "ringq";

const Order = Type.Object({
  product: Type.String(),
  pieces: Type.Integer(),
  cents: Type.Integer(),
});

const PROGRESS_EVERY = 1000;

const folder = process.env["ORDERS_FOLDER"] ?? ".";

export default defineHandlers(
  {
    "report.daily": {
      schema: Type.Object({ day: Type.String({ pattern: "^\\d{4}-\\d{2}-\\d{2}$" }) }),
      queue: "reports",
      timeoutMs: 600_000,
      // The orders may come late: five attempts, the last seven and a half hours after the first.
      maxRetries: 4,
      backoff: { baseMs: 1_800_000, maxMs: 14_400_000 },
      handler: async ({ day }, { signal, progress, log }) => {
        const source = join(folder, `orders-${day}.ndjson`);
        const { size } = await stat(source);
        const products = new Map<string, { pieces: number; cents: number }>();
        let orders = 0;
        let bytes = 0;
        for await (const line of linesOf(source)) {
          signal.throwIfAborted();
          orders += 1;
          bytes += Buffer.byteLength(line) + 1;
          const { product, pieces, cents } = orderOf(line, orders);
          const sum = products.get(product) ?? { pieces: 0, cents: 0 };
          sum.pieces += pieces;
          sum.cents += cents;
          products.set(product, sum);
          if (orders % PROGRESS_EVERY === 0)
            progress({ percent: Math.round((100 * bytes) / size) });
        }
        const report = join(folder, `report-${day}.json`);
        const text = JSON.stringify({ day, orders, products: Object.fromEntries(products) });
        await writeFile(`${report}.part`, text);
        await rename(`${report}.part`, report);
        progress({ percent: 100 });
        log.info("report_written", { day, orders });
        return { report, orders, products: products.size };
      },
    },
  },
  // One at a time: a second report would only fight for the same disk.
  { queues: { reports: { concurrency: 1 } } },
);

function orderOf(line: string, number: number) {
  try {
    return Value.Decode(Order, JSON.parse(line));
  } catch (cause) {
    throw new NonRetryableError(`line ${number} is no order`, { cause });
  }
}

async function* linesOf(path: string): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of Bun.file(path).stream()) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}
