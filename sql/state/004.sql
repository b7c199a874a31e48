-- Version 4. `until` is when a pause ends by itself; `halted` marks a run that failed so that no later one can succeed before
-- a person has done something. `armed` is when the schedule of a sync was first armed: what should have fired since and did
-- not is due, though the sync never ran.

ALTER TABLE pauses ADD COLUMN until INTEGER;
CREATE INDEX pauses_that_end ON pauses (until) WHERE until IS NOT NULL;

ALTER TABLE runs ADD COLUMN halted INTEGER NOT NULL DEFAULT 0 CHECK (halted IN (0, 1));
CREATE INDEX stopped_runs ON runs (sync) WHERE finished_at IS NULL AND stop IS NOT NULL;

CREATE TABLE disabled_sources (
    source  TEXT    PRIMARY KEY,
    message TEXT    NOT NULL,
    who     TEXT    NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

CREATE TABLE armed (
    sync  TEXT    PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT;

PRAGMA user_version = 4;
