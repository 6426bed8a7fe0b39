/**
 * Defects to plant in src/, one at a time: the suites in this folder have to find each of them. A plant replaces a piece
 * of code that stands there exactly once, so that it goes stale loudly when the code changes.
 */

import type { Plant } from "../sim/plants.ts";

/** `file` is in src/engine. */
export const FAULT_PLANTS: readonly Plant[] = [
  {
    defect: "An enqueue is answered before its COMMIT",
    file: "sqlite/group-commit.ts",
    code: `    const fault = this.#write(entries, planned);`,
    planted: `    for (const { reservation, answer } of entries) answer({ kind: "accepted", receipts: reservation.receipts });
    const fault = this.#write(entries, planned);`,
  },
  {
    defect: "The same, a turn of the event loop before",
    file: "sqlite/group-commit.ts",
    code: `    this.#soon();
    return answer;`,
    planted: `    this.#soon();
    return Promise.resolve({ kind: "accepted", receipts: reservation.receipts });`,
  },
  {
    defect: "synchronous=OFF",
    file: "sqlite/data-file.ts",
    code: `["synchronous", durability, isFull === 1 ? 2 : 1],`,
    planted: `["synchronous", "OFF", 0],`,
  },
  {
    defect: "synchronous=NORMAL for DURABILITY=full",
    file: "sqlite/data-file.ts",
    code: `["synchronous", durability, isFull === 1 ? 2 : 1],`,
    planted: `["synchronous", "NORMAL", 1],`,
  },
  {
    defect: "A pause is not written",
    file: "sqlite/store.ts",
    code: "(isPaused ? pause : resume).run(queue);",
    planted: "if (!isPaused) (isPaused ? pause : resume).run(queue);",
  },
  {
    defect: "The end of a pause is not written",
    file: "sqlite/store.ts",
    code: "(isPaused ? pause : resume).run(queue);",
    planted: "if (isPaused) (isPaused ? pause : resume).run(queue);",
  },
  {
    defect: "Claims are not written",
    file: "sqlite/running-file.ts",
    code: `    this.#write(this.#slot, length, slot * SLOT_BYTES);
`,
    planted: ``,
  },
  {
    defect: "The slot of a claim is given out again before the end of its attempt is on disk",
    file: "sqlite/running-file.ts",
    code: `this.#ended.push(slot);`,
    planted: `this.#free.push(slot);`,
  },
  {
    defect: "A torn running file stops the start",
    file: "sqlite/running-file.ts",
    code: `  const own = new Uint8Array(SLOT_BYTES);
  own.set(bytes.subarray(slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES));`,
    planted: `  const own = Uint8Array.from(bytes.subarray(slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES));`,
  },
  {
    defect: "Idempotency keys are not written",
    file: "sqlite/store.ts",
    code: "this.#statements.insertKey.run(seq, key, fingerprint, JSON.stringify(receipts));",
    planted: "",
  },
  {
    defect: "A cancel is not written",
    file: "host/commands.ts",
    code: `return stepPlan(broker, plan, () => ({ kind: "cancelled", task: viewOf(task) }));`,
    planted: `return { ...stepPlan(broker, plan, () => ({ kind: "cancelled", task: viewOf(task) })), steps: [] };`,
  },
  {
    defect: "A retry by hand is not written",
    file: "host/commands.ts",
    code: `      steps: [plan],
      pause: null,
      take(takenAt) {`,
    planted: `      steps: [],
      pause: null,
      take(takenAt) {`,
  },
  {
    defect: "A purge writes all but one task",
    file: "host/commands.ts",
    code: "      steps,\n      pause: null,",
    planted: "      steps: steps.slice(1),\n      pause: null,",
  },
  {
    defect: "What is done is not written",
    file: "sqlite/store.ts",
    code: `  putState(seq: number, state: StateRow): void {
`,
    planted: `  putState(seq: number, state: StateRow): void {
    if (state.status === "done") return;
`,
  },
  {
    defect: "A batch is written in two transactions",
    file: "sqlite/store.ts",
    code: "  insertTask(task: Task): void {\n",
    planted: `  insertTask(task: Task): void {
    if (task.seq % 3 === 0) {
      this.#statements.commit.run();
      this.#statements.begin.run();
    }
`,
  },
  {
    defect: "A long poll is answered before what it tells is on disk",
    file: "events.ts",
    code: `if (this.#holds())`,
    planted: `if (Number.isNaN(wanted.length))`,
  },
  {
    defect: "A failed COMMIT is answered with yes",
    file: "sqlite/group-commit.ts",
    code: "answer(STORAGE_UNAVAILABLE);",
    planted: `answer({ kind: "accepted", receipts: reservation.receipts });`,
  },
  {
    defect: "What a failed COMMIT refused stays in memory",
    file: "sqlite/group-commit.ts",
    code: "this.#broker.withdraw(reservation, now);",
    planted: "this.#broker.publish(reservation, now);",
  },
  {
    defect: "What could not be written of a worker's outcome is forgotten",
    file: "sqlite/group-commit.ts",
    code: `    if (fault === null) {
      this.#pending.clear();`,
    planted: `    this.#pending.clear();
    if (fault === null) {`,
  },
  {
    defect: "The log keeps what a failed sync left in it",
    file: "sqlite/group-commit.ts",
    code: "    this.#store.touch();\n    this.#outage.begin(fault);",
    planted: "    this.#outage.begin(fault);",
  },
  {
    defect: "Claims go on while nothing can be written",
    file: "host/broker-host.ts",
    code: `    if (!this.#persistence.isAvailable) return STORAGE_UNAVAILABLE;
    if (request.lane`,
    planted: `    if (request.lane`,
  },
  {
    defect: "/readyz does not tell that nothing can be written",
    file: "host/broker-host.ts",
    code: `return this.#persistence.isAvailable ? "ready" : "storage_unavailable";`,
    planted: `return "ready";`,
  },
  {
    defect: "Nobody looks whether the disk is well again",
    file: "sqlite/outage.ts",
    code: "this.#cancelProbe = this.#clock.after(PROBE_MS, this.#probe);",
    planted: "this.#cancelProbe = () => this.#probe;",
  },
  {
    defect: "A second process is not kept out",
    file: "sqlite/file-lock.ts",
    code: `db.run("BEGIN EXCLUSIVE");`,
    planted: ``,
  },
  {
    defect: "A link is taken for another file",
    file: "sqlite/data-file.ts",
    code: "return isThere ? realpathSync(path) : join(realpathSync(dirname(path)), basename(path));",
    planted: "return isThere ? path : join(realpathSync(dirname(path)), basename(path));",
  },
  {
    defect: "A cut file is opened",
    file: "sqlite/file-header.ts",
    code: `lengthFault(path, header, bytes) : null;`,
    planted: `lengthFault(path, header, Number.MAX_SAFE_INTEGER) : null;`,
  },
  {
    defect: "The structure of a file is not checked",
    file: "sqlite/data-file.ts",
    code: `if (found !== "ok") throw new DataFileError`,
    planted: `if (found === "never") throw new DataFileError`,
  },
  {
    defect: "The file of a newer ringq is opened",
    file: "sqlite/file-header.ts",
    code: `if (version <= newest) return null;`,
    planted: `if (version <= newest + 1000) return null;`,
  },
  {
    defect: "A log without its file is thrown away",
    file: "sqlite/data-file.ts",
    code: "  if (!isLogEmpty(path)) {\n    throw",
    planted: "  if (Number.isNaN(path.length)) {\n    throw",
  },
  {
    defect: "A long poll looks a microtask later, when an end may be there that is not stored",
    file: "host/broker-host.ts",
    code: `    if (stored !== null) await stored;
`,
    planted: `    await stored;
`,
  },
  {
    defect: "A remote settle is answered before it is stored",
    file: "host/broker-host.ts",
    code: `if (isDurable) {`,
    planted: `if (Number.isNaN(fence)) {`,
  },
  {
    defect:
      "The settle of a remote claim is taken for a local one when its type has another lane now",
    file: "host/broker-host.ts",
    code: `(task.lane === "remote" || task.lease !== null)`,
    planted: `task.lane === "remote"`,
  },
  {
    defect: "Remote claims are forgotten at a clean stop",
    file: "sqlite/group-commit.ts",
    code: `    for (const task of this.#broker.tasks()) if (task.lease !== null) this.#pending.add(task);
`,
    planted: ``,
  },
  {
    defect: "An extend is not noted in the running file",
    file: "sqlite/group-commit.ts",
    code: `    if (this.isAvailable) this.noteClaim(task);
`,
    planted: ``,
  },
  {
    defect: "A restored claim has another fence",
    file: "../core/restore.ts",
    code: `  task.fence = fence;`,
    planted: `  task.fence = fence + 1;`,
  },
  {
    defect: "Two commands on one task share a group",
    file: "sqlite/command-group.ts",
    code: `if (steps.some(({ task }) => touched.has(task))) {`,
    planted: `if (Number.isNaN(steps.length)) {`,
  },
  {
    defect: "A failed group keeps the place of a retry",
    file: "host/commands.ts",
    code: `drop: (droppedAt) => broker.releasePlace(task, droppedAt),`,
    planted: `drop: () => undefined,`,
  },
  {
    defect: "A failed group keeps the pin of a pause",
    file: "host/commands.ts",
    code: `drop: (droppedAt) => broker.unpin(queue, droppedAt),`,
    planted: `drop: () => undefined,`,
  },
  {
    defect: "A resume brings an idle queue into use",
    file: "host/commands.ts",
    code: `if (!isPaused && !queue.isInUse) {`,
    planted: `if (Number.isNaN(queue.pins)) {`,
  },
  {
    defect: "A task is forgotten between two steps of its group",
    file: "host/commands.ts",
    code: `        broker.take(plan, takenAt);
        return { kind: "queued"`,
    planted: `        broker.forgetWhatIsOver(takenAt);
        broker.take(plan, takenAt);
        return { kind: "queued"`,
  },
  {
    defect: "A running file that can't be written leaves the group waiting",
    file: "sqlite/group-commit.ts",
    code: `      this.#refuse(this.#takeEntries(), [], this.#clock.now());
`,
    planted: ``,
  },
  {
    defect: "A read of queues goes on some time after its group",
    file: "sqlite/group-commit.ts",
    code: `this.#written(read);`,
    planted: `this.#written(() => undefined).then(read);`,
  },
  {
    defect: "A read after the close waits for the next group",
    file: "sqlite/group-commit.ts",
    code: `return this.isAvailable && this.#mode !== "closed";`,
    planted: `return this.isAvailable;`,
  },
  {
    defect: "A backup keeps remote claims",
    file: "sqlite/maintenance.ts",
    code: `    copy.run("UPDATE states SET status = 'queued', claim = NULL WHERE claim IS NOT NULL");
`,
    planted: ``,
  },
  {
    defect: "A stop says that the file is whole although its log was not emptied",
    file: "sqlite/file-log.ts",
    code: `if (!checkpoint(db, "FULL")) return false;`,
    planted: `if (!checkpoint(db, "FULL")) return true;`,
  },
  {
    defect: "A wait is longer after a restart than it was meant to be",
    file: "../core/restore.ts",
    code: `const isTooLong = lengthMs >= 0 && leftMs > lengthMs;`,
    planted: "const isTooLong = false;",
  },
  {
    defect: "Tags are not written",
    file: "sqlite/columns.ts",
    code: "(tags.length === 0 ? null : JSON.stringify(tags))",
    planted: "(tags.length === 0 ? null : null)",
  },
  {
    defect: "A number that is none is within every bound",
    file: "../core/limits.ts",
    code: "Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max,",
    planted: "!(Number(value) < min || Number(value) > max),",
  },
  {
    defect: "A field that there is not is ignored",
    file: "intake.ts",
    code: "if (KNOWN_NAMES[name] === true || !Object.hasOwn(request, name)) continue;",
    planted: "if (KNOWN_NAMES[name] === true || Object.hasOwn(request, name)) continue;",
  },
  {
    defect: "The name of a worker may be one longer than its bound",
    file: "../core/limits.ts",
    code: `7e]+", 128, `,
    planted: `7e]+", 129, `,
  },
  {
    defect: "A batch with a key may have one task more than are kept",
    file: "intake.ts",
    code: "tasks <= Math.max(1, keyedTasksMax)",
    planted: "tasks <= Math.max(1, keyedTasksMax) + 1",
  },
  {
    defect: "A task may have a ninth tag",
    file: "../core/limits.ts",
    code: `value.length <= lengthMax &&
`,
    planted: `value.length <= lengthMax + 1 &&
`,
  },
  {
    defect: "The tags of a task are its caller's list, which may change",
    file: "intake.ts",
    code: "Object.freeze(tags.slice(0, LIMITS.tags.lengthMax + 1))",
    planted: "tags",
  },
  {
    defect: "The first fault of a batch hides the others",
    file: "intake.ts",
    code: `        for (const fault of spec) faults.push({ index, ...fault });
        continue;`,
    planted: `        for (const fault of spec) faults.push({ index, ...fault });
        break;`,
  },
  {
    defect: "The length of a list of names in a claim is not checked",
    file: "claim-intake.ts",
    code: `    ...faultOf(path, names.length, LIMITS.claimNames),
`,
    planted: "",
  },
  {
    defect: "A stale settle of a remote claim is taken",
    file: "../core/attempts.ts",
    code: `task.status === "running" && task.fence === fence`,
    planted: `task.status === "running" && fence <= task.fence`,
  },
  {
    defect: "An extend is taken after the end of its lease",
    file: "../core/attempts.ts",
    code: "if (!isHeldBy(task, fence) || task.lease === null) return",
    planted: "if (task.lease === null) return",
  },
  {
    defect: "A worker is not told that its claim has expired, but that nobody knows it",
    file: "../core/attempts.ts",
    code: "if (lostClaim?.fence === fence) return",
    planted: "if (lostClaim?.fence === -fence) return",
  },
  {
    defect: "A settle that is sent again is lost",
    file: "../core/attempts.ts",
    code: "settledFence === fence && receipt?.outcome === outcome.kind",
    planted: "settledFence === fence && receipt?.outcome === undefined",
  },
  {
    defect: "Each process begins with the same fence",
    file: "host/broker-host.ts",
    code: "1 + Math.floor(Math.random() * FIRST_FENCE_MAX)",
    planted: "1",
  },
  {
    defect: "A start releases remote claims",
    file: "../core/task-registry.ts",
    code: `task.status === "running" && claim === null`,
    planted: `task.status === "running"`,
  },
  {
    defect: "A claim waits on when its client has gone, and takes a task",
    file: "host/waiting-claims.ts",
    code: `      signal.addEventListener("abort", onAbort);
`,
    planted: "",
  },
  {
    defect: "Claims whose answer is not read are kept",
    file: "../http/api/claims.ts",
    code: "answers.json(partsOf(claims), { onUnread: giveBack })",
    planted: "answers.json(partsOf(claims))",
  },
  {
    defect: "Claims whose client has gone before the answer are kept",
    file: "../http/api/claims.ts",
    code: `  if (signal.aborted) giveBack();
`,
    planted: "",
  },
  {
    defect: "Claims that wait for the same are served last come, first served",
    file: "host/waiting-claims.ts",
    code: "const [first] = group.waiting;",
    planted: "const first = [...group.waiting].at(-1);",
  },
  {
    defect: "Claims that wait for different tasks are served last come, first served",
    file: "host/waiting-claims.ts",
    code: "groups.sort((a, b) => orderOf(b) - orderOf(a));",
    planted: "groups.sort((a, b) => orderOf(a) - orderOf(b));",
  },
  {
    defect: "After one of them got a task, claims that wait for the same come after all others",
    file: "host/waiting-claims.ts",
    code: "groups.splice(indexFor(groups, orderOf(group)), 0, group)",
    planted: "groups.unshift(group)",
  },
  {
    defect: "A claim that comes later is served before those that wait",
    file: "host/waiting-claims.ts",
    code: `    // Earlier claims come first.
    this.#serve();
`,
    planted: "",
  },
  {
    defect: "One claim more waits than may",
    file: "host/waiting-claims.ts",
    code: "this.#size >= max",
    planted: "this.#size > max",
  },
  {
    defect: "A claim that has been answered still counts as waiting",
    file: "host/waiting-claims.ts",
    code: "this.#count(group, -1);",
    planted: "if (group.waiting.size > 0) this.#count(group, -1);",
  },
  {
    defect: "A waiting claim is not told of a place that came free",
    file: "host/worker-notifier.ts",
    code: "if (hasOpened || hasLeft)",
    planted: "if (hasLeft)",
  },
  {
    defect: "A place of a remote claim is not given back at its end",
    file: "../core/queue.ts",
    code: "if (task.lease !== null) this.claims -= 1;",
    planted: "",
  },
  {
    defect: "Remote workers hold more of a queue than they may",
    file: "../core/queue.ts",
    code: `(lane !== "remote" || this.claims < this.limits.claims)`,
    planted: "this.claims < Number.POSITIVE_INFINITY",
  },
  {
    defect: "A lost lease spends a retry",
    file: "../core/rules.ts",
    code: "return { ...afterRelease(state, 0, now), losses };",
    planted: "return { ...afterRelease(state, 0, now), losses, failures: state.failures + 1 };",
  },
];
