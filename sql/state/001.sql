-- The small rows of one state directory, version 1. Instants are milliseconds since 1970, columns named like a
-- value of the domain (choice, phase, tally) hold that value as JSON.

CREATE TABLE runs (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    sync         TEXT    NOT NULL,
    trigger      TEXT    NOT NULL,
    choice       TEXT,
    phase        TEXT    NOT NULL,
    started_at   INTEGER NOT NULL,
    finished_at  INTEGER,
    tally        TEXT    NOT NULL,
    error        TEXT,
    stop         TEXT CHECK (stop IN ('drain', 'now')),
    stop_who     TEXT,
    stop_message TEXT
) STRICT;

CREATE INDEX runs_of_sync ON runs (sync, id);
CREATE INDEX unfinished_runs ON runs (sync) WHERE finished_at IS NULL;

-- The snapshot that a sync is known to have: a folder that holds another one is foreign.
CREATE TABLE known_snapshots (
    sync       TEXT    PRIMARY KEY,
    lineage    TEXT    NOT NULL,
    generation INTEGER NOT NULL
) STRICT;

-- Column types found at the first run of a sync, as the source wrote them down.
CREATE TABLE pins (
    sync TEXT PRIMARY KEY,
    pins TEXT NOT NULL
) STRICT;

-- The last recorded pause or resume; it wins until the file's value differs from `configured`.
CREATE TABLE pauses (
    sync       TEXT    PRIMARY KEY,
    paused     INTEGER NOT NULL CHECK (paused IN (0, 1)),
    configured INTEGER NOT NULL CHECK (configured IN (0, 1)),
    message    TEXT,
    who        TEXT    NOT NULL,
    at         INTEGER NOT NULL
) STRICT;

CREATE TABLE record_notes (
    id        INTEGER PRIMARY KEY,
    run       INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    sync      TEXT    NOT NULL,
    key       TEXT    NOT NULL,
    verdict   TEXT    NOT NULL,
    operation TEXT,
    code      TEXT,
    message   TEXT
) STRICT;

CREATE INDEX notes_of_run ON record_notes (run, verdict);
CREATE INDEX notes_of_sync ON record_notes (sync, run);

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    who     TEXT    NOT NULL,
    command TEXT    NOT NULL,
    sync    TEXT,
    run     INTEGER,
    message TEXT
) STRICT;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

-- 'CtFw'
PRAGMA application_id = 1131693687;
PRAGMA user_version = 1;
