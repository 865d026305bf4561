-- Whether the spawner has joined a node in Docker's swarm.
ALTER TABLE nodes ADD COLUMN joined INTEGER NOT NULL DEFAULT 0;
