/**
 * The claims of remote workers that wait for a task. They are served first come, first served, at
 * the end of the tick in which a task became ready.
 *
 * Claims for the same queues and types are one group, since most workers ask for the same: a ready
 * task has to be matched with the groups, not with every claim.
 */

import type { Clock } from "../../clock.ts";
import type { ClaimRequest } from "../../core/outcomes.ts";
import type { ClaimAnswer, EngineWorker, Stopping, TooManyWaiting } from "../engine.ts";

export interface WaitingClaimsOptions {
  readonly clock: Clock;
  /** The largest number of claims that wait. */
  readonly max: number;
  /** Claims now, without waiting. */
  readonly claim: (request: ClaimRequest) => ClaimAnswer;
}

interface Waiting {
  readonly request: ClaimRequest;
  /** Its number in the order of arrival. */
  readonly order: number;
  readonly answer: (answer: ClaimAnswer) => void;
}

/** Claims for the same queues and types, in the order of arrival. */
interface Group {
  readonly key: string;
  readonly queues: readonly string[] | undefined;
  readonly types: readonly string[] | undefined;
  readonly waiting: Set<Waiting>;
}

/** The types of the tasks that became ready in a queue; `any` where they are not known. */
type ReadyTypes = Set<string> | "any";

export class WaitingClaims implements EngineWorker {
  readonly #options: WaitingClaimsOptions;
  readonly #groups = new Map<string, Group>();
  /** The number of waiting claims for each queue by name; `#forAll` counts those for all queues. */
  readonly #byQueue = new Map<string, number>();
  #forAll = 0;
  #size = 0;
  #lastOrder = 0;
  /** The queues in which tasks became ready since the last serving. */
  #ready = new Map<string, ReadyTypes>();
  #isClosed = false;

  constructor(options: WaitingClaimsOptions) {
    this.#options = options;
  }

  /** The number of waiting claims that would take a task of this queue. */
  countFor(queue: string): number {
    return this.#forAll + (this.#byQueue.get(queue) ?? 0);
  }

  /**
   * Claims at once if anything can start; otherwise when a task becomes ready. Nothing is claimed
   * once `signal` has aborted, or the claims are closed. After `waitMs` the answer is that of a
   * claim that does not wait.
   */
  claim(
    request: ClaimRequest,
    waitMs: number,
    signal: AbortSignal,
  ): ClaimAnswer | TooManyWaiting | Promise<ClaimAnswer> {
    if (this.#isClosed) return STOPPING;
    if (signal.aborted) return NOTHING;
    // Earlier claims come first.
    this.#serve();
    const { claim, max } = this.#options;
    const answer = claim(request);
    if (answer.kind !== "claimed" || answer.claims.length > 0 || waitMs <= 0) return answer;
    return this.#size >= max
      ? { kind: "too_many_waiting", max }
      : this.#wait(request, waitMs, signal);
  }

  onReady(_count: number, queue: string, type?: string): void {
    if (this.countFor(queue) === 0) return;
    if (this.#ready.size === 0) setImmediate(() => this.#serve());
    const types = this.#ready.get(queue);
    if (type === undefined) this.#ready.set(queue, "any");
    else if (types === undefined) this.#ready.set(queue, new Set([type]));
    else if (types !== "any") types.add(type);
  }

  onRevoke(): void {
    // Remote workers hear of it when they extend or settle.
  }

  /** Answers all waiting claims, and all later ones: the engine hands out nothing more. */
  close(): void {
    this.#isClosed = true;
    for (const { waiting } of [...this.#groups.values()]) {
      for (const each of [...waiting]) each.answer(STOPPING);
    }
  }

  #wait(request: ClaimRequest, waitMs: number, signal: AbortSignal): Promise<ClaimAnswer> {
    return new Promise((resolve) => {
      this.#lastOrder += 1;
      const end = (answer: ClaimAnswer): void => {
        cancelTimer();
        signal.removeEventListener("abort", onAbort);
        this.#remove(waiting, group);
        resolve(answer);
      };
      const onAbort = (): void => end(NOTHING);
      const waiting: Waiting = { request, order: this.#lastOrder, answer: end };
      const group = this.#add(waiting);
      const cancelTimer = this.#options.clock.after(waitMs, () => {
        // Earlier claims come first, and this one may be among those that are served.
        this.#serve();
        if (group.waiting.has(waiting)) end(this.#options.claim(request));
      });
      signal.addEventListener("abort", onAbort);
    });
  }

  /** Gives the ready tasks to the claims that wait for them, in the order of arrival. */
  #serve(): void {
    if (this.#ready.size === 0) return;
    const ready = this.#ready;
    this.#ready = new Map();
    const groups = [...this.#groups.values()].filter((group) => isFor(group, ready));
    // The next one is at the end.
    groups.sort((a, b) => orderOf(b) - orderOf(a));
    for (let group = groups.pop(); group !== undefined; group = groups.pop()) {
      const [first] = group.waiting;
      const answer = first && this.#options.claim(first.request);
      // The later claims of the group would not get anything either.
      if (answer?.kind !== "claimed" || answer.claims.length === 0) continue;
      first?.answer(answer);
      if (group.waiting.size > 0) groups.splice(indexFor(groups, orderOf(group)), 0, group);
    }
  }

  #add(waiting: Waiting): Group {
    const { queues, types } = waiting.request;
    const key = JSON.stringify([queues, types]);
    const group = this.#groups.get(key) ?? { key, queues, types, waiting: new Set() };
    group.waiting.add(waiting);
    this.#groups.set(key, group);
    this.#count(group, 1);
    return group;
  }

  #remove(waiting: Waiting, group: Group): void {
    group.waiting.delete(waiting);
    if (group.waiting.size === 0) this.#groups.delete(group.key);
    this.#count(group, -1);
  }

  #count({ queues }: Group, change: 1 | -1): void {
    this.#size += change;
    if (queues === undefined) this.#forAll += change;
    for (const queue of new Set(queues)) {
      const count = (this.#byQueue.get(queue) ?? 0) + change;
      if (count === 0) this.#byQueue.delete(queue);
      else this.#byQueue.set(queue, count);
    }
  }
}

const STOPPING: Stopping = { kind: "stopping" };

const NOTHING: ClaimAnswer = { kind: "claimed", claims: [] };

/** Whether these claims may get one of the ready tasks. */
function isFor({ queues, types }: Group, ready: ReadonlyMap<string, ReadyTypes>): boolean {
  for (const [queue, readyTypes] of ready) {
    if (queues !== undefined && !queues.includes(queue)) continue;
    if (types === undefined || readyTypes === "any") return true;
    if (types.some((type) => readyTypes.has(type))) return true;
  }
  return false;
}

/** The number of its first claim in the order of arrival. */
function orderOf({ waiting }: Group): number {
  const [first] = waiting;
  return first?.order ?? 0;
}

/** Where a group with this order belongs among others that are sorted, the last in order first. */
function indexFor(groups: readonly Group[], order: number): number {
  let low = 0;
  let high = groups.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (orderOf(groups[middle] as Group) > order) low = middle + 1;
    else high = middle;
  }
  return low;
}
