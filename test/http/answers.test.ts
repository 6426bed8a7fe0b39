import { describe, expect, test } from "bun:test";
import { Answers } from "../../src/http/answers.ts";
import { expectProblem, openScene, type Scene } from "../support/http-harness.ts";
import { RawSocket, requestText } from "../support/socket.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** Parts of some bytes each, with characters of one to four bytes. */
function someParts(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${index}:aä€😀`.repeat(100));
}

const LONG = ["x".repeat(100 * KIB)];

describe("an answer", () => {
  test.each([0, 1, 10, 1000])("of %d parts is their text", async (count) => {
    const parts = someParts(count);

    const response = new Answers(MIB).json(parts, { status: 202, headers: { "x-a": "b" } });

    expect(response.status).toBe(202);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(response.headers.get("x-a")).toBe("b");
    expect(await response.text()).toBe(someParts(count).join(""));
  });

  test("of one part that is very long is its text", async () => {
    const text = "a😀".repeat(MIB);

    expect(await new Answers(MIB).json([text]).text()).toBe(text);
  });

  test("leaves its parts as they are", async () => {
    const parts = someParts(1000);

    await new Answers(MIB).json(parts).text();

    expect(parts).toEqual(someParts(1000));
  });

  test("finds no room once as many bytes are unread as may be", () => {
    const answers = new Answers(150 * KIB);

    answers.json(LONG);
    expect(answers.hasNoRoomFor(LONG)).toBe(false);
    answers.json(LONG);

    expect(answers.hasNoRoomFor(LONG)).toBe(true);
  });

  test("counts as unread by its bytes, not its characters", () => {
    const answers = new Answers(250 * KIB);

    answers.json(["€".repeat(100 * KIB)]);

    expect(answers.hasNoRoomFor(LONG)).toBe(true);
  });

  test("that is short finds room always, and takes none", () => {
    const answers = new Answers(100 * KIB);
    for (let count = 0; count < 100; count += 1) answers.json(["x".repeat(10 * KIB)]);
    expect(answers.hasNoRoomFor(LONG)).toBe(false);

    answers.json(LONG);

    expect(answers.hasNoRoomFor(LONG)).toBe(true);
    expect(answers.hasNoRoomFor(["x".repeat(10 * KIB)])).toBe(false);
  });

  test("makes room while it is read, to the last byte", async () => {
    const answers = new Answers(10);
    const response = answers.json(LONG);
    expect(answers.hasNoRoomFor(LONG)).toBe(true);

    expect(await response.text()).toBe(LONG.join(""));

    expect(answers.hasNoRoomFor(LONG)).toBe(false);
    answers.json([`${LONG[0]}`]);
    expect(answers.hasNoRoomFor(LONG)).toBe(true);
  });

  test("makes room when its client goes, once", async () => {
    const answers = new Answers(150 * KIB);
    const gone = answers.json(LONG);
    answers.json(LONG);
    expect(answers.hasNoRoomFor(LONG)).toBe(true);
    const reader = gone.body?.getReader();
    await reader?.read();

    await reader?.cancel();
    await reader?.cancel();

    expect(answers.hasNoRoomFor(LONG)).toBe(false);
    answers.json(LONG);
    expect(answers.hasNoRoomFor(LONG)).toBe(true);
  });
});

describe("a client that does not read", () => {
  /** Far more than what the buffers of a connection take. */
  const PAYLOAD_BYTES = 16 * MIB;

  const OPTIONS = {
    maxBodyBytes: 64 * MIB,
    queueBytes: 256 * MIB,
    answerBytesTotal: MIB,
  };

  /** The status of this read, whose answer is not read either, but let go of. */
  async function statusOf(scene: Scene, path: string): Promise<number> {
    const response = await scene.get(path);
    await response.body?.cancel();
    return response.status;
  }

  async function untilStatus(scene: Scene, path: string, status: number): Promise<void> {
    while ((await statusOf(scene, path)) !== status);
  }

  test("has others refused that ask for long answers, until it goes", async () => {
    await using scene = await openScene(OPTIONS);
    const large = await scene.enqueueWaiting({ payload: "x".repeat(PAYLOAD_BYTES) });
    const small = await scene.enqueueWaiting();
    using socket = await RawSocket.open(scene.port);
    socket.stopReading();

    socket.send(requestText("GET", `/tasks/${large}`));

    await untilStatus(scene, `/tasks/${large}`, 503);
    await expectProblem(scene.get(`/tasks/${large}`), "overloaded");
    await expectProblem(scene.get("/tasks"), "overloaded");
    expect((await scene.task(small)).status).toBe("scheduled");
    expect((await scene.post("/enqueue", { payload: 1 })).status).toBe(202);
    // It is done, so it is answered.
    expect(await statusOf(scene, "/queues")).toBe(200);
    expect((await scene.delete(`/tasks/${large}`)).status).toBe(200);

    socket.abort();

    await untilStatus(scene, `/tasks/${large}`, 200);
  });

  test("takes no room with a HEAD, or with an answer that it reads", async () => {
    await using scene = await openScene(OPTIONS);
    const id = await scene.enqueueWaiting({ payload: "x".repeat(2 * MIB) });

    for (let count = 0; count < 3; count += 1) {
      expect((await scene.send("HEAD", `/tasks/${id}`)).status).toBe(200);
      expect((await scene.task(id)).payload).toHaveLength(2 * MIB);
    }
  });

  test("that has gone before its answer takes no room", async () => {
    await using scene = await openScene({ ...OPTIONS, workers: 1 });
    const id = await scene.enqueueHeld({ payload: "x".repeat(PAYLOAD_BYTES) });
    using socket = await RawSocket.open(scene.port);
    socket.send(requestText("GET", `/tasks/${id}?wait_ms=60000`));
    expect((await scene.get("/healthz")).status).toBe(200);

    socket.abort();

    await untilStatus(scene, `/tasks/${id}`, 200);
  });
});
