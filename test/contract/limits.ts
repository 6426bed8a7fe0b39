/** How every engine holds the fields of an enqueue to their bounds, and keeps what is out of them from doing harm. */

import { describe, expect, test } from "bun:test";
import type {
  AttemptOutcome,
  ClaimRequest,
  EnqueueAnswer,
  EnqueueRequest,
} from "../../src/engine/engine.ts";
import { aRequest, type EngineHarness, REMOTE_TYPES } from "../support/engine-harness.ts";
import type { Contract } from "./contract.ts";

const DAY_MS = 86_400_000;

/** Rows of one value, so that an array among the values is one, too. */
function rows(values: readonly unknown[]): readonly [unknown][] {
  return values.map((value) => [value]);
}

type Field = Exclude<keyof EnqueueRequest, "payload">;

/** The numbers of a request, with the ends of their ranges. */
const NUMBERS: readonly (readonly [field: Field, min: number, max: number])[] = [
  ["priority", -100, 100],
  ["maxRetries", 0, 100],
  ["timeoutMs", 1, DAY_MS],
  ["delayMs", 0, 30 * DAY_MS],
  ["runAtMs", Date.UTC(-1, 11, 31, 24), Date.UTC(9999, 11, 31, 23, 59, 59, 999)],
];

/** A value out of bounds for each field: the compiler asks for one of a new field. */
const OUT_OF_BOUNDS: Readonly<Record<Field, unknown>> = {
  type: "",
  queue: "",
  tags: [""],
  priority: 101,
  maxRetries: -1,
  timeoutMs: 0,
  delayMs: -1,
  runAtMs: 1e300,
};

const NO_WHOLE_NUMBERS = [
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  1.5,
  1e300,
  2 ** 53,
  "1",
  "",
  null,
  true,
  [1],
  {},
  1n,
];

const NO_NAMES = [
  "",
  " ",
  "with blank",
  " mail",
  "mail ",
  "mail\n",
  "\0",
  "a/b",
  "a\\b",
  "ü",
  "Ünï code!",
  "😀",
  "\ud800",
  null,
  7,
  true,
  ["mail"],
  { toString: () => "mail" },
];

const NAMES: readonly (readonly [
  field: "type" | "queue",
  lengthMax: number,
  good: readonly string[],
  bad: readonly unknown[],
])[] = [
  ["type", 128, ["a", "A", "0", ".", "..", "email.send", "A-z_0:9", "__proto__"], NO_NAMES],
  [
    "queue",
    64,
    ["a", "0", "-", "_", "...", ".a", "..a", "mail-1.high_2", "__proto__", "constructor"],
    [".", "..", "Mail", "mail:high", "NO SUCH / name\n", ...NO_NAMES],
  ],
];

export function describeLimits(contract: Contract): void {
  describe.each(NUMBERS)("%s", (field, min, max) => {
    test.each([
      ["smallest", min],
      ["largest", max],
    ])("the %s value of the field is taken", async (_, value) => {
      await using harness = await contract.open();

      expect((await ask(harness, { [field]: value })).kind).toBe("accepted");
    });

    test.each([
      ["below the smallest", min - 1],
      ["above the largest", max + 1],
    ])("a value %s is refused with a pointer to the field", async (_, value) => {
      await using harness = await contract.open();

      expect(await ask(harness, { [field]: value })).toEqual(faultAt(field));
    });

    test.each(rows(NO_WHOLE_NUMBERS))(
      "%p is refused with a pointer to the field",
      async (value) => {
        await using harness = await contract.open();

        expect(await ask(harness, { [field]: value })).toEqual(faultAt(field));
      },
    );
  });

  describe.each(NAMES)("%s", (field, lengthMax, good, bad) => {
    test.each(good)("%p is a name like any other", async (name) => {
      await using harness = await contract.open();

      const id = await harness.enqueue({ [field]: name });

      expect((await harness.task(id))[field]).toBe(name);
      expect(await harness.listAll({ [field]: name })).toEqual([id]);
      expect(await harness.claimAll({ [`${field}s`]: [name] })).toEqual([id]);
    });

    test("the longest name is taken", async () => {
      await using harness = await contract.open();

      expect((await ask(harness, { [field]: "a".repeat(lengthMax) })).kind).toBe("accepted");
    });

    test("a longer name is refused with a pointer to the field", async () => {
      await using harness = await contract.open();

      const answer = await ask(harness, { [field]: "a".repeat(lengthMax + 1) });

      expect(answer).toEqual(faultAt(field));
    });

    test.each(rows(bad))("%p is refused with a pointer to the field", async (name) => {
      await using harness = await contract.open();

      expect(await ask(harness, { [field]: name })).toEqual(faultAt(field));
    });
  });

  describe("tags", () => {
    const longest = "t".repeat(64);

    test.each([[[]], [["a"]], [new Array(8).fill(longest)], [["A-Z_0.9:/"]]])(
      "%p is taken",
      async (tags) => {
        await using harness = await contract.open();

        const id = await harness.enqueue({ tags });

        expect((await harness.task(id)).tags).toEqual(tags);
      },
    );

    test.each(
      rows([
        new Array(9).fill("a"),
        [`${longest}t`],
        [""],
        ["a b"],
        ["ü"],
        [1],
        ["a", null],
        "a",
        {},
        null,
      ]),
    )("%p is refused with a pointer to the field", async (tags) => {
      await using harness = await contract.open();

      expect(await ask(harness, { tags })).toEqual(faultAt("tags"));
    });

    test("a list that its caller changes afterwards stays as it was", async () => {
      await using harness = await contract.open();
      const tags = ["a"];
      const id = await harness.enqueue({ tags });

      tags.push("b");

      expect((await harness.task(id)).tags).toEqual(["a"]);
    });
  });

  describe("delayMs and runAtMs", () => {
    test("a delay together with a time is refused", async () => {
      await using harness = await contract.open();

      const answer = await ask(harness, { delayMs: 1, runAtMs: harness.wallMs + 1 });

      expect(answer).toMatchObject({ kind: "invalid", faults: [{ index: 0 }] });
    });

    test("a delay of nothing together with a time is refused, too", async () => {
      await using harness = await contract.open();

      const answer = await ask(harness, { delayMs: 0, runAtMs: harness.wallMs + 1 });

      expect(answer.kind).toBe("invalid");
    });

    test("fields that are undefined count as left out", async () => {
      await using harness = await contract.open();

      const answer = await ask(harness, {
        type: undefined,
        queue: undefined,
        priority: undefined,
        maxRetries: undefined,
        timeoutMs: undefined,
        delayMs: undefined,
        runAtMs: 0,
      });

      expect(answer.kind).toBe("accepted");
    });
  });

  describe("idempotency key", () => {
    test.each(["!", "~", "a", "__proto__", '{"a":1}', "k".repeat(255)])(
      "%p is a key",
      async (key) => {
        await using harness = await contract.open();
        const answer = await harness.engine.enqueue([aRequest()], key);

        const again = await harness.engine.enqueue([aRequest()], key);

        expect([answer.kind, again.kind]).toEqual(["accepted", "repeated"]);
      },
    );

    test.each([
      "",
      " ",
      "with blank",
      " key",
      "key\n",
      "\t",
      "\0",
      "\x7f",
      "ü",
      "😀",
      "k".repeat(256),
      "k".repeat(1_000_000),
    ])("a key that is not allowed is refused without an index: %#", async (key) => {
      await using harness = await contract.open();

      const answer = await harness.engine.enqueue([aRequest()], key);

      expect(answer).toEqual({
        kind: "invalid",
        faults: [{ index: null, path: "", message: expect.stringContaining("must be") }],
      });
      expect(await harness.listAll()).toEqual([]);
    });

    test("a keyed batch of as many tasks as are retained is taken", async () => {
      await using harness = await contract.open({ retainTasks: 2 });

      const answer = await harness.engine.enqueue([aRequest(), aRequest()], "key");

      expect(answer.kind).toBe("accepted");
    });

    test("a keyed batch of more tasks than are retained is refused", async () => {
      await using harness = await contract.open({ retainTasks: 2 });

      const answer = await harness.engine.enqueue([aRequest(), aRequest(), aRequest()], "key");

      expect(answer).toMatchObject({ kind: "invalid", faults: [{ index: null, path: "" }] });
      expect(await harness.listAll()).toEqual([]);
    });

    test("a batch without a key may be larger than what is retained", async () => {
      await using harness = await contract.open({ retainTasks: 2 });

      expect(await harness.enqueueAll([{}, {}, {}])).toHaveLength(3);
    });

    test("a single task may always have a key", async () => {
      await using harness = await contract.open({ retainTasks: 0 });

      expect((await harness.engine.enqueue([aRequest()], "key")).kind).toBe("accepted");
    });
  });

  describe("faults", () => {
    test.each(Object.entries(OUT_OF_BOUNDS))("an invalid %s is one", async (field, value) => {
      await using harness = await contract.open();

      expect(await ask(harness, { [field]: value })).toEqual(faultAt(field));
    });

    test("every fault of a batch is named with its index and its path", async () => {
      await using harness = await contract.open();

      const answer = await askAll(harness, [
        { priority: 101, queue: "NO" },
        {},
        { payload: { a: [Number.NaN] }, timeoutMs: 0 },
      ]);

      if (answer.kind !== "invalid") throw new Error(answer.kind);
      const places = answer.faults.map(({ index, path }) => `${index} ${path}`);
      expect(places.toSorted()).toEqual([
        "0 /priority",
        "0 /queue",
        "2 /payload/a/0",
        "2 /timeoutMs",
      ]);
    });

    test("a field that there is not is refused by its name", async () => {
      await using harness = await contract.open();

      const answer = await ask(harness, { prio: 1 });

      expect(answer).toMatchObject({ kind: "invalid", faults: [{ index: 0, path: "/prio" }] });
    });

    test("the path of a fault is a JSON Pointer, whatever the name", async () => {
      await using harness = await contract.open();

      const answer = await ask(harness, { "a/b~c": 1 });

      expect(answer).toMatchObject({ faults: [{ path: "/a~1b~0c" }] });
    });

    test("a request without a payload is refused", async () => {
      await using harness = await contract.open();

      const answer = await ask(harness, { payload: undefined });

      expect(answer).toMatchObject({ kind: "invalid", faults: [{ index: 0, path: "/payload" }] });
    });

    test.each(rows([null, undefined, 1, "task", []]))("%p is no request", async (request) => {
      await using harness = await contract.open();

      const answer = await harness.engine.enqueue([request as EnqueueRequest]);

      expect(answer).toMatchObject({ kind: "invalid", faults: [{ index: 0 }] });
    });

    test("names that a library gave to every object are nobody's fields", async () => {
      await using harness = await contract.open();
      const request = Object.assign(Object.create({ each: () => undefined }), { payload: 1 });

      expect((await harness.engine.enqueue([request])).kind).toBe("accepted");
    });

    test("a fault says what is allowed", async () => {
      await using harness = await contract.open();

      const answer = await ask(harness, { priority: 101 });

      expect(answer).toMatchObject({ faults: [{ message: expect.stringMatching(/-100.*100/) }] });
    });

    test("the payload of a type is checked whatever else is wrong with the task", async () => {
      const check = () => [{ path: "/to", message: "must be there" }];
      await using harness = await contract.open({ types: { email: { check } } });

      const answer = await ask(harness, { type: "email", payload: {} });

      expect(answer).toEqual({
        kind: "invalid",
        faults: [{ index: 0, path: "/payload/to", message: "must be there" }],
      });
    });
  });

  describe("remote claims", () => {
    const openRemote = () => contract.open({ types: REMOTE_TYPES });

    const claims: readonly (readonly [path: string, fields: Partial<ClaimRequest>])[] = [
      ["/max", { max: 0 }],
      ["/max", { max: 101 }],
      ["/max", { max: Number.NaN }],
      ["/leaseMs", { leaseMs: 999 }],
      ["/leaseMs", { leaseMs: 43_200_001 }],
      ["/leaseMs", { leaseMs: Number.NaN }],
      ["/worker", { worker: "" }],
      ["/worker", { worker: "w".repeat(129) }],
      ["/worker", { worker: "line\nbreak" }],
      ["/queues", { queues: [] }],
      ["/queues/1", { queues: ["mails", ".."] }],
      ["/types", { types: new Array(33).fill("mail") }],
      ["/types/0", { types: ["no type"] }],
    ];

    test.each(claims)(
      "a claim with a wrong %s is refused, and starts nothing: %p",
      async (path, fields) => {
        await using harness = await openRemote();
        const id = await harness.enqueueRemote();

        const answer = await harness.engine.claim({
          lane: "remote",
          max: 1,
          leaseMs: 5000,
          ...fields,
        });

        expect(answer).toMatchObject({ kind: "invalid", faults: [{ path }] });
        expect(await harness.statusOf(id)).toBe("queued");
      },
    );

    const retry = { kind: "backoff" } as const;
    const settles: readonly (readonly [path: string, outcome: AttemptOutcome])[] = [
      ["/delayMs", { kind: "released", delayMs: -1 }],
      ["/delayMs", { kind: "released", delayMs: 30 * DAY_MS + 1 }],
      ["/code", { kind: "failed", code: "no code", message: "", retry }],
      ["/message", { kind: "failed", code: "broken", message: "m".repeat(1001), retry }],
      [
        "/retry/ms",
        { kind: "failed", code: "broken", message: "", retry: { kind: "after", ms: Number.NaN } },
      ],
    ];

    test.each(settles)(
      "a settle with a wrong %s is refused, and changes nothing: %p",
      async (path, outcome) => {
        await using harness = await openRemote();
        await harness.enqueueRemote();
        const { taskId, fence } = await harness.claimRemote();

        const answer = await harness.engine.settle(taskId, fence, outcome);

        expect(answer).toMatchObject({ kind: "invalid", faults: [{ path }] });
        expect(await harness.statusOf(taskId)).toBe("running");
      },
    );

    test.each([999, 43_200_001, Number.NaN, 1000.5])(
      "an extend by %p ms is refused, and changes nothing",
      async (leaseMs) => {
        await using harness = await openRemote();
        await harness.enqueueRemote();
        const { taskId, fence } = await harness.claimRemote();
        const before = await harness.task(taskId);

        const answer = await harness.engine.extend(taskId, fence, leaseMs);

        expect(answer).toMatchObject({ kind: "invalid", faults: [{ path: "/leaseMs" }] });
        expect(await harness.task(taskId)).toEqual(before);
      },
    );
  });

  describe("harm", () => {
    const invalid: readonly Readonly<Record<string, unknown>>[] = [
      { priority: Number.NaN },
      { priority: 1.5 },
      { maxRetries: 1e300 },
      { timeoutMs: Number.POSITIVE_INFINITY },
      { timeoutMs: -5 },
      { delayMs: Number.POSITIVE_INFINITY },
      { runAtMs: 1e300 },
      { queue: "" },
      { type: "x y" },
      { payload: Number.NaN },
    ];

    test("an invalid task makes no queue", async () => {
      await using harness = await contract.open();

      await ask(harness, { queue: "made", priority: Number.NaN });

      expect(await harness.engine.queues()).toEqual([]);
    });

    test("an invalid task takes the valid ones of its batch with it", async () => {
      await using harness = await contract.open();

      await askAll(harness, [{}, { delayMs: Number.POSITIVE_INFINITY }, {}]);

      expect(await harness.listAll()).toEqual([]);
      expect(await harness.engine.queues()).toEqual([]);
    });

    test.each(invalid)("an invalid task leaves its key free: %p", async (request) => {
      await using harness = await contract.open();
      await harness.engine.enqueue([aRequest(request)], "key");

      const answer = await harness.engine.enqueue([aRequest({ payload: "other" })], "key");

      expect(answer.kind).toBe("accepted");
    });

    test("invalid tasks take no room in a queue", async () => {
      await using harness = await contract.open({ queueSize: 1, queueBytes: 10 });
      for (const request of invalid) await ask(harness, request);

      expect((await ask(harness, { payload: "12345678" })).kind).toBe("accepted");
    });

    test("a valid task among fifty invalid ones of its moment is accepted", async () => {
      await using harness = await contract.open();
      const before = await harness.enqueue();

      const answers = await Promise.all([
        ...Array.from({ length: 5 }, () => invalid.map((request) => ask(harness, request))).flat(),
        ask(harness, { payload: "valid" }),
      ]);

      expect(answers.map(({ kind }) => kind)).toEqual([
        ...Array.from({ length: 50 }, () => "invalid" as const),
        "accepted",
      ]);
      expect(await harness.listAll()).toHaveLength(2);
      expect(await harness.claimAll()).toHaveLength(2);
      expect(await harness.statusOf(before)).toBe("running");
    });

    test("the engine stays ready after invalid tasks", async () => {
      await using harness = await contract.open();

      for (const request of invalid) await ask(harness, request);

      expect(harness.engine.readiness).toBe("ready");
    });

    test("the engine goes on from claim to settle after invalid tasks", async () => {
      await using harness = await contract.open();
      for (const request of invalid) await ask(harness, request);

      const id = await harness.enqueueIn("done");

      expect(await harness.listAll()).toEqual([id]);
    });
  });
}

/** Asks for a task as a caller in JavaScript might, whom no compiler stops. */
function ask(harness: EngineHarness, request: Readonly<Record<string, unknown>>) {
  return askAll(harness, [request]);
}

async function askAll(
  harness: EngineHarness,
  requests: readonly Readonly<Record<string, unknown>>[],
) {
  return harness.engine.enqueue(requests.map((request) => ({ payload: null, ...request })));
}

function faultAt(field: string): EnqueueAnswer {
  return {
    kind: "invalid",
    faults: [{ index: 0, path: `/${field}`, message: expect.stringContaining("must be") }],
  };
}
