/**
 * Counts what happens in histories. A kind of thing that never happens was never tested, so every kind is listed here
 * before it is counted.
 */

import { LANES, type Lane } from "../../src/core/lane.ts";
import type { ClaimEnd, ClaimRequest } from "../../src/core/outcomes.ts";
import { isStep, TASK_STATUSES } from "../../src/core/status.ts";
import type { History } from "./history.ts";
import { MARKS } from "./model.ts";
import { isWaiting, type ModelTask } from "./model-state.ts";
import type { Operation } from "./operation.ts";

const ENQUEUE_ANSWERS = [
  "accepted",
  "repeated",
  "key_reused",
  "refused queue_size",
  "refused queue_bytes",
  "refused queues_max",
];

const RESERVE_ANSWERS = ENQUEUE_ANSWERS.with(0, "reserved");

const CLAIM_ENDS: readonly ClaimEnd[] = ["expired", "timeout", "settled", "cancelled", "unknown"];

const KINDS: readonly string[] = [
  ...MARKS,
  ...ENQUEUE_ANSWERS.map((answer) => `enqueue one: ${answer}`),
  ...ENQUEUE_ANSWERS.map((answer) => `enqueue several: ${answer}`),
  ...RESERVE_ANSWERS.map((answer) => `reserve one: ${answer}`),
  ...RESERVE_ANSWERS.map((answer) => `reserve several: ${answer}`),
  "publish",
  "withdraw",
  "restart",
  "restart: loses an attempt",
  "restart: fails a task that crashed too often",
  "enqueue: after a delay",
  "enqueue: at a time of day",
  "enqueue: at a time of day that has passed",
  "enqueue: into several queues",
  ...LANES.flatMap((lane) => [
    `claim ${lane}: a task`,
    `claim ${lane}: nothing`,
    `claim ${lane}: several`,
    `claim ${lane}: a task of the queues that it names`,
    `claim ${lane}: a task of the types that it names`,
    `claim ${lane}: a task of the queues and types that it names`,
  ]),
  "claim: several, of one queue after another in order",
  "claim: nothing, because of a pause",
  "claim: nothing, because as many run as may",
  "claim: nothing, because remote workers hold as many as they may",
  ...["done", "released", "released, delayed", "failed, backoff"].flatMap((way) => [
    `settle ${way}: settled`,
    `settle ${way}: repeated`,
    `settle ${way}: claim lost`,
  ]),
  "settle failed, after: settled",
  "settle failed, never: settled",
  ...CLAIM_ENDS.flatMap((ended) => [
    `settle: claim lost: ${ended}`,
    `settle: claim lost: ${ended}, while another claim holds it`,
  ]),
  "settle: repeated, while another claim holds it",
  "settle: by the claim of another task",
  "settle: a retry into a full queue",
  "settle: a sixth error",
  "extend: extended",
  ...CLAIM_ENDS.map((ended) => `extend: claim lost: ${ended}`),
  "progress: noted",
  ...CLAIM_ENDS.map((ended) => `progress: claim lost: ${ended}`),
  "storage: goes away",
  "storage: comes back",
  "stall",
  "cancel: cancelled",
  "cancel: finished",
  "cancel: unknown",
  "retry: queued",
  "retry: not_retryable",
  "retry: unknown",
  "retry: refused queue_size",
  "retry: refused queue_bytes",
  "retry: refused queues_max",
  "pause: set",
  "pause: unknown",
  "pause: refused queues_max",
  "resume: set",
  "resume: unknown",
  "purge: some",
  "purge: none",
  "purge: unknown",
  "tick: nothing due",
  "tick: one due",
  "tick: several due",
  "list: the last page",
  "list: one page of several",
  "time goes by",
  "time: the wall clock is set forward",
  "time: the wall clock is set back",
  "revoked: timeout",
  "revoked: cancelled",
  "revoked: lease_lost",
  "forgotten: a task",
  "forgotten: a queue",
  "forgotten: a key",
  "step: new → scheduled",
  "step: new → queued",
  ...TASK_STATUSES.flatMap((from) =>
    TASK_STATUSES.filter((to) => isStep(from, to)).map((to) => `step: ${from} → ${to}`),
  ),
];

export class Tally {
  readonly #counts = new Map<string, number>(KINDS.map((kind) => [kind, 0]));
  #tasks = 0;
  #queues = 0;
  #keys = 0;

  /** How often each kind of thing happened. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  /** A history begins, with nothing in it. */
  begin(): void {
    this.#tasks = 0;
    this.#queues = 0;
    this.#keys = 0;
  }

  /** An operation was done. */
  add(operation: Operation, { expected, model, now }: History): void {
    this.#addOperation(operation, expected, model.tasks, now.wallMs);
    this.#addNews(model.heard);
    for (const mark of model.marks) this.#count(mark);
    if (operation.kind === "restart") {
      for (const news of model.heard) {
        if (news === "queued") this.#count("restart: loses an attempt");
        if (news === "failed") this.#count("restart: fails a task that crashed too often");
      }
    }
    // Nothing but an enqueue adds any, so what is fewer than before was forgotten.
    const { tasks, queues, keys } = model;
    if (tasks.length < this.#tasks) this.#count("forgotten: a task");
    if (queues.length < this.#queues) this.#count("forgotten: a queue");
    if (keys.length < this.#keys) this.#count("forgotten: a key");
    this.#tasks = tasks.length;
    this.#queues = queues.length;
    this.#keys = keys.length;
    if (operation.kind === "tick") {
      const due = model.heard.length / 3;
      this.#count(`tick: ${due === 0 ? "nothing" : due === 1 ? "one" : "several"} due`);
    }
  }

  #addOperation(
    operation: Operation,
    answer: string,
    tasks: readonly ModelTask[],
    wallMs: number,
  ): void {
    switch (operation.kind) {
      case "publish":
      case "withdraw":
      case "restart":
        this.#count(operation.kind);
        break;
      case "enqueue":
      case "reserve":
        this.#addEnqueue(operation, answer, wallMs);
        break;
      case "claim":
        this.#addClaim(operation.request, answer, tasks);
        break;
      case "settle":
        this.#addSettle(operation, answer, tasks);
        break;
      case "extend":
      case "progress":
        this.#count(`${operation.kind}: ${withoutReceipt(answer)}`);
        break;
      case "suspendRemote":
        this.#count("storage: goes away");
        break;
      case "resumeRemote":
        this.#count("storage: comes back");
        break;
      case "stall":
        this.#count(operation.kind);
        break;
      case "cancel":
      case "retry":
      case "pause":
      case "resume":
        this.#count(`${operation.kind}: ${withoutQueue(answer)}`);
        break;
      case "purge":
        this.#count(`purge: ${answer === "unknown" ? answer : answer === "0" ? "none" : "some"}`);
        break;
      case "list":
        this.#count(answer.endsWith("null") ? "list: the last page" : "list: one page of several");
        break;
      case "advance":
        this.#count("time goes by");
        break;
      case "jumpWall":
        this.#count(`time: the wall clock is set ${operation.ms < 0 ? "back" : "forward"}`);
        break;
      case "tick":
        break;
      default:
        operation satisfies never;
    }
  }

  #addEnqueue(
    { kind, fresh }: Operation & { kind: "enqueue" | "reserve" },
    answer: string,
    wallMs: number,
  ): void {
    this.#count(`${kind} ${fresh.length === 1 ? "one" : "several"}: ${withoutQueue(answer)}`);
    if (answer.startsWith("re") && !answer.startsWith("reserved")) return;
    for (const { when, queue } of fresh) {
      if (when.kind === "after") this.#count("enqueue: after a delay");
      if (when.kind === "at") this.#count("enqueue: at a time of day");
      if (when.kind === "at" && when.wallMs <= wallMs) {
        this.#count("enqueue: at a time of day that has passed");
      }
      if (queue !== fresh[0]?.queue) this.#count("enqueue: into several queues");
    }
  }

  #addClaim(
    { lane, queues, types }: ClaimRequest,
    answer: string,
    tasks: readonly ModelTask[],
  ): void {
    if (answer === "nothing") {
      this.#count(`claim ${lane}: nothing`);
      this.#addClosed(lane, tasks);
      return;
    }
    const claims = answer.split(" ");
    this.#count(`claim ${lane}: a task`);
    if (claims.length > 1) this.#count(`claim ${lane}: several`);
    if (queues !== undefined && types === undefined) {
      this.#count(`claim ${lane}: a task of the queues that it names`);
    }
    if (queues === undefined && types !== undefined) {
      this.#count(`claim ${lane}: a task of the types that it names`);
    }
    if (queues === undefined) return;
    if (types !== undefined) {
      this.#count(`claim ${lane}: a task of the queues and types that it names`);
    }
    const names = claims.map((claim) => {
      const [id] = claim.split("/");
      return tasks.find(({ fresh }) => fresh.id === id)?.queue.name;
    });
    if (new Set(names).size > 1) this.#count("claim: several, of one queue after another in order");
  }

  /** Why nothing could be claimed although something is queued. */
  #addClosed(lane: Lane, tasks: readonly ModelTask[]): void {
    for (const { status, queue, fresh } of tasks) {
      if (status !== "queued") continue;
      if (queue.isPaused) this.#count("claim: nothing, because of a pause");
      else if (queue.limits.concurrency < Number.POSITIVE_INFINITY) {
        this.#count("claim: nothing, because as many run as may");
      } else if (lane === "remote" && fresh.lane === lane) {
        const held = tasks.filter((task) => task.queue === queue && task.lease !== null);
        if (held.length < queue.limits.claims) continue;
        this.#count("claim: nothing, because remote workers hold as many as they may");
      }
    }
  }

  #addSettle(
    { id, of = id, outcome }: Operation & { kind: "settle" },
    answer: string,
    tasks: readonly ModelTask[],
  ): void {
    const isDelayed = outcome.kind === "released" && (outcome.delayMs ?? 0) > 0;
    const way = outcome.kind === "failed" ? `failed, ${outcome.retry.kind}` : outcome.kind;
    const [kind = ""] = answer.split(":", 1);
    this.#count(`settle ${way}${isDelayed ? ", delayed" : ""}: ${kind}`);
    const task = tasks.find(({ fresh }) => fresh.id === id);
    if (of !== id) this.#count("settle: by the claim of another task");
    if (kind !== "settled") {
      const end = kind === "repeated" ? kind : answer;
      this.#count(`settle: ${end}`);
      if (task?.status === "running") this.#count(`settle: ${end}, while another claim holds it`);
      return;
    }
    if (task === undefined) return;
    if (task.errors[0]?.attempt !== undefined && task.errors[0].attempt > 1) {
      this.#count("settle: a sixth error");
    }
    if (task.status !== "retrying") return;
    const waiting = tasks.filter((each) => each.queue === task.queue && isWaiting(each)).length;
    if (waiting > task.queue.limits.size) this.#count("settle: a retry into a full queue");
  }

  /** The news come in threes: id, from, to for a step; id, fence, reason for a revocation. */
  #addNews(heard: readonly (string | number | null)[]): void {
    for (let index = 0; index < heard.length; index += 3) {
      const second = heard[index + 1];
      const third = heard[index + 2];
      this.#count(
        typeof second === "number" ? `revoked: ${third}` : `step: ${second ?? "new"} → ${third}`,
      );
    }
  }

  #count(kind: string): void {
    const count = this.#counts.get(kind);
    // What is rarely worth a kind of its own, as a stale settle of each outcome, is not listed.
    if (count !== undefined) this.#counts.set(kind, count + 1);
  }
}

/** An answer without what was extended. */
function withoutReceipt(answer: string): string {
  return answer.startsWith("extended") ? "extended" : answer;
}

/** An answer's kind: its first word, and for a refusal the bound as well. */
function withoutQueue(answer: string): string {
  const [kind, bound] = answer.split(" ", 2);
  return kind === "refused" ? `refused ${bound}` : (kind ?? "");
}
