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
    code: "    let fault = this.#write(entries);",
    planted: `    for (const { reservation, answer } of entries) answer({ kind: "accepted", receipts: reservation.receipts });
    let fault = this.#write(entries);`,
  },
  {
    defect: "The same, a turn of the event loop before",
    file: "sqlite/group-commit.ts",
    code: "    this.soon();\n    return answer;",
    planted: `    this.soon();
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
    code: "    this.#write(slot, seq, attempt, startedAtMs ?? 0);\n",
    planted: "",
  },
  {
    defect: "The slot of a claim is given out again before the end of its attempt is on disk",
    file: "sqlite/running-file.ts",
    code: "this.#over.push(slot);",
    planted: "this.#free.push(slot);",
  },
  {
    defect: "A torn claim board stops the start",
    file: "sqlite/running-file.ts",
    code: "slotsOf(new Uint8Array(readFileSync(this.#descriptor)))",
    planted: "slotsOf(readFileSync(this.#descriptor))",
  },
  {
    defect: "Idempotency keys are not written",
    file: "sqlite/store.ts",
    code: "this.#statements.insertKey.run(seq, key, fingerprint, JSON.stringify(receipts));",
    planted: "",
  },
  {
    defect: "A cancel is not written",
    file: "sqlite/operator-commands.ts",
    code: "write: () => this.#store.putState(cancelled(task, now)),",
    planted: "write: () => undefined,",
  },
  {
    defect: "A retry by hand is not written",
    file: "sqlite/operator-commands.ts",
    code: "write: () => this.#store.putState(retried(task)),",
    planted: "write: () => undefined,",
  },
  {
    defect: "A purge writes all but one task",
    file: "sqlite/operator-commands.ts",
    code: "for (const task of tasks) this.#store.putState(cancelled(task, now));",
    planted: "for (const task of tasks.slice(1)) this.#store.putState(cancelled(task, now));",
  },
  {
    defect: "What is done is not written",
    file: "sqlite/store.ts",
    code: "  putState(state: TaskState): void {\n",
    planted: `  putState(state: TaskState): void {\n    if (state.status === "done") return;\n`,
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
    file: "sqlite/engine.ts",
    code: "if (!this.#waiters.isEmpty) this.#finished.push(task.id);",
    planted: "if (!this.#waiters.isEmpty) this.#waiters.answer(task.id);",
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
    code: "    if (fault === null) {\n      this.pending.clear();",
    planted: "    this.pending.clear();\n    if (fault === null) {",
  },
  {
    defect: "The log keeps what a failed sync left in it",
    file: "sqlite/group-commit.ts",
    code: "    this.#store.touch();\n    this.#outage.begin(fault);",
    planted: "    this.#outage.begin(fault);",
  },
  {
    defect: "Claims go on while nothing can be written",
    file: "sqlite/engine.ts",
    code: "if (!this.#isClaiming || !this.#group.isWriting) return undefined;",
    planted: "if (!this.#isClaiming) return undefined;",
  },
  {
    defect: "/readyz does not tell that nothing can be written",
    file: "sqlite/engine.ts",
    code: `return this.#group.isWriting ? "ready" : "storage_unavailable";`,
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
    planted: "",
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
    code: "lengthFault(path, header, bytes) : null;",
    planted: "lengthFault(path, header, Number.MAX_SAFE_INTEGER) : null;",
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
    code: "if (version <= newest) return null;",
    planted: "if (version <= newest + 1000) return null;",
  },
  {
    defect: "A log without its file is thrown away",
    file: "sqlite/data-file.ts",
    code: "  if (!isLogEmpty(path)) {\n    throw",
    planted: "  if (Number.isNaN(path.length)) {\n    throw",
  },
];
