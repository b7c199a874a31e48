-- Version 6. What people decided of snapshots, from the moment that it was audited until the snapshot says so; the config that
-- a run began with; and a command of one sync is found without reading the whole log.

-- `audit` is the last entry of the audit log then, by which the key is found that the command came with.
CREATE TABLE decisions (
    id       INTEGER PRIMARY KEY,
    sync     TEXT    NOT NULL,
    decision TEXT    NOT NULL,
    audit    INTEGER NOT NULL
) STRICT;

CREATE INDEX decisions_of_sync ON decisions (sync, id);

-- The config's revision; NULL while it waits, and where an older version made it.
ALTER TABLE runs ADD COLUMN revision TEXT;

CREATE INDEX audit_of_sync ON audit (sync, command) WHERE sync IS NOT NULL;

PRAGMA user_version = 6;
