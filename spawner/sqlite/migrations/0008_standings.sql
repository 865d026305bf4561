-- Where replicas stand, for a start at which a node does not answer.
CREATE TABLE standings (
  node     TEXT NOT NULL,
  app      TEXT NOT NULL,                 -- name of its container
  standing TEXT NOT NULL,                 -- JSON
  PRIMARY KEY (node, app)
) STRICT, WITHOUT ROWID;
