import { createServer, defineHandlers } from "ringq";

const handlers = defineHandlers({
  greet: (payload: { name: string }) => `Hello, ${payload.name}!`,
});

// Any setting of the environment is an option here: QUEUE_SIZE is queueSize. Port 0 takes a free one.
const server = await createServer({ handlers, port: 0, queueSize: 1000 });

const response = await fetch(`${server.url}/enqueue`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ type: "greet", payload: { name: "Ada" } }),
});
const { id } = (await response.json()) as { id: string };

// Answers when the task has finished, or after ten seconds.
const task = await fetch(`${server.url}/tasks/${id}?wait_ms=10000`);
const { status, result } = (await task.json()) as { status: string; result: string };
console.log(`${response.status}, then ${status}: ${result}`);

const { unfinished } = await server.stop();
console.log(`stopped, ${unfinished} unfinished`);
