import { createQueue, defineHandlers } from "ringq";

const handlers = defineHandlers({
  "email.send": async (payload: { to: string }, { attempt }) => {
    if (attempt === 1) throw new Error("the mail server is busy");
    return { sentTo: payload.to };
  },
});

// A queue without HTTP: the same engine, the same workers, called directly.
const queue = await createQueue(handlers, { workers: 2, retryBaseMs: 10 });

const answer = await queue.enqueue({ type: "email.send", payload: { to: "ada@example.com" } });
if (answer.kind !== "accepted") throw new Error(`the queue says no: ${answer.kind}`);

const task = await queue.waitFor(answer.id, 10_000);
console.log(`${task?.status} in attempt ${task?.attempt}:`, task?.result);
console.log(`first it failed: ${task?.errors[0]?.message}`);

await queue.stop();
