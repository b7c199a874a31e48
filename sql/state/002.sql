-- Version 2. `file` is which file this database was when a snapshot was remembered: in a copy or a backup it is another
-- one. NULL where an older version remembered it.

ALTER TABLE known_snapshots ADD COLUMN file TEXT;

PRAGMA user_version = 2;
