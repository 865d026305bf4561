-- Receivers of events. The secret is needed to sign, so it is stored itself.
CREATE TABLE webhooks (
  name         TEXT NOT NULL PRIMARY KEY,
  url          TEXT NOT NULL,
  types        TEXT NOT NULL,             -- JSON; [] = all
  service      TEXT NOT NULL,             -- '' = all
  secret       TEXT NOT NULL,
  by           TEXT NOT NULL,
  created_at   INTEGER NOT NULL,
  delivered    INTEGER NOT NULL,          -- events up to this id are no longer to be sent
  delivered_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
