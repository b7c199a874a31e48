-- Version 2. `file` is which file this database was when a snapshot was remembered, `manifest` which one the snapshot's
-- manifest was, which each commit makes anew: in a copy or a backup they are others. NULL where an older version
-- remembered it, or the file system does not say.

ALTER TABLE known_snapshots ADD COLUMN file TEXT;
ALTER TABLE known_snapshots ADD COLUMN manifest TEXT;

PRAGMA user_version = 2;
