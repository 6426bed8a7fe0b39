/**
 * Keeps what has to outlive the broker in a real journal and on a real claim board, and reads it again as a start does.
 * What becomes due is not written, so it is compared only while the wall clock runs evenly and what is due has been done.
 */

import { Database } from "bun:sqlite";
import type { Instant } from "../../src/core/instant.ts";
import type { KeyRecord } from "../../src/core/key-register.ts";
import type { Legacy, SavedTask } from "../../src/core/saved.ts";
import type { Task, TaskStatus } from "../../src/core/task.ts";
import { ClaimBoard } from "../../src/engine/claim-board.ts";
import { migrate } from "../../src/engine/data-file.ts";
import { Intake } from "../../src/engine/intake.ts";
import { Journal } from "../../src/engine/journal.ts";
import { legacyOf } from "../../src/engine/recovery.ts";
import { MIGRATIONS } from "../../src/engine/schema.ts";
import { Unwritten } from "../../src/engine/unwritten.ts";
import { silentLog } from "../../src/log.ts";
import type { Keeper } from "./broker-subject.ts";

export class JournalKeeper implements Keeper {
  readonly #journal: Journal;
  readonly #boardPath: string;
  readonly #unwritten = new Unwritten();
  /** What a handler's type says of a task, and not the journal. */
  readonly #byId = new Map<string, Task>();
  #board: ClaimBoard;

  /** The board is a file at this path. */
  constructor(boardPath: string) {
    const db = new Database(":memory:", { strict: true });
    migrate(db, "memory", MIGRATIONS);
    this.#journal = new Journal({ path: "memory", db, close: () => db.close(true) });
    this.#boardPath = boardPath;
    this.#board = new ClaimBoard(boardPath, this.#journal.id);
    this.#board.wipe();
  }

  onPublish(tasks: readonly Task[]): void {
    const key = tasks[0]?.key ?? null;
    this.#transact(() => {
      if (key !== null) this.#journal.insertKey(key);
      for (const task of tasks) this.#journal.insertTask(task);
    });
    for (const task of tasks) this.#byId.set(task.id, task);
  }

  onClaim(task: Task): void {
    this.#board.note(task);
  }

  onPause(queue: string, isPaused: boolean): void {
    this.#transact(() => this.#journal.setPaused(queue, isPaused));
  }

  onStep(task: Task, from: TaskStatus | null): void {
    if (from === "running") this.#board.clear(task);
    this.#unwritten.addStep(task, from);
  }

  onForget(task: Task): void {
    this.#unwritten.forget(task);
  }

  onKeyChange(key: KeyRecord): void {
    this.#unwritten.addKey(key);
  }

  onKeyForget(key: KeyRecord): void {
    this.#unwritten.forgetKey(key);
  }

  /** Writes what has changed since the last time. */
  flush(): void {
    this.#transact(() => this.#unwritten.writeTo(this.#journal));
    this.#unwritten.clear();
    this.#board.written();
  }

  legacy({ wallMs }: Instant): Legacy {
    this.flush();
    this.#board.close();
    this.#board = new ClaimBoard(this.#boardPath, this.#journal.id);
    const claims = this.#board.earlierClaims();
    this.#board.wipe();
    const { paused, keys, tasks } = legacyOf({
      journal: this.#journal,
      claims,
      intake: new Intake(DEFAULTS, new Map()),
      wallMs,
      log: silentLog,
    });
    return {
      paused,
      keys: [...keys],
      tasks: Array.from(tasks, (task) => this.#asItsTypeSays(task)),
    };
  }

  close(): void {
    this.#journal.close();
    this.#board.remove();
  }

  #asItsTypeSays(saved: SavedTask): SavedTask {
    const task = this.#byId.get(saved.id);
    if (task === undefined) throw new Error(`${saved.id} comes from nowhere`);
    const { lane, backoff, payloadBytes } = task;
    return { ...saved, lane, backoff, payloadBytes };
  }

  #transact(write: () => void): void {
    const fault = this.#journal.transact(write);
    if (fault !== null) throw new Error(`${fault.code}: ${fault.message}`);
  }
}

const DEFAULTS = {
  maxRetries: 0,
  timeoutMs: 1,
  backoff: { baseMs: 0, jitterMs: 0, maxMs: 0 },
};
