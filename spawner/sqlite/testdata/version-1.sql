-- What the first schema's spawner wrote. Do not change: it proves that later ones open it.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE services (
  name       TEXT NOT NULL PRIMARY KEY,
  revision   INTEGER NOT NULL,            -- in service; 0 = none has succeeded yet
  replicas   INTEGER NOT NULL,            -- wanted
  power      TEXT NOT NULL,
  removing   INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO services VALUES('api',1,3,'asleep',0,1772625600123456789,1772625600123456789);
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
INSERT INTO revisions VALUES('api',1,'{"name":"api","image":"myapp:latest","replicas":3,"ports":[{"container_port":8080,"host_port":8080,"protocol":"tcp"}],"resources":{"cpu_shares":1024,"memory_mb":512},"health_check":{"type":"http","endpoint":"http://localhost:8080/health","interval":"1s"},"labels":{"a":"b"},"route":{"hosts":["api.example.com"],"cookie":{"name":"instance","value":"api"},"failover":false,"tls":true},"sleep":{"after":"10m0s","mode":"stop"},"wake":{"answer":"auto","max_wait":"1m0s"},"command":["run","--it"],"stop_grace":"10s","restart":"always","pull":"missing","networks":["traefiknet"],"update":{"order":"start-first"},"direct":true}','alice',1772625600123456789,'','','pending');
INSERT INTO revisions VALUES('api',2,'{"name":"api","image":"myapp:2","replicas":3,"ports":[{"container_port":8080,"host_port":8080,"protocol":"tcp"}],"resources":{"cpu_shares":1024,"memory_mb":512},"health_check":{"type":"http","endpoint":"http://localhost:8080/health","interval":"1s"},"labels":{"a":"b"},"route":{"hosts":["api.example.com"],"cookie":{"name":"instance","value":"api"},"failover":false,"tls":true},"sleep":{"after":"10m0s","mode":"stop"},"wake":{"answer":"auto","max_wait":"1m0s"},"command":["run","--it"],"stop_grace":"10s","restart":"always","pull":"missing","networks":["traefiknet"],"update":{"order":"start-first"},"direct":true}','alice',1772625600123456789,'','','pending');
CREATE TABLE env (
  service  TEXT NOT NULL,
  revision INTEGER NOT NULL,
  key      TEXT NOT NULL,
  value    TEXT NOT NULL,
  PRIMARY KEY (service, revision, key),
  FOREIGN KEY (service, revision) REFERENCES revisions (service, number) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
INSERT INTO env VALUES('api',1,'EMPTY','');
INSERT INTO env VALUES('api',1,'KEY','value');
INSERT INTO env VALUES('api',2,'EMPTY','');
INSERT INTO env VALUES('api',2,'KEY','value');
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
INSERT INTO jobs VALUES(1,'j1','deploy','api',1,0,0,'succeeded','[{"verb":"pull","state":"succeeded"}]','','null','alice',1772625600123456789,1772625600123456789,1772625600123456789);
INSERT INTO jobs VALUES(2,'j2','deploy','api',2,0,0,'queued','[]','','null','alice',1772625600123456789,0,0);
CREATE TABLE events (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  timestamp INTEGER NOT NULL,
  type      TEXT NOT NULL,
  service   TEXT NOT NULL,
  container TEXT NOT NULL,
  node      TEXT NOT NULL,
  message   TEXT NOT NULL
) STRICT;
INSERT INTO events VALUES(1,1772625600123456789,'deploy','api','','','accepted');
INSERT INTO events VALUES(2,1772625600123456789,'sleep','api','','','');
CREATE TABLE addresses (
  network TEXT NOT NULL,
  address TEXT NOT NULL,
  holder  TEXT NOT NULL,                  -- '' = free
  freed   INTEGER NOT NULL,               -- grows with every release; 0 while held
  PRIMARY KEY (network, address)
) STRICT, WITHOUT ROWID;
INSERT INTO addresses VALUES('traefiknet','10.1.0.2','api-0.net',0);
CREATE TABLE nodes (
  name      TEXT NOT NULL PRIMARY KEY,
  endpoint  TEXT NOT NULL,
  address   TEXT NOT NULL,
  labels    TEXT NOT NULL,                -- JSON
  engine_id TEXT NOT NULL,
  draining  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO nodes VALUES('local','unix:///var/run/docker.sock','','{"a":"b"}','',0);
CREATE TABLE tokens (
  name       TEXT NOT NULL PRIMARY KEY,
  scope      TEXT NOT NULL,
  hash       TEXT NOT NULL UNIQUE,        -- hex SHA-256 of the token, which is not stored
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  last_used  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO tokens VALUES('admin','admin','00',1772625600123456789,0,0);
CREATE TABLE settings (
  key   TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO settings VALUES('fleet','f1');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('jobs',2);
INSERT INTO sqlite_sequence VALUES('events',2);
CREATE INDEX jobs_by_service ON jobs (service, sequence);
CREATE INDEX jobs_unfinished ON jobs (sequence) WHERE state IN ('queued', 'running');
CREATE INDEX events_by_service ON events (service, id);
CREATE INDEX events_by_timestamp ON events (timestamp);
CREATE UNIQUE INDEX addresses_by_holder ON addresses (holder, network) WHERE holder <> '';
CREATE INDEX addresses_by_freed ON addresses (freed);
COMMIT;
PRAGMA application_id = 1936750446;
PRAGMA user_version = 1;
