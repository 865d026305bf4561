-- Ports of nodes that sandboxes publish for edges. Freed ones stay, so that the
-- one that has been free for longest is given next.
CREATE TABLE host_ports (
  node   TEXT NOT NULL,
  port   INTEGER NOT NULL,
  holder TEXT NOT NULL,                   -- '' = free
  freed  INTEGER NOT NULL,                -- grows with every release; 0 while held
  PRIMARY KEY (node, port)
) STRICT, WITHOUT ROWID;
CREATE INDEX host_ports_by_holder ON host_ports (holder) WHERE holder <> '';
