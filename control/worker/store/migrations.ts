/** The schema of worker.sqlite. Numbered and forward-only: a step that was released is never edited. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

  CREATE TABLE machines (
    id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL,
    -- The MachineSpec as asked for. Its env is emptied when the machine is destroyed.
    spec TEXT NOT NULL,
    state TEXT NOT NULL,
    -- 0 until the create operation is through: such a machine is shown to nobody.
    made INTEGER NOT NULL,
    -- What the machine returns to when the agent or the host comes back: started or stopped.
    desired TEXT NOT NULL,
    cordoned INTEGER NOT NULL DEFAULT 0,
    address4 TEXT,
    address6 TEXT,
    last_exit TEXT,
    reason TEXT,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    started_at_ms INTEGER
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX machines_by_app ON machines (app_id);

  CREATE TABLE operations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    machine_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- Index of the step that is about to run, or runs, or ran when the agent died.
    step INTEGER NOT NULL,
    -- running, undoing, done, failed, superseded
    status TEXT NOT NULL,
    input TEXT NOT NULL,
    -- What earlier steps found out and later ones need.
    memory TEXT NOT NULL,
    error TEXT,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
  ) STRICT;
  -- At most one operation of a machine is under way.
  CREATE UNIQUE INDEX operations_active ON operations (machine_id) WHERE status IN ('running', 'undoing');

  CREATE TABLE links (link_index INTEGER PRIMARY KEY, machine_id TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE org_networks (org_id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE) STRICT, WITHOUT ROWID;

  CREATE TABLE offers (
    id TEXT PRIMARY KEY,
    machine_id TEXT NOT NULL UNIQUE,
    memory_mb INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  -- The newest event of each key that Redis has not acknowledged. One per key, so it is never larger than the state.
  CREATE TABLE outbox (
    key TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    event TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX outbox_by_seq ON outbox (seq);

  CREATE TABLE log_tails (
    machine_id TEXT PRIMARY KEY,
    -- Sequence number of the guest's next line, so that a new agent does not ship lines twice.
    next_seq INTEGER NOT NULL,
    lines TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- The newest event of each key that Redis has acknowledged.
  CREATE TABLE published (
    key TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    published_ms INTEGER NOT NULL,
    event TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- By the restart policy, since the machine was last started by request: how often, and when the last ones were (JSON).
  ALTER TABLE machines ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE machines ADD COLUMN restarts_at_ms TEXT NOT NULL DEFAULT '[]';
  `,
  `
  -- What happened to each machine, the newest LIFE_EVENTS_MAX.
  CREATE TABLE life_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    machine_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    source TEXT NOT NULL,
    -- MachineExit as JSON.
    exit TEXT,
    reason TEXT
  ) STRICT;
  CREATE INDEX life_events_by_machine ON life_events (machine_id, id);
  `,
];
