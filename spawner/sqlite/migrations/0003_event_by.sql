-- Who asked for what an event tells of; '' = nobody did.
ALTER TABLE events ADD COLUMN by TEXT NOT NULL DEFAULT '';
