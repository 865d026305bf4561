-- What a node was added with, beside what the first schema knew.
ALTER TABLE nodes ADD COLUMN allow_plain_tcp INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN sealed BLOB NOT NULL DEFAULT x'';  -- credentials, encrypted with the key file beside the database
