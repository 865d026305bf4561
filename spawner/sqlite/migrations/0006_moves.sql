-- What a job moves: off which node, or which replicas where.
ALTER TABLE jobs ADD COLUMN node TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN moves TEXT NOT NULL DEFAULT 'null'; -- JSON
