-- Version 5. Who may ask over HTTP, and what was answered to commands that carried a key.

-- The secret itself is kept nowhere. A token that was revoked stays, so that who had it can be looked up.
CREATE TABLE tokens (
    name       TEXT    PRIMARY KEY,
    hash       TEXT    NOT NULL UNIQUE,
    scope      TEXT    NOT NULL CHECK (scope IN ('read', 'run', 'write', 'admin')),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;

-- A row is made in the transaction of the command's effect, with the last entry of the audit then; the answer follows.
CREATE TABLE command_keys (
    who     TEXT    NOT NULL,
    key     TEXT    NOT NULL,
    request TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    audit   INTEGER,
    status  INTEGER,
    answer  TEXT,
    PRIMARY KEY (who, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX command_keys_by_age ON command_keys (at);

-- When a sync last came to one outcome.
CREATE INDEX outcomes_of_sync ON runs (sync, phase, finished_at);

PRAGMA user_version = 5;
