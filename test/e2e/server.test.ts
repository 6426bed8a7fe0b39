import { expect, test } from "bun:test";
import { createServer, type ServerOptions } from "../../src/server.ts";

test("a server with options out of bounds rejects, as it does for everything else", async () => {
  // Thrown at once, it would pass by the catch of a program that only awaits.
  const creating = createServer({ workers: 0, prot: 80 } as ServerOptions);

  const [outcome] = await Promise.allSettled([creating]);

  expect(outcome).toMatchObject({
    status: "rejected",
    reason: new RangeError(
      "unknown option prot; workers must be a whole number of at least 1, but is 0",
    ),
  });
});
