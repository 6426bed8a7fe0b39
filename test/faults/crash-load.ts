/**
 * Clients of a server that is going to be killed: they ask for everything that HTTP offers, at the same time, and write
 * into the ledger what they asked and what they were answered.
 */

import type { TaskAnswer } from "../support/server-process.ts";
import { isConnectionLost } from "./connection-lost.ts";
import type { Dice } from "./dice.ts";
import type { AskedTask, Endings, EnqueueAsked, Found, FoundTask, Ledger } from "./ledger.ts";
import { STEERED, someTasks } from "./some-tasks.ts";

/** How the handlers in test/fixtures/crash.ts may end. */
export const CRASH_ENDINGS: Readonly<Record<string, Endings>> = {
  work: { mayBeDone: true, mayFail: false },
  slow: { mayBeDone: true, mayFail: false },
  flaky: { mayBeDone: true, mayFail: false },
  broken: { mayBeDone: false, mayFail: true },
  held: { mayBeDone: false, mayFail: false },
  deadly: { mayBeDone: false, mayFail: false },
};

/** How often each type is asked for. A held task occupies a worker until it is cancelled or gives up, so few are. */
const TYPES = [
  ..."work work work work slow slow slow flaky flaky broken broken".split(" "),
  "held",
] as const;

export interface Target {
  request(path: string, init?: RequestInit): Promise<Response>;
}

interface Sent {
  readonly path: string;
  readonly body: string;
}

export class CrashLoad {
  readonly #ledger: Ledger;
  readonly #dice: Dice;
  /** Called after each answer. */
  #onAnswer: () => void = () => undefined;
  #isOver = false;
  #numbers = 0;
  /** Tasks that a client is busy with: one at a time, so that the order of answers is the order of what happened. */
  readonly #busy = new Set<number>();
  #isSteering = false;
  /** What was sent under a key, to send it again. */
  readonly #sent = new Map<EnqueueAsked, Sent>();
  /** Answers that no one should get. */
  readonly surprises: string[] = [];

  constructor(ledger: Ledger, dice: Dice) {
    this.#ledger = ledger;
    this.#dice = dice;
  }

  /** Lets so many clients ask until the server is gone. Calls `onAnswer` after each answer. */
  async run(
    target: Target,
    clients: number,
    payloadBytes: number,
    onAnswer: () => void,
  ): Promise<void> {
    this.#onAnswer = onAnswer;
    this.#isOver = false;
    this.#isSteering = false;
    this.#busy.clear();
    await Promise.all(Array.from({ length: clients }, () => this.#client(target, payloadBytes)));
  }

  /** Sends what was sent under keys again: whatever was there keeps its ids, and what was not is there now. */
  async sendAgain(target: Target, times: number): Promise<void> {
    const keyed = this.#ledger.keyed();
    const open = keyed.filter(({ state }) => state === "open");
    const accepted = keyed.filter(({ state }) => state === "accepted");
    const again =
      accepted.length === 0 ? [] : Array.from({ length: times }, () => this.#dice.pick(accepted));
    for (const enqueue of [...open, ...again]) await this.#sendUnderKey(target, enqueue);
  }

  async #client(target: Target, payloadBytes: number): Promise<void> {
    while (!this.#isOver) {
      try {
        await this.#act(target, payloadBytes);
      } catch (error) {
        // The server is gone, which is what this is for. Anything else is a fault of these clients.
        if (!isConnectionLost(error)) throw error;
        this.#isOver = true;
      }
    }
  }

  async #act(target: Target, payloadBytes: number): Promise<void> {
    const act = this.#dice.below(100);
    if (act < 45) await this.#enqueue(target, 1, payloadBytes);
    else if (act < 60) await this.#enqueue(target, 2 + this.#dice.below(11), payloadBytes);
    else if (act < 70) await this.#cancel(target);
    else if (act < 77) await this.#retry(target);
    else if (act < 84) await this.#steer(target);
    else if (act < 89) await this.sendAgain(target, 1);
    else await this.#poll(target);
  }

  async #enqueue(target: Target, count: number, payloadBytes: number): Promise<void> {
    const dice = this.#dice;
    const tasks = someTasks(dice, count, this.#numbers + 1, TYPES);
    this.#numbers += count;
    const bodies = tasks.map(({ number, type, queue, priority, maxRetries }) => ({
      payload: { number, ms: dice.below(8), padding: "x".repeat(dice.below(payloadBytes)) },
      type,
      queue,
      priority,
      max_retries: maxRetries,
      ...(dice.oneIn(10) ? { delay_ms: dice.below(50) } : {}),
    }));
    const key = dice.oneIn(3) ? `key-${this.#numbers}` : null;
    const sent: Sent =
      count === 1
        ? { path: "/enqueue", body: JSON.stringify(bodies[0]) }
        : { path: "/enqueue/batch", body: JSON.stringify({ tasks: bodies }) };
    const enqueue = this.#ledger.enqueueAsked(tasks, key);
    this.#sent.set(enqueue, sent);
    await this.#send(target, enqueue, sent);
  }

  async #send(target: Target, enqueue: EnqueueAsked, { path, body }: Sent): Promise<void> {
    const response = await target.request(path, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(enqueue.key === null ? {} : { "idempotency-key": enqueue.key }),
      },
      body,
    });
    const text = await response.text();
    if (isStopping(response, text)) {
      // Under a key it may have been accepted before, and then it still is.
      if (enqueue.key === null) this.#ledger.refused(enqueue);
      return this.#answered();
    }
    if (response.status !== 202) return this.#surprised("an enqueue", response.status, text);
    const answer = JSON.parse(text) as { id: string } | { tasks: { id: string }[] };
    const ids = "tasks" in answer ? answer.tasks.map(({ id }) => id) : [answer.id];
    if (enqueue.state === "accepted" && ids.join() !== enqueue.ids.join()) {
      this.surprises.push(`${enqueue.key} was ${enqueue.ids.join()}, and is ${ids.join()}`);
    }
    this.#ledger.accepted(enqueue, ids);
    this.#answered();
  }

  async #sendUnderKey(target: Target, enqueue: EnqueueAsked): Promise<void> {
    const sent = this.#sent.get(enqueue);
    if (sent === undefined) throw new Error("what was asked for was also sent");
    await this.#send(target, enqueue, sent);
  }

  async #cancel(target: Target): Promise<void> {
    await this.#withTask(
      ({ promised }) => promised === null,
      async (number, id) => {
        this.#ledger.cancelAsked(number);
        const response = await target.request(`/tasks/${id}`, { method: "DELETE" });
        const text = await response.text();
        if (response.status === 200) this.#ledger.cancelAnswered(number);
        else if (response.status === 409) this.#ledger.cancelRefused(number);
        else this.#surprised("a cancel", response.status, text);
        this.#answered();
      },
    );
  }

  async #retry(target: Target): Promise<void> {
    await this.#withTask(
      ({ promised }) => promised === "cancelled" || promised === "failed",
      async (number, id) => {
        this.#ledger.retryAsked(number);
        const response = await target.request(`/tasks/${id}/retry`, { method: "POST" });
        const text = await response.text();
        if (response.status === 202) this.#ledger.retryAnswered(number);
        else if (isStopping(response, text)) this.#ledger.retryRefused(number);
        else this.#surprised("a retry", response.status, text);
        this.#answered();
      },
    );
  }

  async #poll(target: Target): Promise<void> {
    await this.#withTask(
      ({ promised, asked }) => promised === null && asked.type !== "held",
      async (number, id) => {
        const response = await target.request(`/tasks/${id}?wait_ms=20`);
        const text = await response.text();
        if (response.status !== 200) return this.#surprised("a poll", response.status, text);
        const { status } = JSON.parse(text) as TaskAnswer;
        if (isFinished(status)) this.#ledger.finished(number, status);
        this.#answered();
      },
    );
  }

  async #steer(target: Target): Promise<void> {
    const isThere = this.#ledger.accepteds().some(({ asked }) => asked.queue === STEERED);
    if (this.#isSteering || !isThere) return;
    this.#isSteering = true;
    if (this.#dice.oneIn(4)) {
      this.#ledger.purgeAsked(STEERED);
      const response = await target.request(`/queues/${STEERED}/tasks`, { method: "DELETE" });
      const text = await response.text();
      if (response.status === 200) this.#ledger.purgeAnswered(STEERED);
      else this.#surprised("a purge", response.status, text);
    } else {
      const isPaused = this.#dice.oneIn(2);
      this.#ledger.pauseAsked(STEERED, isPaused);
      const path = `/queues/${STEERED}/${isPaused ? "pause" : "resume"}`;
      const response = await target.request(path, { method: "POST" });
      const text = await response.text();
      if (response.status === 200) this.#ledger.pauseAnswered(STEERED, isPaused);
      else this.#surprised("a pause", response.status, text);
    }
    this.#isSteering = false;
    this.#answered();
  }

  async #withTask(
    fits: (task: { asked: AskedTask; promised: string | null }) => boolean,
    act: (number: number, id: string) => Promise<void>,
  ): Promise<void> {
    const fitting = this.#ledger
      .accepteds()
      .filter((task) => fits(task) && !this.#busy.has(task.asked.number));
    if (fitting.length === 0) return;
    const { asked, id } = this.#dice.pick(fitting);
    this.#busy.add(asked.number);
    await act(asked.number, id);
    this.#busy.delete(asked.number);
  }

  #answered(): void {
    this.#onAnswer();
  }

  #surprised(what: string, status: number, text: string): void {
    this.surprises.push(`${what} was answered ${status}: ${text}`);
    this.#answered();
  }
}

/** Reads everything that a server has. */
export async function findAll(target: Target): Promise<Found> {
  const tasks: FoundTask[] = [];
  let cursor: string | null = "";
  while (cursor !== null) {
    const query: string = cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const page = (await read(target, `/tasks?limit=500${query}`)) as {
      tasks: (TaskAnswer & { payload: { number: number }; priority: number })[];
      next_cursor: string | null;
    };
    for (const task of page.tasks) {
      tasks.push({
        number: task.payload.number,
        id: task.id,
        type: task.type,
        queue: task.queue,
        priority: task.priority,
        maxRetries: task.max_retries,
        status: task.status,
        attempt: task.attempt,
        lastErrorCode: task.error?.code ?? null,
        result: JSON.stringify(task.result),
      });
    }
    cursor = page.next_cursor;
  }
  const { queues } = (await read(target, "/queues")) as {
    queues: { name: string; paused: boolean }[];
  };
  return {
    tasks,
    paused: new Set(queues.filter(({ paused }) => paused).map(({ name }) => name)),
  };
}

function isStopping({ status }: Response, text: string): boolean {
  return status === 503 && (JSON.parse(text) as { code: string }).code === "shutting_down";
}

async function read(target: Target, path: string): Promise<unknown> {
  const response = await target.request(path);
  if (response.status !== 200) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

export function isFinished(status: string): boolean {
  return status === "done" || status === "failed" || status === "cancelled";
}
