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
    file: "task-registry.ts",
    code: `    const from = task.status;
    if (from === "running" &&`,
    planted: `    const from = task.status;
    if (to.status === "retrying" && task.queue.waiting >= task.queue.limits.size) {
      this.take(task, { ...to, status: "failed", finishedAtMs: now.wallMs }, now);
      return;
    }
    if (from === "running" &&`,
  },
  {
    defect: "One retry too few",
    file: "rules.ts",
    code: "failures > maxRetries",
    planted: "failures >= maxRetries",
  },
  {
    defect: "The bound by count lets in one more",
    file: "rules.ts",
    code: "heldTasks + tasks > limits.size",
    planted: "heldTasks + tasks > limits.size + 1",
  },
  {
    defect: "The bound by bytes refuses what just fits",
    file: "rules.ts",
    code: "heldBytes + bytes > limits.bytes",
    planted: "heldBytes + bytes >= limits.bytes",
  },
  {
    defect: "Only the first task of a batch is held to the bounds",
    file: "broker.ts",
    code: "this.#queues.refusalOf(specs)",
    planted: "this.#queues.refusalOf(specs.slice(0, 1))",
  },
  {
    defect: "A batch over several queues is held to the bounds of the first queue only",
    file: "queue-registry.ts",
    code: "if (queue !== undefined && areFor(queue, entrants)) {",
    planted: "if (queue !== undefined) {",
  },
  {
    defect: "FIFO breaks when a wrapped ring grows",
    file: "ring.ts",
    code: `for (let position = this.#head; position < this.#tail; position += 1) {
      const member = this.#slots[position & this.#mask];
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
    defect: "A released task goes to the end",
    file: "task-registry.ts",
    code: `if (from === "running") queue.ready`,
    planted: "if (from === null) queue.ready",
  },
  {
    defect: "A release spends a retry",
    file: "rules.ts",
    code: `  if (delayMs <= 0) return { ...unchanged(state), status: "queued" };`,
    planted: `  if (delayMs <= 0) return { ...unchanged(state), status: "queued", failures: state.failures + 1 };`,
  },
  {
    defect: "A stale fence is accepted",
    file: "attempts.ts",
    code: `task.status === "running" && task.fence === fence`,
    planted: `task.status === "running" && fence > 0 && fence <= task.fence`,
  },
  {
    defect: "A timeout lasts one millisecond too long",
    file: "attempts.ts",
    code: "const timeoutAtMs = now.monoMs + timeoutMs;",
    planted: "const timeoutAtMs = now.monoMs + timeoutMs + 1;",
  },
  {
    defect: "A revoked attempt is not told so on cancel",
    file: "broker.ts",
    code: `if (status === "running" && to.status === "cancelled") {`,
    planted: `if (status === "running" && to.status === "cancelled" && task.attempt > 1) {`,
  },
  {
    defect: "Bytes are not released when a task is cancelled",
    file: "task-registry.ts",
    code: `    this.leave(task);
    task.apply(to);
`,
    planted: `    this.leave(task);
    if (to.status === "cancelled" && isWaiting(from)) task.queue.waitingBytes += task.payloadBytes;
    task.apply(to);
`,
  },
  {
    defect: "The cancel of a retrying task does not count",
    file: "task-registry.ts",
    code: "if (isFinished(status)) queue.totals[status] += 1;",
    planted: `if (isFinished(status) && (status !== "cancelled" || from !== "retrying")) queue.totals[status] += 1;`,
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
    code: `task.queue !== queue || !isWaiting(task.status)`,
    planted: `task.queue !== queue || !isWaiting(task.status) || task.status === "scheduled"`,
  },
  {
    defect: "A queue that was served stays in front",
    file: "queue-registry.ts",
    code: `    ring.remove(list);
    ring.pushBack(list);
`,
    planted: "",
  },
  {
    defect: "A paused queue does not count as in use",
    file: "queue.ts",
    code: "this.pins > 0 || this.isPaused",
    planted: "this.pins > 0",
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
    file: "task-registry.ts",
    code: `    if (isFinished(from) && task.key !== null) this.keys.resumed(task.key);
`,
    planted: ``,
  },
  {
    defect: "A retry by hand passes the bounds",
    file: "broker.ts",
    code: "this.#queues.refusalOf([{ queue: queue.name, payloadBytes }])",
    planted: "this.#queues.refusalOf([])",
  },
  {
    defect: "A retry by hand does not give all retries back",
    file: "rules.ts",
    code: `    status: "queued",
    failures: 0,
`,
    planted: `    status: "queued",
`,
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
    file: "rules.ts",
    code: "backoffMs(backoff, failures - 1, random)",
    planted: "backoffMs(backoff, failures, random)",
  },
  {
    defect: "The heap forgets to lift what fills a gap",
    file: "due-heap.ts",
    code: `    this.#siftUp(last, last.position);
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
    code: `      entry.indexPosition = index;
      this.#entries[index]`,
    planted: "      this.#entries[index]",
  },
  {
    defect: "A queue is not idle when its last task is forgotten",
    file: "task-registry.ts",
    code: "if (task.queue.known === 0) this",
    planted: "if (task.queue.known < 0) this",
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
    file: "rules.ts",
    code: "errors.slice(1 - ERRORS_KEPT)",
    planted: "errors.slice(-ERRORS_KEPT)",
  },
  {
    defect: "Progress stays from the attempt before",
    file: "attempts.ts",
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
    file: "rules.ts",
    code: "return { ...afterRelease(state, 0, now), losses };",
    planted: `{
    const failures = state.failures + (code === "crash_loop" ? 1 : 0);
    return { ...afterRelease(state, 0, now), losses, failures };
  }`,
  },
  {
    defect: "One crash too many is forgiven",
    file: "rules.ts",
    code: "losses < LOSSES_MAX)",
    planted: `losses < LOSSES_MAX + (code === "crash_loop" ? 1 : 0))`,
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
    file: "restore.ts",
    code: "now.monoMs + (isTooLong ? lengthMs : leftMs)",
    planted: "now.monoMs + lengthMs",
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
  {
    defect: "A fence is used again",
    file: "attempts.ts",
    code: `    this.#nextFence += 1;
`,
    planted: `    if (task.attempt > 1) this.#nextFence += 1;
`,
  },
  {
    defect: "A restart gives a remote claim another fence",
    file: "restore.ts",
    code: "task.fence = fence;",
    planted: "task.fence = fence - 1;",
  },
  {
    defect: "A claim that was cancelled is told that it has expired",
    file: "attempts.ts",
    code: `cancelled: "cancelled",`,
    planted: `cancelled: "expired",`,
  },
  {
    defect: "An extend after the end is accepted",
    file: "attempts.ts",
    code: "if (!isHeldBy(task, fence) || task.lease === null) return",
    planted: "if (task.lease === null) return",
  },
  {
    defect: "An extend leads beyond the timeout",
    file: "lease.ts",
    code: "const endMs = Math.min(endsAtMs, timeoutAtMs);",
    planted: "const endMs = task.lease === null ? Math.min(endsAtMs, timeoutAtMs) : endsAtMs;",
  },
  {
    defect: "A lease reaches beyond the timeout",
    file: "lease.ts",
    code: "const endMs = Math.min(endsAtMs, timeoutAtMs);",
    planted: "const endMs = endsAtMs;",
  },
  {
    defect: "A lease and the timeout end together, and the lease is the reason",
    file: "attempts.ts",
    code: "lease.timeoutAtMs <= now.monoMs",
    planted: "lease.timeoutAtMs < now.monoMs",
  },
  {
    defect: "A lost lease is charged as a failure",
    file: "rules.ts",
    code: "return { ...afterRelease(state, 0, now), losses };",
    planted: `{
    const failures = state.failures + (code === "lease_lost" ? 1 : 0);
    return { ...afterRelease(state, 0, now), losses, failures };
  }`,
  },
  {
    defect: "A lost lease is not counted",
    file: "rules.ts",
    code: "const losses = state.losses + 1;",
    planted: `const losses = state.losses + (code === "lease_lost" ? 0 : 1);`,
  },
  {
    defect: "A failed settle does not end a row of losses",
    file: "rules.ts",
    code: `status: "retrying", failures, losses: 0`,
    planted: `status: "retrying", failures`,
  },
  {
    defect: "A retry by hand does not end a row of losses",
    file: "rules.ts",
    code: `    failures: 0,
    losses: 0,
`,
    planted: `    failures: 0,
`,
  },
  {
    defect: "A release ends a row of losses",
    file: "rules.ts",
    code: `  if (delayMs <= 0) return { ...unchanged(state), status: "queued" };`,
    planted: `  if (delayMs <= 0) return { ...unchanged(state), status: "queued", losses: 0 };`,
  },
  {
    defect: "The fourth lost lease fails a task, not the third",
    file: "rules.ts",
    code: "losses < LOSSES_MAX)",
    planted: `losses < LOSSES_MAX + (code === "lease_lost" ? 1 : 0))`,
  },
  {
    defect: "A release reverses the order",
    file: "ready-list.ts",
    code: `const index = indexOf(released, task.order);
    const behind`,
    planted: `const index = 0;
    const behind`,
  },
  {
    defect: "A release with a delay goes to the front",
    file: "task-registry.ts",
    code: `if (from === "running") queue.ready`,
    planted: `if (from === "running" || (from === "retrying" && task.receipt?.outcome === "released")) queue.ready`,
  },
  {
    defect: "A release with a delay spends a retry",
    file: "rules.ts",
    code: `status: "retrying", runAtMs: now`,
    planted: `status: "retrying", failures: state.failures + 1, runAtMs: now`,
  },
  {
    defect: "A release with a delay is charged as a retry",
    file: "task-registry.ts",
    code: `to.failures > task.failures ? "retried"`,
    planted: `to.status === "retrying" ? "retried"`,
  },
  {
    defect: "A settle that comes again settles again",
    file: "attempts.ts",
    code: `task.status === "running" && task.fence === fence`,
    planted: `task.status === "running" && (task.fence === fence || (task.settledFence === fence && fence > 0))`,
  },
  {
    defect: "A settle that comes again gets a receipt whatever its word",
    file: "attempts.ts",
    code: "settledFence === fence && receipt?.outcome === outcome.kind",
    planted: "settledFence === fence && receipt !== null",
  },
  {
    defect: "A receipt is lost when the task is claimed again",
    file: "attempts.ts",
    code: `    task.progress = null;
    const { lane`,
    planted: `    task.progress = null;
    task.receipt = null;
    const { lane`,
  },
  {
    defect: "A lease ends while the storage is away",
    file: "schedule.ts",
    code: "return this.isRemoteSuspended ? undefined : this.#remote.first();",
    planted: "return this.#remote.first();",
  },
  {
    defect: "A local timeout waits while the storage is away",
    file: "schedule.ts",
    code: "if (byMono !== undefined && byMono.dueAtMs <= monoMs) return byMono;",
    planted: `if (byMono !== undefined && byMono.dueAtMs <= monoMs && !(this.isRemoteSuspended && byMono.status === "running")) return byMono;`,
  },
  {
    defect: "A lease ends right after the storage is back",
    file: "broker.ts",
    code: `    this.#schedule.isRemoteSuspended = false;
    this.allowLateLeases(now);
`,
    planted: `    this.#schedule.isRemoteSuspended = false;
`,
  },
  {
    defect: "A lease ends right after a start",
    file: "broker.ts",
    code: `    this.allowLateLeases(now);
    this.#tasks.restore`,
    planted: "    this.#tasks.restore",
  },
  {
    defect: "A lease ends right after a pause of the process",
    file: "attempts.ts",
    code: "Math.min(LEASE_GRACE_MS, lease.lengthMs)",
    planted: "Math.min(LEASE_GRACE_MS, lease.lengthMs) / 2",
  },
  {
    defect: "The time after a start is longer than a lease",
    file: "attempts.ts",
    code: "Math.min(LEASE_GRACE_MS, lease.lengthMs)",
    planted: "LEASE_GRACE_MS",
  },
  {
    defect: "A clock that is set back lengthens a lease over a restart",
    file: "restore.ts",
    code: "clamp(leaseEndsAtMs - now.wallMs, 0, leaseMs)",
    planted: "Math.max(leaseEndsAtMs - now.wallMs, 0)",
  },
  {
    defect: "A restart begins the timeout of a remote claim anew",
    file: "restore.ts",
    code: "now.monoMs + timeoutMs - ranMs",
    planted: "now.monoMs + timeoutMs",
  },
  {
    defect: "A restart releases a remote claim",
    file: "task-registry.ts",
    code: `task.status === "running" && claim === null`,
    planted: `task.status === "running"`,
  },
  {
    defect: "The queues of a claim are out of order",
    file: "attempts.ts",
    code: "for (const name of queues) {",
    planted: "for (const name of queues.toReversed()) {",
  },
  {
    defect: "The queues of a claim by types are out of order",
    file: "attempts.ts",
    code: "for (const name of new Set(queues)) {",
    planted: "for (const name of new Set(queues.toReversed())) {",
  },
  {
    defect: "A claim by queues takes a turn",
    file: "attempts.ts",
    code: `      if (task !== undefined) return task;
`,
    planted: `      if (queue === undefined || task === undefined) continue;
      this.#queues.moveToBack(queue.ready[lane]);
      return task;
`,
  },
  {
    defect: "A claim by queues and types takes a turn",
    file: "attempts.ts",
    code: `          if (queue.isOpenTo(lane) && !isFull()) start(task);
`,
    planted: `          if (!queue.isOpen) continue;
          this.#queues.moveToBack(queue.ready[lane]);
          start(task);
`,
  },
  {
    defect: "A claim by types takes no turn",
    file: "attempts.ts",
    code: `      this.#queues.moveToBack(entry.list);
`,
    planted: "",
  },
  {
    defect: "A claim by queues ignores a pause",
    file: "attempts.ts",
    code: "const task = queue?.isOpenTo(lane) === true ?",
    planted: "const task = queue !== undefined ?",
  },
  {
    defect: "A claim by queues and types ignores a pause",
    file: "attempts.ts",
    code: "if (queue.isOpenTo(lane) && !isFull()) start(task);",
    planted: "start(task);",
  },
  {
    defect: "A claim by types starts more of a queue than may run at once",
    file: "attempts.ts",
    code: "entry.list.queue.isOpenTo(lane) ? entry.found.pop() : undefined",
    planted: "entry.found.pop()",
  },
  {
    defect: "The types of a claim are ignored",
    file: "ready-list.ts",
    code: "if (types.includes(task.settings.type)) found.push(task);",
    planted: "found.push(task);",
  },
  {
    defect: "The types of a claim are ignored where it names queues",
    file: "attempts.ts",
    code: "if (request.types !== undefined) return",
    planted: "if (request.types !== undefined && request.queues === undefined) return",
  },
  {
    defect: "A claim looks for its types in the first queue only",
    file: "attempts.ts",
    code: `      if (task === undefined) continue;
`,
    planted: `      if (task === undefined) break;
`,
  },
  {
    defect: "A claim passes over released tasks when it names types",
    file: "ready-list.ts",
    code: "for (const tasks of [released, waiting]) {",
    planted: "for (const tasks of [waiting, released]) {",
  },
  {
    defect: "A claim of several starts one more",
    file: "attempts.ts",
    code: "while (tasks.length < request.max && payloadBytes < CLAIM_PAYLOAD_BYTES) {",
    planted: "while (tasks.length <= request.max && (request.max > 1 || tasks.length === 0)) {",
  },
  {
    defect: "A claim of several by types starts one more",
    file: "attempts.ts",
    code: "      if (isFull()) break;",
    planted: "      if (tasks.length > max) break;",
  },
  {
    defect: "A wait grows over a restart when the clock is set back",
    file: "restore.ts",
    code: "const isTooLong = lengthMs >= 0 && leftMs > lengthMs;",
    planted: "const isTooLong = false;",
  },
  {
    defect: "A claim looks for its types at one task too many",
    file: "ready-list.ts",
    code: "if (searched === SEARCHED_MAX ||",
    planted: "if (searched > SEARCHED_MAX ||",
  },
  {
    defect: "A claim looks for its types at every task that waits",
    file: "ready-list.ts",
    code: "searched === SEARCHED_MAX || found",
    planted: "found",
  },
  {
    defect: "A claim looks for its types at a thousand tasks of each priority",
    file: "ready-list.ts",
    code: `    let searched = 0;
    for (const { released, waiting } of this.#levels) {
`,
    planted: `    for (const { released, waiting } of this.#levels) {
      let searched = 0;
`,
  },
  {
    defect: "A done settle ignores the fence when its claim is found without a search",
    file: "attempts.ts",
    code: `      if (task !== undefined && isHeldBy(task, fence)) {
        this.#latest`,
    planted: `      if (task !== undefined && (task === latest ? task.status === "running" : isHeldBy(task, fence))) {
        this.#latest`,
  },
  {
    defect: "A done settle is taken for the task of its claim, whichever task it names",
    file: "attempts.ts",
    code: "latest?.id === taskId ? latest : this.#tasks.find(taskId)",
    planted: "latest ?? this.#tasks.find(taskId)",
  },
  {
    defect: "A done settle leaves no receipt, so that it is not answered again",
    file: "task-registry.ts",
    code: `    task.receipt = to.receipt;
`,
    planted: "",
  },
  {
    defect: "A done settle does not note its fence",
    file: "task-registry.ts",
    code: `    task.settledFence = to.settledFence;
`,
    planted: "",
  },
  {
    defect: "A done settle leaves its result behind",
    file: "task-registry.ts",
    code: `    task.result = to.result;
`,
    planted: "",
  },
  {
    defect: "A restart loses the tags of a task",
    file: "task-registry.ts",
    code: "this.#settings = settingsOf(saved, this.#settings);",
    planted: "this.#settings = settingsOf({ ...saved, tags: [] }, this.#settings);",
  },
  {
    defect: "A task takes the tags of the one before",
    file: "task.ts",
    code: `    before.tags === tags &&
`,
    planted: "",
  },
  {
    defect: "A list looks for a tag at the first tag only",
    file: "page.ts",
    code: "task.settings.tags.includes(tag)",
    planted: "task.settings.tags[0] === tag",
  },
  {
    defect: "A list ignores the tag that it is asked for",
    file: "page.ts",
    code: "(tag === undefined || task.settings.tags.includes(tag))",
    planted: "(tag === undefined || tag.length > 0)",
  },
  {
    defect: "Tags do not count as kept bytes",
    file: "task.ts",
    code: `    for (const tag of this.settings.tags) bytes += tag.length;
`,
    planted: "",
  },
];
