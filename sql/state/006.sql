-- Version 6. What people decided of snapshots, from the moment that it was audited until the snapshot says so.

-- `audit` is the last entry of the audit log then, by which the key is found that the command came with.
CREATE TABLE decisions (
    id       INTEGER PRIMARY KEY,
    sync     TEXT    NOT NULL,
    decision TEXT    NOT NULL,
    audit    INTEGER NOT NULL
) STRICT;

CREATE INDEX decisions_of_sync ON decisions (sync, id);

PRAGMA user_version = 6;
