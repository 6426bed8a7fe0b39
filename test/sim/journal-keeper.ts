/**
 * Keeps what has to outlive the broker in a real journal and on a real claim board, and reads it again as a start does.
 * What becomes due is not written, so it is compared only while the wall clock runs evenly and what is due has been done.
 */

import { Database } from "bun:sqlite";
import type { KeyRecord } from "../../src/core/idempotency.ts";
import type { Instant } from "../../src/core/instant.ts";
import type { SavedTask, Snapshot } from "../../src/core/snapshot.ts";
import type { TaskStatus } from "../../src/core/status.ts";
import type { Task } from "../../src/core/task.ts";
import { Intake } from "../../src/engine/intake.ts";
import { migrate } from "../../src/engine/sqlite/data-file.ts";
import { MIGRATIONS } from "../../src/engine/sqlite/migrations.ts";
import { isToBeWritten, PendingWrites } from "../../src/engine/sqlite/pending-writes.ts";
import { readSnapshot } from "../../src/engine/sqlite/recovery.ts";
import { RunningFile } from "../../src/engine/sqlite/running-file.ts";
import { SqliteStore } from "../../src/engine/sqlite/store.ts";
import { silentLog } from "../../src/log.ts";
import type { Keeper } from "./broker-subject.ts";

export class JournalKeeper implements Keeper {
  readonly #store: SqliteStore;
  readonly #boardPath: string;
  readonly #pending = new PendingWrites();
  /** What a handler's type says of a task, and not the journal. */
  readonly #byId = new Map<string, Task>();
  #running: RunningFile;

  /** The board is a file at this path. */
  constructor(boardPath: string) {
    const db = new Database(":memory:", { strict: true });
    migrate(db, "memory", MIGRATIONS);
    this.#store = new SqliteStore({
      path: "memory",
      db,
      isLogMissing: false,
      close: () => {
        db.close(true);
        return { isLogEmpty: true };
      },
    });
    this.#boardPath = boardPath;
    this.#running = new RunningFile(boardPath, this.#store.id);
    this.#running.restart([]);
  }

  onPublish(tasks: readonly Task[]): void {
    const key = tasks[0]?.key ?? null;
    this.#transact(() => {
      if (key !== null) this.#store.insertKey(key);
      for (const task of tasks) this.#store.insertTask(task);
    });
    for (const task of tasks) this.#byId.set(task.id, task);
  }

  onClaim(task: Task): void {
    this.#running.note(task);
  }

  onExtend(task: Task): void {
    this.#running.note(task);
  }

  onPause(queue: string, isPaused: boolean): void {
    this.#transact(() => this.#store.setPaused(queue, isPaused));
  }

  onStep(task: Task, from: TaskStatus | null): void {
    if (from === "running") this.#running.clear(task);
    if (isToBeWritten(task.status, from)) this.#pending.add(task);
  }

  onForget(task: Task): void {
    this.#pending.forget(task);
  }

  onKeyChange(key: KeyRecord): void {
    this.#pending.addKey(key);
  }

  onKeyForget(key: KeyRecord): void {
    this.#pending.forgetKey(key);
  }

  /** Writes what has changed since the last time. */
  flush(): void {
    this.#transact(() => this.#pending.writeTo(this.#store));
    this.#pending.clear();
    this.#running.written();
  }

  snapshot({ wallMs }: Instant, tasks: Iterable<Task>): Snapshot {
    this.flush();
    // A lease that got more time by itself is known here alone. A clean stop writes it.
    for (const task of tasks) if (task.lease !== null) this.#running.note(task);
    this.#running.close();
    this.#running = new RunningFile(this.#boardPath, this.#store.id);
    const snapshot = readSnapshot({
      store: this.#store,
      claims: this.#running.earlierClaims(),
      intake: new Intake({
        defaults: DEFAULTS,
        types: new Map(),
        otherTypes: {},
        keyedTasksMax: 1,
      }),
      wallMs,
      log: silentLog,
    });
    return {
      paused: snapshot.paused,
      keys: [...snapshot.keys],
      tasks: Array.from(snapshot.tasks, (task) => this.#asItsTypeSays(task)),
    };
  }

  onRestored(tasks: Iterable<Task>): void {
    const held = [...tasks].filter(({ lease }) => lease !== null);
    // As a start does it: the file begins anew with the claims that go on.
    this.#running.restart(held);
  }

  close(): void {
    this.#store.close();
    this.#running.remove();
  }

  #asItsTypeSays(saved: SavedTask): SavedTask {
    const task = this.#byId.get(saved.id);
    if (task === undefined) throw new Error(`${saved.id} comes from nowhere`);
    const { settings, payloadBytes } = task;
    return { ...saved, lane: settings.lane, backoff: settings.backoff, payloadBytes };
  }

  #transact(write: () => void): void {
    const fault = this.#store.transact(write);
    if (fault !== null) throw new Error(`${fault.code}: ${fault.message}`);
  }
}

const DEFAULTS = {
  maxRetries: 0,
  timeoutMs: 1,
  backoff: { baseMs: 0, jitterMs: 0, maxMs: 0 },
};
