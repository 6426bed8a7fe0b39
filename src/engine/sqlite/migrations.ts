/**
 * The schema of a data file, version by version. A released migration is never changed: the next
 * one has the differences.
 *
 * A task is a row in `tasks` that never changes, and a row in `states` from its first finish,
 * retry, release or cancel. So a payload, however large, is written once, and both tables grow at
 * their end. Times are wall-clock milliseconds; lists and objects are JSON. columns.ts maps the
 * fields to columns.
 */

/** Each migrates a file from the version that is its index to the next version. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE identity (id INTEGER NOT NULL, touched INTEGER NOT NULL) STRICT;
  INSERT INTO identity VALUES (abs(random() >> 12), 0);

  CREATE TABLE tasks (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    queue TEXT NOT NULL,
    payload TEXT NOT NULL,
    priority INTEGER NOT NULL,
    max_retries INTEGER NOT NULL,
    timeout_ms INTEGER NOT NULL,
    enqueued_at REAL NOT NULL,
    run_at REAL,
    -- Whether run_at is a time of day, which follows the wall clock wherever it goes.
    is_due_by_wall INTEGER NOT NULL,
    -- The number of the idempotency key it came under.
    key INTEGER
  ) STRICT;

  -- A task without a row here was never settled: it waits.
  CREATE TABLE states (
    seq INTEGER PRIMARY KEY,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    run_at REAL,
    started_at REAL,
    finished_at REAL,
    result TEXT,
    progress TEXT,
    errors TEXT NOT NULL
  ) STRICT;

  -- Numbered by the first of its tasks.
  CREATE TABLE keys (
    seq INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    receipts TEXT NOT NULL,
    finished_at REAL
  ) STRICT;

  CREATE TABLE paused_queues (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
  `,
  `
  -- 0.2.0: one count of lost attempts, the last settle of each task, and remote claims that outlive the process.
  ALTER TABLE states RENAME COLUMN crashes TO losses;
  ALTER TABLE states ADD COLUMN settled_fence INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE states ADD COLUMN receipt TEXT;
  ALTER TABLE states ADD COLUMN claim TEXT;
  -- 1 while the log may have something that the file itself lacks.
  ALTER TABLE identity ADD COLUMN in_use INTEGER NOT NULL DEFAULT 0;
  `,
  `
  -- JSON; NULL for none.
  ALTER TABLE tasks ADD COLUMN tags TEXT;
  `,
];
