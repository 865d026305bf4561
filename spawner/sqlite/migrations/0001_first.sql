-- What should be. Times are nanoseconds since 1970, 0 = never.
CREATE TABLE services (
  name       TEXT NOT NULL PRIMARY KEY,
  revision   INTEGER NOT NULL,            -- in service; 0 = none has succeeded yet
  replicas   INTEGER NOT NULL,            -- wanted
  power      TEXT NOT NULL,
  removing   INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE revisions (
  service      TEXT NOT NULL REFERENCES services (name) ON DELETE CASCADE,
  number       INTEGER NOT NULL,          -- from 1
  spec         TEXT NOT NULL,             -- JSON, without env
  by           TEXT NOT NULL,
  created_at   INTEGER NOT NULL,
  image_id     TEXT NOT NULL,
  image_digest TEXT NOT NULL,
  outcome      TEXT NOT NULL,
  PRIMARY KEY (service, number)
) STRICT, WITHOUT ROWID;

-- The only place where values of env are stored.
CREATE TABLE env (
  service  TEXT NOT NULL,
  revision INTEGER NOT NULL,
  key      TEXT NOT NULL,
  value    TEXT NOT NULL,
  PRIMARY KEY (service, revision, key),
  FOREIGN KEY (service, revision) REFERENCES revisions (service, number) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- A job outlives its service, so it does not refer to it.
CREATE TABLE jobs (
  sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT NOT NULL UNIQUE,
  kind       TEXT NOT NULL,
  service    TEXT NOT NULL,
  revision   INTEGER NOT NULL,
  replicas   INTEGER NOT NULL,
  force      INTEGER NOT NULL,
  state      TEXT NOT NULL,
  steps      TEXT NOT NULL,               -- JSON
  error      TEXT NOT NULL,
  warnings   TEXT NOT NULL,               -- JSON
  by         TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_by_service ON jobs (service, sequence);
CREATE INDEX jobs_unfinished ON jobs (sequence) WHERE state IN ('queued', 'running');

-- AUTOINCREMENT: the id of a pruned event is never given again.
CREATE TABLE events (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  timestamp INTEGER NOT NULL,
  type      TEXT NOT NULL,
  service   TEXT NOT NULL,
  container TEXT NOT NULL,
  node      TEXT NOT NULL,
  message   TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_service ON events (service, id);
CREATE INDEX events_by_timestamp ON events (timestamp);

-- Every address that was ever given. Freed ones stay, so that the one that has
-- been free for longest is given next.
CREATE TABLE addresses (
  network TEXT NOT NULL,
  address TEXT NOT NULL,
  holder  TEXT NOT NULL,                  -- '' = free
  freed   INTEGER NOT NULL,               -- grows with every release; 0 while held
  PRIMARY KEY (network, address)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX addresses_by_holder ON addresses (holder, network) WHERE holder <> '';
CREATE INDEX addresses_by_freed ON addresses (freed);

CREATE TABLE nodes (
  name      TEXT NOT NULL PRIMARY KEY,
  endpoint  TEXT NOT NULL,
  address   TEXT NOT NULL,
  labels    TEXT NOT NULL,                -- JSON
  engine_id TEXT NOT NULL,
  draining  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
  name       TEXT NOT NULL PRIMARY KEY,
  scope      TEXT NOT NULL,
  hash       TEXT NOT NULL UNIQUE,        -- hex SHA-256 of the token, which is not stored
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  last_used  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
  key   TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
