import { afterAll, afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createQueue, defineHandlers, type EnqueueOneAnswer, type Queue, type Task } from "ringq";
import { makeDataFolder } from "../support/data-folder.ts";

// What reaches a queue without HTTP before it: the engine alone has to refuse what is out of
// bounds.

setDefaultTimeout(60_000);

const folder = makeDataFolder();
afterAll(() => folder.remove());

let queue: Queue | null = null;
afterEach(async () => {
  await queue?.stop();
  queue = null;
});

const handlers = defineHandlers({ default: (payload: unknown) => payload });

/** Where the queue keeps its tasks: null for memory alone. */
type DataFile = string | null;

const PLACES: readonly (readonly [name: string, newDataFile: () => DataFile])[] = [
  ["in memory", () => null],
  ["with a data file", () => folder.newFile()],
];

/** One worker, so that a loop that dies is found out by the next task. */
async function start(dataFile: DataFile): Promise<Queue> {
  queue = await createQueue(handlers, { dataFile, workers: 1, maxRetries: 0 });
  return queue;
}

/** How an enqueue ends, of a request that the types of TypeScript do not let pass. */
async function ask(on: Queue, request: unknown, key?: string): Promise<EnqueueOneAnswer | Error> {
  try {
    return await on.enqueue(request as Parameters<Queue["enqueue"]>[0], key);
  } catch (thrown) {
    return new Error("it rejects", { cause: thrown });
  }
}

/**
 * How an enqueue ends that stands between two valid ones, all in one tick, and what becomes of
 * those.
 */
async function askAmongOthers(
  on: Queue,
  request: unknown,
): Promise<{ readonly answer: EnqueueOneAnswer | Error; readonly others: readonly Task[] }> {
  const [before, answer, after] = await Promise.all([
    ask(on, { payload: "before" }),
    ask(on, request),
    ask(on, { payload: "after" }),
  ]);
  return { answer, others: [await finished(on, before), await finished(on, after)] };
}

async function finished(on: Queue, answer: EnqueueOneAnswer | Error): Promise<Task> {
  if (answer instanceof Error) throw answer;
  if (answer.kind !== "accepted") throw new Error(`not accepted: ${answer.kind}`);
  const task = await on.waitFor(answer.id, 60_000);
  if (task === undefined) throw new Error("the task is gone");
  return task;
}

const OTHERS_DONE = [
  { status: "done", result: "before" },
  { status: "done", result: "after" },
];

/** Requests that are out of bounds, with the pointers to what is wrong with them. */
const OUT_OF_BOUNDS: readonly (readonly [name: string, request: unknown, paths: string[]])[] = [
  ["a priority that is no number", { payload: 1, priority: Number.NaN }, ["/priority"]],
  ["a broken priority", { payload: 1, priority: 1.5 }, ["/priority"]],
  ["an immense priority", { payload: 1, priority: 1e300 }, ["/priority"]],
  ["a BigInt as priority", { payload: 1, priority: 1n }, ["/priority"]],
  ["retries that are no number", { payload: 1, maxRetries: Number.NaN }, ["/maxRetries"]],
  ["endless retries", { payload: 1, maxRetries: Number.POSITIVE_INFINITY }, ["/maxRetries"]],
  ["a timeout that is no number", { payload: 1, timeoutMs: Number.NaN }, ["/timeoutMs"]],
  ["an endless timeout", { payload: 1, timeoutMs: Number.POSITIVE_INFINITY }, ["/timeoutMs"]],
  ["a negative timeout", { payload: 1, timeoutMs: -5 }, ["/timeoutMs"]],
  ["a timeout of nothing", { payload: 1, timeoutMs: 0 }, ["/timeoutMs"]],
  ["an endless delay", { payload: 1, delayMs: Number.POSITIVE_INFINITY }, ["/delayMs"]],
  ["a negative delay", { payload: 1, delayMs: -1 }, ["/delayMs"]],
  ["a time that never comes", { payload: 1, runAtMs: Number.POSITIVE_INFINITY }, ["/runAtMs"]],
  ["a time that is no number", { payload: 1, runAtMs: Number.NaN }, ["/runAtMs"]],
  ["a delay and a time", { payload: 1, delayMs: 1, runAtMs: 1 }, ["/runAtMs"]],
  ["a queue without a name", { payload: 1, queue: "" }, ["/queue"]],
  ["a queue with a blank in its name", { payload: 1, queue: "x y" }, ["/queue"]],
  ["a queue named by an object", { payload: 1, queue: { toString: () => "mail" } }, ["/queue"]],
  ["a type with a blank", { payload: 1, type: "x y" }, ["/type"]],
  ["a type that is a symbol", { payload: 1, type: Symbol("default") }, ["/type"]],
  ["a field that there is not", { payload: 1, max_retries: 1 }, ["/max_retries"]],
  ["a field named __proto__", JSON.parse('{"payload":1,"__proto__":1}'), ["/__proto__"]],
  ["no payload", {}, ["/payload"]],
  ["no request: null", null, [""]],
  ["no request: undefined", undefined, [""]],
  ["no request: a text", "payload", [""]],
  ["several faults", { payload: 1, priority: 101, timeoutMs: 0 }, ["/priority", "/timeoutMs"]],
  ["a payload that is a BigInt", { payload: 1n }, ["/payload"]],
  ["a payload that is a symbol", { payload: Symbol("payload") }, ["/payload"]],
  ["a payload that is a function", { payload: () => 1 }, ["/payload"]],
  ["a payload that is no number", { payload: Number.NaN }, ["/payload"]],
  ["a symbol deep in a payload", { payload: { a: [Symbol("b")] } }, ["/payload/a/0"]],
  ["a payload with a function", { payload: { send: () => undefined } }, ["/payload/send"]],
  ["a payload in a cycle", { payload: aCycle() }, [`/payload${"/a".repeat(64)}`]],
];

function aCycle(): object {
  const cycle: Record<string, unknown> = {};
  cycle["a"] = cycle;
  return cycle;
}

/** An object that JSON writes as this: the method is its class's, and no field of its own. */
function written(toJSON: () => unknown): object {
  class Written {
    toJSON(): unknown {
      return toJSON();
    }
  }
  return new Written();
}

function fail(): never {
  throw new Error("foreign code throws");
}

/** Payloads that look fine until their own code runs. */
const HOSTILE: readonly (readonly [name: string, request: () => unknown])[] = [
  ["a payload that JSON leaves out", () => ({ payload: written(() => undefined) })],
  ["a payload that throws when it is written", () => ({ payload: written(fail) })],
  ["a payload that is written as a BigInt", () => ({ payload: written(() => 1n) })],
  ["a payload that is written as a symbol", () => ({ payload: written(() => Symbol("s")) })],
  ["a payload that is written as a function", () => ({ payload: written(() => fail) })],
  ["a payload that is written as a cycle", () => ({ payload: written(aCycle) })],
  ["a BigInt in a box", () => ({ payload: [Object(1n)] })],
  ["a getter that throws", () => ({ payload: { a: [Object.defineProperty({}, "b", THROWS)] } })],
  ["a getter that throws null", () => ({ payload: Object.defineProperty({}, "a", THROWS_NULL) })],
  ["a getter that gives something else each time", () => ({ payload: aFickleObject() })],
  ["a proxy that is revoked", () => ({ payload: aRevokedProxy() })],
  ["a request whose payload throws", () => Object.defineProperty({}, "payload", THROWS)],
  [
    "a request whose priority throws",
    () => Object.defineProperty({ payload: 1 }, "priority", THROWS),
  ],
  ["a request that is a revoked proxy", aRevokedProxy],
];

const THROWS: PropertyDescriptor = { enumerable: true, get: fail };

const THROWS_NULL: PropertyDescriptor = { enumerable: true, get: () => failWith(null) };

function failWith(thrown: unknown): never {
  throw thrown;
}

function aFickleObject(): object {
  let reads = 0;
  return {
    get a(): unknown {
      reads += 1;
      return reads === 1 ? 1 : BigInt(reads);
    },
  };
}

function aRevokedProxy(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

describe.each(PLACES)("a queue %s", (_, newDataFile) => {
  test.each(OUT_OF_BOUNDS)("refuses %s, and runs the others", async (_, request, paths) => {
    const { answer, others } = await askAmongOthers(await start(newDataFile()), request);

    const faults = paths.map((path) => ({ index: 0, path, message: expect.any(String) }));
    expect(answer).toEqual({ kind: "invalid", faults });
    expect(others).toMatchObject(OTHERS_DONE);
  });

  test.each(HOSTILE)("does not take %s, and runs the others", async (_, aRequest) => {
    const on = await start(newDataFile());

    const { answer, others } = await askAmongOthers(on, aRequest());

    expect(answer).not.toMatchObject({ kind: "accepted" });
    expect(others).toMatchObject(OTHERS_DONE);
    expect(await on.queues()).toMatchObject([{ waiting: 0, totals: { enqueued: 2, done: 2 } }]);
  });

  test("takes nothing of a batch with a payload that throws", async () => {
    const on = await start(newDataFile());
    const batch = async () => on.enqueueBatch([{ payload: 1 }, { payload: written(fail) }]);

    await batch().catch(() => undefined);

    expect(await on.queues()).toEqual([]);
    expect(await finished(on, await on.enqueue({ payload: 2 }))).toMatchObject({ result: 2 });
  });

  test("keeps no key of a request that it did not take", async () => {
    const on = await start(newDataFile());
    await ask(on, { payload: written(fail) }, "key");
    await ask(on, { payload: 1, priority: Number.NaN }, "key");

    expect(await ask(on, { payload: 1 }, "key")).toMatchObject({ kind: "accepted" });
  });

  test("takes a payload that is written as another value as that value", async () => {
    const on = await start(newDataFile());

    const payload = [new Date(0), written(() => ({ a: 1 })), { gone: written(() => undefined) }];
    const task = await finished(on, await on.enqueue({ payload }));

    expect(task).toMatchObject({
      status: "done",
      payload: ["1970-01-01T00:00:00.000Z", { a: 1 }, {}],
    });
  });

  test("takes fields that are undefined as left out", async () => {
    const on = await start(newDataFile());
    const request = { payload: 1, queue: undefined, priority: undefined, timeoutMs: undefined };

    const task = await finished(on, await on.enqueue(request));

    expect(task).toMatchObject({ status: "done", queue: "default", priority: 0 });
  });

  test("takes names that objects of JavaScript have as names like any other", async () => {
    const on = await start(newDataFile());

    const inQueue = await on.enqueue({ payload: 1, queue: "__proto__" });
    const ofType = await on.enqueue({ payload: 1, type: "constructor", queue: "constructor" });

    expect(await finished(on, inQueue)).toMatchObject({ status: "done", queue: "__proto__" });
    expect(await finished(on, ofType)).toMatchObject({
      status: "failed",
      errors: [{ code: "no_handler" }],
    });
    const names = (await on.queues()).map(({ name }) => name);
    expect(names.toSorted()).toEqual(["__proto__", "constructor"]);
  });

  test.each([[null], [""], ["a b"], ["ü"], [7], [Symbol("key")], ["k".repeat(256)]])(
    "refuses the key %p",
    async (key) => {
      const { answer, others } = await askWithKey(await start(newDataFile()), key);

      const faults = [{ index: null, path: "", message: expect.any(String) }];
      expect(answer).toEqual({ kind: "invalid", faults });
      expect(others).toMatchObject({ status: "done" });
    },
  );
});

async function askWithKey(
  on: Queue,
  key: unknown,
): Promise<{ readonly answer: EnqueueOneAnswer | Error; readonly others: Task }> {
  const [answer, other] = await Promise.all([
    ask(on, { payload: 1 }, key as string),
    ask(on, { payload: 2 }),
  ]);
  return { answer, others: await finished(on, other) };
}

test("a data file has nothing of what was refused when it is opened again", async () => {
  const dataFile = folder.newFile();
  const first = await start(dataFile);
  const { others } = await askAmongOthers(first, { payload: 1, priority: Number.NaN });
  await askAmongOthers(first, { payload: written(fail) });
  await first.stop();

  const again = await start(dataFile);

  for (const { id } of others) expect(await again.find(id)).toMatchObject({ status: "done" });
  expect(await again.queues()).toMatchObject([{ waiting: 0, counts: { done: 4 } }]);
});

/** Runs a program, since a fault in it would end the tests, and gives what it prints. */
async function printed(program: string): Promise<string> {
  const { stdout, exited } = Bun.spawn([process.execPath, "-e", program], {
    stdio: ["ignore", "pipe", "ignore"],
    // A program that hangs has failed.
    timeout: 10_000,
  });
  const output = await new Response(stdout).text();
  await exited;
  return output;
}

// Known defects of src/engine/intake.ts, which checks a request's own enumerable fields but reads
// the others too, and of src/engine/sqlite/command-group.ts, where a command that throws stays
// first in line. Once mended, these pass.
describe.each(PLACES)("a queue %s", (_, newDataFile) => {
  test("refuses a field out of bounds that a class gives its requests", async () => {
    const output = await printed(`
      import { createQueue, defineHandlers } from "ringq";
      const handlers = defineHandlers({ default: () => 1 });
      const options = { dataFile: ${JSON.stringify(newDataFile())}, workers: 1 };
      const queue = await createQueue(handlers, options);
      class Request { payload = 1; get priority() { return NaN; } }
      const answers = await Promise.all([{ payload: 1 }, new Request(), { payload: 2 }].map(
        (request) => queue.enqueue(request),
      ));
      for (const { kind } of answers) console.log(kind);
      console.log((await queue.waitFor(answers[2].id, 60_000))?.status);
      await queue.stop();
    `);

    expect(output).toBe("accepted\ninvalid\naccepted\ndone\n");
  });
});

test("a cancel without an id takes nothing from other calls of its tick", async () => {
  const output = await printed(`
    import { createQueue, defineHandlers } from "ringq";
    const handlers = defineHandlers({ default: () => 1 });
    const options = { dataFile: ${JSON.stringify(folder.newFile())} };
    const queue = await createQueue(handlers, options);
    const enqueuing = queue.enqueue({ payload: 1 });
    await queue.cancel(undefined).catch(() => undefined);
    const { kind, id } = await enqueuing;
    console.log(kind, (await queue.waitFor(id, 60_000))?.status);
    await queue.stop();
  `);

  expect(output).toBe("accepted done\n");
});
