/**
 * Defects to plant in src/core, one at a time: the simulator has to find each of them. A plant replaces a piece of code
 * that stands there exactly once, so that it goes stale loudly when the code changes.
 */

export interface Plant {
  /** What is wrong with the queue once it is planted. */
  readonly defect: string;
  /** In src/core. */
  readonly file: string;
  readonly code: string;
  readonly planted: string;
}

export const PLANTS: readonly Plant[] = [
  {
    defect: "A retry is dropped when its queue is full",
    file: "broker.ts",
    code: `if (retry.kind === "never" || task.failures > task.maxRetries) {`,
    planted: `if (retry.kind === "never" || task.failures > task.maxRetries || task.home.waiting >= task.home.limits.size) {`,
  },
  {
    defect: "One retry too few",
    file: "broker.ts",
    code: "task.failures > task.maxRetries) {",
    planted: "task.failures >= task.maxRetries) {",
  },
  {
    defect: "The bound by count lets in one more",
    file: "queue-registry.ts",
    code: "+ tasks > limits.size",
    planted: "+ tasks > limits.size + 1",
  },
  {
    defect: "The bound by bytes refuses what just fits",
    file: "queue-registry.ts",
    code: "+ bytes > limits.bytes",
    planted: "+ bytes >= limits.bytes",
  },
  {
    defect: "Only the first task of a batch is held to the bounds",
    file: "broker.ts",
    code: "this.#queues.refusalOf(fresh)",
    planted: "this.#queues.refusalOf(fresh.slice(0, 1))",
  },
  {
    defect: "FIFO breaks when a wrapped ring grows",
    file: "ring.ts",
    code: `for (let place = this.#head; place < this.#tail; place += 1) {
      const member = this.#slots[place & this.#mask];
      if (member === undefined) continue;
      slots`,
    planted: `for (const member of this.#slots) {
      if (member === undefined) continue;
      slots`,
  },
  {
    defect: "An id is lost behind another with its hash",
    file: "task-index.ts",
    code: `typeof entry === "object" && entry.id === id) return entry;`,
    planted: `typeof entry === "object") return entry.id === id ? entry : undefined;`,
  },
  {
    defect: "An id leads elsewhere after gaps were squeezed out",
    file: "task-index.ts",
    code: "      this.#hashes[index] = this.#hashes[from] as number;\n",
    planted: "",
  },
  {
    defect: "Priority is inverted",
    file: "ready-list.ts",
    code: "level.priority < priority",
    planted: "level.priority > priority",
  },
  {
    defect: "An interrupted task goes to the end",
    file: "task-registry.ts",
    code: "home.lines[task.lane].pushFront(task)",
    planted: "home.lines[task.lane].pushBack(task)",
  },
  {
    defect: "An interrupted attempt costs a retry",
    file: "broker.ts",
    code: "task.home.totals.interrupted += 1;",
    planted: `task.home.totals.interrupted += 1;
        task.failures += 1;`,
  },
  {
    defect: "A stale fence is accepted",
    file: "broker.ts",
    code: `settle(task: Task, fence: number, outcome: Outcome, now: Instant, random: Random): boolean {
    // A late settle loses: the lease moved on, so the fence no longer matches.
    if (task.status !== "running" || task.attempt !== fence) return false;`,
    planted: `settle(task: Task, fence: number, outcome: Outcome, now: Instant, random: Random): boolean {
    if (task.status !== "running" || fence > task.attempt) return false;`,
  },
  {
    defect: "A lease lasts one millisecond too long",
    file: "broker.ts",
    code: "now.monoMs + task.timeoutMs",
    planted: "now.monoMs + task.timeoutMs + 1",
  },
  {
    defect: "A revoked attempt is not told so on cancel",
    file: "broker.ts",
    code: "if (isRunning) this.#observer",
    planted: "if (isRunning && task.attempt > 1) this.#observer",
  },
  {
    defect: "Bytes are not released when a task is cancelled",
    file: "broker.ts",
    code: `    this.#tasks.enter(task, "cancelled", now);`,
    planted: `    if (!isRunning) task.home.waitingBytes += task.payloadBytes;
    this.#tasks.enter(task, "cancelled", now);`,
  },
  {
    defect: "The cancel of a retrying task does not count",
    file: "task-registry.ts",
    code: "home.totals[status] += 1;",
    planted: `if (status !== "cancelled" || from !== "retrying") home.totals[status] += 1;`,
  },
  {
    defect: "A paused queue is claimed from",
    file: "queue.ts",
    code: "!this.isPaused && this.counts",
    planted: "this.counts",
  },
  {
    defect: "One more runs at once than may",
    file: "queue.ts",
    code: "this.counts.running < this.limits",
    planted: "this.counts.running <= this.limits",
  },
  {
    defect: "A purge leaves what is scheduled",
    file: "broker.ts",
    code: "task.home === queue && isWaiting(task.status)",
    planted: `task.home === queue && isWaiting(task.status) && task.status !== "scheduled"`,
  },
  {
    defect: "A queue that was served stays in front",
    file: "queue-registry.ts",
    code: `    turns.remove(line);
    turns.pushBack(line);
`,
    planted: "",
  },
  {
    defect: "A paused queue does not count as in use",
    file: "queue-registry.ts",
    code: `queue.load > 0 || queue.isPaused;
    if`,
    planted: `queue.load > 0;
    if`,
  },
  {
    defect: "A key is forgotten one millisecond early",
    file: "idempotency.ts",
    code: "sinceMs + this.#limits.retainMs;",
    planted: "sinceMs + this.#limits.retainMs - 1;",
  },
  {
    defect: "A key is forgotten although a task of its batch is unfinished",
    file: "idempotency.ts",
    code: "record.unfinished > 0",
    planted: "record.unfinished > 1",
  },
  {
    defect: "A retry by hand does not keep its key",
    file: "broker.ts",
    code: "if (task.key !== null) this.#keys.resumed(task.key);",
    planted: "",
  },
  {
    defect: "A retry by hand passes the bounds",
    file: "broker.ts",
    code: "return this.#queues.refusalOf([task]);",
    planted: "return this.#queues.refusalOf([]);",
  },
  {
    defect: "A retry by hand does not give all retries back",
    file: "broker.ts",
    code: `    task.failures = 0;
`,
    planted: "",
  },
  {
    defect: "`run_at` does not follow a jump of the wall clock",
    file: "task-registry.ts",
    code: `        task.dueAtMs = when.wallMs;
        task.runAtMs = when.wallMs;
        task.isDueByWall = true;`,
    planted: `        task.dueAtMs = now.monoMs + when.wallMs - now.wallMs;
        task.runAtMs = when.wallMs;`,
  },
  {
    defect: "A delay follows a jump of the wall clock",
    file: "task-registry.ts",
    code: `        task.dueAtMs = now.monoMs + when.delayMs;
`,
    planted: `        task.dueAtMs = now.wallMs + when.delayMs;
        task.isDueByWall = true;
`,
  },
  {
    defect: "The backoff starts with twice the base",
    file: "broker.ts",
    code: "task.failures - 1, random",
    planted: "task.failures, random",
  },
  {
    defect: "The heap forgets to lift what fills a gap",
    file: "due-heap.ts",
    code: `    this.#siftUp(last, last.place);
`,
    planted: "",
  },
  {
    defect: "Equal due times lose their order",
    file: "due-heap.ts",
    code: "(a.dueAtMs === b.dueAtMs && a.seq < b.seq)",
    planted: "(a.dueAtMs === b.dueAtMs && a.seq > b.seq)",
  },
  {
    defect: "A list loses its order when its gaps are squeezed out",
    file: "task-index.ts",
    code: `      entry.line = index;
      this.#line[index]`,
    planted: "      this.#line[index]",
  },
  {
    defect: "A queue is not idle when its last task is forgotten",
    file: "task-registry.ts",
    code: "if (task.home.known === 0) this.queues.changed",
    planted: "if (task.home.known < 0) this.queues.changed",
  },
  {
    defect: "A finished task is kept one millisecond too long",
    file: "retention.ts",
    code: "oldest.dueAtMs <= nowMs",
    planted: "oldest.dueAtMs < nowMs",
  },
  {
    defect: "One finished task more is kept than may be",
    file: "retention.ts",
    code: "this.#finished.size > this.#limits.tasks",
    planted: "this.#finished.size > this.#limits.tasks + 1",
  },
  {
    defect: "A page repeats its last task",
    file: "page.ts",
    code: "nextBeforeSeq: lastSeq",
    planted: "nextBeforeSeq: lastSeq + 1",
  },
  {
    defect: "Six errors are kept",
    file: "task.ts",
    code: "slice(1 - ERRORS_KEPT)",
    planted: "slice(-ERRORS_KEPT)",
  },
  {
    defect: "Progress stays from the attempt before",
    file: "broker.ts",
    code: `    task.progress = null;
`,
    planted: "",
  },
  {
    defect: "Idle queues grow in number until the next tick",
    file: "queue-registry.ts",
    code: "if (isIdle && this.#idle.size",
    planted: "if (isIdle && false && this.#idle.size",
  },
  {
    defect: "The one that waits longest is hidden by one that gets its turn back",
    file: "ready-list.ts",
    code: "task.queuedSinceMs = Math.min(task.queuedSinceMs, behind.queuedSinceMs);",
    planted: "task.queuedSinceMs = Math.max(task.queuedSinceMs, behind.queuedSinceMs);",
  },
  {
    defect: "A reservation holds no place",
    file: "queue.ts",
    code: `    this.reserved += 1;
`,
    planted: `    this.reserved += 0;
`,
  },
  {
    defect: "What is withdrawn still holds its bytes",
    file: "queue.ts",
    code: `    this.reservedBytes -= payloadBytes;
`,
    planted: "",
  },
  {
    defect: "A withdrawn reservation leaves its queue behind",
    file: "queue-registry.ts",
    code: "if (!queue.isIdle || queue.totals.enqueued > 0) {",
    planted: "if (queue.isIdle || queue.totals.enqueued > 0) {",
  },
  {
    defect: "A crash costs a retry",
    file: "task-registry.ts",
    code: `  task.crashes += 1;
`,
    planted: `  task.crashes += 1;
  task.failures += 1;
`,
  },
  {
    defect: "One crash too many is forgiven",
    file: "task-registry.ts",
    code: "task.crashes < CRASHES_MAX",
    planted: "task.crashes <= CRASHES_MAX",
  },
  {
    defect: "A restart ends a pause",
    file: "task-registry.ts",
    code: `      queue.isPaused = true;
`,
    planted: "",
  },
  {
    defect: "A restart lets a delay begin anew",
    file: "task-registry.ts",
    code: "now.monoMs + runAtMs - now.wallMs",
    planted: "now.monoMs + runAtMs - task.enqueuedAtMs",
  },
  {
    defect: "A restart forgets that a key has unfinished tasks",
    file: "task-registry.ts",
    code: "else if (task.key !== null) task.key.unfinished += 1;",
    planted: "",
  },
  {
    defect: "A restart makes finished tasks young again",
    file: "task-registry.ts",
    code: "this.retention.add(task, now.monoMs - ageOf(finishedAtOf(task), now))",
    planted: "this.retention.add(task, now.monoMs)",
  },
  {
    defect: "The key of a task that crashed too often begins anew with every restart",
    file: "idempotency.ts",
    code: `      record.finishedAtMs = now.wallMs;
      this`,
    planted: "      this",
  },
];
